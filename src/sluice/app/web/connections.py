"""Connections: how many one address may hold, and an end to those that do nothing.

What waits costs a little memory and a file; neither must be enough for somebody else's share.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from typing import Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sluice.app.web.errors import RETRY_AFTER_S, error_response
from sluice.app.web.limits import network_of
from sluice.app.web.settings import Settings

SEND_BUFFER_BYTES = 65_536
"""That the system holds of an answer. It tells of room only once a third is free: of its own
megabytes, somebody on a poor line takes that in minutes, and looks like one who takes nothing."""
MOST_HEAD_BYTES = 65_536
"""Of a request."""
_MOST_WAITING = 20
"""Requests of a connection behind the one in work. Browsers send none before they are answered; all
that are there at once are read at once, and thousands take a hundred times the memory of their
text."""
_LOOKS = 4
"""How often a connection is looked at before it is cut off."""

Client: TypeAlias = tuple[str, int]
"""Address and port."""


class Connections:
    """The open connections of a service; of one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.seconds = settings.slow_client_s
        self._most = settings.connections_per_address
        # All that comes by a proxy has its address.
        self._proxies = [ipaddress.ip_network(one, strict=False) for one in settings.proxies]
        self._by_address: Counter[str] = Counter()
        self._open: dict[Client, asyncio.Transport] = {}

    def enter(self, client: Client, transport: asyncio.Transport) -> bool:
        """Count a new connection in, if its address has not too many."""
        place = network_of(client[0])
        if self._by_address[place] >= self._most and not self._is_proxy(client[0]):
            return False
        self._by_address[place] += 1
        self._open[client] = transport
        return True

    def _is_proxy(self, address: str) -> bool:
        found = ipaddress.ip_address(address.partition("%")[0])
        # A socket of both kinds tells addresses of version 4 as ones of version 6.
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._proxies)

    def leave(self, client: Client) -> None:
        """Count one out that was counted in."""
        if self._open.pop(client, None) is None:
            return
        place = network_of(client[0])
        self._by_address[place] -= 1
        if self._by_address[place] <= 0:
            del self._by_address[place]

    def cut(self, client: Client | None) -> None:
        """End a connection at once, with what it has not taken yet."""
        transport = None if client is None else self._open.get(client)
        if transport is not None:
            transport.abort()

    def __len__(self) -> int:
        return len(self._open)


class _Bounded(HttpToolsProtocol):
    """A connection whose requests have heads of some size at most, some at a time: the parser knows
    no limits."""

    _unread = _head = 0

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._unread += len(data)
        super().data_received(data)
        # The parser keeps a head, or what stands between pieces of a body, until it ends.
        if self._unread > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of this request is too long.")

    def on_message_begin(self) -> None:
        """See httptools."""
        if len(self.pipeline) >= _MOST_WAITING:
            raise ValueError("too many")
        self._unread = self._head = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools; headers may also follow a body."""
        self._head += len(name) + len(value)
        if self._head > MOST_HEAD_BYTES:
            raise ValueError("too long")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._unread = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        self._unread = 0
        super().on_message_complete()


def protocol_of(connections: Connections) -> type[asyncio.Protocol]:
    """The protocol of a server that counts and watches its connections."""

    class Watched(_Bounded):
        """One connection."""

        def connection_made(self, transport: Any) -> None:
            """See asyncio."""
            super().connection_made(transport)
            taken = transport.get_extra_info("socket")
            if taken is not None:
                # What the system has taken looks like sent: more of it hides who takes it slowly.
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if self.client is not None and not connections.enter(self.client, transport):
                transport.write(_refusal())
                transport.close()
                return
            self._seen: object = None
            self._quiet = 0
            self._look_later()

        def connection_lost(self, exc: Exception | None) -> None:
            """See asyncio."""
            if self.client is not None:
                connections.leave(self.client)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """See asyncio; nothing is taken of one that was refused."""
            if not self.transport.is_closing():
                super().data_received(data)

        def _look_later(self) -> None:
            self.loop.call_later(connections.seconds / _LOOKS, self._look)

        def _look(self) -> None:
            """Cut it off where no request has been in work, or come, for long: the head of one
            does not end, or the end of an answer is not taken."""
            if self not in self.connections:
                return
            cycle: Any = self.cycle
            busy = cycle is not None and not cycle.response_complete
            self._quiet = 0 if busy or cycle is not self._seen else self._quiet + 1
            self._seen = cycle
            if self._quiet >= _LOOKS:
                self.transport.abort()
            else:
                self._look_later()

    return Watched


def _refusal() -> bytes:
    """An answer, as it goes over the line."""
    answer = error_response(
        503, "busy", "this address has too many connections open; close some, and ask again"
    )
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(answer.body)}\r\nRetry-After: {RETRY_AFTER_S}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + bytes(answer.body)
