"""Accounts, tokens, sessions and the log: `base.people.People` over either database."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice.base.errors import ConfigError
from sluice.base.people import Event, Session, Token, User
from sluice.base.places import columns_of
from sluice.store import schema
from sluice.store.database import Database

_LOCK = "sluice: people"
_SECRET_BYTES = 32


class SqlPeople:
    """See `base.people.People`."""

    def __init__(self, db: Database) -> None:
        """Stand on an open database; whoever opened it closes it."""
        self._db = db

    def any_users(self) -> bool:
        """See `People`."""
        with self._db.reading() as connection:
            return connection.execute(sa.select(schema.users.c.name).limit(1)).first() is not None

    def users(self) -> list[User]:
        """See `People`."""
        with self._db.reading() as connection:
            rows = connection.execute(_users().order_by(schema.users.c.name))
            return [_user(row) for row in rows]

    def user(self, name: str) -> User | None:
        """See `People`."""
        with self._db.reading() as connection:
            found = connection.execute(_users().where(schema.users.c.name == name)).first()
        return None if found is None else _user(found)

    def password_hash(self, name: str) -> str | None:
        """See `People`."""
        table = schema.users
        wanted = sa.select(table.c.password_hash).where(table.c.name == name)
        with self._db.reading() as connection:
            found = connection.execute(wanted).scalar_one_or_none()
        return None if found is None else str(found)

    def add_user(self, user: User, password_hash: str) -> None:
        """See `People`."""
        table = schema.users
        folded = user.name.casefold()
        with self._db.writing(_LOCK) as connection:
            alike = sa.select(table.c.name).where(table.c.folded == folded)
            known = connection.execute(alike).scalar_one_or_none()
            if known is not None:
                raise ConfigError(
                    f"user {user.name}: there is {known} already; choose another name"
                )
            row = {**_row_of(user), "folded": folded, "password_hash": password_hash}
            connection.execute(sa.insert(table).values(**row))

    def change_user(self, user: User) -> None:
        """See `People`."""
        table, open_sessions = schema.users, schema.sessions
        row = _row_of(user)
        changed = {name: row[name] for name in ("role", "areas", "disabled")}
        with self._db.writing(_LOCK) as connection:
            _require_user(connection, user.name)
            connection.execute(sa.update(table).where(table.c.name == user.name).values(**changed))
            if user.disabled:
                connection.execute(
                    sa.delete(open_sessions).where(open_sessions.c.person == user.name)
                )

    def set_password(self, name: str, password_hash: str, *, keep: str | None = None) -> None:
        """See `People`."""
        table, open_sessions = schema.users.c, schema.sessions.c
        with self._db.writing(_LOCK) as connection:
            _require_user(connection, name)
            connection.execute(
                sa.update(schema.users)
                .where(table.name == name)
                .values(password_hash=password_hash)
            )
            over = open_sessions.person == name
            if keep is not None:
                over = sa.and_(over, open_sessions.digest != keep)
            connection.execute(sa.delete(schema.sessions).where(over))

    def renew_hash(self, name: str, old_hash: str, new_hash: str) -> None:
        """See `People`."""
        table = schema.users.c
        with self._db.writing(_LOCK) as connection:
            connection.execute(
                sa.update(schema.users)
                .where(table.name == name, table.password_hash == old_hash)
                .values(password_hash=new_hash)
            )

    def add_token(self, token: Token, digest: str) -> None:
        """See `People`."""
        table = schema.tokens
        with self._db.writing(_LOCK) as connection:
            _require_user(connection, token.person)
            alike = sa.select(table.c.name).where(
                table.c.person == token.person, table.c.name == token.name
            )
            if connection.execute(alike).first() is not None:
                raise ConfigError(
                    f"token {token.name}: {token.person} has one of this name; choose another, or "
                    "remove it first"
                )
            connection.execute(sa.insert(table).values(**token.model_dump(), digest=digest))

    def tokens(self, person: str | None = None) -> list[Token]:
        """See `People`."""
        table = schema.tokens
        wanted = _of_record(table, Token).order_by(table.c.person, table.c.name)
        if person is not None:
            wanted = wanted.where(table.c.person == person)
        with self._db.reading() as connection:
            return [Token(**row) for row in connection.execute(wanted).mappings()]

    def remove_token(self, person: str, name: str) -> None:
        """See `People`."""
        table = schema.tokens
        with self._db.writing(_LOCK) as connection:
            wanted = sa.select(table.c.name).where(table.c.person == person)
            known = list(connection.execute(wanted.order_by(table.c.name)).scalars())
            if name not in known:
                raise ConfigError(
                    f"token {name}: {person} has none of this name, but "
                    f"{', '.join(known) or 'none at all'}; `sluice users token list` shows them"
                )
            connection.execute(
                sa.delete(table).where(table.c.person == person, table.c.name == name)
            )

    def by_token(self, digest: str) -> tuple[Token, User] | None:
        """See `People`."""
        found = self._with_owner(schema.tokens, digest)
        return None if found is None else (Token(**_part(found, "its", Token)), found["user"])

    def add_session(self, session: Session, digest: str) -> None:
        """See `People`."""
        table = schema.sessions
        with self._db.writing(_LOCK) as connection:
            connection.execute(sa.delete(table).where(table.c.expires <= session.created))
            connection.execute(sa.insert(table).values(**session.model_dump(), digest=digest))

    def by_session(self, digest: str) -> tuple[Session, User] | None:
        """See `People`."""
        found = self._with_owner(schema.sessions, digest)
        return None if found is None else (Session(**_part(found, "its", Session)), found["user"])

    def _with_owner(self, table: sa.Table, digest: str) -> dict[str, Any] | None:
        owner = schema.users
        own = [column.label(f"its_{column.name}") for column in table.c]
        wanted = (
            sa.select(*_users().selected_columns, *own)
            .select_from(table)
            .join(owner, owner.c.name == table.c.person)
            .where(table.c.digest == digest)
        )
        with self._db.reading() as connection:
            found = connection.execute(wanted).first()
        return None if found is None else {**found._mapping, "user": _user(found)}

    def end_session(self, digest: str) -> None:
        """See `People`."""
        table = schema.sessions
        with self._db.writing() as connection:
            connection.execute(sa.delete(table).where(table.c.digest == digest))

    def note_use(self, digests: Sequence[str], when: dt.datetime) -> None:
        """See `People`."""
        tokens, open_sessions = schema.tokens, schema.sessions
        with self._db.writing(_LOCK) as connection:
            for table, changed in (
                (tokens, {"last_used": when}),
                (open_sessions, {"last_seen": when}),
            ):
                those = self._db.among(table.c.digest, digests)
                connection.execute(sa.update(table).where(those).values(**changed))

    def add_event(self, event: Event) -> None:
        """See `People`."""
        with self._db.writing() as connection:
            connection.execute(sa.insert(schema.audit).values(**event.model_dump()))

    def events(
        self,
        *,
        who: str | None = None,
        what: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[tuple[int, Event]]:
        """See `People`."""
        table = schema.audit
        wanted = _of_record(table, Event).add_columns(table.c.fid)
        if who is not None:
            wanted = wanted.where(table.c.who == who)
        if what is not None:
            wanted = wanted.where(table.c.what == what)
        if before is not None:
            wanted = wanted.where(table.c.fid < before)
        wanted = wanted.order_by(table.c.fid.desc()).limit(limit)
        with self._db.reading() as connection:
            rows = [dict(row) for row in connection.execute(wanted).mappings()]
        return [(int(row.pop("fid")), Event(**row)) for row in rows]

    def secret(self, name: str) -> bytes:
        """See `People`."""
        table = schema.secrets
        wanted = sa.select(table.c.content).where(table.c.name == name)
        with self._db.reading() as connection:
            found = connection.execute(wanted).scalar_one_or_none()
        if found is not None:
            return bytes(found)
        with self._db.writing(_LOCK) as connection:
            # Somebody else may have made it meanwhile.
            found = connection.execute(wanted).scalar_one_or_none()
            if found is None:
                found = secrets.token_bytes(_SECRET_BYTES)
                connection.execute(sa.insert(table).values(name=name, content=found))
        return bytes(found)


def _users() -> sa.Select[Any]:
    return _of_record(schema.users, User)


def _of_record(table: sa.Table, record: type[User | Token | Session | Event]) -> sa.Select[Any]:
    return sa.select(*(table.c[name] for name in columns_of(record)))


def _user(row: Any) -> User:
    return User(**{name: getattr(row, name) for name in columns_of(User)})


def _row_of(user: User) -> dict[str, Any]:
    areas = None if user.areas is None else sorted(user.areas)
    return {**user.model_dump(), "role": str(user.role), "areas": areas}


def _part(found: dict[str, Any], prefix: str, record: type[Token | Session]) -> dict[str, Any]:
    return {name: found[f"{prefix}_{name}"] for name in columns_of(record)}


def _require_user(connection: Connection, name: str) -> None:
    table = schema.users
    wanted = sa.select(table.c.name).order_by(table.c.name)
    known = list(connection.execute(wanted).scalars())
    if name not in known:
        raise ConfigError(
            f"user {name}: is not in the store, which has {', '.join(known) or 'none'}; add one "
            "with `sluice users add`"
        )
