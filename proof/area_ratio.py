"""True over delineated area of phantom mines: where the figures of `area_interval` come from."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from scipy import sparse

from proof.markdown import to_table
from proof.setup import Setup
from proof.workings import OUTLINES, burn, read_outlines
from sluice.app.config import ScanConfig, models_folder
from sluice.app.outlining import USUAL_MODEL
from sluice.app.workflows import scan
from sluice.labels.dataset import read_dataset
from sluice.models.package import load_package
from sluice.models.pixels import PixelPredictor
from sluice.phantom.scene import PhantomScene, build_scene
from sluice.phantom.series import build_series, spread_dates
from sluice.phantom.write import write_scene
from sluice.sites.area_interval import area_intervals

FITTED = tuple(range(9101, 9109))
"""Landscapes that the ratio is measured on; nothing else was ever tuned on them."""
CHECKED = tuple(range(9201, 9209))
"""Landscapes on which the intervals are judged; the ratio does not come from them."""
CHANGED = tuple(range(9301, 9307))
"""Landscapes seen twice, on which the error of a change of area is measured."""
_SIZES_HA = ((0, 5), (5, 20), (20, np.inf))
_FIRST = dt.date(2022, 1, 20)


def measure_groups(seeds: Sequence[int], model: str, work: Path) -> pd.DataFrame:
    """Scan phantom landscapes without cloud, and match delineated with true areas.

    Args:
        seeds: Of the landscapes.
        model: Detector.
        work: For scenes and maps.

    Returns:
        A row for each group of mines and detections that touch each other: `seed`, `true_ha`,
        `delineated_ha`, `perimeter_m`, `footprint_ha`. Mines that no detection touches and
        detections that touch no mine are not among them: the ratio is that of found mines.
    """
    tables = [_measure(seed, model, work / f"area-{seed}") for seed in seeds]
    return pd.concat(tables, ignore_index=True)


def _measure(seed: int, model: str, folder: Path) -> pd.DataFrame:
    scene = build_scene(seed, cloud_share=0, cirrus_share=0)
    sites = _scan(scene, model, folder)
    mines = scene.mines.geometry.to_numpy()
    group = _groups(sites["ground"].to_numpy(), mines)
    of_sites, of_mines = group[: len(sites)], group[len(sites) :]
    sums = functools.partial(np.bincount, minlength=group.max() + 1)
    table = pd.DataFrame(
        {
            "seed": seed,
            "true_ha": sums(of_mines, scene.mines["area_ha"]),
            "delineated_ha": sums(of_sites, sites["delineated_ha"]),
            "perimeter_m": sums(of_sites, sites["perimeter_m"]),
            "footprint_ha": sums(of_sites, sites["footprint_ha"]),
        }
    )
    return table[(table["true_ha"] > 0) & (table["footprint_ha"] > 0)]


def measure_changes(seeds: Sequence[int], model: str, work: Path) -> pd.DataFrame:
    """Scan phantom landscapes twice, a quarter apart, and match the changes of areas.

    Mines grow meanwhile, the season turns, and each date has errors of its own correction.

    Returns:
        A row for each group of mines and detections of both dates that touch each other, and were
        found on both: `seed`, and `true_ha`, `delineated_ha`, `footprint_ha` with `_0` and `_1`.
    """
    tables = [_measure_change(seed, model, work / f"change-{seed}") for seed in seeds]
    return pd.concat(tables, ignore_index=True)


def _measure_change(seed: int, model: str, folder: Path) -> pd.DataFrame:
    days = spread_dates(_FIRST, 5, 91)
    series = build_series(seed, 1200, days, mine_count=12, largest_ha=200, cloud_shares=[0] * 5)
    seen = [series.scene_at(index) for index in (0, 1)]
    sites = [
        _scan(
            PhantomScene(seed, days[n], one.raster, one.scl_hw, one.mines, series.confusers),
            model,
            folder / str(n),
        )
        for n, one in enumerate(seen)
    ]
    grounds = np.concatenate([one["ground"].to_numpy() for one in sites])
    group = _groups(grounds, np.concatenate([one.mines.geometry.to_numpy() for one in seen]))
    sizes = [len(sites[0]), len(sites[1]), len(seen[0].mines)]
    columns: dict[str, object] = {"seed": seed}
    for n, (own, mines) in enumerate(zip((0, 1), (2, 3), strict=True)):
        parts = np.split(group, np.cumsum(sizes))
        sums = functools.partial(np.bincount, minlength=group.max() + 1)
        columns[f"true_ha_{n}"] = sums(parts[mines], seen[n].mines["area_ha"])
        for name in ("delineated_ha", "footprint_ha"):
            columns[f"{name}_{n}"] = sums(parts[own], sites[n][name])
    table = pd.DataFrame(columns)
    return table[(table.drop(columns="seed") > 0).all(axis=1)]


def _scan(scene: PhantomScene, model: str, folder: Path) -> pd.DataFrame:
    """Its sites: `ground` (footprint and workings), `perimeter_m`, and their areas."""
    write_scene(scene, folder / "scene")
    finished = scan(ScanConfig(images=(folder / "scene",), out=folder / "map", model=model))
    utm = scene.mines.crs
    sites = gpd.read_parquet(finished.paths.sites_parquet).set_index("detection_id").to_crs(utm)
    workings = gpd.read_file(finished.paths.sites_gpkg, layer="workings").set_index("detection_id")
    outlines = workings.geometry.to_crs(utm).reindex(sites.index)
    grounds = [
        shapely.union(one, outline) if outline is not None else one
        for one, outline in zip(sites.geometry, outlines, strict=True)
    ]
    return pd.DataFrame(
        {
            "ground": grounds,
            "perimeter_m": np.nan_to_num(shapely.length(outlines.to_numpy())),
            "delineated_ha": sites["delineated_ha"].fillna(0).to_numpy(),
            "footprint_ha": sites["footprint_ha"].to_numpy(),
        }
    )


def _groups(
    grounds: npt.NDArray[np.object_], mines: npt.NDArray[np.object_]
) -> npt.NDArray[np.int32]:
    """Number of the group of each ground, then of each mine."""
    mine, ground = shapely.STRtree(grounds).query(mines, predicate="intersects")
    size = len(grounds) + len(mines)
    graph = sparse.coo_array((np.ones(len(mine)), (ground, mine + len(grounds))), (size, size))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])


def prove_area_ratio(setup: Setup) -> str:
    """Measure the ratio, how often its interval holds elsewhere, and the noise of a change."""
    fitted = measure_groups(FITTED, setup.model, setup.work)
    ratio = fitted["true_ha"] / fitted["delineated_ha"]
    checked = measure_groups(CHECKED, setup.model, setup.work)
    changes = measure_changes(CHANGED, setup.model, setup.work)
    tables = [
        f"True over delineated area of the mines that scans of {len(FITTED)} phantom landscapes "
        f"found (seeds {FITTED[0]} to {FITTED[-1]}, 12 x 12 km, no cloud):",
        _quantile_table({"all": ratio} | _by_size(ratio, fitted["delineated_ha"]), "mines"),
        f"Summed over all of them the ratio is "
        f"{fitted['true_ha'].sum() / fitted['delineated_ha'].sum():.2f}. How often the 80 % "
        f"interval holds the true area on {len(CHECKED)} other landscapes (seeds {CHECKED[0]} to "
        f"{CHECKED[-1]}), and on chips of real mines, the mean of two readers' outlines taken for "
        "the truth:",
        _held_table(checked, setup),
        f"By what factor an area changed more than the mine did, between two scans a quarter apart "
        f"(seeds {CHANGED[0]} to {CHANGED[-1]}; mines that were found in both):",
        _quantile_table(_change_errors(changes), "mines"),
    ]
    return "\n\n".join(tables)


def _by_size(values: pd.Series, size_ha: pd.Series) -> dict[str, pd.Series]:
    named = zip(("under 5 ha", "5 to 20 ha", "20 ha and more"), _SIZES_HA, strict=True)
    return {name: values[(size_ha >= low) & (size_ha < high)] for name, (low, high) in named}


def _quantile_table(rows: dict[str, pd.Series], of: str) -> str:
    heads = ["", of, "a tenth below", "median", "a tenth above"]
    cells = [
        [name, str(len(values)), *(f"{values.quantile(q):.3f}" for q in (0.1, 0.5, 0.9))]
        for name, values in rows.items()
    ]
    return to_table(heads, cells)


def _change_errors(changes: pd.DataFrame) -> dict[str, pd.Series]:
    true = changes["true_ha_1"] / changes["true_ha_0"]
    return {
        name: changes[f"{column}_1"] / changes[f"{column}_0"] / true
        for name, column in (("outlines", "delineated_ha"), ("footprints", "footprint_ha"))
    }


def _held_table(checked: pd.DataFrame, setup: Setup) -> str:
    sets = {"phantom, all": checked}
    for name, values in _by_size(checked["true_ha"], checked["delineated_ha"]).items():
        sets[f"phantom, {name}"] = checked.loc[values.index]
    if setup.has_data:
        sets |= {f"chips, {name}": measure_chips(name, setup) for name in ("first", "second")}
    rows = []
    for name, table in sets.items():
        ends = area_intervals(
            table["delineated_ha"],
            table["perimeter_m"],
            table["footprint_ha"],
            np.ones(len(table)),
        ).to_numpy()
        true = table["true_ha"].to_numpy()
        below, above = true < ends[:, 0], true > ends[:, 1]
        shares = (~below & ~above, below, above)
        rows.append([name, str(len(table)), *(f"{100 * share.mean():.0f} %" for share in shares)])
    return to_table(["", "mines", "within", "true area below", "above"], rows)


def measure_chips(name: str, setup: Setup) -> pd.DataFrame:
    """The same columns of thirty chips of real mines, whole chips for sites.

    Args:
        name: `first` or `second`, see `proof.workings`.
        setup: Where the chips are.
    """
    dataset = read_dataset(setup.chips)
    package = load_package(USUAL_MODEL, models_folder())
    readers = [read_outlines(path) for path in sorted(OUTLINES.glob(f"{name}-reader-*.json"))]
    ids = sorted(readers[0])
    rows = dataset.table.reset_index().set_index("chip_id").loc[ids, "index"].to_numpy()
    images = dataset.images(rows)
    found = PixelPredictor(package).classify_chips(images, dataset.about.bands)
    model = 1 - found[:, 0] >= package.manifest.thresholds.t_main
    side = images.shape[-1]
    true = [[burn(reader[chip]["polygons"], side).sum() for chip in ids] for reader in readers]
    padded = np.pad(model, ((0, 0), (1, 1), (1, 1))).astype(np.int8)
    edges = sum(np.abs(np.diff(padded, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    return pd.DataFrame(
        {
            "true_ha": np.mean(true, axis=0) / 100,
            "delineated_ha": model.sum(axis=(1, 2)) / 100,
            "perimeter_m": edges * 10.0,
            "footprint_ha": side**2 / 100,
        }
    )
