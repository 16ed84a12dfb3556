"""What items say of tile, baseline and kind, under the names that catalogues use."""

import datetime as dt
from typing import Any

import pytest

import stac_items as si
from sluice.imagery.stac import facts
from sluice.imagery.stac.facts import Acquisition


def item(name: str = "x", collection: str | None = None, **props: Any) -> facts.Item:
    return {"id": name, "collection": collection, "properties": props}


@pytest.mark.parametrize(
    ("one", "tile"),
    [
        (item(**{"s2:mgrs_tile": "35MNM"}), "35MNM"),
        (item(**{"grid:code": "MGRS-1WCR"}), "01WCR"),
        (
            item(
                **{
                    "mgrs:utm_zone": 1,
                    "mgrs:latitude_band": "W",
                    "mgrs:grid_square": "CR",
                }
            ),
            "01WCR",
        ),
        (
            item(
                **{
                    "sentinel:utm_zone": "28",
                    "sentinel:latitude_band": "Q",
                    "sentinel:grid_square": "CH",
                }
            ),
            "28QCH",
        ),
        (item("S2A_28QCH_20200714_0_L2A"), "28QCH"),
        (item("S2B_MSIL2A_20200322T074609_N0500_R135_T36NYH_20230612T214223"), "36NYH"),
        (item("S1A_IW_GRDH_1SDV_20220518T054334"), None),
        (item("LC08_L2SP_228063"), None),
        ({"id": None}, None),
    ],
)
def test_tiles(one: facts.Item, tile: str | None) -> None:
    assert facts.tile_of(one) == tile


@pytest.mark.parametrize(
    ("one", "baseline"),
    [
        (item(**{"s2:processing_baseline": "05.11"}), "05.11"),
        (item(**{"sentinel:processing_baseline": "04.00"}), "04.00"),
        (item(**{"processing:version": "02.14"}), "02.14"),
        # Of a processing that is not ESA's.
        (item(**{"processing:version": "v2024.1"}), None),
        (item("S2B_MSIL2A_20200322T074609_N0500_R135_T36NYH_20230612T214223"), "05.00"),
        (item("x", **{"s2:datatake_id": "GS2A_20200731T080611_026673_N02.12"}), "02.12"),
        (item("S2B_MSIL2A_20200322T074609_R135_T36NYH_20230612T214223"), None),
        (
            item(
                **{
                    "sentinel:product_id": (
                        "S2A_MSIL2A_20200714T115221_N0214_R123_T28QCH_20200714T191310"
                    )
                }
            ),
            "02.14",
        ),
    ],
)
def test_baselines(one: facts.Item, baseline: str | None) -> None:
    assert facts.processing_baseline(one) == baseline


def test_one_acquisition_in_every_catalogue() -> None:
    wanted = Acquisition("2B", "20240801T135009", "21MVN")
    for make in (
        si.earth_search_c1,
        si.earth_search_l2a,
        si.earth_search_l1c,
        si.planetary_computer_l2a,
        si.cdse_l2a,
    ):
        assert facts.acquisition_of(make()) == wanted
    assert facts.acquisition_of(si.planetary_computer_rtc()) is None


@pytest.mark.parametrize(
    ("one", "sensor"),
    [
        (si.earth_search_c1(), "s2-l2a"),
        (si.planetary_computer_l2a(), "s2-l2a"),
        (si.cdse_l2a(), "s2-l2a"),
        (si.earth_search_l1c(), "s2-l1c"),
        (si.planetary_computer_rtc(), "s1"),
        (item(**{"s2:product_type": "S2MSI2Ap"}), "s2-l2a"),
        (item(constellation="Sentinel 1"), "s1"),
        (item("S2A_28QCH_20200714_0_L2A", "sentinel-s2-l2a-cogs"), "s2-l2a"),
        (item("anything", "sentinel-2-l1c"), "s2-l1c"),
        (item("anything", "anything"), None),
    ],
)
def test_sensors(one: facts.Item, sensor: str | None) -> None:
    assert facts.sensor_id_of(one) == sensor


@pytest.mark.parametrize(
    ("one", "is_corrected"),
    [
        (si.planetary_computer_rtc(), True),
        (item("a", "sentinel-1-grd", **{"sar:product_type": "GRD"}), False),
        (item("a", "radar", **{"sar:product_type": "RTC"}), True),
        (item("OPERA_L2_RTC-S1_T001", "opera"), True),
        (item("a", "sentinel1-nrb"), True),
        # Letters within a word are no word.
        (item("a", "art-center"), False),
    ],
)
def test_terrain_correction(one: facts.Item, is_corrected: bool) -> None:
    assert facts.is_terrain_corrected(one) is is_corrected


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2020-07-31T08:06:11.024000Z", dt.datetime(2020, 7, 31, 8, 6, 11, 24000, dt.UTC)),
        ("2020-07-31T08:06:11", dt.datetime(2020, 7, 31, 8, 6, 11, 0, dt.UTC)),
        ("2020-07-31T01:06:11-07:00", dt.datetime(2020, 7, 31, 8, 6, 11, 0, dt.UTC)),
        (dt.datetime(2020, 7, 31, 8), dt.datetime(2020, 7, 31, 8, tzinfo=dt.UTC)),
        (None, None),
        ("yesterday", None),
        (7, None),
    ],
)
def test_moments(value: object, moment: dt.datetime | None) -> None:
    assert facts.as_datetime(value) == moment


@pytest.mark.parametrize(
    "value", [None, "12", True, {}, float("nan"), float("inf"), -float("inf"), 10**400]
)
def test_clouds_that_are_no_number(value: Any) -> None:
    assert facts.cloud_cover(item(**{"eo:cloud_cover": value})) is None
