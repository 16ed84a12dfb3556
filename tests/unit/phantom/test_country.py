"""A phantom country: every fate occurs, truth follows from it, clouds change neither."""

import dataclasses
import datetime as dt

import geopandas as gpd
import numpy as np
import pytest
import shapely

from sluice.base.errors import ConfigError, DataError
from sluice.base.places import LayerKind, Status
from sluice.phantom.country import (
    ROLES,
    Country,
    build_country,
    draw_clouds,
    middle_day,
    truth_by_quarter,
)
from sluice.phantom.country_files import CountryFiles, read_truth, write_country
from sluice.phantom.history import ACTIVE, PAUSED

SIZE_PX = 480


@pytest.fixture(scope="module")
def country() -> Country:
    return build_country(3, size_px=SIZE_PX, mine_count=8, largest_ha=12.0, dates_per_quarter=1)


@pytest.fixture(scope="module")
def truth(country: Country) -> gpd.GeoDataFrame:
    return truth_by_quarter(country)


def test_quarters_follow_each_other_and_each_has_its_dates(country: Country) -> None:
    assert len(country.quarters) == 8
    assert country.quarters[0].start == dt.date(2023, 1, 1)
    assert country.quarters[-1].end == dt.date(2024, 12, 31)
    for day, quarter in zip(country.series.dates, country.quarters, strict=True):
        assert day in quarter


def test_every_fate_occurs_and_follows_its_rule(country: Country, truth: gpd.GeoDataFrame) -> None:
    assert set(country.roles.values()) <= set(ROLES)
    for _, rows in truth.groupby("mine_id"):
        role = rows["role"].iloc[0]
        words = rows["status"].tolist()
        assert words[0] == Status.NEW
        assert Status.NEW not in words[1:]
        worked = rows["worked"].to_numpy()
        stopped = np.isin(words, [Status.INACTIVE, Status.RECOVERING])
        assert not (stopped & worked).any()
        assert (np.diff(rows["worked_ha"]) >= -1e-9).all()
        first = rows["quarter"].iloc[0]
        if role in ("opens", "brief"):
            assert first > 0
        else:
            assert first == 0
        if role == "steady":
            assert set(words[1:]) == {Status.STEADY}
        if role == "heals":
            assert words[-1] == Status.RECOVERING
            assert rows["area_ha"].iloc[-1] < rows["area_ha"].max()
        if role == "pauses":
            # Left and grown over, then worked again on the same ground.
            paused = ~worked
            assert paused.any()
            assert worked[-1]
            assert rows["bare_ha"].to_numpy()[paused].min() < rows["bare_ha"].iloc[-1]


def test_a_paused_mine_neither_grows_nor_stays_bare(country: Country) -> None:
    paused = [h for h in country.series.histories if h.paused is not None]
    assert paused
    for history in paused:
        begin, end = history.paused
        assert history.state(begin - dt.timedelta(days=1)) == ACTIVE
        assert history.state(begin) == PAUSED
        assert history.state(end) == ACTIVE
        assert history.worked_share(begin) == history.worked_share(end)
        bare = [(history.kind_at(day) > 0).sum() for day in (begin, end - dt.timedelta(days=1))]
        assert bare[1] < bare[0]
        assert history.regrown_share(end) == 0


def test_land_and_mines_do_not_depend_on_cloud(country: Country) -> None:
    other = build_country(
        3, size_px=SIZE_PX, mine_count=8, largest_ha=12.0, dates_per_quarter=1, cloud=0.9
    )
    assert other.roles == country.roles
    np.testing.assert_array_equal(other.series.land_bhw, country.series.land_bhw)
    day = middle_day(country.quarters[4])
    assert other.series.mines_at(day).equals(country.series.mines_at(day))
    seen = [np.mean([c.clear_in(q).mean() for q in range(8)]) for c in (country, other)]
    assert seen[1] < seen[0]


def test_what_was_seen_is_what_no_cloud_hid(country: Country, truth: gpd.GeoDataFrame) -> None:
    quarter = 2
    scene = country.series.scene_at(quarter, ["red"])
    np.testing.assert_array_equal(country.clear_in(quarter), scene.true_clear_hw)
    assert truth["seen_share"].between(0, 1).all()


@pytest.mark.parametrize("mean", [0.3, 0.6, 0.9])
def test_clouds_have_the_mean_that_was_asked_for(mean: float) -> None:
    shares = draw_clouds(mean, 2000, np.random.default_rng(1))
    assert np.mean(shares) == pytest.approx(mean, abs=0.01)
    assert min(shares) >= 0
    assert max(shares) <= 1


def test_borders_lie_where_the_rules_put_them(country: Country) -> None:
    plans = {h.mine_id: h for h in country.series.histories}
    concessions = country.layers[LayerKind.CONCESSIONS]
    half = country.quarters[3].end
    assert (concessions["end"] <= half).sum() == 1
    assert len(country.layers[LayerKind.PROTECTED]) == 2
    assert len(country.layers[LayerKind.INDIGENOUS]) == 1
    districts = country.layers[LayerKind.DISTRICTS].geometry
    whole = country.outline.iloc[0]
    assert districts.area.sum() == pytest.approx(whole.area)
    assert shapely.union_all(districts.to_numpy()).equals(whole)
    assert len(plans) == len(country.roles)
    for layer in country.layers.values():
        assert layer.crs == country.outline.crs
        assert layer.is_valid.all()
        assert not layer.is_empty.any()


def test_files_come_back_as_they_were_and_say_that_they_are_fiction(
    country: Country, truth: gpd.GeoDataFrame, tmp_path
) -> None:
    files = CountryFiles(tmp_path)
    two = dataclasses.replace(
        country,
        series=dataclasses.replace(
            country.series,
            acquired_at=country.series.acquired_at[:2],
            cloud_shares=country.series.cloud_shares[:2],
        ),
        quarters=country.quarters[:2],
    )
    told: list[tuple[int, int]] = []
    write_country(
        two, tmp_path, levels=("l2a",), workers=2, progress=lambda *done: told.append(done)
    )
    assert told == [(1, 2), (2, 2)]
    assert files.catalogue.is_file()
    again, confusers = read_truth(files)
    expected = truth[truth["quarter"] < 2].reset_index(drop=True)
    assert again["start"].tolist() == expected["start"].tolist()
    assert again["status"].tolist() == expected["status"].tolist()
    assert len(confusers) == len(country.series.confusers)
    concessions = gpd.read_file(files.layer(LayerKind.CONCESSIONS))
    assert str(concessions["end"].dtype).startswith("datetime64")
    assert b"fictional" in files.layer(LayerKind.ROADS).read_bytes()


def test_a_country_without_mines_is_read_again(country: Country, tmp_path) -> None:
    files = CountryFiles(tmp_path)
    series = dataclasses.replace(
        country.series,
        histories=(),
        acquired_at=country.series.acquired_at[:1],
        cloud_shares=country.series.cloud_shares[:1],
    )
    write_country(dataclasses.replace(country, series=series), tmp_path, levels=("l2a",))
    truth, confusers = read_truth(files)
    assert len(truth) == 0
    assert {"start", "end", "status"} <= set(truth.columns)
    assert len(confusers) == len(country.series.confusers)


def test_what_cannot_be_drawn_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="use a share above 0 and below 1"):
        build_country(1, size_px=240, cloud=1.0)
    with pytest.raises(ConfigError, match="two quarters or more"):
        build_country(1, size_px=240, quarters=1)
    with pytest.raises(DataError, match="no truth of a phantom country"):
        read_truth(CountryFiles(tmp_path))
