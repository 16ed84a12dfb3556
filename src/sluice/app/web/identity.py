"""Who asks: by the cookie of a browser, by the token of a program, or the owner of the computer."""

from __future__ import annotations

import datetime as dt
import hmac
import logging
import secrets
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from starlette.requests import cookie_parser

from sluice.app.accounts import OWNER, Passwords, computer_user, digest_of, log, now
from sluice.app.exports.options import read_redaction
from sluice.app.following.stores import people_of
from sluice.app.web.errors import Unauthenticated
from sluice.app.web.service import Service
from sluice.app.web.settings import Settings
from sluice.base.errors import ConfigError, SluiceError
from sluice.base.people import People, Role, Session, User
from sluice.base.places import Verdict
from sluice.sites.redaction import Redaction

_LOG = logging.getLogger("sluice.web")
IDLE = dt.timedelta(hours=24)
"""After so long without a request a browser is logged out."""
LONGEST = dt.timedelta(days=7)
"""After so long in any case."""
_KEEP_S = 3.0
"""How long an answer of the store holds: whoever is disabled is out after this."""
_MOST_KEPT = 5_000
_NOTE_AFTER_S = 60.0
_SECRET_OF_IDS = "redaction"  # noqa: S105 - the name under which the store keeps it
_SECRET_OF_STORE = "store"  # noqa: S105 - likewise
_LONGEST_SECRET = 200
_ID_SIGNS = 16
_ID_WITHIN_S = 1.0
"""An id that is there is read in milliseconds; one that is made waits for a landing to end."""


@dataclass(frozen=True)
class Person:
    """Who asks."""

    name: str
    role: Role
    areas: frozenset[str] | None
    """Those that this person may see; None for all."""
    redacted: bool
    """Whether sensitive places are shown only roughly."""
    redaction: Redaction | None = field(default=None, repr=False, compare=False)
    """How, where they are."""
    digest: str | None = field(default=None, repr=False, compare=False)
    """Of the cookie or token that told who it is."""
    csrf: str | None = field(default=None, repr=False, compare=False)
    """What a page must send along with what it writes; None where no cookie told who it is."""
    verdicts: tuple[Verdict | None, ...] | None = None
    """Of the last review: which sites this person may see; None for all."""


