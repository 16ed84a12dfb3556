"""What is asked of an export: redacted tables, options, and what cannot be done."""

import datetime as dt
import itertools
import struct
import zipfile

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from export_cases import (
    GEOMETRIC,
    alerts_table,
    periods_table,
    png,
    read_sites,
    sites_table,
    suffix,
)
from sluice.app.exports.flat_table import KINDS
from sluice.app.exports.marked_up import Picture
from sluice.app.exports.options import read_redaction
from sluice.app.exports.write import (
    EXPORT_FORMATS,
    export_sites,
    format_of,
    write_export,
)
from sluice.base.errors import ConfigError, DataError, GridMismatch, RunFailed
from sluice.sites.redaction import Redaction, Sensitive

TODAY = dt.date(2025, 7, 1)


def original_bytes(lon: float, lat: float, outline: np.ndarray) -> set[bytes]:
    """What would give a place away: numbers as text to a metre, and as doubles."""
    numbers = [lon, lat, *outline.ravel()]
    texts = {f"{number:.12f}"[:-7].encode() for number in numbers}
    rounded = {f"{number:.6f}".encode() for number in numbers}
    return texts | rounded | {struct.pack(f"{end}d", number) for number in numbers for end in "<>"}


@pytest.mark.parametrize("fmt", EXPORT_FORMATS)
def test_a_redacted_file_holds_no_original_byte(fmt, tmp_path) -> None:
    rng = np.random.default_rng(7)
    table = sites_table(rng.uniform(-3, -0.1, 12), rng.uniform(5, 8, 12))
    table["context"] = [{"concession": f"Lease {n} of Obuasi", "river_m": 7.25} for n in range(12)]
    picture = png("red")
    pictures = {site_id: [Picture("at 6.1234", picture)] for site_id in table["site_id"]}
    options = {"pictures": pictures} if fmt == "kmz" else {}
    redaction = read_redaction("5km", "6months")
    assert redaction is not None
    done = write_export(
        tmp_path / f"a{suffix(fmt)}",
        sites=table,
        periods=periods_table(table),
        redaction=redaction,
        today=TODAY,
        **options,
    )
    assert (done.rows, done.redacted, done.held_back) == ({"sites": 12}, 12, 0)
    content = done.path.read_bytes()
    if zipfile.is_zipfile(done.path):
        with zipfile.ZipFile(done.path) as archive:
            content = b"\n".join(
                [name.encode() + archive.read(name) for name in archive.namelist()]
            )
    elif fmt == "geoparquet":
        # Inside, pages are compressed.
        frame = gpd.read_parquet(done.path)
        content += frame.to_csv().encode() + b"".join(frame.to_wkb()["geometry"])
    elif fmt == "pmtiles":
        content += pyogrio.read_dataframe(done.path).to_crs(4326).to_csv().encode()
    assert picture not in content
    for _, site in table.iterrows():
        code = site["site_id"].removeprefix("s-").encode()
        assert code[:7] not in content
        outline = shapely.get_coordinates(site.geometry)
        for part in original_bytes(site["lon"], site["lat"], outline):
            assert part not in content, part
    for word in (b"Obuasi", b"7.25", b"12.3 ha", b"ashanti", b"leases", b"61.25", b"river"):
        assert word not in content
    assert b"cell of a fixed grid of 5 km" in content or fmt in ("geoparquet", "pmtiles", "gpkg")


def test_pictures_of_open_sites_stay(tmp_path) -> None:
    table = sites_table([-1.0, -1.1], [6.0, 6.1])
    rule = Redaction(5000, which=Sensitive(within=shapely.box(-1.05, 5.9, -0.9, 6.05)))
    colours = zip(table["site_id"], ("red", "blue"), strict=True)
    pictures = {site_id: [Picture("x", png(colour))] for site_id, colour in colours}
    path = export_sites(table, tmp_path / "a.kmz", redaction=rule, pictures=pictures).path
    with zipfile.ZipFile(path) as archive:
        assert [archive.read(name) for name in archive.namelist()[1:]] == [png("blue")]


