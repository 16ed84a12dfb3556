"""One scan in a process of its own: `python -m bench.scan_child JSON` prints what it took.

JSON holds the fields of `ScanConfig`. A process of its own, because peak memory is a process's.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from sluice.app import workflows
from sluice.app.config import make_config
from sluice.scan import executors

STAGES = {
    "open": (workflows, ("load_package", "open_local")),
    # In a thread of its own, beside the prediction of the tile before.
    "read": (executors, ("read_tile",)),
    "predict": (executors, ("score_or_fail",)),
    "sites": (workflows, ("blend", "vectorise")),
    "write": (workflows, ("write_score_map", "write_probability_map", "write_products")),
}


@contextlib.contextmanager
def timed_stages() -> Iterator[dict[str, float]]:
    """Give seconds by stage, measured around the functions of `STAGES` as the scan calls them."""
    seconds: dict[str, float] = defaultdict(float)
    lock = threading.Lock()

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                with lock:
                    seconds[stage] += time.perf_counter() - began

        return run

    with contextlib.ExitStack() as patches:
        for stage, (module, names) in STAGES.items():
            for name in names:
                wrapped = timed(stage, getattr(module, name))
                patches.enter_context(mock.patch.object(module, name, wrapped))
        yield seconds


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


def main() -> None:
    """Scan, and print the figures as one line of JSON."""
    config = make_config(**json.loads(sys.argv[1]))
    began, cpu_began = time.perf_counter(), time.process_time()
    with timed_stages() as stages:
        finished = workflows.scan(config)
    figures = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu_began,
        "stages_s": stages,
        "peak_bytes": peak_bytes(),
        "area_km2": finished.summary.area_ha / 100,
        "sites": finished.summary.sites,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
