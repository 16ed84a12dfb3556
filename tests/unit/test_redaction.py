"""What a redacted table tells, and what nobody can work out from it."""

import datetime as dt
import math

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from export_cases import alerts_table, periods_table, sites_table
from sluice.base.errors import ConfigError, DataError, GridMismatch
from sluice.base.places import Status, Verdict
from sluice.sites.fixed_grid import cells_of
from sluice.sites.redaction import (
    CELL_M,
    REDACTED,
    Redaction,
    Sensitive,
    coarse_hectares,
    may_name_area,
    redact,
    redact_alerts,
    redact_periods,
)
from sluice.sites.vectorise import geohash

TODAY = dt.date(2025, 7, 1)
KEY = b"a secret of thirty-two bytes, say"
RULE = Redaction(5000, key=KEY)
GEOD = pyproj.Geod(ellps="WGS84")
LONGITUDE, LATITUDE = st.floats(-180, 180), st.floats(-90, 90)
SIZE = st.sampled_from([100.0, 1000.0, 5000.0, 33_333.0, 1_000_000.0])


@given(LONGITUDE, LATITUDE, SIZE)
@example(math.nextafter(180, 0), 0.0, 100.0)
def test_a_cell_holds_its_place_and_is_as_large_as_asked(lon, lat, grid_m) -> None:
    cell = cells_of([lon], [lat], grid_m)
    west, south, east, north = (
        float(edge[0]) for edge in (cell.west, cell.south, cell.east, cell.north)
    )
    slack = 1e-6
    # 180 degrees is the same line as -180.
    assert west - slack <= lon <= east + slack or (lon == 180 and west == -180)
    assert south - slack <= lat <= north + slack
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90
    height = GEOD.inv(west, south, west, north)[2]
    assert height >= grid_m - 0.2
    if abs(lat) < 80 and grid_m <= 5000:
        poleward = south if -south > north else north
        width = GEOD.inv(west, poleward, east, poleward)[2]
        assert grid_m - 0.2 <= width < 1.02 * grid_m
        assert height < 1.02 * grid_m


@given(LONGITUDE, st.floats(-89.9, 89.9), SIZE)
def test_the_centre_of_a_cell_is_in_the_same_cell(lon, lat, grid_m) -> None:
    cell = cells_of([lon], [lat], grid_m)
    again = cells_of(cell.lon, cell.lat, grid_m)
    assert (again.west, again.north) == (cell.west, cell.north)


PLACES = st.lists(st.tuples(LONGITUDE, LATITUDE), min_size=1, max_size=8)


@settings(max_examples=15)
@given(PLACES, st.randoms())
def test_the_same_place_has_the_same_cell_whatever_the_other_rows(places, random) -> None:
    table = sites_table(*np.array(places).T)
    alone = redact(table[:1], RULE, TODAY)
    order = [*range(len(places))]
    random.shuffle(order)
    among = redact(table.iloc[order], RULE, TODAY)
    same = among[among["site_id"] == alone["site_id"].iloc[0]]
    assert same.iloc[0].geometry.equals(alone.iloc[0].geometry)
    assert list(same.iloc[0][["lon", "lat"]]) == list(alone.iloc[0][["lon", "lat"]])


SHARE = st.floats(0.001, 0.999)


@settings(max_examples=15)
@given(
    st.floats(-179, 179),
    st.floats(-85, 85),
    st.lists(st.tuples(SHARE, SHARE), min_size=2, max_size=8),
)
def test_nothing_in_the_table_depends_on_where_in_the_cell_a_site_lies(lon, lat, steps) -> None:
    """Sites of one cell that differ in all but news look the same, but for the opaque id."""
    west, south, east, north = redact(sites_table([lon], [lat]), RULE, TODAY).total_bounds
    across, up = np.array(steps).T
    places = (west + across * (east - west), south + up * (north - south))
    table = sites_table(*places)
    table["legality"] = np.where(up > 0.5, "protected", "outside")
    table["legality_why"] = [f"in area {n}" for n in up]
    table["context"] = [{"river_m": n, "district": str(n), f"road_{n}_m": 1} for n in across]
    table["priority"] = 100 * across
    table["priority_parts"] = [{"river": n} for n in across]
    table["area"] = [f"around {n}" for n in across]
    table["status"] = "growing"
    table["level"] = "high"
    table["status_rule"] = [f"at {step}" for step in steps]
    table["area_ha"] = 10 + across
    table["cumulative_ha"] = 10 + up
    table["posterior"] = up
    table["first_seen"] = [dt.date(2024, 1, 1 + round(20 * n)) for n in up]
    table["last_observed"] = [dt.date(2024, 12, 1 + round(20 * n)) for n in up]
    table["merged_into"] = table["site_id"].iloc[::-1].to_numpy()
    table["current"] = up > 0.5
    table["scenes"] = [f"S2A_{n}" for n in up]
    told = pd.DataFrame(redact(table, RULE, TODAY)).drop(columns="site_id")
    assert len(told) == len(steps)
    for name in told:
        assert len({str(value) for value in told[name]}) == 1, name


