"""Measure, print the table, and with `--write` put it into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.composites import compare_composites, measure_composite_memory
from bench.dense import compare_dense
from bench.families import FULL as FULL_FAMILIES
from bench.families import QUICK as QUICK_FAMILIES
from bench.families import FamilySizes, measure_families
from bench.images import make_pattern, visible, write_image
from bench.keras_peer import compare_keras
from bench.landings import measure_landings
from bench.linking import measure_linking
from bench.machine import describe_machine
from bench.service import measure_large_service, measure_service
from bench.stores import measure_stores
from bench.table import Part, Row, make_part, to_markdown, write_between_markers
from bench.whole_scan import measure_bf16, measure_memory, measure_speed
from sluice.app.config import models_folder
from sluice.base.errors import SluiceError
from sluice.models.package import ModelPackage, load_package

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    scene_px: int
    """Side of a phantom scene."""
    dense_px: int
    """Side of the image of the dense pass."""
    dense_rounds: int
    keras_stride_px: int
    """Between the windows that Keras scores, on an image of 512 px."""
    keras_rounds: int
    speed_px: int
    """Side of the image of the whole scan."""
    memory_px: tuple[int, int]
    bf16_px: int
    composite_px: int
    composite_dates: int
    composite_rounds: int
    tile_px: int
    """Side of the whole tile whose composite's memory is measured."""
    store_sites: int
    """Each seen in five quarters."""
    store_queries: int
    service_s: float
    """Of each load of the service."""
    families: FamilySizes


FULL = Sizes(
    1200,
    1024,
    3,
    12,
    5,
    6000,
    (3000, 20_000),
    12_000,
    2048 // 6 * 6,
    20,
    3,
    10_980,
    200_000,
    300,
    20,
    FULL_FAMILIES,
)
QUICK = Sizes(
    480, 320, 1, 48, 1, 1000, (700, 1400), 700, 480, 4, 1, 960, 2000, 20, 2, QUICK_FAMILIES
)


@dataclass(frozen=True)
class Bench:
    """What the measurements share."""

    package: ModelPackage
    model: str
    sizes: Sizes
    work: Path

    @cached_property
    def whole_pattern_bhw(self) -> np.ndarray:
        """The phantom scenes that images repeat, in all bands."""
        _say("drawing phantom scenes")
        return make_pattern(self.sizes.scene_px)

    @cached_property
    def pattern_bhw(self) -> np.ndarray:
        """The same in red, green and blue."""
        return visible(self.whole_pattern_bhw)

    def image(self, size_px: int) -> Path:
        """A phantom image of this side."""
        path = self.work / f"image-{size_px}.tif"
        if not path.exists():
            write_image(path, self.pattern_bhw, size_px)
        return path

    def dense(self) -> list[Row]:
        """The dense pass."""
        sizes = self.sizes
        return [
            compare_dense(
                self.package, self.pattern_bhw, size_px=sizes.dense_px, rounds=sizes.dense_rounds
            )
        ]

    def keras(self) -> list[Row]:
        """The imported ensemble against its peer."""
        return compare_keras(
            self.work, stride_px=self.sizes.keras_stride_px, rounds=self.sizes.keras_rounds
        )

    def scan(self) -> list[Row]:
        """Speed of whole scans."""
        return measure_speed(self.image(self.sizes.speed_px), self.work, self.model)

    def families(self) -> list[Row]:
        """What families of models cost to train and to scan with."""
        return measure_families(self.work, self.whole_pattern_bhw, self.model, self.sizes.families)

    def bf16(self) -> list[Row]:
        """What bf16 changes."""
        return [measure_bf16(self.image(self.sizes.bf16_px), self.work, self.model)]

    def memory(self) -> list[Row]:
        """Peak memory of whole scans."""
        images = {side: self.image(side) for side in self.sizes.memory_px}
        return measure_memory(images, self.work, self.model)

    def composite(self) -> list[Row]:
        """Composites against their peer."""
        sizes = self.sizes
        return compare_composites(
            self.work,
            size_px=sizes.composite_px,
            dates=sizes.composite_dates,
            rounds=sizes.composite_rounds,
        )

    def composite_memory(self) -> list[Row]:
        """Peak memory of a whole tile's composite."""
        dates = self.sizes.composite_dates
        return measure_composite_memory(self.work, size_px=self.sizes.tile_px, dates=dates)

    def linking(self) -> list[Row]:
        """Linking detections to sites."""
        return measure_linking(sites=self.sizes.store_sites, quarters=5)

    def landing(self) -> list[Row]:
        """Landing a quarter in an area with its history."""
        return measure_landings(self.work, sites=self.sizes.store_sites // 10, quarters=5)

    def store(self) -> list[Row]:
        """Loading and asking stores."""
        sizes = self.sizes
        return measure_stores(
            self.work, sites=sizes.store_sites, quarters=5, queries=sizes.store_queries
        )

    def service(self) -> list[Row]:
        """`sluice serve` under load."""
        sizes = self.sizes
        return measure_service(
            self.work, self.pattern_bhw, sites=sizes.store_sites, seconds=sizes.service_s
        )

    def large_service(self) -> list[Row]:
        """`sluice serve` with five times as many sites."""
        sizes = self.sizes
        return measure_large_service(
            self.work, sites=5 * sizes.store_sites, seconds=sizes.service_s
        )


MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {
    "dense": Bench.dense,
    "keras": Bench.keras,
    "scan": Bench.scan,
    "bf16": Bench.bf16,
    "memory": Bench.memory,
    "families": Bench.families,
    "composite": Bench.composite,
    "composite-memory": Bench.composite_memory,
    "linking": Bench.linking,
    "landing": Bench.landing,
    "store": Bench.store,
    "service": Bench.service,
    "large-service": Bench.large_service,
}


def main() -> int:
    """Run what was asked for."""
    arguments = _parse()
    try:
        package = load_package(arguments.model, models_folder())
    except SluiceError as err:
        print(f"bench: {err}", file=sys.stderr)
        return 2
    machine = describe_machine()
    sizes = QUICK if arguments.quick else FULL
    parts: list[Part] = []
    failed: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", dir=arguments.work) as folder:
        bench = Bench(package, arguments.model, sizes, Path(folder))
        for name in arguments.only or MEASUREMENTS:
            _say(f"measuring {name}")
            try:
                parts.append(make_part(name, MEASUREMENTS[name](bench), machine))
            except RuntimeError as err:
                # The others took their time, and are told all the same.
                _say(str(err))
                row = Row("all of it", "failed", "", str(err).splitlines()[0])
                failed.append(make_part(name, [row], machine))
    print(to_markdown([*parts, *failed]))
    if arguments.write and parts:
        write_between_markers(DOCUMENT, parts, list(MEASUREMENTS))
        _say(f"written to {DOCUMENT}: {', '.join(part.name for part in parts)}")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--model", default="default", help="name or folder of a model package")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, help="some measurements")
    parser.add_argument("--write", action="store_true", help="put what was measured into docs/")
    parser.add_argument(
        "--work", type=Path, help="folder for temporary files (10 GB); the system's if left out"
    )
    arguments = parser.parse_args()
    if arguments.write and arguments.quick:
        parser.error("--write takes full sizes: leave out --quick")
    return arguments


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
