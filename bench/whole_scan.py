"""Whole scans, each in a process of its own: speed, memory, and what bf16 changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd

from bench.machine import core_count
from bench.table import Row
from sluice.base.errors import ConfigError
from sluice.models.runtime import choose_engine

_PLAIN = {"outlines": "none"}
_LONGEST_S = 1800
"""Of one scan; the largest takes minutes."""
SPEED_TARGET = "200 km²/s on two cores"
MEMORY_TARGET = "under 2 GB, whatever the size"


@dataclass(frozen=True)
class ScanFigures:
    """What one scan took: see `bench.scan_child`."""

    wall_s: float
    cpu_s: float
    stages_s: dict[str, float]
    """Sums over threads, where a stage ran in several."""
    threads: dict[str, int]
    """How many threads each stage ran in."""
    peak_bytes: int
    area_km2: float
    sites: int

    @property
    def peak_in_words(self) -> str:
        """In GB."""
        return f"{self.peak_bytes / 1e9:.2f} GB"


def stages_in_words(figures: dict[str, Any]) -> str:
    """Seconds by stage; what are sums over threads is called so."""
    words = []
    for name, seconds in figures["stages_s"].items():
        threads = figures["threads"][name]
        summed = f" (sum of {threads} threads)" if threads > 1 else ""
        words.append(f"{name} {seconds:.1f}{summed}")
    return ", ".join(words)


def run_scan(image: Path | None, out: Path, model: str, **options: str) -> ScanFigures:
    """Scan in a process of its own.

    Args:
        image: A file or a folder of bands; None where the options name a catalogue.
        out: Of the scan; is removed first.
        model: Name or folder.
        options: Further fields of `ScanConfig`.

    Raises:
        RuntimeError: The scan failed; the message holds its last words.
    """
    shutil.rmtree(out, ignore_errors=True)
    images = [str(image)] if image else []
    config = {"images": images, "out": str(out), "model": model, **options}
    command = [sys.executable, "-m", "bench.scan_child", json.dumps(config)]
    try:
        # Our own module, and no shell.
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, timeout=_LONGEST_S
        )
    except subprocess.TimeoutExpired as err:
        raise RuntimeError(
            f"the scan with {model} of {image} was not done after {_LONGEST_S} s"
        ) from err
    if done.returncode:
        raise RuntimeError(
            f"the scan with {model} of {image} failed: {done.stderr.strip()[-2000:]}"
        )
    return ScanFigures(**json.loads(done.stdout.splitlines()[-1]))


def measure_speed(image: Path, work: Path, model: str) -> list[Row]:
    """A whole scan with each engine that is installed, and bf16 where the processor has it.

    The target is that of a scan without outlines of workings, a second model; one is with them.
    """
    rows = []
    for engine, precision, options in (
        ("onnxruntime", "f32", _PLAIN),
        ("openvino", "f32", _PLAIN),
        ("openvino", "bf16", _PLAIN),
        ("onnxruntime", "f32", {}),
    ):
        outlined = "" if options else ", workings outlined"
        what = f"whole scan: read, predict, sites{outlined}, products; {engine}, {precision}"
        try:
            choose_engine(engine, precision)
        except ConfigError as err:
            rows.append(Row(what, "not measured", SPEED_TARGET, str(err)))
            continue
        took = run_scan(image, work / "out", model, engine=engine, precision=precision, **options)
        rows.append(
            Row(
                what,
                f"{took.area_km2 / took.wall_s:,.0f} km²/s",
                SPEED_TARGET if options else "",
                f"{took.area_km2:,.0f} km² in {took.wall_s:.1f} s on {core_count()} cores "
                f"({took.cpu_s:.1f} s of processor time); seconds: {stages_in_words(vars(took))}; "
                f"peak {took.peak_in_words}; {took.sites:,} sites",
            )
        )
    return rows


def measure_memory(images: dict[int, Path], work: Path, model: str) -> list[Row]:
    """Peak memory of a whole scan, by the image's side in pixels."""
    rows = []
    for side, image in images.items():
        took = run_scan(image, work / "out", model)
        rows.append(
            Row(
                f"peak memory of a whole scan, {side:,} x {side:,} px",
                took.peak_in_words,
                MEMORY_TARGET,
                f"{took.area_km2:,.0f} km² in {took.wall_s:.0f} s; "
                f"seconds: {stages_in_words(vars(took))}; {took.sites:,} sites",
            )
        )
    return rows


def measure_bf16(image: Path, work: Path, model: str) -> Row:
    """How many sites bf16 changes on phantom scenes."""
    what = "sites that bf16 changes, phantom scenes"
    try:
        choose_engine("openvino", "bf16")
    except ConfigError as err:
        return Row(what, "not available", "", str(err))
    took = {}
    for precision in ("f32", "bf16"):
        took[precision] = run_scan(
            image, work / precision, model, engine="openvino", precision=precision
        )
    lost, gained = compare_sites(work / "f32" / "sites.gpkg", work / "bf16" / "sites.gpkg")
    return Row(
        what,
        f"{lost} lost, {gained} new of {took['f32'].sites}",
        "",
        f"a site is lost or new where it touches none of the other run; "
        f"f32 {took['f32'].wall_s:.1f} s, bf16 {took['bf16'].wall_s:.1f} s",
    )


def compare_sites(one: Path, other: Path) -> tuple[int, int]:
    """Sites of each file that touch none of the other's."""
    first, second = (gpd.read_file(path, layer="sites") for path in (one, other))
    return _alone(first, second), _alone(second, first)


def _alone(sites: gpd.GeoDataFrame, others: gpd.GeoDataFrame) -> int:
    met, _ = others.sindex.query(sites.geometry, predicate="intersects")
    return len(sites) - len(set(met.tolist()))