def test_many_publications_average_to_the_centre_of_the_cell() -> None:
    table = sites_table([-1.2345678], [6.1234567])
    exports = [redact(table, Redaction(5000), TODAY) for _ in range(20)]
    lon, lat = (np.array([export[name].iloc[0] for export in exports]) for name in ("lon", "lat"))
    west, south, east, north = exports[0].geometry.iloc[0].bounds
    assert lon.mean() == pytest.approx((west + east) / 2, abs=1e-7)
    assert lat.mean() == pytest.approx((south + north) / 2, abs=1e-7)
    assert lon.std() < 1e-12
    # Without a key ids cannot be followed from one export to the next.
    assert len({export["site_id"].iloc[0] for export in exports}) == 20


def test_a_site_that_grows_over_the_edge_keeps_its_cell() -> None:
    table = sites_table([-1.2345678], [6.1234567])
    first = redact(table, RULE, TODAY)
    west, south, _, north = first.geometry.iloc[0].bounds
    for lon in np.linspace(-1.2345678, west - 0.02, 9):
        moved = table.assign(lon=lon, lat=(south + north) / 2)
        moved.geometry = shapely.buffer(shapely.points(moved.lon, moved.lat), 0.01)
        pd.testing.assert_frame_equal(pd.DataFrame(redact(moved, RULE, TODAY)), pd.DataFrame(first))


def test_an_id_of_other_origin_does_not_place_a_site() -> None:
    table = sites_table([-1.2345678], [6.1234567])
    expected = redact(table, RULE, TODAY).geometry.iloc[0]
    for name in ("s-zzzzzzzzz", "mine 7", "s-77777777", "=1+1", "", "s-\U0001f600"):
        given_name = redact(table.assign(site_id=name), RULE, TODAY)
        assert given_name.geometry.iloc[0].equals(expected)
        assert given_name["site_id"].str.fullmatch(r"r-[0-9a-f]{16}").all()


def test_ids_need_the_key_and_join_the_tables() -> None:
    sites = sites_table([-1.2345678, -1.3], [6.1234567, 6.2])
    alerts, periods = alerts_table(sites), periods_table(sites)
    ids = set(redact(sites, RULE, TODAY)["site_id"])
    assert set(redact_alerts(alerts, RULE, TODAY, sites=sites)["site_id"]) == ids
    assert set(redact_periods(periods, RULE, TODAY, sites=sites)["site_id"]) == ids
    other = Redaction(5000, key=b"another secret, long")
    assert not ids & set(redact(sites, other, TODAY)["site_id"])
    assert KEY.decode() not in repr(RULE)


def test_order_tells_nothing() -> None:
    """A list by priority, then by geohash, would sort places from west to east."""
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(-3, 0, 200), rng.uniform(5, 8, 200)
    order = rng.permutation(200)
    table = sites_table(lon, lat)
    one, two = (redact(rows, RULE, TODAY) for rows in (table, table.iloc[order]))
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(two))
    assert not one["lon"].is_monotonic_increasing


def test_only_sensitive_sites_are_hidden_and_the_others_stay_as_they_are() -> None:
    sites = sites_table([-1.1, -1.3, -1.5, -1.7], [6.1, 6.2, 6.3, 6.4])
    sites["status"] = ["new", "steady", "steady", "inactive"]
    sites["verdict"] = [None, "confirmed", "rejected", None]
    around = shapely.box(-1.72, 6.38, -1.68, 6.42)
    for which, hidden in (
        (Sensitive(status=(Status.NEW,)), [0]),
        (Sensitive(verdict=(Verdict.CONFIRMED, None)), [0, 1, 3]),
        (Sensitive(within=around), [3]),
        (Sensitive(status=(Status.NEW,), within=around), [0, 3]),
        (Sensitive(), []),
    ):
        rule = Redaction(5000, which=which, key=KEY)
        told = redact(sites, rule, TODAY)
        open_rows = [row for row in range(4) if row not in hidden]
        shown = told[~told[REDACTED]]
        for name in sites.columns:
            was = sites[name].iloc[open_rows]
            assert [str(value) for value in shown[name]] == [str(value) for value in was]
        rows = told[told[REDACTED]]
        assert len(rows) == len(hidden)
        assert rows[CELL_M].eq(5000).all()
        assert rows["context"].isna().all()
        assert rows["priority"].isna().all()
        whole = redact(sites, RULE, TODAY).set_index("site_id")
        for _, row in rows.iterrows():
            assert row.geometry.equals(whole.geometry[row["site_id"]])
        alerts = redact_alerts(alerts_table(sites), rule, TODAY, sites=sites)
        assert set(alerts["site_id"][alerts[REDACTED]]) == set(rows["site_id"])
        periods = redact_periods(periods_table(sites), rule, TODAY, sites=sites)
        assert set(periods["site_id"][periods[REDACTED]]) == set(rows["site_id"])


