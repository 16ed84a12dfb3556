"""A service in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

NO_WORKER = ("--no-worker",)
"""For services that nobody asks for an analysis; a worker takes seconds to begin."""
REPOSITORY = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def served(store: str, options: Sequence[str] = NO_WORKER) -> Iterator[str]:
    """A real `sluice serve` of a store; gives its address."""
    with running(store, options) as (address, _):
        yield address


@contextlib.contextmanager
def running(
    store: str, options: Sequence[str] = NO_WORKER
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The same, with its process."""
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
            yield line[line.index("http") :].split()[0], program
        finally:
            program.terminate()
            program.wait(20)
