"""One scan in a process of its own: `python -m bench.scan_child JSON` prints what it took.

JSON holds the fields of `ScanConfig`. A process of its own, because peak memory is a process's.
"""

from __future__ import annotations

import json
import sys
import time

from bench.child import peak_bytes, timed_stages
from sluice.app import gathering, workflows
from sluice.app.config import ScanConfig, make_config
from sluice.scan import predict

STAGES = {
    "open": (gathering, ("open_local",)),
    # These two in several threads: their seconds are sums over the threads.
    "read": (predict, ("read_tile",)),
    "predict": (predict, ("score_tile",)),
    "sites": (workflows, ("blend", "vectorise")),
    "write": (workflows, ("write_score_map", "write_probability_map", "write_products")),
}


def main() -> None:
    """Scan, and print the figures as one line of JSON."""
    config = make_config(ScanConfig, **json.loads(sys.argv[1]))
    began, cpu_began = time.perf_counter(), time.process_time()
    with timed_stages(STAGES) as stages:
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
