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
from sluice.scan import predict

STAGES = {
    "open": (workflows, ("load_package", "open_local")),
    # These two in several threads: their seconds are sums over the threads.
    "read": (predict, ("read_tile",)),
    "predict": (predict, ("score_tile",)),
    "sites": (workflows, ("blend", "vectorise")),
    "write": (workflows, ("write_score_map", "write_probability_map", "write_products")),
}


@contextlib.contextmanager
def timed_stages() -> Iterator[dict[str, dict[int, float]]]:
    """Give seconds by stage and thread, taken around the functions of `STAGES` as they are called.

    Raises:
        RuntimeError: The scan called no function of a stage: `STAGES` names others than it uses.
    """
    seconds: dict[str, dict[int, float]] = {stage: defaultdict(float) for stage in STAGES}
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
        for stage, (module, names) in STAGES.items():
            for name in names:
                wrapped = timed(stage, getattr(module, name))
                patches.enter_context(mock.patch.object(module, name, wrapped))
        yield seconds
    absent = [stage for stage, by_thread in seconds.items() if not by_thread]
    if absent:
        raise RuntimeError(
            f"the scan called nothing of the stage {absent[0]}; correct STAGES in {__file__}"
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


def main() -> None:
    """Scan, and print the figures as one line of JSON."""
    config = make_config(**json.loads(sys.argv[1]))
    began, cpu_began = time.perf_counter(), time.process_time()
    with timed_stages() as stages:
        finished = workflows.scan(config)
    figures = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu_began,
        "stages_s": {stage: sum(by_thread.values()) for stage, by_thread in stages.items()},
        "threads": {stage: len(by_thread) for stage, by_thread in stages.items()},
        "peak_bytes": peak_bytes(),
        "area_km2": finished.summary.area_ha / 100,
        "sites": finished.summary.sites,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
