"""How often somebody may ask, and how long one waits after wrong passwords."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]
_MOST_KEYS = 20_000
"""People and addresses that are kept in mind: a bound of memory."""


class Buckets:
    """A token bucket for each key: so many requests in a second, and more at once after a rest."""

    def __init__(self, rate: float, burst: float, clock: Clock = time.monotonic) -> None:
        """Fill them.

        Args:
            rate: Requests in a second.
            burst: Most at once.
            clock: Seconds.
        """
        self._rate, self._burst, self._clock = rate, burst, clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one.

        Returns:
            0, or the seconds after which there is one.
        """
        now = self._clock()
        with self._lock:
            level, then = self._levels.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - then) * self._rate)
            wait = 0.0 if level >= 1 else (1 - level) / self._rate
            self._levels[key] = (level - 1 if level >= 1 else level, now)
            # Whoever asked longest ago has a full bucket soonest.
            while len(self._levels) > _MOST_KEYS:
                self._levels.popitem(last=False)
        return wait


@dataclass
class _Failures:
    count: int
    last: float
    until: float


class BackOff:
    """After some failures each further one makes the next wait twice as long."""

    def __init__(
        self,
        free: int,
        *,
        first_s: float = 1.0,
        longest_s: float = 900.0,
        forget_s: float = 3600.0,
        clock: Clock = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            free: Failures without a wait.
            first_s: Wait after one more.
            longest_s: No wait is longer.
            forget_s: After so long without a failure all are forgotten.
            clock: Seconds.
        """
        self._free, self._first, self._longest, self._forget = free, first_s, longest_s, forget_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def attempt(self, key: str) -> float:
        """Begin an attempt, which counts as failed until `succeeded`: those that are made at the
        same time do not slip through together.

        Returns:
            0, or the seconds after which one may be made; then this was none.
        """
        now = self._clock()
        with self._lock:
            known = self._failures.pop(key, None)
            if known is None or now - known.last > self._forget:
                known = _Failures(0, now, now)
            self._failures[key] = known
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)
            if now < known.until:
                return known.until - now
            known.count, known.last = known.count + 1, now
            beyond = known.count - self._free
            if beyond >= 0:
                known.until = now + min(self._longest, self._first * 2.0 ** min(beyond, 40))
            return 0.0

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        with self._lock:
            self._failures.pop(key, None)


def network_of(address: str) -> str:
    """What counts as one place: an IPv4 address, or the 64 bits that an IPv6 host is given."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
