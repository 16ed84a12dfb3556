"""Accounts of those who use a server: passwords, tokens and what changes to them leave in the log.

Passwords are hashed with argon2id, at the strength that argon2-cffi takes from RFC 9106 for little
memory. Tokens and sessions are random numbers of 256 bits: of these a plain SHA-256 tells nothing.
"""

from __future__ import annotations

import datetime as dt
import functools
import getpass
import hashlib
import re
import secrets
import threading
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sluice.base.errors import ConfigError
from sluice.base.people import Event, People, Role, Token, User

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST, LONGEST = 12, 1024
"""Characters of a password."""
OWNER = "owner"
"""Who uses a server without accounts, on a computer that does not say who uses it."""
TERMINAL = "terminal"
"""Address of what was done by a command."""
TOKEN_PREFIX = "sluice_"  # noqa: S105 - what programs that look for leaked secrets look for
_NAME = re.compile(r"[^\W_][\w .@'-]{0,63}")
_TOKEN_NAME = re.compile(r"[\w.@-]{1,64}")
STRENGTH: dict[str, Any] = {}
"""Of hashes: empty for argon2-cffi's own, which are RFC 9106's for little memory."""
_AT_ONCE = threading.BoundedSemaphore(2)
"""Each hash takes 64 MB: many logins wait for each other in place of taking all memory."""


class Passwords:
    """Hashes passwords, and tells whether one is right in a time that tells nothing else."""

    def __init__(self) -> None:
        """Make ready.

        Raises:
            ConfigError: argon2-cffi is missing.
        """
        self._hasher = _hasher()

    @functools.cached_property
    def _nobody(self) -> str:
        """Whoever is not there is checked against this, so that the answer takes as long."""
        return self._hasher.hash(secrets.token_urlsafe())

    def prepare(self) -> None:
        """Do what the first check would do besides."""
        self._nobody  # noqa: B018 - kept from now on

    def hash(self, password: str) -> str:
        """The argon2 hash of a password."""
        with _AT_ONCE:
            return self._hasher.hash(_normal(password))

    def fits(self, password: str, known: str | None) -> bool:
        """Whether a password is the one of a hash.

        Args:
            password: As typed.
            known: The hash; None where there is no such user.
        """
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - extra

        try:
            with _AT_ONCE:
                self._hasher.verify(known or self._nobody, _normal(password)[:LONGEST])
        except (VerificationError, InvalidHashError):
            return False
        return known is not None

    def is_weak(self, known: str) -> bool:
        """Whether a hash was made at a lower strength than new ones are."""
        return self._hasher.check_needs_rehash(known)


def _hasher() -> PasswordHasher:
    try:
        from argon2 import PasswordHasher  # noqa: PLC0415 - an extra
    except ImportError as err:
        raise ConfigError(
            "accounts need argon2-cffi; install it with `pip install 'sluice[serve]'`"
        ) from err
    return PasswordHasher(**STRENGTH)


