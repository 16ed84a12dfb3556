"""A service over a store with known mines, and Chromium to look at it.

Tests skip where Chromium, node or the built map is absent; `make map` builds it.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from map_cases import write_store

REPOSITORY = Path(__file__).resolve().parents[2]
WEB = REPOSITORY / "web"


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
    return []


@pytest.fixture(scope="module")
def address(store: str, serve_options: list[str]) -> Iterator[str]:
    """Where a real `sluice serve` of the store listens."""
    with served(store, serve_options) as found:
        yield found


@contextlib.contextmanager
def served(store: str, options: Sequence[str] = ()) -> Iterator[str]:
    """A real `sluice serve` of a store."""
    command = [
        sys.executable,
        "-c",
        "from sluice.app.cli.main import main; main()",
        *("serve", "--store", store, "--port", "0", "--no-open", *options),
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(REPOSITORY / "src")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as program:
        try:
            line = program.stdout.readline()
            if "http" not in line:
                pytest.fail(f"sluice serve said: {line}{program.stdout.read()}")
            yield line[line.index("http") :].split()[0]
        finally:
            program.terminate()
            program.wait(20)


@pytest.fixture(scope="session")
def serve() -> Callable[[str], contextlib.AbstractContextManager[str]]:
    """See `served`."""
    return served


@pytest.fixture
def browse(play: Callable[..., dict[str, Any]], address: str) -> Callable[..., dict[str, Any]]:
    """Play a scenario with the service of the module."""
    return partial(play, address=address)


@pytest.fixture
def play(node: list[str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Play a scenario in a fresh browser; gives what it found.

    Its checks are its own; a scenario that fails leaves a picture in `tmp_path`, or in the folder
    `SLUICE_PICTURES`: if that is named, all scenarios leave theirs there.
    """
    chromium = _chromium()
    if chromium is None:
        pytest.skip("no Chromium here; `apt-get install chromium` to run this test")
    wanted = os.environ.get("SLUICE_PICTURES")
    folder = wanted or str(tmp_path)

    def play(scenario: str, **options: Any) -> dict[str, Any]:
        given = {"chromium": chromium, "pictures": folder, "keep": bool(wanted), **options}
        done = subprocess.run(
            [*node, str(Path(__file__).with_name("play.mjs")), scenario, json.dumps(given)],
            capture_output=True,
            text=True,
            timeout=4 * float(os.environ.get("SLUICE_PATIENCE_S", "60")),
            check=False,
            cwd=WEB,
        )
        if done.returncode != 0:
            pytest.fail(f"{scenario}: {done.stderr[-4000:]}\npictures: {folder}")
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found

    return play
