"""Ends a worker in good order: at a signal, or when whoever started it is gone."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stopping(
    error: type[BaseException], stop: threading.Event, *, with_parent: bool
) -> Iterator[None]:
    """Within the block SIGTERM and Ctrl-C raise an error, which ends the block.

    Args:
        error: Raised in the main thread.
        stop: Set as well.
        with_parent: Whether the end of standard input does the same: a pipe is closed however
            the process that holds its other end goes.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        if not stop.is_set():  # A second one is not to disturb what the first began.
            stop.set()
            raise error

    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, handle) for kind in kinds}
    if with_parent:
        threading.Thread(target=_wait_for_end, name="parent", daemon=True).start()
    try:
        with contextlib.suppress(error):
            yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """Within the block SIGTERM does what Ctrl-C does, once: what was begun is taken away."""
    told = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if not told.is_set():  # A second one is not to disturb the clearing up.
            told.set()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_for_end() -> None:
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.buffer.read(4096):
            pass
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        # A signal ends a wait for a lock; what `interrupt_main` does would not.
        signal.pthread_kill(main, signal.SIGTERM)
    else:
        _thread.interrupt_main()
