"""One composite in a process of its own: `python -m bench.composite_child JSON`.

JSON holds the fields of `CompositeConfig`. Prints what it took as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time

from bench.child import peak_bytes, timed_stages
from sluice.app import compositing, gathering, loading
from sluice.app.config import CompositeConfig, make_config
from sluice.imagery.scenes import SceneImages

STAGES = {
    "find": (gathering.Gatherer, ("gather", "describe")),
    # These in several threads: their seconds are sums over the threads.
    "read": (SceneImages, ("read", "read_sky")),
    "clouds": (loading, ("sort_sky",)),
    "reduce": (loading, ("reduce_stack",)),
    "guard": (loading.Compositor, ("_given_back",)),
    "write": (compositing, ("write_composite",)),
}


def main() -> None:
    """Compose, and print the figures as one line of JSON."""
    config = make_config(CompositeConfig, **json.loads(sys.argv[1]))
    began, cpu_began = time.perf_counter(), time.process_time()
    used = {name: stage for name, stage in STAGES.items() if config.guard or name != "guard"}
    with timed_stages(used) as stages:
        finished = compositing.composite(config)
    figures = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu_began,
        "stages_s": {stage: sum(by_thread.values()) for stage, by_thread in stages.items()},
        "threads": {stage: len(by_thread) for stage, by_thread in stages.items()},
        "peak_bytes": peak_bytes(),
        "area_km2": finished.summary.area_ha / 100,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
