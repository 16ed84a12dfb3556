"""The worker of a service: begun again, and ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi")

from sluice.app.cli.main import app
from sluice.app.web import worker_child
from sluice.app.web.settings import Settings
from sluice.app.web.worker_child import WorkerChild, worker_command
from sluice.base.errors import ConfigError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
_PROGRAM = """
import os, sys
with open(sys.argv[1], "a") as file:
    print(os.getpid(), os.environ["SLUICE_STORE"], file=file)
sys.stdin.read()
"""


def wait_until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_dies_is_begun_again_and_ends_with_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"
    notes.touch()

    def command(_: Settings) -> list[str]:
        return [sys.executable, "-c", _PROGRAM, str(notes)]

    monkeypatch.setattr(worker_child, "worker_command", command)
    monkeypatch.setattr(worker_child, "_FIRST_WAIT_S", 0.05)

    def pids() -> list[int]:
        return [int(line.split()[0]) for line in notes.read_text().splitlines()]

    with WorkerChild(Settings(store="mines.sqlite")):
        wait_until(lambda: len(pids()) == 1)
        os.kill(pids()[0], signal.SIGKILL)
        wait_until(lambda: len(pids()) == 2)
        assert is_alive(pids()[1])
    assert not is_alive(pids()[1])
    assert notes.read_text().splitlines()[0].endswith(" mines.sqlite")


def test_the_address_of_a_store_is_not_on_the_command_line(tmp_path: Path) -> None:
    settings = Settings(store="postgresql://ama:secret@host/db", jobs_out=tmp_path)
    assert "secret" not in " ".join(worker_command(settings))


def test_the_end_of_its_input_stops_a_worker_that_waits() -> None:
    program = (
        "import threading\n"
        "from sluice.app.cli.signals import stopping\n"
        "class Stop(BaseException): pass\n"
        "stop = threading.Event()\n"
        "with stopping(Stop, stop, with_parent=True):\n"
        "    print('ready', flush=True)\n"
        "    threading.Lock().acquire(), threading.Event().wait()\n"
        "print('ended', stop.is_set(), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.stdout.read() == "ended True\n"
        assert process.wait(20) == 0


def test_bands_to_keep_are_told_to_the_worker(tmp_path: Path) -> None:
    settings = Settings(store="mines.sqlite", jobs_out=tmp_path, keep="red,nir")
    assert worker_command(settings)[-2:] == ["--keep-bands", "red,nir"]
    assert "--keep-bands" not in worker_command(Settings(store="mines.sqlite", jobs_out=tmp_path))


@pytest.mark.parametrize("command", [["serve", "--no-open"], ["worker", "--once"]])
@pytest.mark.parametrize(("bands", "said"), [("red,bogus", "'bogus' is no band"), ("", "no band")])
def test_bands_that_no_sensor_has_are_refused_before_anything_starts(
    command: list[str], bands: str, said: str, tmp_path: Path
) -> None:
    # There is no store: whatever started would say so.
    given = [*command, "--store", str(tmp_path / "none.sqlite"), "--keep-bands", bands]
    with pytest.raises(ConfigError, match=f"--keep-bands: .*{said}"):
        CliRunner().invoke(app, given, catch_exceptions=False)
