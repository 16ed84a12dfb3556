"""The 1000 of processing baseline 04.00 is taken off once, or the scene is refused."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stac_items as si
from sluice.base.errors import AuthError, SourceUnavailable
from sluice.base.records import LeftOut
from sluice.base.sensors import find_sensor
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac.claims import OffsetClaim, UnsettledFiles, claim_of_baseline
from sluice.imagery.stac.items import Reading, scene_of_item
from sluice.imagery.stac.offsets import (
    Evidence,
    dark_bands,
    darkest,
    evidence_of,
    settle_offset,
    settle_offsets,
)

SIDE = 200
SURFACES = {
    # Reflectance at the surface in blue and red, with their spread.
    "forest": (0.025, 0.020, 0.005),
    "clear water": (0.045, 0.025, 0.008),
    "turbid water": (0.060, 0.110, 0.010),
    "savanna": (0.060, 0.110, 0.010),
    "bare soil": (0.090, 0.170, 0.020),
    "sand": (0.150, 0.320, 0.015),
    "snow": (0.850, 0.850, 0.050),
    "thick cloud": (0.550, 0.550, 0.100),
}
"""Rounded from spectral libraries and the Sentinel-2 chips of mining areas."""


def counts_of(surface: str, *, shifted: bool, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Counts of blue and red over one kind of ground, as the product would hold them."""
    blue, red, spread = SURFACES[surface]
    rng = np.random.default_rng(seed)
    return {
        band: to_counts(rng.normal(level, spread, (SIDE, SIDE)), shifted=shifted)
        for band, level in (("blue", blue), ("red", red))
    }


def to_counts(reflectance: np.ndarray[Any, Any], *, shifted: bool) -> np.ndarray[Any, Any]:
    """As ESA's processor writes them: 0 means no data, so dark ground is clipped to 1."""
    counts = np.round(reflectance * 10000) + (1000 if shifted else 0)
    return np.clip(counts, 1, 65535).astype(np.float32)


def scene(claim: OffsetClaim, sensor: str = "s2-l2a") -> UnsettledFiles:
    item = si.earth_search_l1c() if sensor == "s2-l1c" else si.earth_search_c1()
    files = scene_of_item(item, Reading(find_sensor(sensor)))
    assert isinstance(files, UnsettledFiles)
    return replace(files, claim=claim)


SHIFTED = OffsetClaim(shifted=True, is_sure=True, source="baseline 05.11")
NOT_SHIFTED = OffsetClaim(shifted=False, is_sure=True, source="baseline 02.14")


# What the pixels show


@pytest.mark.parametrize("surface", ["forest", "clear water"])
@pytest.mark.parametrize("shifted", [True, False])
def test_dark_ground_tells(surface: str, shifted: bool) -> None:
    expected = Evidence.THERE if shifted else Evidence.NOT_THERE
    assert evidence_of(counts_of(surface, shifted=shifted)) is expected


@pytest.mark.parametrize("surface", ["bare soil", "sand", "snow", "thick cloud"])
@pytest.mark.parametrize("shifted", [True, False])
def test_bright_ground_misleads_nobody(surface: str, shifted: bool) -> None:
    wrong = Evidence.NOT_THERE if shifted else Evidence.THERE
    assert evidence_of(counts_of(surface, shifted=shifted)) is not wrong


@given(
    st.lists(st.sampled_from(sorted(SURFACES)), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 10_000),
    st.floats(0, 0.9),
)
@settings(max_examples=60)
def test_no_mixture_of_grounds_misleads(
    surfaces: list[str], shifted: bool, seed: int, absent: float
) -> None:
    # Quarters of different ground, and a wedge without data.
    quarters = [counts_of(name, shifted=shifted, seed=seed + k) for k, name in enumerate(surfaces)]
    rows = np.arange(SIDE) * len(quarters) // SIDE
    overviews = {
        band: np.concatenate([quarters[k][band][rows == k] for k in range(len(quarters))])
        for band in ("blue", "red")
    }
    for counts in overviews.values():
        counts[:, : int(absent * SIDE)] = 0
    wrong = Evidence.NOT_THERE if shifted else Evidence.THERE
    found = evidence_of(overviews)
    assert found is not wrong
    if {"forest", "clear water"} & set(surfaces) and absent < 0.5:
        assert found is (Evidence.THERE if shifted else Evidence.NOT_THERE)


