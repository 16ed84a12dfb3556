"""A service over a store with known mines, and Chromium to look at it.

Tests skip where Chromium, node or the built map is absent; `make map` builds it.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from map_cases import write_store
from served import NO_WORKER, served

REPOSITORY = Path(__file__).resolve().parents[2]
WEB = REPOSITORY / "web"
COARSE = 0.5
"""Pixels of the screen for each of the page."""


def _chromium() -> str | None:
    named = os.environ.get("SLUICE_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def build_map() -> ModuleType:
    """The program that builds the map."""
    spec = importlib.util.spec_from_file_location("build_map", WEB / "build_map.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def node(build_map: ModuleType) -> list[str]:
    """How node is called, with the packages of the map's tests beside it."""
    try:
        command, _ = build_map.node_and_npm()
    except build_map.MapNotBuilt as err:
        pytest.skip(str(err))
    if not (WEB / "node_modules" / "playwright-core").is_dir() or not build_map.is_built():
        pytest.skip("the map is not built, or not from these sources; run `make map`")
    return command


@pytest.fixture(scope="session")
def first_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that tests copy."""
    return write_store(tmp_path_factory.mktemp("store") / "first.sqlite")


@pytest.fixture(scope="session")
def pictured_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, with images of its runs."""
    return write_store(tmp_path_factory.mktemp("pictured") / "pictured.sqlite", images=True)


@pytest.fixture(scope="module")
def store(first_store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of the module's own."""
    path = tmp_path_factory.mktemp("served") / "ours.sqlite"
    shutil.copy(first_store, path)
    return str(path)


@pytest.fixture(scope="module")
def serve_options() -> list[str]:
    """What else `sluice serve` is given; modules have their own."""
    return [*NO_WORKER]


@pytest.fixture(scope="module")
def address(store: str, serve_options: list[str]) -> Iterator[str]:
    """Where a real `sluice serve` of the store listens."""
    with served(store, serve_options) as found:
        yield found


@pytest.fixture(scope="session")
def serve() -> Callable[[str], contextlib.AbstractContextManager[str]]:
    """See `served`."""
    return served


@pytest.fixture
def browse(play: Callable[..., dict[str, Any]], address: str) -> Callable[..., dict[str, Any]]:
    """Play a scenario with the service of the module."""
    return partial(play, address=address)


class Player:
    """Node with a browser that plays scenarios, one after the other; begun when it is needed."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `end` closes it

    def play(self, scenario: str, options: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """What it answers: `found`, or why it `failed`."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                cwd=WEB,
            )
        asked = json.dumps({"scenario": scenario, "options": options})
        self._process.stdin.write(asked + "\n")
        self._process.stdin.flush()
        # One that hangs is ended, and its line with it.
        late = threading.Timer(timeout_s, self._process.kill)
        late.start()
        line = self._process.stdout.readline()
        late.cancel()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._process.wait()
        self._process = None
        self._errors.seek(0)
        said = self._errors.read()
        return {"failed": f"the browser ended, or took more than {timeout_s:.0f} s\n{said}"}

    def end(self) -> None:
        """Close the browser."""
        if self._process is not None:
            self._process.communicate(timeout=60)
        self._errors.close()


@pytest.fixture(scope="session")
def player(node: list[str]) -> Iterator[Player]:
    """A browser for all tests of the session; each has a context of its own in it."""
    found = Player([*node, str(Path(__file__).with_name("play.mjs"))])
    yield found
    found.end()


@pytest.fixture
def play(player: Player, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Play a scenario with nothing kept of others; gives what it found.

    Its checks are its own; a scenario that fails leaves a picture in `tmp_path`, or in the folder
    `SLUICE_PICTURES`: if that is named, all scenarios leave theirs there.
    """
    chromium = _chromium()
    if chromium is None:
        pytest.skip("no Chromium here; `apt-get install chromium` to run this test")
    wanted = os.environ.get("SLUICE_PICTURES")
    folder = wanted or str(tmp_path)
    timeout_s = 4 * float(os.environ.get("SLUICE_PATIENCE_S", "60"))

    # Without a graphics card each pixel of the map costs: those that nobody looks at are few.
    scale = 1 if wanted else COARSE

    def play(scenario: str, **options: Any) -> dict[str, Any]:
        given = {"chromium": chromium, "pictures": folder, "keep": bool(wanted), "scale": scale}
        given |= options
        answer = player.play(scenario, given, timeout_s)
        if "failed" in answer:
            pytest.fail(f"{scenario}: {answer['failed'][-4000:]}\npictures: {folder}")
        found: dict[str, Any] = answer["found"]
        return found

    return play
