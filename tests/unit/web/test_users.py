"""Accounts: which names and passwords are taken, how they are checked, and `sluice users`."""

import io
import json
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sluice.app import accounts
from sluice.app.accounts import Passwords, check_name, check_password
from sluice.app.following.stores import open_store, people_of
from sluice.base.errors import ConfigError
from sluice.base.people import Role
from stores import SqlitePlaces, open_with_area

GOOD = "river stones in march"
WEAK = {"time_cost": 1, "memory_cost": 1024, "parallelism": 1}
Sluice = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Hashes of full strength take a second on a busy computer."""
    monkeypatch.setattr(accounts, "STRENGTH", WEAK)


@pytest.fixture
def store(sqlite_places: SqlitePlaces) -> Path:
    address = sqlite_places.made()
    open_with_area(address).close()
    return Path(address)


@pytest.fixture
def sluice(sluice, monkeypatch, store) -> Sluice:
    """`sluice users`, with what is typed."""
    monkeypatch.setenv("SLUICE_STORE", str(store))

    def call(*words: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        return sluice("users", *words)

    return call


@pytest.mark.parametrize("password", ["short", "elevenchars", "a" * 1025, "aaaaaaaaaaaabbb"])
def test_passwords_that_are_soon_guessed(password: str):
    with pytest.raises(ConfigError):
        check_password(password, "Ama")


@pytest.mark.parametrize("password", ["Ama.Serwaa.Mensah", "ama.serwaa.MENSAH12"])
def test_a_password_that_is_little_but_the_name(password: str):
    with pytest.raises(ConfigError, match="little but the name"):
        check_password(password, "Ama.Serwaa.Mensah")


def test_passwords_that_are_taken():
    check_password(GOOD, "Ama")
    check_password("пароль из слов", "Ama")
    check_password("Al in the garden", "Al")


@pytest.mark.parametrize(
    "name", ["", " ", "-x", "a/b", "a:b", "a\nb", "owner", "Terminal", "x" * 65]
)
def test_names_that_are_none(name: str):
    with pytest.raises(ConfigError):
        check_name(name)


def test_names_are_composed():
    assert check_name(" Kofi ") == "Kofi"
    # With a combining accent, as some keyboards write it.
    assert check_name("José") == "José"


def test_hashes_are_as_strong_as_recommended(monkeypatch):
    weak = Passwords().hash(GOOD)
    monkeypatch.setattr(accounts, "STRENGTH", {})
    # RFC 9106, section 4: the second recommended choice.
    assert Passwords().hash(GOOD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert Passwords().is_weak(weak)


def test_a_password_fits_however_it_is_composed():
    passwords = Passwords()
    known = passwords.hash("caffè nella sera")
    assert known.startswith("$argon2id$")
    assert passwords.fits("caffè nella sera", known)
    assert not passwords.fits("caffe nella sera", known)
    assert not passwords.fits(GOOD, None)
    assert not passwords.fits(GOOD, "no hash at all")
    assert not passwords.is_weak(known)


def test_whoever_is_not_there_takes_as_long_to_refuse(monkeypatch):
    monkeypatch.setattr(accounts, "STRENGTH", WEAK | {"memory_cost": 16384})
    passwords = Passwords()
    passwords.prepare()
    known = passwords.hash(GOOD)

    def seconds(against: str | None) -> float:
        start = time.perf_counter()
        assert not passwords.fits("some wrong password", against)
        return time.perf_counter() - start

    pairs = [(seconds(known), seconds(None)) for _ in range(7)]
    wrong, nobody = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert 0.4 < wrong / nobody < 2.5


def test_a_user_from_standard_input(sluice: Sluice, store: Path):
    code, out, _ = sluice(
        "add", "Ama", "--role", "analyst", "--areas", "ashanti", typed=GOOD + "\n"
    )
    assert (code, out) == (0, "Ama is analyst, with ashanti.\n")
    with open_store(str(store)) as opened:
        people = people_of(opened)
        user, known = people.user("Ama"), people.password_hash("Ama")
        (event,) = [event for _, event in people.events()]
    assert user is not None
    assert (user.role, user.areas) == (Role.ANALYST, frozenset({"ashanti"}))
    assert Passwords().fits(GOOD, known)
    assert (event.address, event.what, event.on) == ("terminal", "user add", "Ama")
    assert GOOD.encode() not in store.read_bytes()
    assert sluice("list")[1].splitlines()[1].split() == [
        "Ama", "analyst", "ashanti", "none", f"{user.created:%Y-%m-%d}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (("add", "Ama"), "short\n", "12 or more"),
        (("add", "Ama"), "", "12 or more"),
        (("add", "Ama", "--role", "king"), GOOD, "viewer, reviewer, analyst, admin"),
        (("add", "Ama", "--areas", "north"), GOOD, "which has ashanti"),
        (("add", "Ama", "--areas", ","), GOOD, "--areas is empty"),
        (("add", "a/b"), GOOD, "no user's name"),
        (("password", "Kofi"), GOOD, "which has none"),
        (("disable", "Kofi"), "", "sluice users add"),
        (("token", "add", "Kofi", "qgis"), "", "which has none"),
    ],
)
def test_refusals(sluice: Sluice, words: tuple[str, ...], typed: str, said: str):
    code, _, err = sluice(*words, typed=typed)
    assert code == 2
    assert said in err
    assert GOOD not in err
    assert sluice("list")[1].startswith("Nobody has an account")


def test_a_name_is_taken_once_in_whatever_case(sluice: Sluice):
    assert sluice("add", "Ama", typed=GOOD)[0] == 0
    code, _, err = sluice("add", "AMA", typed=GOOD)
    assert code == 2
    assert "there is Ama already" in err


def test_a_password_is_replaced(sluice: Sluice, store: Path):
    sluice("add", "Ama", typed=GOOD)
    assert sluice("password", "Ama", typed="another good one")[0] == 0
    with open_store(str(store)) as opened:
        known = people_of(opened).password_hash("Ama")
    assert Passwords().fits("another good one", known)
    assert not Passwords().fits(GOOD, known)


def test_changes(sluice: Sluice):
    sluice("add", "Ama", typed=GOOD)
    assert sluice("change", "Ama", "--role", "admin", "--areas", "ashanti")[1] == (
        "Ama is admin, with ashanti.\n"
    )
    assert sluice("change", "Ama", "--all-areas")[1] == "Ama is admin, with all areas.\n"
    assert sluice("change", "Ama", "--all-areas", "--areas", "ashanti")[0] == 2
    assert sluice("disable", "Ama")[0] == 0
    assert json.loads(sluice("list", "--json")[1])[0]["disabled"] is True
    assert sluice("enable", "Ama")[0] == 0
    told = json.loads(sluice("log", "--json")[1])
    assert [row["outcome"] for row in told] == [
        "done: admin, all areas", "done: disabled", "done: admin, all areas",
        "done: admin, ashanti", "done: viewer, all areas",
    ]  # fmt: skip


def test_a_token_is_told_once_and_kept_as_a_hash(sluice: Sluice, store: Path):
    sluice("add", "Ama", typed=GOOD)
    code, out, err = sluice("token", "add", "Ama", "qgis", "--days", "30")
    secret = out.strip()
    assert code == 0
    assert "keep it like a password" in err
    assert secret.startswith("sluice_")
    assert len(secret) >= 43 + len("sluice_")
    with sqlite3.connect(store) as connection:
        (digest,) = connection.execute("SELECT digest FROM tokens").fetchone()
    connection.close()
    assert digest == accounts.digest_of(secret)
    assert secret.encode() not in store.read_bytes()
    assert "never" in sluice("token", "list")[1]
    assert sluice("token", "add", "Ama", "qgis")[0] == 2
    assert sluice("token", "add", "Ama", "b", "--days", "0")[0] == 2
    assert sluice("token", "add", "Ama", "a/b")[0] == 2
    assert sluice("token", "remove", "Ama", "qgis")[0] == 0
    assert sluice("token", "remove", "Ama", "qgis")[0] == 2
    assert sluice("token", "list")[1].startswith("There is no token")