def test_a_little_below_zero_is_no_proof() -> None:
    # Atmospheric correction overdone by 0.02 over all of a forest.
    counts = {
        band: to_counts(np.full((SIDE, SIDE), -0.02), shifted=True) for band in ("blue", "red")
    }
    assert evidence_of(counts) is Evidence.NONE


def test_the_edge_of_the_swath_averaged_with_no_data_is_no_proof() -> None:
    # Overviews that average mix counts with the 0 beyond the edge.
    fine = np.zeros((SIDE * 4, SIDE * 4), np.float32)
    across = np.arange(SIDE * 4)
    forest = counts_of("forest", shifted=True)["blue"].repeat(4, axis=0).repeat(4, axis=1)
    # A narrow strip, as at the side of a tile.
    inwards = across[None, :] - across[:, None] // 2 - 101
    seen = (inwards > 0) & (inwards < 60)
    fine[seen] = forest[seen]
    coarse = fine.reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3))
    assert np.percentile(coarse[coarse > 0], 1) < 900
    assert evidence_of({"blue": coarse, "red": coarse}) is Evidence.THERE


def test_overshoot_beside_bright_edges_is_no_proof() -> None:
    counts = counts_of("forest", shifted=True)
    for band in counts.values():
        band[50:60, 50:60] = 9000
        band[48:50, 48:62] = 100
    assert evidence_of(counts) is Evidence.THERE


def test_too_little_to_look_at() -> None:
    assert darkest(np.full((10, 10), 100.0, np.float32)) is None
    assert darkest(np.zeros((SIDE, SIDE), np.float32)) is None
    few = np.full((SIDE, SIDE), np.nan, np.float32)
    few[50:60, 50:60] = 100
    assert evidence_of({"blue": few, "red": few}) is Evidence.NONE
    assert evidence_of({}) is Evidence.NONE


def test_one_band_alone_cannot_show_that_it_is_there() -> None:
    # Blue of pale sand without the 1000 looks like forest with it.
    blue = to_counts(np.random.default_rng(0).normal(0.15, 0.015, (SIDE, SIDE)), shifted=False)
    assert 900 <= (darkest(blue) or 0) <= 1400
    assert evidence_of({"blue": blue}) is Evidence.NONE
    assert evidence_of({"blue": blue, "red": blue * 2.2}) is Evidence.NONE


@pytest.mark.parametrize("shifted", [True, False])
def test_cirrus_of_top_of_atmosphere_tells_in_a_desert_too(shifted: bool) -> None:
    rng = np.random.default_rng(0)
    cirrus = to_counts(rng.normal(0.0015, 0.0004, (SIDE, SIDE)), shifted=shifted)
    expected = Evidence.THERE if shifted else Evidence.NOT_THERE
    assert evidence_of({"cirrus": cirrus}) is expected


def test_which_bands_are_looked_at() -> None:
    assert dark_bands(scene(SHIFTED)) == ("blue", "red")
    assert dark_bands(scene(SHIFTED, "s2-l1c")) == ("cirrus",)
    files = scene(SHIFTED)
    bare = replace(files, bands={"nir": files.bands["nir"]})
    assert dark_bands(bare) == ()


# What is decided


def decide(claim: OffsetClaim, evidence: Evidence) -> SceneFiles | LeftOut:
    overviews: Mapping[str, np.ndarray[Any, Any]] = {
        Evidence.THERE: counts_of("forest", shifted=True),
        Evidence.NOT_THERE: counts_of("forest", shifted=False),
        Evidence.NONE: counts_of("snow", shifted=False),
    }[evidence]
    assert evidence_of(overviews) is evidence
    return settle_offset(scene(claim), overviews)


