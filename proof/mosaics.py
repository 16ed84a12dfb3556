"""Real mining scenes, each scanned with networks that did not see it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from rasterio import features

from proof.contact_sheet import Panel, draw_contact_sheet
from proof.folds import join_out_of_fold
from proof.markdown import spell, to_table
from proof.mosaic_scene import (
    HALF_WINDOW_M,
    MIN_OBSERVED,
    MosaicScene,
    is_vegetation,
    read_mosaic,
    share_around,
)
from proof.setup import Setup
from sluice.app.config import ScanConfig
from sluice.app.workflows import scan
from sluice.base.arrays import ArrayHW, FloatArray
from sluice.base.files import open_raster
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import bootstrap_estimates, zero_aware
from sluice.labels.chips import read_chip_table

PICTURE = "mosaics.png"
_SHARES = (0.0, 0.5, 0.8, 0.95, 1.0)
"""Edges of the classes of vegetation share."""
_DEFAULT = -1
"""Stands for the package itself among folds: chips it was not trained on."""


@dataclass(frozen=True)
class _Map:
    """What one scan left."""

    scores: ArrayHW
    """Of the cells."""
    x: FloatArray
    """(columns,) centres of the cells."""
    y: FloatArray
    """(rows,) likewise."""
    sites: gpd.GeoDataFrame
    """In the CRS of the scene."""
    workings: gpd.GeoDataFrame
    """Outlined within them, likewise."""


def prove_mosaics(setup: Setup) -> str:
    """Scan, measure, draw, and write the tables."""
    chips = read_chip_table(setup.chips)
    folds = join_out_of_fold(setup, chips)["fold"].reindex(chips.index, fill_value=_DEFAULT)
    chips = chips.assign(fold=folds)
    found, cells, ground, panels, mixed = [], [], [], [], 0
    for path in sorted((setup.data / "s2-rgb-mosaics").glob("*.tif")):
        scene = read_mosaic(path, chips)
        maps = {fold: _scan(setup, scene, fold) for fold in scene.folds}
        mixed += len(maps) > 1
        found.append(_judge_chips(scene, maps))
        cells.append(_judge_cells(scene, maps))
        ground.append(_judge_ground(scene, maps))
        panels.append(_panel(scene, maps))
    draw_contact_sheet(setup.pictures / PICTURE, panels)
    threshold = setup.package.manifest.thresholds.t_main
    return "\n\n".join(
        [
            f"{len(panels)} scenes, {mixed} of them with chips of several folds: scanned once for "
            "each, every place judged by the networks that did not see its chip. Threshold "
            f"{threshold:.3f}. Picture: `{setup.pictures.name}/{PICTURE}`.",
            _chips_table(pd.concat(found), threshold),
            "Pixels of the scenes:",
            _ground_table(pd.concat(ground)),
            "Cells of the maps, by how much of the 480 m square around them is vegetation:",
            _cells_table(pd.concat(cells), threshold),
        ]
    )


def _scan(setup: Setup, scene: MosaicScene, fold: int) -> _Map:
    model = setup.model if fold == _DEFAULT else str(setup.fold_folder(fold))
    out: Path = setup.work / "mosaics" / f"{scene.path.stem}-{fold}"
    paths = scan(ScanConfig(images=(scene.path,), out=out, model=model)).paths
    with open_raster(paths.score) as source:
        a, scores = source.transform, source.read(1)
    rows, cols = (np.arange(size) + 0.5 for size in scores.shape)
    sites = gpd.read_parquet(paths.sites_parquet).to_crs(scene.crs)
    workings = gpd.read_file(paths.sites_gpkg, layer="workings").to_crs(scene.crs)
    return _Map(scores, a.c + a.a * cols, a.f + a.e * rows, sites, workings)


def _judge_chips(scene: MosaicScene, maps: dict[int, _Map]) -> pd.DataFrame:
    """Score at the centre and best score in the square of each mine chip."""
    rows = []
    for fold, found in maps.items():
        own = scene.chips[scene.chips["fold"] == fold]
        places = gpd.points_from_xy(own["x"], own["y"])
        for x, y, group, place in zip(own["x"], own["y"], own["group"], places, strict=True):
            down, right = np.abs(found.y - y), np.abs(found.x - x)
            square = found.scores[np.ix_(down < HALF_WINDOW_M, right < HALF_WINDOW_M)]
            rows.append(
                {
                    "group": group,
                    "centre": found.scores[down.argmin(), right.argmin()],
                    "peak": np.nanmax(square, initial=-np.inf),
                    "in_site": bool(found.sites.geometry.intersects(place).any()),
                }
            )
    return pd.DataFrame(rows)


def _judge_cells(scene: MosaicScene, maps: dict[int, _Map]) -> pd.DataFrame:
    """Score and share of vegetation of each observed cell."""
    seen, green = scene.seen, scene.seen & is_vegetation(scene.rgb_bhw)
    parts = []
    for fold, found in maps.items():
        x, y = np.meshgrid(found.x, found.y)
        observed = share_around(seen, scene.transform, x, y)
        kept = (scene.nearest_fold(x, y) == fold) & np.isfinite(found.scores)
        kept &= observed >= MIN_OBSERVED
        share = share_around(green, scene.transform, x[kept], y[kept]) / observed[kept]
        parts.append(
            pd.DataFrame(
                {
                    "scene": scene.path.stem,
                    "score": found.scores[kept],
                    # The filter's sums are rounded.
                    "vegetation": np.clip(share, 0, 1),
                }
            )
        )
    return pd.concat(parts)


def _judge_ground(scene: MosaicScene, maps: dict[int, _Map]) -> pd.DataFrame:
    """Whether each pixel is vegetation, and whether it lies in a site and in outlined workings."""
    nearest = scene.nearest_fold(*scene.pixel_centres())
    marked, outlined = np.zeros((2, *scene.seen.shape), bool)
    for fold, found in maps.items():
        for layer, shapes in ((marked, found.sites), (outlined, found.workings)):
            if len(shapes):
                inside = features.geometry_mask(
                    shapes.geometry, layer.shape, scene.transform, invert=True
                )
                layer[inside & (nearest == fold)] = True
    green = is_vegetation(scene.rgb_bhw)
    return pd.DataFrame(
        {
            "scene": scene.path.stem,
            "vegetation": green[scene.seen],
            "marked": marked[scene.seen],
            "outlined": outlined[scene.seen],
        }
    )


def _chips_table(chips: pd.DataFrame, threshold: float) -> str:
    marks = {
        "cell at the centre is marked": chips["centre"] >= threshold,
        "a cell of its 480 m square is marked": chips["peak"] >= threshold,
        "centre lies in a site": chips["in_site"],
    }
    rows = [[what, _share(hit, chips["group"])] for what, hit in marks.items()]
    groups = chips["group"].nunique()
    return to_table(["", f"share of {len(chips)} mine chips in {groups} groups"], rows)


def _ground_table(pixels: pd.DataFrame) -> str:
    rows = []
    for name, members in (
        ("bare ground, workings, pale water", pixels[~pixels["vegetation"]]),
        ("vegetation and dark water", pixels[pixels["vegetation"]]),
    ):
        shares = [_share(members[within], members["scene"]) for within in ("marked", "outlined")]
        rows.append([name, f"{len(members) / 100:,.0f}", *shares])
    return to_table(["ground", "ha", "share in sites", "share in workings outlined in them"], rows)


def _cells_table(cells: pd.DataFrame, threshold: float) -> str:
    rows = []
    for low, high in itertools.pairwise(_SHARES):
        last = high == _SHARES[-1]
        below = cells["vegetation"] <= high if last else cells["vegetation"] < high
        members = cells[(cells["vegetation"] >= low) & below]
        share = "-"
        if len(members):
            share = _share(members["score"] >= threshold, members["scene"])
        scenes = members["scene"].nunique()
        rows.append([f"{low:.0%} to {high:.0%}", f"{len(members):,}", str(scenes), share])
    return to_table(["vegetation", "cells", "in scenes", "share marked"], rows)


def _share(hit: pd.Series, blocks: pd.Series) -> str:
    everything = np.ones(len(hit), bool)
    statistic = partial(metrics.share, hit.to_numpy(bool), everything)
    found = bootstrap_estimates({"share": statistic}, blocks.to_numpy())["share"]
    return spell(zero_aware(found, blocks.nunique()))


def _panel(scene: MosaicScene, maps: dict[int, _Map]) -> Panel:
    most = int(scene.chips["fold"].mode().iloc[0])
    seen_by = "default" if most == _DEFAULT else f"without fold {most}"
    zone, east, north = scene.path.stem.split("_")[-3:]
    return Panel(
        title=f"EPSG:{zone} {east} {north}, {seen_by}",
        rgb_bhw=scene.rgb_bhw,
        transform=scene.transform,
        outlines=tuple(maps[most].sites.geometry),
        workings=tuple(maps[most].workings.geometry),
        points=tuple(zip(scene.chips["x"], scene.chips["y"], strict=True)),
    )