def quarters(site_id: str, states: str) -> pd.DataFrame:
    """From 2024 on: `n` new, `g` growing, `.` seen and nothing there, `?` hidden."""
    words = {"n": "new", "g": "growing", ".": "inactive", "?": "not_observed"}
    starts = pd.date_range("2024-01-01", periods=len(states), freq="QS")
    return pd.DataFrame(
        {
            "site_id": site_id,
            "start": starts.date,
            "end": (starts + pd.offsets.QuarterEnd()).date,
            "observed": [state != "?" for state in states],
            "detected": [state in "ng" for state in states],
            "status": [words[state] for state in states],
            "status_rule": "by 3.21 ha",
            "posterior": 0.5,
            "level": ["low" if state == "n" else "high" for state in states],
            "sensors": "s2-l2a",
            "area_ha": [float(n) if s in "ng" else np.nan for n, s in enumerate(states, 1)],
            "area_low_ha": np.nan,
            "area_high_ha": np.nan,
        }
    )


def test_a_delay_tells_what_was_known_then() -> None:
    sites = sites_table([-1.1, -1.3], [6.1, 6.2])
    old, young = sites["site_id"]
    periods = pd.concat([quarters(old, "?n?g."), quarters(young, "....n")], ignore_index=True)
    # On 1 July 2025: six months back, the last quarter that had ended is that of 31 December.
    rule = Redaction(5000, delay_months=6, key=KEY)
    assert rule.newest(TODAY) == dt.date(2025, 1, 1)
    (row,) = redact(sites, rule, TODAY, periods=periods).to_dict("records")
    assert row["first_seen"] == dt.date(2024, 4, 1)
    assert row["last_seen"] == dt.date(2024, 12, 31)
    assert (row["status"], row["level"], row["area_ha"]) == ("growing", "high", 5.0)
    # A month earlier the third quarter was the last one, hidden: the second one's word stands.
    (row,) = redact(sites, rule, dt.date(2025, 6, 1), periods=periods).to_dict("records")
    assert row["last_seen"] == dt.date(2024, 6, 30)
    assert (row["status"], row["area_ha"]) == ("new", 2.0)
    assert redact(sites, rule, dt.date(2024, 12, 29), periods=periods).empty
    assert len(redact(sites, rule, dt.date(2025, 10, 1), periods=periods)) == 2
    with pytest.raises(DataError, match="needs the sites' periods"):
        redact(sites, rule, TODAY)


def test_history_does_not_tell_when_a_place_was_hidden() -> None:
    sites = sites_table([-1.1], [6.1])
    one = redact_periods(quarters(sites.site_id[0], "?.n?g?."), RULE, TODAY, sites=sites)
    assert list(one["status"]) == ["new", "new", "growing", "growing", "inactive"]
    assert list(one["area_ha"].fillna(0)) == [2, 2, 5, 5, 0]
    assert not {"observed", "detected", "status_rule", "sensors"} & set(one.columns)
    rule = Redaction(5000, delay_days=300, key=KEY)
    delayed = redact_periods(quarters(sites.site_id[0], "?.n?g?."), rule, TODAY, sites=sites)
    assert list(delayed["end"]) == []
    assert len(redact_periods(quarters(sites.site_id[0], "n"), rule, TODAY, sites=sites)) == 1


