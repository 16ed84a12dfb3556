"""How far phantom pixels may lie from real ones. No model takes part."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sluice.labels.chips import chip_reflectance, load_chips, read_chip_table
from sluice.phantom.realism import PLACES, describe_chips, median_log_ratio, phantom_chips
from sluice.phantom.scene import PhantomScene, build_scene

SOURCES = {
    "mine": "",
    "riverbank": "riverbank_negatives",
    "farmland": "v4.0-CNN-2025_acre_negatives",
    "industry": "industrial_negatives",
    "land": "random_negatives",
}
# In powers of two, mean over the middle quantiles. Rivers and industry differ more among
# themselves than two small scenes can show.
TOLERANCE = {"mine": 0.6, "riverbank": 0.9, "farmland": 0.6, "industry": 1.0, "land": 0.7}


@pytest.fixture(scope="module")
def scenes() -> list[PhantomScene]:
    return [build_scene(seed, 600, mine_count=6) for seed in (101, 104)]


def phantom(scenes: list[PhantomScene], place: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    hazes = (0.0, 0.15)
    parts = [
        phantom_chips(scene, place, 40, rng=rng, haze=haze)
        for scene, haze in zip(scenes, hazes, strict=True)
    ]
    return np.concatenate(parts)


def real(folder: Path, place: str) -> np.ndarray:
    table = read_chip_table(folder)
    table = table[(table["split"] == "pool") & (table["clear_threshold"] == 0.75)]
    table = table[table["label"] == int(place == "mine")]
    table = table[table["source"].str.startswith(SOURCES[place])]
    chosen = table.iloc[np.random.default_rng(1).permutation(len(table))[:150]]
    chips = chip_reflectance(load_chips(folder, chosen))
    return np.asarray(chips[np.isfinite(chips).all(axis=(1, 2, 3))])


@pytest.mark.parametrize("place", PLACES)
def test_phantom_pixels_resemble_real_ones(
    scenes: list[PhantomScene], shared_data: Path, place: str
) -> None:
    chips = phantom(scenes, place)
    assert len(chips) >= 20
    distance = median_log_ratio(
        describe_chips(chips), describe_chips(real(shared_data / "amw-chips", place))
    )
    too_far = distance[distance.abs() > TOLERANCE[place]]
    assert too_far.empty, f"{place}: {too_far.round(2).to_dict()}"


def test_the_tolerance_tells_kinds_of_place_apart(
    scenes: list[PhantomScene], shared_data: Path
) -> None:
    mines = describe_chips(phantom(scenes, "mine"))
    land = describe_chips(real(shared_data / "amw-chips", "land"))
    assert median_log_ratio(mines, land).abs().max() > max(TOLERANCE.values())


def test_infrared_of_phantom_mines_resembles_real_surface_reflectance(
    scenes: list[PhantomScene], shared_data: Path
) -> None:
    folder = shared_data / "s2-pairs-amazon"
    pairs = pd.read_csv(folder / "pairs.csv")
    names = pairs.loc[pairs["change_type"] == "mining", "t1_path"]
    pixels = np.concatenate([np.load(folder / name).reshape(-1, 6) for name in names]) / 10_000
    green, red, nir, swir16, swir22 = pixels[:, 1:].T
    bare = (nir - red) / (nir + red + 1e-6) < 0.35
    bare &= (green - swir16) / (green + swir16 + 1e-6) < -0.1
    expected = np.median(np.stack([nir, swir16, swir22])[:, bare], axis=1)
    looks = []
    for scene in scenes:
        bands = [scene.raster.band(name) for name in ("red", "nir", "swir16", "swir22")]
        ground = scene.clear & (scene.scl_hw == 5)
        ground &= (bands[1] - bands[0]) / (bands[1] + bands[0]) < 0.35
        looks.append(np.stack(bands[1:])[:, ground])
    found = np.median(np.concatenate(looks, axis=1), axis=1)
    np.testing.assert_allclose(np.log2(found / expected), 0, atol=0.5)


def test_descriptions_of_known_pictures() -> None:
    flat = np.full((2, 48, 48, 3), 0.1)
    flat[1] = 0.2
    table = describe_chips(flat)
    assert table.loc["red", "q05"] == pytest.approx(1000)
    assert table.loc["blue", "q95"] == pytest.approx(2000)
    assert table.loc[["grain_3px", "edges", "contrast", "colour"]].to_numpy().max() < 1e-3
    ramp = np.broadcast_to(np.arange(48)[None, None, :, None] * 0.001, (1, 48, 48, 3))
    assert describe_chips(ramp).loc["edges", "q50"] == pytest.approx(10)
    doubled = median_log_ratio(table * 2, table)
    np.testing.assert_allclose(doubled[["red", "green", "blue"]], 1)
