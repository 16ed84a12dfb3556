"""What was made for one request and serves others: the last used, as much as fits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")
_LOCKS = 64


class Cache(Generic[_Value]):
    """Values by key, up to so many bytes.

    A key holds all that the value follows from: whoever asks for it gets what they may see because
    what they may see is a part of it.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._values: OrderedDict[tuple[Any, ...], tuple[_Value, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._making = [threading.Lock() for _ in range(_LOCKS)]

    def get(self, key: tuple[Any, ...]) -> _Value | None:
        """What was made before."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def get_many(self, keys: Sequence[tuple[Any, ...]]) -> list[_Value | None]:
        """What was made before under each of some keys."""
        with self._lock:
            for key in keys:
                if key in self._values:
                    self._values.move_to_end(key)
            return [self._values.get(key, (None, 0))[0] for key in keys]

    def put(self, key: tuple[Any, ...], value: _Value, size: int) -> None:
        """Keep a value of so many bytes."""
        with self._lock:
            before = self._values.pop(key, None)
            self._bytes += size - (0 if before is None else before[1])
            self._values[key] = (value, size)
            while self._bytes > self.most_bytes:
                self._bytes -= self._values.popitem(last=False)[1][1]

    def get_or_make(
        self,
        key: tuple[Any, ...],
        make: Callable[[], _Value],
        size_of: Callable[[_Value], int],
    ) -> _Value:
        """What was made before, or is made now; others who ask for it meanwhile wait."""
        found = self.get(key)
        if found is not None:
            return found
        with self._making[hash(key) % _LOCKS]:
            found = self.get(key)
            if found is None:
                found = make()
                self.put(key, found, size_of(found))
            return found
