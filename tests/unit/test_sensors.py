"""What is known of sensors: their bands as published, and whose images theirs are."""

import math

import pytest

from sluice.base.sensors import OWNERS, SENSORS, owners_of

S2 = {
    "B01": ("coastal", 60, 442.7),
    "B02": ("blue", 10, 492.7),
    "B03": ("green", 10, 559.8),
    "B04": ("red", 10, 664.6),
    "B05": ("rededge071", 20, 704.1),
    "B06": ("rededge075", 20, 740.5),
    "B07": ("rededge078", 20, 782.8),
    "B08": ("nir", 10, 832.8),
    "B8A": ("nir08", 20, 864.7),
    "B09": ("nir09", 60, 945.1),
    "B10": ("cirrus", 60, 1373.5),
    "B11": ("swir16", 20, 1613.7),
    "B12": ("swir22", 20, 2202.4),
}
"""ESA, Sentinel-2 MSI user guide: metres, and centres of Sentinel-2A in nanometres."""
SUPERDOVE = {
    "coastal_blue": ("coastal", 431, 452),
    "blue": ("blue", 465, 515),
    "green_i": ("green05", 513, 549),
    "green": ("green", 547, 583),
    "yellow": ("yellow", 600, 620),
    "red": ("red", 650, 680),
    "rededge": ("rededge071", 697, 713),
    "nir": ("nir", 845, 885),
}
"""Planet, PlanetScope specification, PSB.SD: limits in nanometres, in the order of files."""
DOVE_R = {"blue": (464, 517), "green": (547, 585), "red": (650, 682), "nir": (846, 888)}
"""The same, PS2.SD."""


@pytest.mark.parametrize("level", ["s2-l1c", "s2-l2a"])
def test_sentinel_2_has_its_bands_as_published(level) -> None:
    """L2A comes without the cirrus band; files have B8A between B08 and B09."""
    expected = {name: S2[name] for name in S2 if level == "s2-l1c" or name != "B10"}
    bands = SENSORS[level].bands
    assert [band.name for band in bands] == list(expected)
    for band in bands:
        common, gsd_m, centre_nm = expected[band.name]
        assert (band.common_name, band.gsd_m) == (common, gsd_m)
        assert band.wavelength_um == pytest.approx(centre_nm / 1000, abs=5e-5)


def test_sentinel_1_is_c_band_in_two_polarisations() -> None:
    """Pixels of 10 m of IW GRD and RTC; radar has no optical wavelength."""
    bands = [(b.name, b.common_name, b.gsd_m, b.wavelength_um) for b in SENSORS["s1"].bands]
    assert bands == [("VV", "vv", 10, None), ("VH", "vh", 10, None)]


def test_planetscope_has_its_bands_as_published() -> None:
    """Orthorectified scenes have pixels of 3 m."""
    eight = SENSORS["planet-8b"].bands
    assert [(band.name, band.common_name) for band in eight] == [
        (name, common) for name, (common, _, _) in SUPERDOVE.items()
    ]
    for band in eight:
        _, low, high = SUPERDOVE[band.name]
        assert band.gsd_m == 3
        assert band.wavelength_um == pytest.approx((low + high) / 2000, abs=0.0025)
    four = SENSORS["planet-4b"].bands
    assert [band.name for band in four] == list(DOVE_R)
    for band in four:
        assert (band.gsd_m, band.common_name) == (3, band.name)
        for low, high in (DOVE_R[band.name], SUPERDOVE[band.name][1:]):
            assert band.wavelength_um == pytest.approx((low + high) / 2000, abs=0.0025)


def test_nicfi_mosaics_are_planets_four_bands_on_the_tiles_of_web_maps() -> None:
    """Pixels of zoom 15 of web maps: 4.77 m at the equator."""
    nicfi, four = SENSORS["nicfi"].bands, SENSORS["planet-4b"].bands
    assert [(b.name, b.common_name, b.wavelength_um) for b in nicfi] == [
        (b.name, b.common_name, b.wavelength_um) for b in four
    ]
    zoom_15_m = 2 * math.pi * 6_378_137 / 256 / 2**15
    assert all(band.gsd_m == pytest.approx(zoom_15_m, abs=0.01) for band in nicfi)


def test_every_sensor_is_held_against_published_numbers() -> None:
    """A new sensor needs its table here."""
    assert set(SENSORS) == {"s2-l1c", "s2-l2a", "s1", "planet-4b", "planet-8b", "nicfi"}


@pytest.mark.parametrize(
    ("sensors", "owners"),
    [
        ("s2-l2a", ("copernicus",)),
        ("s1", ("copernicus",)),
        ("nicfi", ("planet",)),
        ("planet-8b,planet-4b", ("planet",)),
        ("nicfi,s2-l1c", ("copernicus", "planet")),
        ("import", ()),
    ],
)
def test_images_are_credited_to_their_owners(sensors, owners) -> None:
    assert owners_of(sensors) == owners


def test_each_sensor_has_an_owner() -> None:
    assert all(len(owners_of(sensor)) == 1 for sensor in SENSORS)
    assert {owner for sensor in SENSORS for owner in owners_of(sensor)} == set(OWNERS)
