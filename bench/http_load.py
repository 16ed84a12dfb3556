"""Load on loopback: connections that ask for one address after the other, or at given times."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

_FIXED_BODY = b"x" * 20_000
_FIXED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(_FIXED_BODY)
) + _FIXED_BODY


@dataclass(frozen=True)
class Load:
    """What a load came to."""

    seconds: float
    took_ms: np.ndarray
    """(requests,)"""
    codes: dict[int, int]
    """Answers by status code."""
    received_bytes: int

    @property
    def per_second(self) -> float:
        """Requests answered."""
        return len(self.took_ms) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """Time of which so many percent of the requests took less."""
        return float(np.percentile(self.took_ms, share))


def ask_all(port: int, paths: Iterable[str], *, connections: int, seconds: float) -> Load:
    """Ask for addresses by turns, until they or the time are used up.

    Args:
        port: On 127.0.0.1.
        paths: With their queries.
        connections: Kept open, at a time.
        seconds: Most that it may take.
    """
    return asyncio.run(_ask(port, ((None, path) for path in paths), connections, seconds))


def ask_at_rate(
    port: int, paths: Iterable[str], *, per_second: float, connections: int, seconds: float
) -> Load:
    """Ask for so many addresses a second, at moments of chance, however long the answers take: each
    took from its moment on, so that whoever keeps others waiting is charged with that.

    Args:
        port: On 127.0.0.1.
        paths: With their queries.
        per_second: On average.
        connections: Kept open, at most.
        seconds: From the first moment to the last.
    """
    draw = np.random.default_rng(3)
    moments = np.cumsum(draw.exponential(1 / per_second, int(per_second * seconds)))
    planned = zip(moments.tolist(), paths, strict=False)
    return asyncio.run(_ask(port, planned, connections))


@contextlib.contextmanager
def fixed_answers() -> Iterator[int]:
    """A server that gives 20 kB whatever is asked, in this process: what the client can bear at
    least. Gives its port."""
    started = threading.Event()
    ports: list[int] = []
    loop = asyncio.new_event_loop()

    async def serve() -> asyncio.Server:
        server = await loop.create_server(_Fixed, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        return server

    def run() -> None:
        server = loop.run_until_complete(serve())
        loop.run_forever()
        server.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class _Fixed(asyncio.Protocol):
    """Answers each request with the same."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio; a request of the client comes whole."""
        if data.endswith(b"\r\n\r\n") and isinstance(self._transport, asyncio.Transport):
            self._transport.write(_FIXED)


async def _ask(
    port: int,
    planned: Iterator[tuple[float | None, str]],
    connections: int,
    seconds: float = np.inf,
) -> Load:
    """Ask for each address at its moment after the begin, or as soon as a connection is free."""
    took: list[float] = []
    codes: dict[int, int] = {}
    sizes: list[int] = []
    began = time.perf_counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for moment, path in planned:
            started = time.perf_counter()
            if moment is not None:
                await asyncio.sleep(began + moment - started)
                started = began + moment
            if started > began + seconds:
                break
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                "Accept-Encoding: gzip\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            size = _length(head)
            if size:
                await reader.readexactly(size)
            took.append(1000 * (time.perf_counter() - started))
            code = int(head[9:12])
            codes[code] = codes.get(code, 0) + 1
            sizes.append(size)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return Load(time.perf_counter() - began, np.array(took), codes, sum(sizes))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