def test_alerts_are_held_back_and_do_not_tell_what_came_later() -> None:
    sites = sites_table([-1.1, -1.3], [6.1, 6.2])
    alerts = alerts_table(sites)
    alerts["raised"] = [dt.date(2024, 6, 30), dt.date(2025, 3, 31)]
    alerts["updated"] = dt.date(2025, 3, 31)
    rule = Redaction(5000, delay_months=6, key=KEY)
    (row,) = redact_alerts(alerts, rule, TODAY, sites=sites).to_dict("records")
    assert row["raised"] == dt.date(2024, 6, 30)
    assert (row["level"], row["state"], row["updated"]) == (None, None, None)
    # Where an alert lies is its site's cell, even if it grew into the next one.
    far = alerts.assign(lon=alerts.lon + 0.3)
    cell = redact(sites, RULE, TODAY).set_index("site_id")[["lon", "lat"]]
    for _, alert in redact_alerts(far, RULE, TODAY, sites=sites).iterrows():
        assert (alert["lon"], alert["lat"]) == tuple(cell.loc[alert["site_id"]])
    unknown = redact_alerts(alerts, Redaction(5000, which=Sensitive()), TODAY, sites=sites[:1])
    assert list(unknown[REDACTED]) == [False, True]


@given(st.floats(1e-4, 1e6))
def test_areas_are_the_nearest_step_by_ratio(hectares) -> None:
    ladder = [step * 10.0**power for power in range(-6, 8) for step in (1, 2, 5)]
    nearest = min(ladder, key=lambda step: abs(math.log(step / hectares)))
    found = coarse_hectares([hectares])[0]
    assert abs(math.log(found / hectares)) <= abs(math.log(nearest / hectares)) + 1e-9
    assert np.isnan(coarse_hectares([np.nan])[0])
    assert coarse_hectares([0.0])[0] == 0


def test_empty_tables_stay_empty() -> None:
    sites = sites_table([], [])
    assert redact(sites, RULE, TODAY).empty
    assert redact_alerts(alerts_table(sites), RULE, TODAY, sites=sites).empty
    assert redact_periods(periods_table(sites), RULE, TODAY, sites=sites).empty
    rule = Redaction(5000, delay_months=6, which=Sensitive(status=(Status.NEW,)))
    assert redact(sites, rule, TODAY, periods=periods_table(sites)).empty
    assert list(redact(sites, RULE, TODAY).columns) == list(
        redact(sites_table([1.0], [1.0]), RULE, TODAY).columns
    )


def test_what_cannot_be_done_is_said() -> None:
    sites = sites_table([-1.1], [6.1])
    with pytest.raises(GridMismatch, match="EPSG:4326"):
        redact(sites.to_crs(3857), RULE, TODAY)
    with pytest.raises(DataError, match="lon"):
        redact(sites.drop(columns="lon"), RULE, TODAY)
    rule = Redaction(5000, which=Sensitive(verdict=(Verdict.CONFIRMED,)))
    with pytest.raises(DataError, match="verdict"):
        redact(sites.drop(columns="verdict"), rule, TODAY)
    with pytest.raises(ConfigError, match="no longitude"):
        redact(sites.assign(lon=np.nan, site_id="x"), RULE, TODAY)
    for size in (0, 99, math.nan, math.inf, -5000):
        with pytest.raises(ConfigError, match="grid of"):
            Redaction(size)
    with pytest.raises(ConfigError, match="negative"):
        Redaction(5000, delay_days=-1)
    with pytest.raises(ConfigError, match="guess"):
        Redaction(5000, key=b"short")


def test_geohashes_are_read_back() -> None:
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(-180, 180, 300), rng.uniform(-84, 84, 300)
    by_id = sites_table(lon, lat)
    assert by_id["site_id"].iloc[0] == f"s-{geohash(lon[0], lat[0])}"
    by_place = by_id.assign(site_id=[f"other {n}" for n in range(300)])
    edges = shapely.get_coordinates
    one = redact(by_id, RULE, TODAY).geometry.to_numpy()
    two = redact(by_place, RULE, TODAY).geometry.to_numpy()
    # A place on an edge may be taken for its neighbour, a geohash being five metres wide.
    found = {shape.wkt for shape in one}
    assert len(edges(one)) == 5 * 300
    assert np.mean([shape.wkt in found for shape in two]) > 0.98


def test_the_outline_column_may_have_another_name() -> None:
    sites = sites_table([-1.1], [6.1]).rename_geometry("outline")
    told = redact(sites, RULE, TODAY)
    assert isinstance(told, gpd.GeoDataFrame)
    assert told.geometry.name == "outline"
    assert told.crs == "EPSG:4326"


def test_a_small_area_has_no_name_even_before_anything_is_shown_in_it() -> None:
    none = redact(sites_table([-1.5], [6.0]).iloc[:0], RULE, TODAY)
    small, large = shapely.box(-1.5, 6, -1.49, 6.01), shapely.box(-3, 5, -1, 7)
    assert not may_name_area(small, none, RULE)
    assert may_name_area(large, none, RULE)