class Identity:
    """Finds out who asks; one for each service."""

    def __init__(self, service: Service, settings: Settings) -> None:
        """Make ready.

        Raises:
            ConfigError: Others could reach the service, and nobody has an account; or the
                redaction is none.
            StoreError: See `open_store`.
        """
        self._service = service
        self.settings = settings
        self.passwords: Passwords | None = None
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Person | None]] = OrderedDict()
        self._accounts_looked = -1e9
        self._has_accounts = False
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="last-used")
        self._namer = ThreadPoolExecutor(1, thread_name_prefix="store-id")
        self._naming: Future[bytes] | None = None
        self._redaction = self._read_redaction()
        self.require_accounts()

    def _read_redaction(self) -> Redaction | None:
        rule = read_redaction(self.settings.redact, self.settings.delay)
        if rule is None:
            return None
        # The same ids after a restart: links to a place go on working.
        key = self.people.secret(_SECRET_OF_IDS).hex()
        return read_redaction(self.settings.redact, self.settings.delay, key=key)

    def require_accounts(self) -> None:
        """Refuse to start where others could come in.

        Raises:
            ConfigError: They could.
        """
        settings = self.settings
        option = "--proxy or --name" if settings.is_loopback else f"--host {settings.host}"
        if self.is_reachable and not self.has_accounts:
            raise ConfigError(
                f"{option} lets other computers in, and nobody has an account in "
                f"{self._service.store.db.name}; add one with `sluice users add NAME --role "
                "admin`, then start again"
            )

    @property
    def people(self) -> People:
        """The accounts of the store."""
        return people_of(self._service.store)

    @property
    def has_accounts(self) -> bool:
        """Whether one has to log in: once somebody has an account, always."""
        if self._has_accounts or time.monotonic() - self._accounts_looked < _KEEP_S:
            return self._has_accounts
        if self.people.any_users():
            self._has_accounts = True
        self._accounts_looked = time.monotonic()
        return self._has_accounts

    @property
    def is_reachable(self) -> bool:
        """Whether other computers may come in."""
        settings = self.settings
        return not settings.is_loopback or bool(settings.proxies or settings.names)

    @property
    def is_open(self) -> bool:
        """Whether whoever reaches it is the owner; may ask the store, see `is_quick`."""
        return not self.is_reachable and not self.has_accounts

    @property
    def is_quick(self) -> bool:
        """Whether `is_open` is known without asking the store."""
        fresh = time.monotonic() - self._accounts_looked < _KEEP_S / 2
        return self.is_reachable or self._has_accounts or fresh

    def look(self) -> bool:
        """`is_open`, for a thread."""
        return self.is_open

    def store_id(self) -> str | None:
        """What tells the store from others that are served at the same address, at other times; its
        backups have the same. None where it cannot be made now."""
        with self._lock:
            if self._naming is None or self._naming.done():
                self._naming = self._namer.submit(lambda: self.people.secret(_SECRET_OF_STORE))
            naming = self._naming
        try:
            return digest_of(naming.result(_ID_WITHIN_S).hex())[:_ID_SIGNS]
        except TimeoutError:
            _LOG.info("the store has no id yet: others write")
        except SluiceError as err:
            _LOG.info("the store has no id yet: %s", err)
        return None

    def owner(self) -> Person:
        """Who uses a computer of their own: the same name as `sluice review` gives them."""
        return Person(computer_user() or OWNER, Role.ADMIN, None, redacted=False)

    def cookie_name(self, *, secure: bool) -> str:
        """Of the session. Browsers refuse one that begins so unless it came by HTTPS for this very
        host; without HTTPS, other services on other ports of this computer have other names."""
        return "__Host-sluice" if secure else f"sluice-{self.settings.port}"

    def known(
        self, authorization: str | None, cookies: str | None, *, secure: bool
    ) -> tuple[bool, Person | None]:
        """Who it is, without asking the store.

        Returns:
            Whether that is known, and who it is.
        """
        digest = self._digest(authorization, cookies, secure=secure)
        if digest is None:
            return True, None
        with self._lock:
            found = self._kept.get(digest)
        if found is None or time.monotonic() - found[0] > _KEEP_S:
            return False, None
        return True, found[1]

    def find(
        self, authorization: str | None, cookies: str | None, *, secure: bool
    ) -> Person | None:
        """Who it is; None for nobody that is known.

        Raises:
            Unauthenticated: A token is none, or holds no more.
            StoreError: The store cannot be reached.
        """
        digest = self._digest(authorization, cookies, secure=secure)
        if digest is None:
            return None
        if authorization is not None and authorization.lower().startswith("bearer "):
            person = self._by_token(digest)
            if person is None:
                raise Unauthenticated(
                    "the token is not known, was taken back, or holds no more; `sluice users token "
                    "add` makes a new one"
                )
        else:
            person = self._by_session(digest)
        if person is not None:
            self._keep(digest, person)
            self._note_use(digest)
        return person

    def _digest(
        self, authorization: str | None, cookies: str | None, *, secure: bool
    ) -> str | None:
        if authorization is not None:
            kind, _, secret = authorization.partition(" ")
            if kind.lower() == "bearer":
                return digest_of(secret.strip()[:_LONGEST_SECRET])
            # Of another kind: a proxy's own password.
        if cookies is None:
            return None
        found = cookie_parser(cookies).get(self.cookie_name(secure=secure))
        return digest_of(found) if found and len(found) <= _LONGEST_SECRET else None

    def _by_token(self, digest: str) -> Person | None:
        found = self.people.by_token(digest)
        if found is None:
            return None
        token, user = found
        if user.disabled or (token.expires is not None and token.expires <= now()):
            return None
        return self._person(user, digest, None)

    def _by_session(self, digest: str) -> Person | None:
        found = self.people.by_session(digest)
        if found is None:
            return None
        session, user = found
        moment = now()
        over = session.expires <= moment or moment - session.last_seen > IDLE
        return None if over or user.disabled else self._person(user, digest, session.csrf)

    def _person(self, user: User, digest: str, csrf: str | None) -> Person:
        redaction = self._redaction if user.role is Role.VIEWER else None
        return Person(
            user.name, user.role, user.areas, redaction is not None, redaction, digest, csrf
        )

    def _keep(self, digest: str, person: Person) -> None:
        with self._lock:
            self._kept[digest] = (time.monotonic(), person)
            self._kept.move_to_end(digest)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)

    def forget(self, digest: str | None = None) -> None:
        """Ask the store anew: for one, or for all."""
        with self._lock:
            if digest is None:
                self._kept.clear()
            else:
                self._kept.pop(digest, None)

    def _note_use(self, digest: str) -> None:
        """Write down when somebody was last here: once a minute, beside the request, and never
        in its way."""
        moment = time.monotonic()
        with self._lock:
            if moment - self._noted.get(digest, -1e9) < _NOTE_AFTER_S:
                return
            self._noted[digest] = moment
            self._noted.move_to_end(digest)
            while len(self._noted) > _MOST_KEPT:
                self._noted.popitem(last=False)
        self._writer.submit(self._write_use, digest, now())

    def _write_use(self, digest: str, when: dt.datetime) -> None:
        try:
            self.people.note_use([digest], when)
        except SluiceError as err:
            _LOG.info("when somebody was last here could not be written: %s", err)

    def log_in(self, user: User, known: str, password: str) -> tuple[Person, str]:
        """Begin a session for somebody whose password was right.

        Returns:
            The person, and the secret of the cookie.
        """
        if self.passwords is not None and self.passwords.is_weak(known):
            self.people.renew_hash(user.name, known, self.passwords.hash(password))
        secret, csrf, moment = secrets.token_urlsafe(32), secrets.token_urlsafe(32), now()
        session = Session(
            person=user.name,
            csrf=csrf,
            created=moment,
            last_seen=moment,
            expires=moment + LONGEST,
        )
        digest = digest_of(secret)
        self.people.add_session(session, digest)
        return self._person(user, digest, csrf), secret

    def log(self, who: str, address: str, what: str, on: str, outcome: str) -> None:
        """Write down what somebody did; not where there is nobody but the owner."""
        if self.has_accounts:
            log(self.people, who, what, on, outcome, address=address)

    def close(self) -> None:
        """End what goes on beside requests."""
        self._writer.shutdown(wait=True)
        self._namer.shutdown(wait=True)


def same_secret(given: str | None, known: str | None) -> bool:
    """Whether two secrets are the same, in a time that does not tell how far they are."""
    if given is None or known is None:
        return False
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), known.encode())
