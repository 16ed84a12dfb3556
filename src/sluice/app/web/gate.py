"""What every request passes before any route: where from, who, how often, what for."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice.app.web.errors import (
    Busy,
    Forbidden,
    NotHere,
    Unauthenticated,
    error_response,
    refusal,
)
from sluice.app.web.identity import Identity, Person, same_secret
from sluice.app.web.limits import Buckets, network_of
from sluice.app.web.origins import SAFE_METHODS, Origins
from sluice.app.web.rules import Cost, Part, Rule, RuleBook, Withheld
from sluice.base.errors import SluiceError

_LOG = logging.getLogger("sluice.web")
CSRF_HEADER = "x-csrf-token"
_OF_PROXIES = ("x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via")
_LONGEST_ON = 300


@dataclass(frozen=True)
class Asked:
    """What the gate found out of a request; routes find it in `request.state`."""

    person: Person | None
    address: str
    """Of who asks."""
    secure: bool
    """Whether the browser came by HTTPS."""
    follows: tuple[Part, ...] = ()
    """See `Rule`."""


class Gate:
    """An ASGI middleware: lets pass what `rules` let pass, and says in one line why not."""

    def __init__(
        self, app: ASGIApp, *, identity: Identity, origins: Origins, rules: RuleBook
    ) -> None:
        settings = identity.settings
        self.app = app
        self._identity, self._origins, self._rules = identity, origins, rules
        self._buckets = {
            Cost.LIGHT: Buckets(settings.requests_per_second, settings.requests_at_once),
            Cost.HEAVY: Buckets(settings.heavy_per_minute / 60, settings.heavy_per_minute),
        }
        self._strangers = Buckets(settings.strangers_per_second, settings.requests_at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            # There is no other kind here: closed before it is opened.
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            asked, rule = await self._let_in(scope, Headers(scope=scope))
        except _NoMethod as err:
            told = error_response(405, "method_not_allowed", str(err), {"Allow": err.allow})
            await told(scope, receive, send)
            return
        except SluiceError as err:
            status, kind, message = refusal(err)
            headers = {"Retry-After": str(int(err.wait_s) + 1)} if isinstance(err, _Wait) else {}
            if status == 401:
                headers["WWW-Authenticate"] = "Bearer"
            await error_response(status, kind, message, headers)(scope, receive, send)
            return
        scope.setdefault("state", {})["asked"] = asked
        answer = _Answer(self._identity, scope, asked, rule, send)
        await self.app(scope, receive, answer.send)

    async def _let_in(self, scope: Scope, headers: Headers) -> tuple[Asked, Rule]:
        path, method = scope["path"].removeprefix(scope.get("root_path", "")), scope["method"]
        found = self._rules.find(path)
        methods = {} if found is None else found[1]
        rule = methods.get("GET" if method == "HEAD" else method)
        self._check_origin(scope, headers, page=rule is not None and rule.page)
        client = scope.get("client")
        address = client[0] if client else "unknown"
        secure = scope["scheme"] == "https"
        person = await self._who(headers, address, secure=secure)
        self._check_rate(person, address, rule)
        needs_nobody = rule is not None and rule.role is None
        if person is None and not needs_nobody:
            # The same for what is there and what is not.
            raise Unauthenticated("log in first, or send `Authorization: Bearer TOKEN`")
        if found is None:
            raise NotHere("there is no such address here; /api/openapi.json lists those there are")
        if rule is None:
            there = ", ".join(sorted(methods))
            raise _NoMethod(f"{method} is not possible here; {there} is", allow=there)
        if person is not None:
            _check_right(person, rule, method, headers)
        return Asked(person, address, secure, rule.follows), rule

    def _check_origin(self, scope: Scope, headers: Headers, *, page: bool) -> None:
        server = scope.get("server")
        port = server[1] if server else None
        refusal = self._origins.refusal(scope["method"], scope["scheme"], headers, port, page=page)
        if refusal is not None:
            raise Forbidden(refusal)

    async def _who(self, headers: Headers, address: str, *, secure: bool) -> Person | None:
        identity = self._identity
        is_open = identity.is_open if identity.is_quick else await run_sync(identity.look)
        if is_open:
            if passed_on := [name for name in _OF_PROXIES if name in headers]:
                raise Forbidden(
                    f"a proxy passes requests on ({passed_on[0]}), so that others could come in as "
                    "the owner; add accounts with `sluice users add`, and start with --proxy"
                )
            return identity.owner()
        authorization, cookies = headers.get("authorization"), headers.get("cookie")
        known, person = identity.known(authorization, cookies, secure=secure)
        if known:
            return person
        # Looking up costs: whoever tries many secrets is slowed down as a stranger.
        self._slow_down(self._strangers, network_of(address))
        return await run_sync(lambda: identity.find(authorization, cookies, secure=secure))

    def _check_rate(self, person: Person | None, address: str, rule: Rule | None) -> None:
        if person is None:
            self._slow_down(self._strangers, network_of(address))
        elif person.digest is not None:
            cost = Cost.LIGHT if rule is None else rule.cost
            self._slow_down(self._buckets[cost], person.name)

    def _slow_down(self, buckets: Buckets, key: str) -> None:
        wait = buckets.take(key)
        if wait > 0:
            raise _Wait("too many requests at once; ask again a little later", wait)


class _Answer:
    """Sends an answer on, and writes down what was done."""

    def __init__(
        self, identity: Identity, scope: Scope, asked: Asked, rule: Rule, send: Send
    ) -> None:
        self._identity, self._scope, self._asked = identity, scope, asked
        self._rule, self._send = rule, send
        self._dropped = False

    async def send(self, message: Message) -> None:
        """See ASGI."""
        if self._dropped:
            return
        if message["type"] == "http.response.start":
            self._keep_private(message)
            if self._rule.logged is not None and not await self._write_down(message["status"]):
                self._dropped = True
                await error_response(
                    503, "store_unavailable",
                    "what is done here is written down first, and the store cannot be written at "
                    "present; ask again in a minute",
                )(self._scope, _nothing, self._send)  # fmt: skip
                return
        await self._send(message)

    def _keep_private(self, message: Message) -> None:
        """No cache on the way may keep what one person sees for another."""
        if self._rule.role is None or self._asked.person is None:
            return
        headers = MutableHeaders(raw=message.setdefault("headers", []))
        kept = headers.get("cache-control")
        if kept is not None and "public" in kept:
            headers["cache-control"] = kept.replace("public", "private")
        elif kept is None:
            headers["cache-control"] = "private, no-cache"
        headers.add_vary_header("Cookie")
        headers.add_vary_header("Authorization")

    async def _write_down(self, status: int) -> bool:
        """Whether it was written, or need not be: what is done already is told all the same."""
        scope, asked = self._scope, self._asked
        who = asked.person.name if asked.person is not None else ""
        query = scope.get("query_string", b"").decode("latin1")
        on = f"{scope['path']}?{query}" if query else scope["path"]
        what = str(self._rule.logged)
        outcome = "done" if status < 400 else f"refused: {status}"
        try:
            await run_sync(self._identity.log, who, asked.address, what, _short(on), outcome)
        except SluiceError as err:
            _LOG.error("%s %s by %s is not in the log: %s", scope["method"], on, who, err)
            return scope["method"] not in SAFE_METHODS or status >= 400
        return True


class _Wait(Busy):
    """Asked too often."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class _NoMethod(SluiceError):
    """The address takes other methods."""

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _check_right(person: Person, rule: Rule, method: str, headers: Headers) -> None:
    """Refuse what this person may not do.

    Raises:
        Forbidden: They may not.
    """
    if rule.role is not None and not person.role.includes(rule.role):
        raise Forbidden(
            f"{person.name} is {person.role} here, and this needs {rule.role}; ask whoever runs "
            "the service (`sluice users change`)"
        )
    if person.redacted and rule.withheld is Withheld.REFUSED:
        raise Forbidden(
            "this would show places that are withheld from viewers; ask for more rights"
        )
    by_cookie = person.csrf is not None and method not in SAFE_METHODS and rule.csrf
    if by_cookie and not same_secret(headers.get(CSRF_HEADER), person.csrf):
        raise Forbidden("send the `csrf` of /api/session as X-CSRF-Token; reload the page")


def _short(text: str) -> str:
    """Without characters that would forge lines of a log, and not too long."""
    clean = "".join(sign if sign.isprintable() else "�" for sign in text)
    return clean if len(clean) <= _LONGEST_ON else clean[: _LONGEST_ON - 1] + "…"
