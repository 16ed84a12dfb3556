"""A service in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import pytest

NO_WORKER = ("--no-worker",)
"""For services that nobody asks for an analysis; a worker takes seconds to begin."""
SOURCES = Path(__file__).resolve().parents[1] / "src"


@contextlib.contextmanager
def served(store: str, options: Sequence[str] = NO_WORKER) -> Iterator[str]:
    """A real `sluice serve` of a store; gives its address."""
    with running(store, options) as (address, _):
        yield address


@contextlib.contextmanager
def running(
    store: str, options: Sequence[str] = NO_WORKER
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The same, with its process; a fault of its own that it tells of fails the test."""
    command = [
        sys.executable,
        "-c",
        "from sluice.app.cli.main import main; main()",
        *("serve", "--store", store, "--port", "0", "--no-open", *options),
    ]
    own = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "PYTHONPATH": str(SOURCES)}
    # What it says of faults goes to a file: a pipe that nobody reads would fill up and stop it.
    with (
        tempfile.TemporaryFile("w+") as faults,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=faults, text=True, env=os.environ | own
        ) as program,
    ):
        try:
            line = program.stdout.readline()
            if "http" not in line:
                pytest.fail(f"sluice serve said: {line}{_all_of(faults)}")
            yield line[line.index("http") :].split()[0], program
        except BaseException:
            # Where each thread is tells why somebody waited in vain.
            program.send_signal(signal.SIGABRT)
            program.wait(20)
            print(_all_of(faults), file=sys.stderr)
            raise
        finally:
            program.terminate()
            program.wait(20)
        said = _all_of(faults)
    if "Traceback" in said:
        pytest.fail(f"sluice serve failed meanwhile:\n{said[-8000:]}")


def _all_of(file: TextIO) -> str:
    file.seek(0)
    return file.read()
