"""One composite in a process of its own: `python -m bench.composite_child JSON`.

JSON holds the fields of `CompositeConfig`. Prints what it took as one line of JSON.
"""

from __future__ import annotations

import json
import sys

from bench.child import print_measured
from sluice.app import compositing, gathering, loading, skies
from sluice.app.config import CompositeConfig, make_config
from sluice.imagery.scenes import SceneImages

STAGES = {
    "find": (gathering.Gatherer, ("gather", "describe")),
    # These in several threads: their seconds are sums over the threads.
    "read": (SceneImages, ("read", "read_sky")),
    "clouds": (skies, ("sort_sky", "_overcast")),
    "reduce": (loading, ("reduce_stack",)),
    "guard": (loading.Compositor, ("_given_back",)),
    "write": (compositing, ("write_composite",)),
}


def main() -> None:
    """Compose, and print the figures as one line of JSON."""
    config = make_config(CompositeConfig, **json.loads(sys.argv[1]))
    used = {name: stage for name, stage in STAGES.items() if config.guard or name != "guard"}

    def work() -> dict[str, float]:
        return {"area_km2": compositing.composite(config).summary.area_ha / 100}

    print_measured(used, work)


if __name__ == "__main__":
    main()
