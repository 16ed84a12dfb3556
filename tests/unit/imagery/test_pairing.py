"""Cloud layers that surface reflectance products lend to top-of-atmosphere images."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sluice.base.records import Scene
from sluice.imagery.assets import Asset, list_assets
from sluice.imagery.pairing import lend_sky
from sluice.imagery.scenes import SceneFiles

WriteTif = Callable[..., Path]
START = dt.datetime(2024, 1, 5, 14, 7, 9, tzinfo=dt.UTC)


def files(
    scene_id: str,
    *,
    at: dt.datetime | None = START,
    tile: str | None = "21MVN",
    baseline: str = "05.10",
    sky: Asset | None = None,
) -> SceneFiles:
    scene = Scene(
        id=scene_id,
        href=scene_id,
        sensor="s2-l2a" if sky else "s2-l1c",
        acquired=at.date() if at else None,
        acquired_at=at,
        tile=tile,
        processing_baseline=baseline,
        sky_layer="scl" if sky else None,
    )
    return SceneFiles(scene, {}, sky)


def scl(tmp_path: Path, write_tif: WriteTif, name: str = "scl") -> Asset:
    return list_assets(write_tif(tmp_path / f"{name}.tif", np.full((4, 4), 4, np.uint8)))[0]


def test_the_twin_of_tile_and_datatake_lends_its_classes(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    sky = scl(tmp_path, write_tif)
    l1c = files("S2A_MSIL1C_20240105T140709_N0510_R110_T21MVN_20240105T160000")
    l2a = files("S2A_MSIL2A_20240105T140709_R110_T21MVN_20240105T180000", sky=sky)
    (found,) = lend_sky([l1c], [l2a])
    assert found.sky is sky
    assert found.scene.sky_layer == "scl"
    assert found.scene.sky_from == l2a.scene.id
    assert found.scene.sensor == "s2-l1c"


def test_a_catalogue_that_gives_the_moment_over_the_tile_is_matched_too(
    tmp_path: Path,
    write_tif: WriteTif,
) -> None:
    sky = scl(tmp_path, write_tif)
    l1c = files("S2A_MSIL1C_20240105T140709_N0510_R110_T21MVN_20240105T160000")
    later = START + dt.timedelta(minutes=11, seconds=32)
    earth_search = files("S2A_T21MVN_20240105T141841_L2A", at=later, sky=sky)
    assert lend_sky([l1c], [earth_search])[0].scene.sky_from == earth_search.scene.id
    # Another satellite minutes behind, or the same one an orbit later, saw other clouds.
    follower = files("S2C_T21MVN_20240105T141841_L2A", at=later, sky=sky)
    orbit_later = files(
        "S2A_T21MVN_20240105T154720_L2A", at=START + dt.timedelta(minutes=100), sky=sky
    )
    assert lend_sky([l1c], [follower, orbit_later])[0].sky is None


def test_without_satellites_in_the_names_only_the_same_second_counts(
    tmp_path: Path,
    write_tif: WriteTif,
) -> None:
    sky = scl(tmp_path, write_tif)
    near = files("a", at=START + dt.timedelta(seconds=1), sky=sky)
    far = files("b", at=START + dt.timedelta(seconds=30), sky=sky)
    assert lend_sky([files("x")], [far, near])[0].scene.sky_from == "a"
    assert lend_sky([files("x")], [far])[0].sky is None


def test_other_tiles_dates_and_layers_lend_nothing(tmp_path: Path, write_tif: WriteTif) -> None:
    sky = scl(tmp_path, write_tif)
    l1c = files("S2A_MSIL1C_20240105T140709_N0510_R110_T21MVN_20240105T160000")
    strangers = [
        files("S2A_T21MWN_L2A", tile="21MWN", sky=sky),
        files("S2A_T21MVN_L2A", at=START + dt.timedelta(days=10), sky=sky),
        files("S2A_T21MVN_undated_L2A", at=None, sky=sky),
        files("S2A_nowhere_L2A", tile=None, sky=sky),
        files("S2A_T21MVN_without_layer_L2A"),
    ]
    (found,) = lend_sky([l1c], strangers)
    assert found == l1c


def test_the_twin_of_the_same_baseline_comes_before_a_later_one(
    tmp_path: Path,
    write_tif: WriteTif,
) -> None:
    sky = scl(tmp_path, write_tif)
    old = files("S2A_old_L2A", baseline="02.08", sky=sky)
    newer = files("S2A_newer_L2A", baseline="05.00", sky=sky)
    newest = files("S2A_newest_L2A", baseline="05.10", sky=sky)
    twins = [newest, old, newer]
    of_old = files("S2A_MSIL1C_old", baseline="02.08")
    of_other = files("S2A_MSIL1C_other", baseline="04.00")
    lent = lend_sky([of_old, of_other], twins)
    assert [found.scene.sky_from for found in lent] == ["S2A_old_L2A", "S2A_newest_L2A"]


def test_a_layer_of_its_own_is_kept(tmp_path: Path, write_tif: WriteTif) -> None:
    own, other = scl(tmp_path, write_tif, "own"), scl(tmp_path, write_tif, "other")
    scene = files("S2A_MSIL1C_x", sky=own)
    assert lend_sky([scene], [files("S2A_x_L2A", sky=other)])[0].sky is own