REFUSED = None
TABLE = {
    # claimed, sure: not there, no evidence, there
    (True, True): (REFUSED, -0.1, -0.1),
    (True, False): (0.0, REFUSED, -0.1),
    (False, True): (0.0, 0.0, REFUSED),
    (False, False): (0.0, REFUSED, -0.1),
    (None, False): (REFUSED, REFUSED, REFUSED),
}


@pytest.mark.parametrize("claimed", TABLE)
@pytest.mark.parametrize("k", range(3))
def test_the_table(claimed: tuple[bool | None, bool], k: int) -> None:
    evidence = (Evidence.NOT_THERE, Evidence.NONE, Evidence.THERE)[k]
    outcome = decide(OffsetClaim(claimed[0], is_sure=claimed[1], source="it"), evidence)
    expected = TABLE[claimed][k]
    if expected is REFUSED:
        assert isinstance(outcome, LeftOut)
        assert "--offset" in outcome.reason
        return
    assert type(outcome) is SceneFiles
    assert outcome.scene.offset == pytest.approx(expected)
    assert all(asset.offset == outcome.scene.offset for asset in outcome.bands.values())
    assert outcome.sky == scene(SHIFTED).sky


def test_the_reason_is_recorded() -> None:
    agrees = decide(SHIFTED, Evidence.THERE)
    assert isinstance(agrees, SceneFiles)
    expected = "baseline 05.11, agrees with the darkest pixels"
    assert agrees.scene.radiometry_from == expected
    unseen = decide(SHIFTED, Evidence.NONE)
    assert isinstance(unseen, SceneFiles)
    assert unseen.scene.radiometry_from == "baseline 05.11; no dark pixel to check it by"
    against = decide(OffsetClaim(shifted=True, is_sure=False, source="a flag"), Evidence.NOT_THERE)
    assert isinstance(against, SceneFiles)
    assert against.scene.radiometry_from == "darkest pixels, against a flag"
    refused = decide(NOT_SHIFTED, Evidence.THERE)
    assert isinstance(refused, LeftOut)
    assert "by baseline 02.14 the 1000 of baseline 04.00 is not in its counts" in refused.reason


def test_settled_files_pass() -> None:
    files = SceneFiles(scene(SHIFTED).scene, {}, None)
    assert settle_offset(files, {}) is files


@pytest.mark.parametrize(
    ("baseline", "shifted"),
    [("03.01", False), ("04.00", True), ("05.00", True), ("10.00", True), (None, None)],
)
def test_what_a_baseline_means(baseline: str | None, shifted: bool | None) -> None:
    assert claim_of_baseline(baseline).shifted is shifted


# No step across 25 January 2022

SERIES = {
    # How each catalogue stores an image of baseline 03.01 and one of 04.00 and later.
    "planetary computer": [
        (lambda: si.planetary_computer_l2a("2022-01-20", "03.01"), False),
        (lambda: si.planetary_computer_l2a("2022-01-30", "04.00"), True),
    ],
    "planetary computer, reprocessed": [
        (lambda: si.planetary_computer_l2a("2019-01-20", "02.12"), False),
        (lambda: si.planetary_computer_l2a("2019-01-25", "05.00"), True),
    ],
    "earth search": [
        (lambda: si.earth_search_l2a("2022-01-20", "03.01", applied=False), False),
        (lambda: si.earth_search_l2a("2022-01-30", "04.00", applied=True), False),
        # Not yet converted again, and rightly flagged; converted, and wrongly flagged.
        (lambda: si.earth_search_l2a("2022-02-04", "04.00", applied=False), True),
        (lambda: si.earth_search_l2a("2022-10-23", "04.00", applied=False), False),
    ],
    "earth search, collection 1": [
        (lambda: si.earth_search_c1("2022-01-20", "05.00"), True),
        (lambda: si.earth_search_c1("2022-01-30", "05.10"), True),
    ],
    "copernicus": [
        # -0.1 stated where there is nothing to take off.
        (lambda: si.cdse_l2a("2022-01-20", "03.01"), False),
        (lambda: si.cdse_l2a("2022-01-30", "04.00"), True),
    ],
    "top of atmosphere": [
        (lambda: si.earth_search_l1c("2022-01-20", "03.01"), False),
        # 0 stated where there is something to take off.
        (lambda: si.earth_search_l1c("2022-01-30", "04.00"), True),
    ],
}


