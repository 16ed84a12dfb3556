"""How well ground cover is told: on the phantom, whose ground is known, and what real pairs say."""

from __future__ import annotations

import datetime as dt

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio.features
from odc.geo.geobox import GeoBox

from proof.markdown import to_table
from proof.setup import Setup
from sluice.base.arrays import BoolHW
from sluice.base.classes import ClassesHW
from sluice.phantom.scene import build_scene
from sluice.phantom.series import build_series
from sluice.phantom.spectra import BANDS, BARE, COVERS, VEGETATION, WATER
from sluice.sites.cover import Cover, classify_cover, cover_hectares, cover_loss

_BANDS = ("green", "red", "nir", "swir16")
_CODES = ("B03", "B04", "B08", "B11")
_NAMES = [cover.name.lower() for cover in Cover]
_SEEDS = range(100, 105)
_OBJECTS = 2000
_GROUPS = {
    "forest": ("forest",),
    "regrowth": ("regrowth",),
    "green crop": ("crop_green",),
    "green pasture": ("pasture_green",),
    "dry pasture, ripe crop": ("pasture_dry", "crop_ripe"),
    "bare ground, 12 kinds": tuple(name for name, cover in COVERS.items() if cover.scl == BARE),
    "water, 9 kinds": tuple(name for name, cover in COVERS.items() if cover.scl == WATER),
}


def prove_cover(setup: Setup) -> str:
    """Confusion by spectra and by pixels of scenes, forest lost to mines, and real pairs."""
    parts = [
        f"Pure spectra of the phantom's ground, {_OBJECTS} objects of each kind: percent told as",
        to_table(["ground", *_NAMES], _of_spectra()),
        f"Pixels of {len(_SEEDS)} phantom scenes of 6 x 6 km, edges and 20 m bands included: "
        "percent told as",
        to_table(["ground", *_NAMES], _of_scenes()),
        _of_mines(),
    ]
    return "\n\n".join([*parts, _of_pairs(setup)] if setup.has_data else parts)


def _of_spectra() -> list[list[str]]:
    rng = np.random.default_rng(1)
    index = [BANDS.index(code) for code in _CODES]
    rows = []
    for group, names in _GROUPS.items():
        counts = np.zeros(len(Cover))
        for name in names:
            cover = COVERS[name]
            drawn = np.stack([cover.draw(rng)[index] for _ in range(_OBJECTS)], axis=1)
            drawn = drawn * (1 + rng.normal(0, cover.pixel_sd, _OBJECTS))
            told = classify_cover(*drawn.astype(np.float32)[:, None])
            counts += np.bincount(told.ravel(), minlength=256)[: len(Cover)]
        rows.append(_percents(group, counts))
    return rows


def _of_scenes() -> list[list[str]]:
    counts: dict[str, np.ndarray] = {}
    for seed in _SEEDS:
        scene = build_scene(seed, 600)
        grid = scene.raster.geobox
        bands = [scene.raster.band(name) for name in _BANDS]
        told = classify_cover(*[np.where(scene.clear, band, np.float32(np.nan)) for band in bands])
        farm = _burn(scene.confusers[scene.confusers["kind"] == "farmland"], grid)
        other = _burn(scene.confusers[scene.confusers["kind"] != "farmland"], grid)
        mine = _burn(scene.mines, grid)
        green = scene.scl_hw == VEGETATION
        truths = {
            "forest, and regrowth within it": ~farm & ~other & ~mine & green,
            "plants within farmland (a fifth is woods and regrowth)": farm & ~other & ~mine & green,
            "rivers, lakes, fish ponds": ~mine & (scene.scl_hw == WATER),
            "bare ground outside of mines": ~mine & (scene.scl_hw == BARE),
            "ponds of mines, about two pixels wide": mine & (scene.scl_hw == WATER),
            "bare ground of mines": mine & (scene.scl_hw == BARE),
            "all of the mines": mine,
        }
        for name, truth in truths.items():
            found = np.bincount(told[truth], minlength=256)[: len(Cover)]
            counts[name] = counts.get(name, np.zeros(len(Cover))) + found
    return [_percents(name, count) for name, count in counts.items()]


def _of_mines() -> str:
    """Forest hectares lost within mines that began between two dates, against the truth."""
    told, true = [], []
    for seed in _SEEDS:
        days = (dt.date(2022, 7, 1), dt.date(2024, 7, 1))
        series = build_series(seed, 600, days, cloud_shares=(0.0, 0.0), farmland_share=0.28)
        before, after = (
            classify_cover(*[series.scene_at(n).raster.band(name) for name in _BANDS])
            for n in range(2)
        )
        begun = series.mines_at(days[1])
        begun = begun[begun["started"] > days[0].isoformat()]
        farm = series.confusers[series.confusers["kind"] == "farmland"].union_all()
        for shape in begun.geometry:
            place = gpd.GeoSeries([shape], crs=begun.crs)
            loss = cover_loss(before, after, series.geobox, place).iloc[0]
            told.append(float(loss["forest_lost_ha"]))
            woods = gpd.GeoSeries([shape.difference(farm)], crs=begun.crs)
            water = cover_hectares(before, series.geobox, woods)["water_ha"].iloc[0]
            true.append(shape.difference(farm).area / 10_000 - float(np.nan_to_num(water)))
    return (
        f"Within {len(true)} mines that began between two clear dates, two years apart, "
        f"{sum(true):.0f} ha were outside of farmland and no water before (truth); "
        f"{sum(told):.0f} ha are told as forest lost, {100 * sum(told) / sum(true):.0f} %."
    )


def _of_pairs(setup: Setup) -> str:
    folder = setup.data / "s2-pairs-amazon"
    pairs = pd.read_csv(folder / "pairs.csv")
    shares = [
        [
            float((told == cover).sum() / max(1, (told != 255).sum()))
            for when in ("t0", "t1")
            for told in [_told(np.load(folder / pair[f"{when}_path"]))]
            for cover in Cover
        ]
        for _, pair in pairs.iterrows()
    ]
    kind = pairs["sample_id"].str.split("_").str[0]
    means = 100 * pd.DataFrame(shares).groupby(kind).mean()
    rows = [
        [
            f"{name} ({(kind == name).sum()})",
            *(f"{mean[n]:.0f} → {mean[n + len(Cover)]:.0f}" for n in range(len(Cover))),
        ]
        for name, mean in means.iterrows()
    ]
    return (
        "Real pairs of 48 x 48 pixels in Amazonia, 2019 → 2021, by label of the change; no truth "
        "of the cover: mean percent told as\n\n" + to_table(["label", *_NAMES], rows)
    )


def _told(chip: np.ndarray) -> ClassesHW:
    """Cover of a chip of DN, bands blue, green, red, NIR, SWIR 1 and 2; 0 is no data."""
    bands = np.where(chip == 0, np.nan, chip / 10_000).astype(np.float32)
    return classify_cover(*np.moveaxis(bands[..., 1:5], 2, 0))


def _burn(shapes: gpd.GeoDataFrame, grid: GeoBox) -> BoolHW:
    if shapes.empty:
        return np.zeros(grid.shape.yx, np.bool_)
    burnt = rasterio.features.rasterize(
        shapes.geometry, out_shape=grid.shape.yx, transform=grid.affine
    )
    return np.asarray(burnt > 0)


def _percents(name: str, counts: np.ndarray) -> list[str]:
    return [name, *(f"{100 * count / counts.sum():.1f}" for count in counts)]
