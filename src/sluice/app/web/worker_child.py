"""The worker that a service starts for itself: begun again where it fails, ended with it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from typing import Any

from sluice.app.analysis import default_jobs_folder
from sluice.app.web.settings import Settings

_LOG = logging.getLogger("sluice.web")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_LIVED_LONG_S = 60.0
_LAST_WORDS_S = 10.0
_PROGRAM = "from sluice.app.cli.main import main; main()"


def worker_command(settings: Settings) -> list[str]:
    """The command of a worker; the store goes by the environment, as it may hold a password."""
    out = settings.jobs_out or default_jobs_folder(settings.store)
    given = ["--source", settings.source, "--model", settings.model, "--out", str(out.absolute())]
    if settings.keep is not None:
        given += ["--keep-bands", settings.keep]
    return [sys.executable, "-c", _PROGRAM, "worker", "--with-parent", *given]


class WorkerChild:
    """A worker in a process of its own, within a block."""

    def __init__(self, settings: Settings) -> None:
        self._command = worker_command(settings)
        self._env = {**os.environ, "SLUICE_STORE": settings.store}
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def __enter__(self) -> WorkerChild:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        with self._lock:
            process = self._process
        if process is not None:
            if process.stdin is not None:
                # It ends at the end of its input, and its job waits for the next one.
                process.stdin.close()
            if os.name != "nt":  # There it would be cut off.
                process.terminate()
            try:
                process.wait(_LAST_WORDS_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._thread.join()

    def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._ending.is_set():
            began = time.monotonic()
            with self._lock:
                if self._ending.is_set():
                    return
                self._process = self._start()
            code = self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            if self._ending.is_set():
                return
            if time.monotonic() - began > _LIVED_LONG_S:
                wait_s = _FIRST_WAIT_S
            _LOG.warning("the worker ended with code %d; begun again in %.0f s", code, wait_s)
            self._ending.wait(wait_s)
            wait_s = min(_LONGEST_WAIT_S, wait_s * 2)

    def _start(self) -> subprocess.Popen[bytes]:
        # In a session of its own Ctrl-C reaches the service only, which ends it in good order.
        own: dict[str, Any] = {"start_new_session": True} if os.name != "nt" else {}
        return subprocess.Popen(  # noqa: S603 - a command of ours
            self._command,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            **own,
        )
