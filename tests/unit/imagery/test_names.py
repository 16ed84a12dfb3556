"""What file names tell."""

import datetime as dt

import pytest

from sluice.base.sensors import find_sensor
from sluice.imagery.names import (
    band_in_description,
    band_in_name,
    baseline_in_name,
    date_in_name,
    is_landsat,
    sensor_in_name,
    sky_layer_in_name,
)


@pytest.mark.parametrize(
    ("stem", "band"),
    [
        ("B02", "blue"),
        ("b4", "red"),
        ("B8A", "nir08"),
        ("B08", "nir"),
        ("S2A_MSIL2A_20170617T113321_4_55_B8A", "nir08"),
        ("T30NXM_20240101T103421_B02_10m", "blue"),
        ("T30NXM_20240101T103421_B12", "swir22"),
        ("2024-01-01-00_00_2024-01-01-23_59_Sentinel-2_L2A_B04_(Raw)", "red"),
        ("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_41_VH", "vh"),
        ("nir", "nir"),
        ("clip_Red", "red"),
        ("Red_river_B03", "green"),
        ("Red_river_mosaic", None),
        ("order_coastal_blue", "coastal"),
        ("S2_B02_B03_B04", None),
        ("T30NXM_20240101T103421_TCI_10m", None),
        ("T30NXM_20240101T103421_AOT_10m", None),
        ("viewZenithMean", None),
        ("B13", None),
        ("SCL", None),
        ("", None),
    ],
)
def test_band_in_name(stem: str, band: str | None) -> None:
    assert band_in_name(stem, None) == band


@pytest.mark.parametrize(
    ("description", "band"),
    [
        ("B4", "red"),
        ("near-infrared", None),
        ("NIR", "nir"),
        ("B8A, central wavelength 865 nm", "nir08"),
        ("VV (dB)", "vv"),
        ("B4_stdDev", None),
        ("", None),
    ],
)
def test_band_in_description(description: str, band: str | None) -> None:
    assert band_in_description(description, None) == band


def test_a_stated_sensor_limits_the_bands() -> None:
    assert band_in_name("x_B10", find_sensor("s2-l1c")) == "cirrus"
    assert band_in_name("x_B10", find_sensor("s2-l2a")) is None


@pytest.mark.parametrize(
    ("stem", "layer"),
    [
        ("SCL", "scl"),
        ("T30NXM_20240101T103421_SCL_20m", "scl"),
        ("MSK_CLDPRB_20m", "cld"),
        ("CLP", "clp"),
        ("20240101_103421_12_2414_3B_udm2", "udm2"),
        ("Sentinel2_QA60_-54.92_-4.25_2020_07_05", "qa60"),
        ("B04", None),
        ("MUSCLE", None),
    ],
)
def test_sky_layer_in_name(stem: str, layer: str | None) -> None:
    assert sky_layer_in_name(stem) == layer


@pytest.mark.parametrize(
    ("name", "date"),
    [
        (
            "S2B_MSIL2A_20240101T103421_N0510_R108_T30NXM_20240202T120000.SAFE",
            dt.date(2024, 1, 1),
        ),
        ("Sentinel2_B1_-54.92_-4.25_2020_07_05", dt.date(2020, 7, 5)),
        ("2019-05-22_B04", dt.date(2019, 5, 22)),
        ("20240101_103421_12_2414_3B_AnalyticMS", dt.date(2024, 1, 1)),
        ("median_2024-01-01_2024-04-30", None),
        ("mosaic_20240101-20240430", None),
        ("median_2024_01_01_20240430", None),
        ("LC08_L1TP_227065_20240101_20240109_02_T1", dt.date(2024, 1, 1)),
        ("positiv_32719_599010_8298460", None),
        ("scene_20241301", None),
        ("scene_120240101", None),
        ("B04", None),
    ],
)
def test_date_in_name(name: str, date: dt.date | None) -> None:
    assert date_in_name(name) == date


@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        ("S2A_MSIL1C_20170617T113321", "s2-l1c"),
        ("S2A_MSIL2A_20170617T113321", "s2-l2a"),
        ("S1A_IW_GRDH_1SDV_20170613T165043", "s1"),
        ("planet_medres_normalized_analytic_2021-01_mosaic", "nicfi"),
        ("20240101_103421_12_2414_3B_AnalyticMS_SR_8b", "planet-8b"),
        ("20240101_103421_12_2414_3B_AnalyticMS_SR", "planet-4b"),
        ("20240101_103421_12_2414_3B_AnalyticMS", None),  # radiance
        ("my_image", None),
    ],
)
def test_sensor_in_name(name: str, sensor: str | None) -> None:
    found = sensor_in_name(name)
    assert (found.id if found else None) == sensor


def test_baseline_in_name() -> None:
    assert baseline_in_name("S2B_MSIL2A_20240101T103421_N0510_R108_T30NXM") == "05.10"
    assert baseline_in_name("T30NXM_20240101T103421_B02") is None


def test_landsat_is_told_apart() -> None:
    assert is_landsat("Landsat8_SR_B5_-55.20")
    assert is_landsat("LC08_L2SP_193055_20200101_02_T1_SR_B4")
    assert not is_landsat("landscape_B4")