@pytest.mark.parametrize("catalogue", SERIES)
def test_no_step(catalogue: str) -> None:
    rng = np.random.default_rng(1)
    truth = {
        "blue": rng.normal(0.03, 0.006, (SIDE, SIDE)),
        "red": rng.normal(0.025, 0.006, (SIDE, SIDE)),
        "cirrus": rng.normal(0.002, 0.0004, (SIDE, SIDE)),
    }
    seen = []
    for make, is_stored_shifted in SERIES[catalogue]:
        item = make()
        sensor = "s2-l1c" if item["collection"].endswith("l1c") else "s2-l2a"
        files = scene_of_item(item, Reading(find_sensor(sensor)))
        assert isinstance(files, SceneFiles)
        stored = {
            asset.href: to_counts(truth[band], shifted=is_stored_shifted)
            for band, asset in files.bands.items()
            if band in truth
        }
        found = settle_offsets([files], lambda asset, _, stored=stored: stored[asset.href])  # type: ignore[misc]
        assert not found.left_out, found.left_out
        red = found.files[0].bands["red"]
        seen.append(stored[red.href] * red.scale + red.offset)
    for image in seen:
        # Half a count of rounding.
        np.testing.assert_allclose(image, truth["red"], atol=0.6e-4)


# Many scenes


def test_scenes_in_threads_and_in_order() -> None:
    names = [f"2024-08-{day:02d}" for day in range(1, 13)]
    reading = Reading(find_sensor("s2-l2a"))
    scenes = [scene_of_item(si.earth_search_c1(day), reading) for day in names]
    files = [one for one in scenes if isinstance(one, SceneFiles)]
    at_once = threading.Semaphore(3)

    def read(asset: Any, max_px: int) -> np.ndarray[Any, Any]:
        assert max_px <= 1024
        assert at_once.acquire(blocking=False)
        try:
            if "20240803" in asset.href:
                raise SourceUnavailable("no answer")
            return counts_of("forest", shifted="20240805" not in asset.href)["blue"]
        finally:
            at_once.release()

    found = settle_offsets(files, read, workers=3)
    assert [one.scene.acquired.isoformat()[8:] for one in found.files] == [  # type: ignore[union-attr]
        f"{day:02d}" for day in range(1, 13) if day not in {3, 5}
    ]
    assert [out.scene_id for out in found.left_out] == [files[2].scene.id, files[4].scene.id]
    assert "blue cannot be read: no answer" in found.left_out[0].reason
    assert "show the opposite" in found.left_out[1].reason


def test_a_source_that_lets_nothing_be_read() -> None:
    def read(asset: Any, max_px: int) -> np.ndarray[Any, Any]:
        raise AuthError("keys wanted")

    with pytest.raises(AuthError):
        settle_offsets([scene(SHIFTED), scene(SHIFTED)], read)
    settled = SceneFiles(scene(SHIFTED).scene, {}, None)
    found = settle_offsets([scene(SHIFTED), settled], read)
    assert found.files == (settled,)
    assert "keys wanted" in found.left_out[0].reason


def test_nothing_is_read_of_scenes_that_are_settled_or_hopeless() -> None:
    def read(asset: Any, max_px: int) -> np.ndarray[Any, Any]:
        raise AssertionError

    settled = SceneFiles(scene(SHIFTED).scene, {}, None)
    hopeless = scene(OffsetClaim(None, is_sure=False, source="nobody"))
    found = settle_offsets([settled, hopeless], read)
    assert found.files == (settled,)
    assert "neither the item nor a processing baseline" in found.left_out[0].reason
    assert settle_offsets([], read).files == ()
