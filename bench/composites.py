"""Composites: against odc-stac, Dask and xarray, and the memory of a full tile."""

from __future__ import annotations

import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from bench.machine import core_count
from bench.series import Series, write_series
from bench.table import Row
from bench.whole_scan import stages_in_words
from sluice.base.sensors import SENSORS

BANDS = ("B02", "B03", "B04", "B08")
ALL_BANDS = tuple(band.name for band in SENSORS["s2-l2a"].bands)
SPEED_TARGET = "3x"
MEMORY_TARGET = "at most 4 GB"
HOW_TO_GET_PEER = "install it with `pip install -e .[bench]`"


def compare_composites(work: Path, *, size_px: int, dates: int, rounds: int) -> list[Row]:
    """The same COGs to one median, by Sluice and by its peer, by turns."""
    what = f"composite of {size_px:,} px, {len(BANDS)} bands, {dates} dates, against odc-stac"
    series = write_series(work / "series", size_px, BANDS, dates, different=dates)
    has_peer = all(importlib.util.find_spec(name) for name in ("dask", "odc.stac"))
    took: dict[str, list[dict]] = {"ours": [], "unguarded": [], "peer": []}
    for _ in range(rounds):
        took["ours"].append(_run_ours(series, work / "composite", BANDS))
        took["unguarded"].append(_run_ours(series, work / "composite", BANDS, guard=False))
        if has_peer:
            took["peer"].append(
                _run("bench.peers.odc_stac_median", str(series.items), ",".join(BANDS))
            )
    median = {
        name: statistics.median(run["wall_s"] for run in runs)
        for name, runs in took.items()
        if runs
    }
    last = took["ours"][-1]
    beside = (
        f"{median['ours']:.1f} s with the temporal guard, {median['unguarded']:.1f} s without, "
        f"both with cloud margins, written as COG; seconds: {stages_in_words(last)}; "
        f"peak {last['peak_bytes'] / 1e9:.2f} GB"
    )
    if not has_peer:
        return [Row(what, "not compared", SPEED_TARGET, f"{beside}; {HOW_TO_GET_PEER}")]
    peer_gb = took["peer"][-1]["peak_bytes"] / 1e9
    return [
        Row(
            what,
            f"{median['peer'] / median['ours']:.1f}x",
            SPEED_TARGET,
            f"{beside}; odc-stac + Dask + `xarray.median`: {median['peer']:.1f} s, "
            f"peak {peer_gb:.2f} GB; median of {rounds} rounds on {core_count()} cores",
        )
    ]


def measure_composite_memory(work: Path, *, size_px: int, dates: int) -> list[Row]:
    """Peak memory of a composite of a whole Sentinel-2 tile with all bands."""
    series = write_series(work / "tile", size_px, ALL_BANDS, dates, different=2)
    took = _run_ours(series, work / "composite", ALL_BANDS)
    shutil.rmtree(work / "tile")
    return [
        Row(
            f"peak memory of a composite, {size_px:,} px, {len(ALL_BANDS)} bands, {dates} dates",
            f"{took['peak_bytes'] / 1e9:.2f} GB",
            MEMORY_TARGET,
            f"{took['area_km2']:,.0f} km² in {took['wall_s']:.0f} s; "
            f"seconds: {stages_in_words(took)}",
        )
    ]


def _run_ours(series: Series, out: Path, bands: tuple[str, ...], *, guard: bool = True) -> dict:
    shutil.rmtree(out, ignore_errors=True)
    config = {
        "source": str(series.items),
        "sensor": "s2-l2a",
        "area": ",".join(map(str, series.bbox_lonlat)),
        "first": "2023",
        "last": "2024",
        "out": str(out),
        "layers": bands,
        "guard": guard,
    }
    return _run("bench.composite_child", json.dumps(config))


def _run(module: str, *arguments: str) -> dict:
    command = [sys.executable, "-m", module, *arguments]
    # Our own modules, and no shell.
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr.strip()[-2000:]}")
    figures: dict = json.loads(done.stdout.splitlines()[-1])
    return figures
