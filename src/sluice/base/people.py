"""People and programs that use a store through a server: who they are, and what they did.

Secrets never travel in these records: passwords are kept as argon2 hashes, tokens and sessions as
SHA-256 of random numbers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from sluice.base.records import Record


class Role(StrEnum):
    """What somebody may do; each may also do what those before it may."""

    VIEWER = "viewer"
    """Looks at the map; sees sensitive places withheld, where the server withholds any."""
    REVIEWER = "reviewer"
    """Also says what sites are."""
    ANALYST = "analyst"
    """Also adds areas and layers, and asks for analyses."""
    ADMIN = "admin"
    """Also reads who did what."""

    def includes(self, other: Role) -> bool:
        """Whether this role may do what another one may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


class User(Record):
    """Somebody with an account."""

    name: str
    role: Role
    areas: frozenset[str] | None
    """Names of the only areas that they may see; None for all."""
    disabled: bool = False
    """An account stays, as reviews name it."""
    created: dt.datetime


class Token(Record):
    """What a program shows in place of its owner's password."""

    name: str
    """Unique among those of its owner."""
    person: str
    created: dt.datetime
    expires: dt.datetime | None
    """None for never."""
    last_used: dt.datetime | None = None
    """To the minute."""


class Session(Record):
    """A browser in which somebody logged in."""

    person: str
    csrf: str
    """What a page must send along with what it writes."""
    created: dt.datetime
    last_seen: dt.datetime
    """To the minute."""
    expires: dt.datetime


class Event(Record):
    """Something that somebody did; added, never changed."""

    when: dt.datetime
    who: str
    """A user's name, as given where a login failed."""
    address: str
    """Where the request came from; `terminal` for commands."""
    what: str
    """`login`, `export`, `review`, …"""
    on: str
    """What it was done to: a user, a site, a file's name."""
    outcome: str
    """`done`, or why not."""


class People(Protocol):
    """Accounts, tokens, sessions and the log of a store.

    Every method raises `StoreError` where the store cannot be reached or written, `Conflict` where
    somebody else holds it for too long. Tokens and sessions are told by the SHA-256 of their
    secret, 64 hexadecimal digits.
    """

    def any_users(self) -> bool:
        """Whether somebody has an account, a disabled one too."""
        ...

    def users(self) -> list[User]:
        """By name."""
        ...

    def user(self, name: str) -> User | None:
        """The one of this name."""
        ...

    def password_hash(self, name: str) -> str | None:
        """None where there is no such user."""
        ...

    def add_user(self, user: User, password_hash: str) -> None:
        """Add an account.

        Raises:
            ConfigError: There is one of this name, in whatever case.
        """
        ...

    def change_user(self, user: User) -> None:
        """Replace role, areas and whether it is disabled; one that is disabled is logged out.

        Raises:
            ConfigError: There is no such user.
        """
        ...

    def set_password(self, name: str, password_hash: str, *, keep: str | None = None) -> None:
        """Replace a password, and log its owner out everywhere.

        Args:
            name: Of the user.
            password_hash: The new one.
            keep: Digest of a session that goes on.

        Raises:
            ConfigError: There is no such user.
        """
        ...

    def renew_hash(self, name: str, old_hash: str, new_hash: str) -> None:
        """Replace the hash of the same password, unless it was changed meanwhile."""
        ...

    def add_token(self, token: Token, digest: str) -> None:
        """Add a token.

        Raises:
            ConfigError: Its owner is not there, or has one of this name.
        """
        ...

    def tokens(self, person: str | None = None) -> list[Token]:
        """By owner, then by name."""
        ...

    def remove_token(self, person: str, name: str) -> None:
        """Forget a token.

        Raises:
            ConfigError: There is none of this name; the message names those that there are.
        """
        ...

    def by_token(self, digest: str) -> tuple[Token, User] | None:
        """A token and its owner, whether or not they may still be used."""
        ...

    def add_session(self, session: Session, digest: str) -> None:
        """Add a session, and forget those that are over."""
        ...

    def by_session(self, digest: str) -> tuple[Session, User] | None:
        """A session and its owner, whether or not they may still be used."""
        ...

    def end_session(self, digest: str) -> None:
        """Forget a session; nothing where there is none."""
        ...

    def note_use(self, digests: Sequence[str], when: dt.datetime) -> None:
        """Set when tokens and sessions were last used."""
        ...

    def add_event(self, event: Event) -> None:
        """Add to the log."""
        ...

    def events(
        self,
        *,
        who: str | None = None,
        what: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[tuple[int, Event]]:
        """The log, newest first, each with its number.

        Args:
            who: Of one person.
            what: Of one kind.
            limit: Most rows.
            before: Only with a lower number than this: the next page.
        """
        ...

    def secret(self, name: str) -> bytes:
        """32 random bytes that the store keeps under a name; made when first asked for."""
        ...
