"""What covered the ground of sites before they began, and after."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from arrivals import GRID, PIT, QUARTERS, arrival_of
from sluice.app.following.exporting import export
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.stores import open_store
from sluice.app.products.coverage import outline_lonlat
from sluice.base.places import Look, columns_of
from sluice.base.store import SiteQuery
from sluice.sites.looks import cover_change, cover_changes

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
            assert alone == cover_changes(LOOKS, BEGAN).loc[site_id].to_dict()
    assert cover_change(LOOKS.iloc[:0], dt.date(2023, 1, 1)) is None


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
        monkeypatch.setattr(store, "looks", lambda _: looks)
        (row,) = gpd.read_file(
            export(store, SiteQuery(), tmp_path / "with.gpkg").path, layer="sites"
        ).iloc
        assert (row["forest_before_ha"], row["forest_after_ha"]) == (5.0, 1.25)
        assert pd.Timestamp(row["cover_before"]).date() == QUARTERS[0][0]
