"""Services with accounts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient

from access_cases import WEAK, Case, Serve, add_people, app_of, client_of, fill
from sluice.app import accounts
from stores import SqlitePlaces


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(accounts, "STRENGTH", WEAK)


@pytest.fixture(scope="session")
def filled(sqlite_places: SqlitePlaces) -> Case:
    """A store without people, not to be written to."""
    return fill(sqlite_places.made())


@pytest.fixture(scope="session")
def peopled(filled: Case, sqlite_places: SqlitePlaces) -> Case:
    """One with people, not to be written to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "STRENGTH", WEAK)
        return add_people(
            Case(str(shutil.copy(filled.address, sqlite_places.empty())), filled.places)
        )


@pytest.fixture
def case(peopled: Case, tmp_path) -> Case:
    """A copy of the same, for this test alone."""
    copied = shutil.copy(peopled.address, tmp_path / "own.sqlite")
    return Case(str(copied), peopled.places, peopled.tokens)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start services; each gives clients of it, by the name of a person or of nobody."""
    with ExitStack() as stack:

        def start(case: Case, **settings: Any) -> Callable[..., TestClient]:
            app = app_of(case, **settings)
            stack.callback(app.state.service.close)
            stack.callback(app.state.identity.close)

            def client(name: str | None = None, **options: Any) -> TestClient:
                token = None if name is None else case.tokens[name]
                return stack.enter_context(client_of(app, token=token, **options))

            client.app = app  # type: ignore[attr-defined]
            return client

        yield start
