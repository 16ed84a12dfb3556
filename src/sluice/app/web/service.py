"""What the requests of a service share: the store, what was worked out from it, and turns."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, Request

from sluice.app.following.stores import is_postgres, open_store, store_path
from sluice.app.web.connections import Connections
from sluice.app.web.errors import Busy
from sluice.app.web.rules import Part
from sluice.app.web.settings import Settings
from sluice.app.web.tile_cache import Cache
from sluice.base.errors import ConfigError, SluiceError, StoreBusy, StoreError
from sluice.base.store import Revision
from sluice.store.sql_store import SqlStore

if TYPE_CHECKING:
    # Its process has a service, too.
    from sluice.app.web.maker import Maker

_LOG = logging.getLogger("sluice.web")
_LOOK_AGAIN_S = 1.0
"""How old a revision may be: what others wrote is seen after this long."""
_PATIENCE_S = 1.0
"""How long one waits for what is made anew, counted from its begin, before one is given what there
was: what is made in less is never given as it was."""
_MOST_KEPT = 128
_MOST_WAITING = 20
_WAIT_FOR_WRITERS_S = 20.0
_Value = TypeVar("_Value")


class Service:
    """One store and all that is kept beside it; used by many threads at once."""

    def __init__(self, settings: Settings) -> None:
        """Open the store.

        Raises:
            ConfigError, SchemaVersion, StoreError: See `open_store`.
        """
        self.settings = settings
        self._lock = threading.Lock()
        self._store: SqlStore | None = None
        self._file: tuple[int, int] | None = None
        self._path = None if is_postgres(settings.store) else store_path(settings.store)
        self._revision: Revision | None = None
        self._looked = self._written = -1e9
        self.is_closed = False
        self._kept: OrderedDict[str, tuple[tuple[str, ...], Any]] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._soon: dict[str, tuple[threading.Thread, float]] = {}
        self.connections = Connections(settings)
        self.maker: Maker | None = None
        """Makes answers, where there are more than this process can make."""
        self.tiles = Cache[bytes](settings.cache_mb * 250_000)
        """Tiles of images, as they are sent."""
        self.answers = Cache[Any](settings.cache_mb * 250_000)
        """Answers as they are sent, see `kept_answers`."""
        self.blocks = Cache[Any](settings.cache_mb * 250_000)
        """What tiles are made of, see `site_blocks`."""
        self.texts = Cache[bytes](settings.cache_mb * 250_000)
        """What pages are made of, see `feature_texts`."""
        self._heavy = anyio.Semaphore(settings.heavy_at_once)
        self._heavy_threads = anyio.CapacityLimiter(settings.heavy_at_once)
        self._waiting = 0
        # Whoever waits until the store can be written leaves threads to those who read.
        self._writers = threading.BoundedSemaphore(max(1, settings.threads // 2))
        self.store  # noqa: B018 - refuse to start rather than to serve nothing

    @property
    def store(self) -> SqlStore:
        """The open store; opened again where its file was replaced.

        Raises:
            StoreError: It is gone for now.
        """
        with self._lock:
            file = self._file_now()
            if self._store is None or file != self._file:
                first = self._store is None and self._file is None
                if self._store is not None:
                    self._store.close()
                    self._store = None
                try:
                    self._store = open_store(self.settings.store, wait_s=_WAIT_FOR_WRITERS_S)
                except ConfigError as err:
                    if first:
                        raise
                    raise StoreError(str(err), href=err.href) from err
                self._file, self._looked = file, -1e9
            return self._store

    def _file_now(self) -> tuple[int, int] | None:
        """Which file it is, where it is one; the connections go on reading one that is gone."""
        path = self._path
        if path is None:
            return (0, 0)
        try:
            stat = os.stat(path)  # noqa: PTH116 - for each request, some times
        except OSError as err:
            if self._file is None:
                return None
            raise StoreError(
                f"{path.name}: the store is not there at present; it is looked for again with "
                "each request"
            ) from err
        return (stat.st_dev, stat.st_ino)

    def revision(self) -> Revision:
        """The store's revision, at most a second old."""
        store = self.store
        known = self.known_revision()
        if known is not None:
            return known
        began = time.monotonic()
        found = store.revision()
        with self._lock:
            # Neither over what was read later, nor over what was written meanwhile.
            if began > self._looked and began > self._written:
                self._revision, self._looked = found, began
        return found

    def known_revision(self) -> Revision | None:
        """The revision, where it need not be asked for."""
        with self._lock:
            return self._revision if time.monotonic() - self._looked < _LOOK_AGAIN_S else None

    def expect(self, revision: Revision | None) -> None:
        """Somebody saw this revision: look for it at once, where another is known."""
        if revision != self._revision:
            self.written()

    def written(self) -> None:
        """This service wrote: look for the revision at once."""
        with self._lock:
            self._looked, self._written = -1e9, time.monotonic()

    def kept(
        self,
        name: str,
        make: Callable[[SqlStore], _Value],
        *,
        of: Sequence[Part] = ("sites", "reviews"),
        may_be_older: bool = False,
    ) -> _Value:
        """What was worked out from the store as it is now; made once, all wait for it.

        Args:
            name: Of what is made.
            make: Makes it.
            of: Parts of the store's revision that it follows from.
            may_be_older: What there was will do while it is made anew, which goes on beside.
        """
        revision = self.revision()
        needed = tuple(getattr(revision, part) for part in of)
        found = self._kept.get(name)
        if found is not None and found[0] == needed:
            self._used(name)
            value: _Value = found[1]
            return value
        if found is not None and may_be_older:
            making_it, began = self._begin(name, make, of)
            making_it.join(max(0.0, began + _PATIENCE_S - time.monotonic()))
            # It may have been put away meanwhile.
            older: _Value = self._kept.get(name, found)[1]
            return older
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:
            found = self._kept.get(name)
            if found is None or found[0] != needed:
                found = (needed, make(self.store))
                self._keep(name, found)
            made: _Value = found[1]
            return made

    def kept_soon(
        self, name: str, make: Callable[[SqlStore], _Value], *, of: Sequence[Part]
    ) -> _Value | None:
        """As `kept`, but None until it is made, which begins now in a thread of its own.

        Args:
            name: Of what is made.
            make: Makes it.
            of: Parts of the store's revision that it follows from.
        """
        revision = self.revision()
        found = self._kept.get(name)
        if found is not None and found[0] == tuple(getattr(revision, part) for part in of):
            self._used(name)
            value: _Value = found[1]
            return value
        self._begin(name, make, of)
        return None

    def _begin(
        self, name: str, make: Callable[[SqlStore], Any], of: Sequence[Part]
    ) -> tuple[threading.Thread, float]:
        """The thread in which it is made, and since when."""

        def begin() -> None:
            try:
                self.kept(name, make, of=of)
            except SluiceError as err:
                _LOG.info("%s: not made: %s", name, err)
            finally:
                with self._lock:
                    del self._soon[name]

        with self._lock:
            if name not in self._soon:
                thread = threading.Thread(target=begin, name=name, daemon=True)
                self._soon[name] = thread, time.monotonic()
                thread.start()
            return self._soon[name]

    def _used(self, name: str) -> None:
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)

    def _keep(self, name: str, found: tuple[tuple[str, ...], Any]) -> None:
        with self._lock:
            self._kept[name] = found
            self._kept.move_to_end(name)
            while len(self._kept) > _MOST_KEPT:
                self._making.pop(self._kept.popitem(last=False)[0], None)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A turn to write; waiting for the store to be free is a part of it.

        Raises:
            StoreBusy: Others wait already.
        """
        if not self._writers.acquire(blocking=False):
            raise StoreBusy("others wait to write at this moment; nothing was saved: try again")
        try:
            yield
        finally:
            self._writers.release()
        self.written()

    async def run_heavy(self, make: Callable[[], _Value]) -> _Value:
        """Do what takes long in a thread of its own kind, some at a time.

        Args:
            make: Does it.

        Raises:
            Busy: Too many wait already, or no turn came up in time.
        """
        busy = Busy("others wait for exports and reports at this moment; ask again in a minute")
        if self._waiting >= _MOST_WAITING:
            raise busy
        self._waiting += 1
        try:
            with anyio.fail_after(self.settings.heavy_wait_s):
                await self._heavy.acquire()
        except TimeoutError as err:
            raise busy from err
        finally:
            self._waiting -= 1
        try:
            return await anyio.to_thread.run_sync(make, limiter=self._heavy_threads)
        finally:
            self._heavy.release()

    def close(self) -> None:
        """Give connections back."""
        self.is_closed = True
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


async def service_of(request: Request) -> Service:
    """The service that a request reached."""
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(service_of)]
"""What routes take."""
