"""`sluice users add | list | change | disable | enable | password | token | log`: who may use a
server."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from sluice.app.cli import options

if TYPE_CHECKING:
    from sluice.base.people import People
    from sluice.base.store import Store

app = typer.Typer(help="Accounts of those who use `sluice serve`.")
token = typer.Typer(help="Tokens, which programs show in place of a password.")
app.add_typer(token, name="token")

_NAME = typer.Argument(help="Of the user.")
_ROLE_HELP = (
    "viewer looks; reviewer also says what sites are; analyst also adds areas and layers and asks "
    "for analyses; admin also reads the log."
)
_AREAS_HELP = "The only areas that they may see, with commas; all if left out."


@app.command("add")
def add(
    name: str = _NAME,
    role: str = typer.Option("viewer", "--role", help=_ROLE_HELP),
    areas: str | None = typer.Option(None, "--areas", help=_AREAS_HELP),
    store: str | None = options.STORE,
) -> None:
    """Add somebody; the password is asked for, or read from standard input."""
    from sluice.app.accounts import add_user, areas_text, check_name
    from sluice.app.cli.places import word
    from sluice.base.people import Role

    wanted, name = word(role, Role, "--role"), check_name(name)
    with _opened(store, create=True) as (opened, people):
        user = add_user(
            people,
            name,
            _ask_password(name),
            role=wanted,
            areas=_names(areas),
            known_areas=opened.areas()["name"],
            by=_operator(),
        )
    typer.echo(f"{user.name} is {user.role}, with {areas_text(user.areas)}.")


@app.command("list")
def list_users(store: str | None = options.STORE, json: bool = options.JSON) -> None:
    """List accounts and their tokens."""
    from sluice.app.accounts import areas_text
    from sluice.app.cli.places import echo_rows
    from sluice.app.following.place_lists import table_text

    with _opened(store) as (_, people):
        users, tokens = people.users(), people.tokens()
    held = {user.name: [one.name for one in tokens if one.person == user.name] for user in users}
    if json:
        echo_rows(
            [
                user.model_dump(exclude={"areas"})
                | {
                    "areas": None if user.areas is None else sorted(user.areas),
                    "tokens": held[user.name],
                }
                for user in users
            ]
        )
    elif not users:
        typer.echo("Nobody has an account: `sluice users add NAME`.")
    else:
        head = ("name", "role", "areas", "tokens", "since", "")
        rows = [
            [
                user.name,
                str(user.role),
                areas_text(user.areas),
                ", ".join(held[user.name]) or "none",
                f"{user.created:%Y-%m-%d}",
                "disabled" if user.disabled else "",
            ]
            for user in users
        ]
        typer.echo(table_text(head, rows))


@app.command("change")
def change(
    name: str = _NAME,
    role: str | None = typer.Option(None, "--role", help=_ROLE_HELP),
    areas: str | None = typer.Option(None, "--areas", help="The only areas that they may see."),
    all_areas: bool = typer.Option(False, "--all-areas", help="They may see every area."),
    store: str | None = options.STORE,
) -> None:
    """Change role or areas."""
    from sluice.app.accounts import areas_text, change_user
    from sluice.app.cli.places import word
    from sluice.base.errors import ConfigError
    from sluice.base.people import Role

    if areas is not None and all_areas:
        raise ConfigError("--areas and --all-areas contradict each other; give one of them")
    wanted = None if role is None else word(role, Role, "--role")
    with _opened(store) as (opened, people):
        user = change_user(
            people,
            name,
            role=wanted,
            areas=_names(areas),
            all_areas=all_areas,
            known_areas=opened.areas()["name"],
            by=_operator(),
        )
    typer.echo(f"{user.name} is {user.role}, with {areas_text(user.areas)}.")


@app.command("disable")
def disable(name: str = _NAME, store: str | None = options.STORE) -> None:
    """Lock an account: its owner is logged out, and its tokens hold no more."""
    from sluice.app.accounts import change_user

    with _opened(store) as (_, people):
        user = change_user(people, name, disabled=True, by=_operator())
    typer.echo(f"{user.name} is locked out; `sluice users enable` undoes that.")


@app.command("enable")
def enable(name: str = _NAME, store: str | None = options.STORE) -> None:
    """Unlock an account."""
    from sluice.app.accounts import change_user

    with _opened(store) as (_, people):
        user = change_user(people, name, disabled=False, by=_operator())
    typer.echo(f"{user.name} may log in again.")


@app.command("password")
def password(name: str = _NAME, store: str | None = options.STORE) -> None:
    """Replace a password; its owner is logged out everywhere."""
    from sluice.app.accounts import require_user, set_password

    with _opened(store) as (_, people):
        user = require_user(people, name)
        set_password(people, user.name, _ask_password(user.name), by=_operator())
    typer.echo(f"The password of {user.name} is a new one.")


@token.command("add")
def add_token(
    person: str = typer.Argument(help="Whose it is; it may do what they may."),
    name: str = typer.Argument(help="What it is for: qgis, nightly."),
    days: int = typer.Option(365, "--days", help="How long it holds."),
    store: str | None = options.STORE,
) -> None:
    """Make a token. It is told once and kept nowhere: send it as `Authorization: Bearer TOKEN`."""
    from sluice.app.accounts import add_token as make

    with _opened(store) as (_, people):
        made, secret = make(people, person, name, days=days, by=_operator())
    if made.expires is not None:
        typer.echo(f"Holds until {made.expires:%Y-%m-%d}; keep it like a password:", err=True)
    typer.echo(secret)


@token.command("list")
def list_tokens(store: str | None = options.STORE, json: bool = options.JSON) -> None:
    """List tokens, when they end and when they were last used."""
    from sluice.app.cli.places import echo_rows
    from sluice.app.following.place_lists import table_text

    with _opened(store) as (_, people):
        tokens = people.tokens()
    if json:
        echo_rows([one.model_dump() for one in tokens])
    elif not tokens:
        typer.echo("There is no token: `sluice users token add PERSON NAME`.")
    else:
        head = ("person", "token", "since", "until", "last used")
        rows = [
            [one.person, one.name]
            + [
                "never" if when is None else f"{when:%Y-%m-%d %H:%M}"
                for when in (one.created, one.expires, one.last_used)
            ]
            for one in tokens
        ]
        typer.echo(table_text(head, rows))


@token.command("remove")
def remove_token(
    person: str = typer.Argument(help="Whose it is."),
    name: str = typer.Argument(help="As `sluice users token list` tells it."),
    store: str | None = options.STORE,
) -> None:
    """Take a token back."""
    from sluice.app.accounts import remove_token as remove

    with _opened(store) as (_, people):
        remove(people, person, name, by=_operator())
    typer.echo(f"{person}/{name} holds no more.")


@app.command("log")
def log(
    who: str | None = typer.Option(None, "--who", help="Of one person."),
    what: str | None = typer.Option(None, "--what", help="login, review, export, upload, …"),
    limit: int = options.LIMIT,
    store: str | None = options.STORE,
    json: bool = options.JSON,
) -> None:
    """Show who did what, the newest first."""
    from sluice.app.cli.places import echo_rows
    from sluice.app.following.place_lists import table_text

    with _opened(store) as (_, people):
        events = people.events(who=who, what=what, limit=limit)
    if json:
        echo_rows([{"number": number, **event.model_dump()} for number, event in events])
        return
    head = ("when (UTC)", "who", "from", "what", "on", "outcome")
    rows = [
        [f"{one.when:%Y-%m-%d %H:%M:%S}", one.who, one.address, one.what, one.on, one.outcome]
        for _, one in events
    ]
    typer.echo(table_text(head, rows) if rows else "Nothing yet.")


@contextlib.contextmanager
def _opened(store: str | None, *, create: bool = False) -> Iterator[tuple[Store, People]]:
    from sluice.app.config import store_address
    from sluice.app.following.stores import open_store, people_of

    with open_store(store_address(store), create=create) as opened:
        yield opened, people_of(opened)


def _ask_password(name: str) -> str:
    """From the terminal, else the first line of standard input; never an argument, which every
    user of the computer could read."""
    from sluice.app.accounts import check_password

    if sys.stdin.isatty():
        typed: str = typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True)
    else:
        typed = sys.stdin.readline().rstrip("\r\n")
    check_password(typed, name)
    return typed


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _operator() -> str:
    """Who runs this command, for the log."""
    from sluice.app.accounts import computer_user

    return computer_user() or "somebody"
