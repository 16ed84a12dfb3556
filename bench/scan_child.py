"""One scan in a process of its own: `python -m bench.scan_child JSON` prints what it took.

JSON holds the fields of `ScanConfig`. A process of its own, because peak memory is a process's.
"""

from __future__ import annotations

import json
import sys

from bench.child import print_measured
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
    searched = {"open": (gathering.Gatherer, ("gather", "describe"))}
    stages = STAGES | searched if config.source else STAGES

    def work() -> dict[str, float]:
        summary = workflows.scan(config).summary
        return {"area_km2": summary.area_ha / 100, "sites": summary.sites}

    print_measured(stages, work)


if __name__ == "__main__":
    main()
