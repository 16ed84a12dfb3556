"""What a measured process tells of itself: seconds by stage, and its peak memory."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

Stages = Mapping[str, tuple[Any, tuple[str, ...]]]
"""By stage: a module, or a class, and the names of the functions in it that are the stage."""


@contextlib.contextmanager
def timed_stages(stages: Stages) -> Iterator[dict[str, dict[int, float]]]:
    """Give seconds by stage and thread, taken around the stages' functions as they are called.

    Raises:
        RuntimeError: No function of a stage was called: others are used than it names.
    """
    seconds: dict[str, dict[int, float]] = {stage: defaultdict(float) for stage in stages}
    lock = threading.Lock()

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                with lock:
                    seconds[stage][threading.get_ident()] += time.perf_counter() - began

        return run

    with contextlib.ExitStack() as patches:
        for stage, (module, names) in stages.items():
            for name in names:
                wrapped = timed(stage, getattr(module, name))
                patches.enter_context(mock.patch.object(module, name, wrapped))
        yield seconds
    absent = [stage for stage, by_thread in seconds.items() if not by_thread]
    if absent:
        raise RuntimeError(
            f"nothing of the stage {absent[0]} was called; correct the names of its functions"
        )


def peak_bytes() -> int:
    """Most memory this process ever had resident."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not `ru_maxrss`, which on Linux a child takes over from the process that started it.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # noqa: PLC0415 - Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def print_measured(stages: Stages, work: Callable[[], Mapping[str, Any]]) -> None:
    """Do the work, and print what it took as one line of JSON.

    Args:
        stages: What to time within it.
        work: Gives further figures to print.
    """
    began, cpu_began = time.perf_counter(), time.process_time()
    with timed_stages(stages) as seconds:
        figures = work()
    took = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu_began,
        "stages_s": {stage: sum(by_thread.values()) for stage, by_thread in seconds.items()},
        "threads": {stage: len(by_thread) for stage, by_thread in seconds.items()},
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(took | dict(figures)))