def _normal(password: str) -> str:
    """The same characters, however a keyboard composes them (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)


def computer_user() -> str | None:
    """The name under which this computer is used; None where it does not tell."""
    try:
        return getpass.getuser() or None
    except (OSError, KeyError):
        return None


def check_name(name: str) -> str:
    """A user's name in its composed form.

    Raises:
        ConfigError: It is none.
    """
    composed = unicodedata.normalize("NFKC", name.strip())
    if not _NAME.fullmatch(composed):
        raise ConfigError(
            f"{name!r}: is no user's name; use 1 to 64 letters, digits, spaces and . @ ' - _, a "
            "letter or digit first"
        )
    if composed.casefold() in {OWNER, TERMINAL}:
        raise ConfigError(f"{name!r}: has a meaning of its own; choose another name")
    return composed


def check_password(password: str, name: str) -> None:
    """Refuse a password that is soon guessed.

    Raises:
        ConfigError: It is too short, too long, or little but the name.
    """
    if len(password) < SHORTEST:
        raise ConfigError(
            f"the password has {len(password)} characters; give {SHORTEST} or more: a few words "
            "are easy to keep in mind"
        )
    if len(password) > LONGEST:
        raise ConfigError(
            f"the password has {len(password):,} characters; give {LONGEST:,} at most"
        )
    plain, own = password.casefold(), name.casefold()
    without = plain.replace(own, "") if len(own) > 2 else plain
    if plain == own or len(without) < SHORTEST // 2:
        raise ConfigError("the password is little but the name; give another one")
    if len(set(plain)) < 4:
        raise ConfigError("the password repeats the same few characters; give another one")


def add_user(
    people: People,
    name: str,
    password: str,
    *,
    role: Role = Role.VIEWER,
    areas: Iterable[str] | None = None,
    known_areas: Iterable[str] = (),
    by: str,
) -> User:
    """Add an account.

    Args:
        people: Where.
        name: Of the user; told apart from others in any case.
        password: See `check_password`.
        role: What they may do.
        areas: The only areas that they may see; None for all.
        known_areas: Those of the store.
        by: Who adds it, for the log.

    Raises:
        ConfigError: Name, password or an area is not possible, or there is such a user.
    """
    name = check_name(name)
    chosen = check_areas(areas, known_areas)
    check_password(password, name)
    if people.user(name) is not None:
        raise ConfigError(f"user {name}: is there already; choose another name")
    user = User(name=name, role=role, areas=chosen, created=now())
    people.add_user(user, Passwords().hash(password))
    log(people, by, "user add", name, f"done: {role}, {areas_text(chosen)}")
    return user


def change_user(
    people: People,
    name: str,
    *,
    role: Role | None = None,
    areas: Iterable[str] | None = None,
    all_areas: bool = False,
    disabled: bool | None = None,
    known_areas: Iterable[str] = (),
    by: str,
) -> User:
    """Change what somebody may do; None leaves it as it is.

    Raises:
        ConfigError: There is no such user or area.
    """
    user = require_user(people, name)
    changes: dict[str, object] = {}
    if role is not None:
        changes["role"] = role
    if all_areas:
        changes["areas"] = None
    elif areas is not None:
        changes["areas"] = check_areas(areas, known_areas)
    if disabled is not None:
        changes["disabled"] = disabled
    changed = user.model_copy(update=changes)
    people.change_user(changed)
    state = "disabled" if changed.disabled else f"{changed.role}, {areas_text(changed.areas)}"
    log(people, by, "user change", name, f"done: {state}")
    return changed


def set_password(
    people: People, name: str, password: str, *, by: str, keep: str | None = None
) -> None:
    """Replace a password, and log its owner out everywhere.

    Args:
        people: Where.
        name: Of the user.
        password: See `check_password`.
        by: Who does so, for the log.
        keep: Digest of a session that goes on.

    Raises:
        ConfigError: There is no such user, or the password is soon guessed.
    """
    require_user(people, name)
    check_password(password, name)
    people.set_password(name, Passwords().hash(password), keep=keep)
    log(people, by, "user password", name, "done")


def add_token(
    people: People, person: str, name: str, *, days: int | None = 365, by: str
) -> tuple[Token, str]:
    """Make a token.

    Args:
        people: Where.
        person: Whose.
        name: What it is for.
        days: How long it holds; None for ever.
        by: Who makes it, for the log.

    Returns:
        The token, and its secret, which is kept nowhere.

    Raises:
        ConfigError: There is no such user, the name is none, or one has it.
    """
    require_user(people, person)
    if not _TOKEN_NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r}: is no name for a token; use 1 to 64 letters, digits and . @ - _"
        )
    if days is not None and not 1 <= days <= 3650:
        raise ConfigError(f"{days} days: a token holds for 1 to 3650 days")
    made = now()
    expires = None if days is None else made + dt.timedelta(days=days)
    token = Token(name=name, person=person, created=made, expires=expires)
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    people.add_token(token, digest_of(secret))
    log(people, by, "token add", f"{person}/{name}", "done")
    return token, secret


def remove_token(people: People, person: str, name: str, *, by: str) -> None:
    """Forget a token, so that it can be used no more.

    Raises:
        ConfigError: There is none of this name.
    """
    require_user(people, person)
    people.remove_token(person, name)
    log(people, by, "token remove", f"{person}/{name}", "done")


def require_user(people: People, name: str) -> User:
    """The user of a name.

    Raises:
        ConfigError: There is none; the message names those that there are.
    """
    user = people.user(unicodedata.normalize("NFKC", name.strip()))
    if user is None:
        known = ", ".join(one.name for one in people.users()) or "none"
        raise ConfigError(
            f"user {name}: is not in the store, which has {known}; `sluice users add` adds one"
        )
    return user


def check_areas(areas: Iterable[str] | None, known: Iterable[str]) -> frozenset[str] | None:
    """The only areas that somebody may see; None for all.

    Raises:
        ConfigError: The store has no such area, or none is named.
    """
    if areas is None:
        return None
    chosen, there = frozenset(areas), set(known)
    if not chosen:
        raise ConfigError("--areas is empty; name areas with commas, or leave it out for all")
    if unknown := sorted(chosen - there):
        raise ConfigError(
            f"area {', '.join(unknown)}: is not in the store, which has "
            f"{', '.join(sorted(there)) or 'none'}; `sluice areas list` shows them"
        )
    return chosen


def areas_text(areas: frozenset[str] | None) -> str:
    """`all areas`, or their names."""
    return "all areas" if areas is None else ", ".join(sorted(areas))


def digest_of(secret: str) -> str:
    """What stands in a store for a token or a session."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def now() -> dt.datetime:
    """This moment, in UTC."""
    return dt.datetime.now(dt.UTC)


def log(
    people: People, who: str, what: str, on: str, outcome: str, *, address: str = TERMINAL
) -> None:
    """Add to the log."""
    people.add_event(Event(when=now(), who=who, address=address, what=what, on=on, outcome=outcome))