@pytest.mark.parametrize("fmt", GEOMETRIC)
def test_open_and_redacted_rows_stand_in_one_file(fmt, tmp_path) -> None:
    table = sites_table([-1.0, -1.1], [6.0, 6.1])
    rule = Redaction(5000, which=Sensitive(within=shapely.box(-1.05, 5.9, -0.9, 6.05)))
    done = export_sites(table, tmp_path / f"a{suffix(fmt)}", redaction=rule)
    rows = read_sites(done.path, fmt)
    assert set(rows["redacted"].astype(int)) == {0, 1}
    assert done.redacted == 1


def test_what_cannot_be_done_is_said_and_leaves_nothing(tmp_path) -> None:
    table = sites_table([-1.0], [6.0])
    for name, fmt in (("a.txt", None), ("a.csv", "gpkg"), ("a.xyz", "xyz"), ("a", None)):
        with pytest.raises(ConfigError):
            format_of(tmp_path / name, fmt)
    with pytest.raises(GridMismatch, match="EPSG:4326"):
        export_sites(table.to_crs(3857), tmp_path / "a.gpkg")
    with pytest.raises(DataError, match="site_id"):
        export_sites(table.drop(columns="site_id"), tmp_path / "a.gpkg")
    with pytest.raises(ConfigError, match="pictures"):
        export_sites(table, tmp_path / "a.kml", pictures={"x": [Picture("", png("red"))]})
    pictures = {table.site_id[0]: [Picture("", b"GIF89a")]}
    with pytest.raises(ConfigError, match="neither PNG nor JPEG"):
        export_sites(table, tmp_path / "a.kmz", pictures=pictures)
    with pytest.raises(ConfigError, match="periods"):
        write_export(
            tmp_path / "a.kml", sites=table, periods=periods_table(table), what=("periods",)
        )
    with pytest.raises(ConfigError, match="one table"):
        write_export(
            tmp_path / "a.csv", sites=table, alerts=alerts_table(table), what=("sites", "alerts")
        )
    with pytest.raises(ConfigError, match="no table of alerts"):
        write_export(tmp_path / "a.csv", sites=table, what=("alerts",))
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises((ConfigError, RunFailed)):
        export_sites(table, tmp_path / "file" / "a.csv")
    (tmp_path / "a.gpkg").mkdir()
    with pytest.raises((ConfigError, RunFailed)):
        export_sites(table, tmp_path / "a.gpkg")


def test_a_file_that_is_there_is_replaced_whole(tmp_path) -> None:
    path = tmp_path / "a.gpkg"
    export_sites(sites_table([-1.0, -1.1], [6.0, 6.1]), path)
    (tmp_path / "a.gpkg-wal").write_bytes(b"of the old one")
    export_sites(sites_table([-1.0], [6.0]), path)
    assert len(read_sites(path, "gpkg")) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["a.gpkg"]


@pytest.mark.parametrize(
    ("redact", "delay", "expected"),
    [
        ("5km", None, (5000, 0, 0)),
        ("500 m", "90days", (500, 0, 90)),
        ("2.5KM", "1 year", (2500, 12, 0)),
        ("1km", "2weeks", (1000, 0, 14)),
        ("1km", "6 months", (1000, 6, 0)),
    ],
)
def test_options_are_read(redact, delay, expected) -> None:
    rule = read_redaction(redact, delay)
    assert (rule.grid_m, rule.delay_months, rule.delay_days) == expected


@pytest.mark.parametrize(
    ("redact", "delay"),
    [("5", None), ("km", None), ("-5km", None), ("5km", "6"), ("5km", "half a year"),
     (None, "1year"), ("1m", None), ("5 miles", None)],
)  # fmt: skip
def test_options_that_cannot_be_read_are_refused(redact, delay) -> None:
    with pytest.raises(ConfigError):
        read_redaction(redact, delay)


def test_no_option_is_no_redaction() -> None:
    assert read_redaction(None) is None
    with pytest.raises(ConfigError, match="guess"):
        read_redaction("5km", key="short")


def test_every_format_says_what_it_is_for() -> None:
    endings = list(itertools.chain(*(about.suffixes for about in EXPORT_FORMATS.values())))
    assert len(endings) == len(set(endings))
    assert set(KINDS) >= {kind for about in EXPORT_FORMATS.values() for kind in about.kinds}
