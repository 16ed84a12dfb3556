"""What covered the ground of sites before they began, and after."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from arrivals import GRID, PIT, QUARTERS, arrival_of
from sluice.app.following.exporting import export
from sluice.app.following.landing import Arrival, add_named_area, land
from sluice.app.following.stores import open_store
from sluice.app.messages import messages
from sluice.app.products import layout
from sluice.app.products.coverage import outline_lonlat
from sluice.app.reports.context_words import cover_rows
from sluice.base.places import LandedRun, Look, columns_of
from sluice.base.store import SiteQuery, Store
from sluice.sites.cover import Cover
from sluice.sites.looks import cover_change, cover_changes

LOST = ["forest_lost_ha", "farmland_lost_ha", "water_lost_ha"]
COVERS = ("forest_ha", "farmland_ha", "water_ha", "bare_ha")


def look(site_id: str, quarter: int, forest: float | None, bare: float = 0.0) -> dict[str, object]:
    start, end = QUARTERS[quarter]
    told = dict.fromkeys(columns_of(Look)) | {"site_id": site_id, "start": start, "end": end}
    values = [np.nan] * 4 if forest is None else [forest, 1.0, 0.5, bare]
    return told | dict(zip(COVERS, values, strict=True))


LOOKS = pd.DataFrame(
    [
        look("s-b", 3, 2.0, 3.0),
        look("s-a", 0, 9.0),
        look("s-a", 1, 8.0),
        look("s-a", 2, None),
        look("s-a", 4, 3.0, 5.0),
        look("s-b", 2, 4.0, 1.0),
        look("s-c", 0, 7.0),
        look("s-d", 0, None),
    ]
)
BEGAN = pd.Series({"s-a": QUARTERS[2][0], "s-b": QUARTERS[2][0], "s-c": QUARTERS[0][0],
                   "s-d": QUARTERS[0][0]})  # fmt: skip


def test_before_is_the_last_look_before_a_site_began() -> None:
    found = cover_changes(LOOKS, BEGAN)
    assert found.index.tolist() == ["s-a", "s-b"]
    a = found.loc["s-a"]
    assert (a["cover_before"], a["cover_after"]) == (QUARTERS[1][0], QUARTERS[4][0])
    assert (a["forest_before_ha"], a["forest_after_ha"], a["bare_after_ha"]) == (8.0, 3.0, 5.0)
    # Nobody looked before it began: its first look stands in, and that is told.
    assert found["known_before"].tolist() == [True, False]
    assert found.loc["s-b", "forest_before_ha"] == 4.0


def test_one_site_is_told_as_among_many() -> None:
    for site_id, own in LOOKS.groupby("site_id"):
        alone = cover_change(own, BEGAN[site_id])
        assert (alone is None) == (site_id in ("s-c", "s-d"))
        if alone is not None:
            among = cover_changes(LOOKS, BEGAN).loc[site_id].to_dict()
            assert pd.DataFrame([alone]).equals(pd.DataFrame([among]))
    assert cover_change(LOOKS.iloc[:0], dt.date(2023, 1, 1)) is None


def test_reports_tell_the_loss_and_the_difference_only_where_it_is_not_known() -> None:
    own = LOOKS[LOOKS["site_id"] == "s-a"].copy()
    own["run_id"] = own["start"].astype(str)
    own["compared_with"] = own["compared_with"].astype(object)
    assert [row[0] for row in cover_rows(own, BEGAN["s-a"], messages("en"))][2] == "difference"
    own.loc[own.index[-1], ["compared_with", *LOST]] = [str(QUARTERS[1][0]), 6.04, 1.0, 0.0]
    rows = cover_rows(own, BEGAN["s-a"], messages("pt"))
    assert [cell.replace("\xa0", " ") for cell in rows[2]] == [
        *("perda", "6,0 ha", "1,0 ha", "0,0 ha", "–")
    ]
    # A loss since another look than the one before says nothing of this pair.
    own.loc[own.index[-1], "compared_with"] = str(QUARTERS[0][0])
    assert cover_rows(own, BEGAN["s-a"], messages("pt"))[2][0] == "diferença"


def test_exports_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(open_store(str(tmp_path / "a.sqlite"), create=True)) as store:
        add_named_area(store, "ours", outline_lonlat(GRID))
        land(store, arrival_of(0, []))
        land(store, arrival_of(1, [PIT]))
        without = export(store, SiteQuery(), tmp_path / "without.gpkg").path
        assert "forest_before_ha" not in gpd.read_file(without, layer="sites")
        site_id = store.sites(SiteQuery())["site_id"].iloc[0]
        looks = store.looks([site_id])
        looks.loc[:, list(COVERS)] = [[5.0, 1.0, 0.5, 0.1], [1.25, 1.0, 2.0, 2.35]]
        looks.loc[1, LOST], looks.loc[1, "compared_with"] = [4.0, 0.25, 0.0], looks["run_id"][0]
        monkeypatch.setattr(store, "looks", lambda _: looks)
        (row,) = gpd.read_file(
            export(store, SiteQuery(), tmp_path / "with.gpkg").path, layer="sites"
        ).iloc
        assert (row["forest_before_ha"], row["forest_after_ha"]) == (5.0, 1.25)
        assert [row[name] for name in LOST] == [4.0, 0.25, 0.0]
        assert pd.Timestamp(row["cover_before"]).date() == QUARTERS[0][0]


# Counts of green, red, nir and swir16 that are told as each cover.
SPECTRA = np.array(
    [[500, 300, 4000, 1500], [800, 800, 3500, 2500], [800, 600, 300, 200], [1000, 1500, 2000, 3000]]
)
FINE = GRID[10:40, 10:40].zoom_to(resolution=10)
HALF_HA = 9 * 0.64 / 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(open_store(str(tmp_path / "a.sqlite"), create=True)) as opened:
        add_named_area(opened, "ours", outline_lonlat(GRID))
        yield opened


def seen(folder: Path, arrival: Arrival, left: Cover, right: Cover, grid: GeoBox = FINE) -> Arrival:
    """An arrival with an image: what covers the western and the eastern half of the pit."""
    out = folder / arrival.run.run_id
    out.mkdir()
    (out / layout.RUN).write_text(json.dumps({"run_id": arrival.run.run_id}))
    _, col, side = PIT
    middle = GRID.affine.c + 80 * (col + side / 2)
    x = grid.affine.c + grid.affine.a * (np.arange(grid.shape.x) + 0.5)
    classes = np.where(x < middle, left, right) + np.zeros((grid.shape.y, 1), int)
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 4, "nodata": 0, "crs": str(grid.crs),
        "transform": grid.affine, "height": grid.shape.y, "width": grid.shape.x,
    }  # fmt: skip
    with rasterio.open(out / layout.COMPOSITE, "w", **profile) as image:
        image.write(np.moveaxis(SPECTRA[classes], 2, 0).astype(np.uint16))
        image.descriptions = ("green", "red", "nir", "swir16")
        image.scales = (1e-4,) * 4
    return replace(arrival, run=arrival.run.model_copy(update={"folder": str(out)}))


def told(store: Store) -> pd.Series:
    sites = store.sites(SiteQuery())
    looks = store.looks(tuple(sites["site_id"]))
    found = cover_changes(looks, sites.set_index("site_id")["first_seen"])
    assert len(found) == 1
    return found.iloc[0]


def test_what_was_lost_in_one_corner_is_lost_though_another_gained(
    store: Store, tmp_path: Path
) -> None:
    land(store, seen(tmp_path, arrival_of(0, []), Cover.FOREST, Cover.FARMLAND))
    land(store, seen(tmp_path, arrival_of(1, [PIT]), Cover.BARE, Cover.FOREST))
    row = told(store)
    # As much forest as before, and none of it where it was.
    assert row["forest_before_ha"] == pytest.approx(HALF_HA, rel=0.01)
    assert row["forest_after_ha"] == pytest.approx(HALF_HA, rel=0.01)
    assert [row[name] for name in LOST] == pytest.approx([HALF_HA, 0, 0], rel=0.01)
    # The next look is compared with the same one before, on a grid of its own.
    coarse = FINE.zoom_to(resolution=20)
    land(store, seen(tmp_path, arrival_of(2, [PIT]), Cover.WATER, Cover.BARE, coarse))
    row = told(store)
    assert (row["cover_before"], row["cover_after"]) == (QUARTERS[0][0], QUARTERS[2][0])
    assert [row[name] for name in LOST] == pytest.approx([HALF_HA, HALF_HA, 0], rel=0.01)
    looks = store.looks(tuple(store.sites(SiteQuery())["site_id"]))
    assert looks["compared_with"].notna().sum() == 1


def test_what_cannot_be_told_is_asked_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def hidden(_before: LandedRun, _after: LandedRun, sites: gpd.GeoDataFrame) -> pd.DataFrame:
        asked.append(len(sites))
        return pd.DataFrame(np.nan, index=sites["site_id"].to_numpy(), columns=list(LOST))

    monkeypatch.setattr("sluice.app.following.landing.cover_lost", hidden)
    land(store, seen(tmp_path, arrival_of(0, []), Cover.FOREST, Cover.FARMLAND))
    land(store, seen(tmp_path, arrival_of(1, [PIT]), Cover.BARE, Cover.FOREST))
    land(store, arrival_of(2, [PIT]))
    assert asked == [1]
    assert told(store)[list(LOST)].isna().all()


def test_what_is_known_stays_where_an_image_is_gone(store: Store, tmp_path: Path) -> None:
    before = seen(tmp_path, arrival_of(0, []), Cover.WATER, Cover.FARMLAND)
    land(store, before)
    after = seen(tmp_path, arrival_of(1, [PIT]), Cover.BARE, Cover.WATER)
    land(store, after)
    expected = pytest.approx([0, HALF_HA, HALF_HA], rel=0.01)
    assert [told(store)[name] for name in LOST] == expected
    (Path(before.run.folder) / layout.COMPOSITE).unlink()
    # A run without an image of four bands changes neither the ground nor what was seen of it.
    land(store, arrival_of(2, [PIT]))
    assert [told(store)[name] for name in LOST] == expected
    # Another outline is other ground, on which nobody can compare any more.
    land(store, arrival_of(3, [PIT, (23, 20, 2)]))
    assert told(store)[LOST].isna().all()
    assert not np.isnan(told(store)["forest_after_ha"])


def test_periods_that_land_late_are_compared_too(store: Store, tmp_path: Path) -> None:
    land(store, seen(tmp_path, arrival_of(2, [PIT]), Cover.BARE, Cover.BARE))
    land(store, seen(tmp_path, arrival_of(1, [PIT]), Cover.FOREST, Cover.BARE))
    assert told(store)["forest_lost_ha"] == pytest.approx(HALF_HA, rel=0.01)
    land(store, seen(tmp_path, arrival_of(0, []), Cover.FOREST, Cover.WATER))
    assert [told(store)[name] for name in LOST] == pytest.approx([HALF_HA, 0, HALF_HA], rel=0.01)
    again = seen(tmp_path, arrival_of(0, [], tag="b"), Cover.FARMLAND, Cover.BARE)
    land(store, again)
    assert [told(store)[name] for name in LOST] == pytest.approx([0, HALF_HA, 0], rel=0.01)
