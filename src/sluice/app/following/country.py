"""Follow a phantom country as one would a real one: scan its quarters, land them, compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd

from sluice.app.config import ScanConfig, make_config
from sluice.app.following.landing_runs import RADAR_DROP, land_folder
from sluice.app.following.layer_files import LayerColumns, read_layer
from sluice.app.jobs import Job
from sluice.app.workflows import scan_all
from sluice.base.errors import RunFailed
from sluice.base.periods import Period
from sluice.base.places import LayerKind
from sluice.base.store import SiteQuery, Store
from sluice.phantom.country_files import CountryFiles, read_truth
from sluice.phantom.follow_compare import FollowTruth, compare_following
from sluice.phantom.follow_records import CountryComparison
from sluice.scan.run import Progress

AREA = "phantomia"
"""What the country is called in a store."""
OPTICAL, RADAR = "optical", "radar"
"""Folders of the scans, and what they look with."""
RADAR_LEAST_HA = 0.5
"""Smallest footprint of `radar-drop` to report: a quarter's new ponds are small."""

_TILE_PX = 384  # so that a small country is several tiles, one for each core
_BUFFERS = {LayerKind.ROADS: "30 m"}

Done = Callable[[int, int], None]
"""Told how many of how many are done."""


def scan_country(
    files: CountryFiles,
    quarters: tuple[Period, ...],
    out: Path,
    *,
    look: str,
    keep: tuple[str, ...] = ("none",),
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    done: Done | None = None,
) -> dict[Period, Path]:
    """Scan each quarter; those that are scanned already are kept.

    Args:
        files: Of the country.
        quarters: In order.
        out: Gets a folder for each quarter.
        look: `OPTICAL`, the default model on Sentinel-2, or `RADAR`, the fall of the echo since
            the quarter before, which the first quarter has none of.
        keep: Bands of the image to keep beside each map.
        workers: Tiles at a time.
        overwrite: Scan again.
        progress: Told of each tile.
        done: Told of each quarter.

    Returns:
        The folder of each quarter.

    Raises:
        RunFailed: A quarter could not be scanned, other than for clouds over all of it.
    """
    first, last = quarters[0].start, quarters[-1].end
    more: dict[str, Any] = {"tile_px": _TILE_PX}
    if look == RADAR:
        more = {"model": RADAR_DROP, "outlines": "none", "min_footprint_ha": RADAR_LEAST_HA}
    config = make_config(
        ScanConfig,
        source=str(files.catalogue),
        area=str(files.area),
        first=f"{first:%Y-%m}",
        last=f"{last:%Y-%m}",
        every="quarter",
        out=out,
        keep=keep,
        workers=workers,
        overwrite=overwrite,
        **more,
    )
    folders: dict[Period, Path] = {}

    def note(job: Job) -> dict[str, Any]:
        if job.period is not None:
            folders[job.period] = job.out
        if done is not None:
            done(len(folders), len(quarters) - (look == RADAR))
        return {}

    failed = [each for each in scan_all(config, progress, also=note) if each.status == "failed"]
    # A quarter under whole cloud has no map, and nothing that could land.
    stopped = [each for each in failed if "nothing could be observed" not in (each.error or "")]
    if stopped:
        raise RunFailed(f"{stopped[0].job}: {stopped[0].error}")
    return folders


def register_layers(store: Store, files: CountryFiles) -> None:
    """Register what an authority of the country has on file; a layer that is there is replaced."""
    for kind in LayerKind:
        path = files.layer(kind)
        if not path.is_file():
            continue
        columns = set(gpd.read_file(path, rows=1).columns)
        named = {name: name for name in ("name", "id", "start", "end") if name in columns}
        read = read_layer(
            path,
            name=kind.value,
            buffer=_BUFFERS.get(kind, "0 m"),
            columns=LayerColumns(**named),
            licence="fictional",
        )
        store.put_layer(read.layer, read.features)


def land_country(
    store: Store,
    files: CountryFiles,
    scans: list[dict[Period, Path]],
    *,
    done: Done | None = None,
) -> None:
    """Land the quarters in order, of all sensors; those that have landed stay.

    Args:
        store: With the layers of context.
        files: Of the country.
        scans: Folders by quarter, of one sensor each.
        done: Told of each landing.
    """
    border = gpd.read_file(files.area).to_crs("EPSG:4326").geometry.iloc[0]
    folders = [
        (quarter, number, folder) for number, s in enumerate(scans) for quarter, folder in s.items()
    ]
    for told, (_, _, folder) in enumerate(sorted(folders), 1):
        land_folder(store, folder, area_name=AREA, geometry=border)
        if done is not None:
            done(told, len(folders))


def compare_country(
    store: Store, files: CountryFiles, quarters: tuple[Period, ...]
) -> CountryComparison:
    """Compare what a store says of the country with the truth."""
    truth, confusers = read_truth(files)
    query = SiteQuery(area=AREA, with_past=True)
    sites = store.sites(query)
    border = gpd.read_file(files.area)
    return compare_following(
        FollowTruth(
            quarters=truth,
            confusers=confusers,
            periods=tuple((quarter.start, quarter.end) for quarter in quarters),
            area_km2=float(border.to_crs(truth.crs).area.sum()) / 1e6,
        ),
        sites,
        store.periods(list(sites["site_id"])),
        store.alerts(query),
    )
