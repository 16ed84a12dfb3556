"""Who asks, and what they may do: the seam that every route uses, and logging in and out."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from pydantic import Field
from starlette.responses import Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from sluice import __version__
from sluice.app.accounts import LONGEST as LONGEST_PASSWORD
from sluice.app.accounts import Passwords, set_password
from sluice.app.messages import LANGUAGES
from sluice.app.web.answers import json_response
from sluice.app.web.errors import DOCUMENTED, Forbidden, Unauthenticated, error_response
from sluice.app.web.gate import Asked, Gate
from sluice.app.web.identity import LONGEST, Identity, Person
from sluice.app.web.limits import BackOff, network_of
from sluice.app.web.origins import Origins
from sluice.app.web.parameters import Nothing, Strict
from sluice.app.web.rules import RULES, RuleBook, map_rules
from sluice.app.web.settings import Settings
from sluice.base.people import Event, Role, User

__all__ = ["Asks", "Person", "Role", "person", "protect", "require", "router"]

router = APIRouter(prefix="/api", tags=["session"], responses=DOCUMENTED)
_MOST_WAITING = 30
_WRONG = "name or password are not right"


def asked_of(request: Request) -> Asked:
    """What the gate found out of a request."""
    asked: Asked = request.state.asked
    return asked


async def person(request: Request) -> Person:
    """The dependency of every route that is not for everybody.

    Raises:
        Unauthenticated: Nobody is logged in.
    """
    found = asked_of(request).person
    if found is None:
        raise Unauthenticated("log in first, or send `Authorization: Bearer TOKEN`")
    return found


Asks = Annotated[Person, Depends(person)]


def require(role: Role) -> Callable[..., Awaitable[Person]]:
    """A dependency like `person`, for those of a role and those above."""

    async def at_least(who: Asks) -> Person:
        if not who.role.includes(role):
            raise Forbidden(f"{who.name} is {who.role} here, and this needs {role}")
        return who

    return at_least


class Doorkeeper:
    """What logging in needs: slow hashes, a few at a time, and waits after wrong ones."""

    def __init__(self, identity: Identity) -> None:
        """Make ready."""
        self.identity = identity
        self._turns: anyio.CapacityLimiter | None = None
        # Of one name from one place; of one place; of one name from anywhere: the last is mild, as
        # anybody can make its owner wait.
        self._by_both = BackOff(5)
        self._by_place = BackOff(20)
        self._by_name = BackOff(100, longest_s=60)

    def attempt(self, name: str, address: str) -> float:
        """Begin an attempt; gives 0, or the seconds to wait."""
        place, folded = network_of(address), name.casefold()
        waits = (
            self._by_both.attempt(f"{place} {folded}"),
            self._by_place.attempt(place),
            self._by_name.attempt(folded),
        )
        return max(waits)

    def succeeded(self, name: str, address: str) -> None:
        """The password was right."""
        place, folded = network_of(address), name.casefold()
        self._by_both.succeeded(f"{place} {folded}")
        self._by_place.succeeded(place)
        self._by_name.succeeded(folded)

    async def check(self, name: str, password: str) -> tuple[User, str] | None:
        """A user and the hash of their password, where it is the one that was given.

        Raises:
            WouldBlock: Too many wait for their turn.
        """
        if self._turns is None:
            self._turns = anyio.CapacityLimiter(2)
        if self._turns.statistics().tasks_waiting >= _MOST_WAITING:
            raise anyio.WouldBlock
        return await run_sync(self._check, name, password, limiter=self._turns)

    def _check(self, name: str, password: str) -> tuple[User, str] | None:
        people = self.identity.people
        if self.identity.passwords is None:
            self.identity.passwords = Passwords()
            self.identity.passwords.prepare()
        user, known = people.user(name), people.password_hash(name)
        fits = self.identity.passwords.fits(password, known)
        if user is None or known is None or user.disabled or not fits:
            return None
        return user, known


def protect(app: FastAPI, settings: Settings) -> None:
    """Put in front of all routes what guards them.

    Args:
        app: With its service in `state.service`.
        settings: Of the service.

    Raises:
        ConfigError: Others could come in, and nobody has an account.
    """
    identity = Identity(app.state.service, settings)
    app.state.identity = identity
    app.state.doorkeeper = Doorkeeper(identity)
    # Where accounts hold, a name of somebody else's gets nothing: cookies belong to a name.
    alone = settings.is_loopback and not settings.proxies
    origins = Origins(settings.host, loopback=alone, names=settings.names)
    rules = RuleBook(RULES | map_rules(settings.map_folder))
    app.add_middleware(Gate, identity=identity, origins=origins, rules=rules)
    if settings.proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.proxies))


class Login(Strict):
    """A name and a password."""

    name: str = Field(min_length=1, max_length=100)
    password: str = Field(min_length=1, max_length=LONGEST_PASSWORD)


class NewPassword(Strict):
    """The password that holds, and the one that is to hold."""

    old: str = Field(min_length=1, max_length=LONGEST_PASSWORD)
    new: str = Field(min_length=1, max_length=LONGEST_PASSWORD)


class LogPage(Strict):
    """A part of the log, the newest first."""

    who: str | None = Field(default=None, max_length=100)
    what: str | None = Field(default=None, max_length=100)
    limit: int = Field(default=100, ge=1, le=1000)
    before: int | None = Field(default=None, ge=0, le=2**62)
    """Only what has a lower number: the last one of the page before."""


class Named(Strict):
    """Who it is."""

    name: str
    role: Role


class SessionTold(Strict):
    """Who is logged in, and what the map needs to begin."""

    person: Named | None
    csrf: str | None
    """To be sent as X-CSRF-Token along with all that a browser writes."""
    needs_login: bool
    withheld_m: float | None
    """Least side of the cells that are shown in place of places; null where nothing is withheld."""
    store: str | None
    """Told to whoever is logged in: another one for each store, by which a browser keeps apart what
    it sends later; null where that is not known at present."""
    version: str
    languages: list[str]


class LoggedEvent(Event):
    """A line of the log."""

    number: int


class LogTold(Strict):
    """A part of the log, the newest first."""

    events: list[LoggedEvent]


@router.get("/session", response_model=SessionTold)
def session(request: Request, _: Annotated[Nothing, Query()]) -> Response:
    """Who is logged in, and what the map needs to begin."""
    return json_response(_session_told(asked_of(request).person, request.app.state.identity))


def _session_told(who: Person | None, identity: Identity) -> dict[str, Any]:
    return {
        "person": None if who is None else {"name": who.name, "role": str(who.role)},
        "csrf": None if who is None else who.csrf,
        "needs_login": who is None,
        "withheld_m": None if who is None or who.redaction is None else who.redaction.grid_m,
        "store": None if who is None else identity.store_id(),
        "version": __version__,
        "languages": list(LANGUAGES),
    }


@router.post("/session", response_model=SessionTold)
async def log_in(request: Request, body: Login, _: Annotated[Nothing, Query()]) -> Response:
    """Log in; the answer sets a cookie and tells the secret that writing needs besides."""
    identity: Identity = request.app.state.identity
    door: Doorkeeper = request.app.state.doorkeeper
    asked = asked_of(request)
    if asked.person is not None and asked.person.digest is None:
        raise Forbidden("nobody has an account here: whoever uses this computer is the owner")
    name = unicodedata.normalize("NFKC", body.name.strip())
    wait = door.attempt(name, asked.address)
    if wait > 0:
        return _come_again(wait)
    try:
        found = await door.check(name, body.password)
    except anyio.WouldBlock:
        return _come_again(5)
    if found is None:
        told = (name[:64], asked.address, "login", "", "refused: name or password")
        await run_sync(identity.log, *told)
        raise Unauthenticated(_WRONG)
    user, known = found
    door.succeeded(name, asked.address)
    if asked.person is not None and asked.person.csrf is not None and asked.person.digest:
        await run_sync(identity.people.end_session, asked.person.digest)
    who, secret = await run_sync(identity.log_in, user, known, body.password)
    await run_sync(identity.log, user.name, asked.address, "login", "", "done")
    response = json_response(await run_sync(_session_told, who, identity))
    response.set_cookie(
        identity.cookie_name(secure=asked.secure),
        secret,
        max_age=int(LONGEST / dt.timedelta(seconds=1)),
        httponly=True,
        secure=asked.secure,
        samesite="lax",
    )
    return response


def _come_again(wait_s: float) -> Response:
    seconds = int(wait_s) + 1
    return error_response(
        429,
        "busy",
        f"too many attempts; try again in {seconds} s",
        {"Retry-After": str(seconds)},
    )


@router.delete("/session", status_code=204)
def log_out(request: Request, _: Annotated[Nothing, Query()]) -> Response:
    """Log out."""
    identity: Identity = request.app.state.identity
    asked = asked_of(request)
    response = Response(status_code=204)
    who = asked.person
    if who is not None and who.csrf is not None and who.digest is not None:
        identity.people.end_session(who.digest)
        identity.forget(who.digest)
        identity.log(who.name, asked.address, "logout", "", "done")
    response.delete_cookie(
        identity.cookie_name(secure=asked.secure),
        httponly=True,
        secure=asked.secure,
        samesite="lax",
    )
    return response


@router.post("/session/password", status_code=204)
async def change_password(
    request: Request, who: Asks, body: NewPassword, _: Annotated[Nothing, Query()]
) -> Response:
    """Change one's own password; other browsers are logged out."""
    identity: Identity = request.app.state.identity
    door: Doorkeeper = request.app.state.doorkeeper
    asked = asked_of(request)
    if who.csrf is None:
        raise Forbidden("log in with the password that is to be changed")
    wait = door.attempt(who.name, asked.address)
    if wait > 0:
        return _come_again(wait)
    try:
        found = await door.check(who.name, body.old)
    except anyio.WouldBlock:
        return _come_again(5)
    if found is None:
        raise Forbidden("the old password is not right")
    door.succeeded(who.name, asked.address)

    def change() -> None:
        set_password(identity.people, who.name, body.new, by=who.name, keep=who.digest)
        identity.forget()

    await run_sync(change)
    return Response(status_code=204)


@router.get("/audit", tags=["administration"], response_model=LogTold)
def audit(
    request: Request,
    who: Annotated[Person, Depends(require(Role.ADMIN))],
    asked: Annotated[LogPage, Query()],
) -> Response:
    """Who did what: logins, reviews, exports, uploads, analyses, changes of accounts."""
    del who
    identity: Identity = request.app.state.identity
    found = identity.people.events(
        who=asked.who, what=asked.what, limit=asked.limit, before=asked.before
    )
    rows = [{"number": number, **event.model_dump(mode="json")} for number, event in found]
    return json_response({"events": rows})
