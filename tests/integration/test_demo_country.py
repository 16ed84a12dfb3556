"""`sluice demo --country`: a country is followed, landed, compared, and goes on when cut off."""

import datetime as dt
import json
from pathlib import Path

import geopandas as gpd
import pytest
from typer.testing import CliRunner

from sluice.app import demo_country
from sluice.app.cli.main import app
from sluice.app.demo_country import run_country_demo
from sluice.app.following.country import AREA, OPTICAL
from sluice.app.following.stores import open_store
from sluice.base.errors import ConfigError
from sluice.base.places import Legality, Status
from sluice.base.store import SiteQuery
from sluice.phantom.country import build_country

QUARTERS = 2


@pytest.fixture(autouse=True, scope="module")
def _small_country() -> object:
    """A country of 3 km and two quarters in place of the demo's own."""

    def small(seed: int) -> object:
        return build_country(
            seed, size_px=300, quarters=QUARTERS, dates_per_quarter=1, mine_count=4, cloud=0.2
        )

    patch = pytest.MonkeyPatch()
    patch.setattr(demo_country, "build_country", small)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("country") / "out"
    arguments = ["demo", "--country", "--seed", "9", "--out", str(out)]
    # Cut off in the middle, and given again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_country, "land_country", _stop)
        with pytest.raises(KeyboardInterrupt):
            run_country_demo(out, seed=9)
    before = (out / OPTICAL / "2023-01_2023-03" / "run.json").stat().st_mtime_ns
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    after = (out / OPTICAL / "2023-01_2023-03" / "run.json").stat().st_mtime_ns
    assert before == after
    return out, json.loads(result.stdout)


def _stop(*_args: object, **_kwargs: object) -> None:
    raise KeyboardInterrupt


def test_every_quarter_of_both_sensors_lands(followed) -> None:
    out, _ = followed
    with open_store(str(out / "country.sqlite")) as store:
        runs = store.runs(AREA)
        assert [run.sensor for run in runs].count("s2-l2a") == QUARTERS
        # The first quarter has none to compare with.
        assert [run.sensor for run in runs].count("s1") == QUARTERS - 1
        assert {layer.name for layer in store.layers()} >= {"concessions", "rivers", "districts"}
        sites = store.sites(SiteQuery(area=AREA))
        assert len(sites)
        assert set(sites["legality"]) <= {each.value for each in Legality}
        assert Legality.UNKNOWN.value not in set(sites["legality"])
        periods = store.periods(list(sites["site_id"]))
        assert set(periods["start"]) <= {dt.date(2023, month, 1) for month in (1, 4)}


def test_the_comparison_tells_of_every_mine(followed) -> None:
    out, comparison = followed
    truth = gpd.read_file(out / "country" / "truth.gpkg", layer="quarters")
    assert {mine["mine_id"] for mine in comparison["mines"]} == set(truth["mine_id"])
    told = {quarter["said"] for mine in comparison["mines"] for quarter in mine["quarters"]}
    assert told - {None} <= {status.value for status in Status}
    assert told - {None}
    assert gpd.read_file(out / "sites.gpkg", layer="sites").crs.to_epsg() == 4326


def test_a_person_reads_a_table_totals_and_what_to_try(followed) -> None:
    out, _ = followed
    again = run_country_demo_again(out)
    for mine in again.comparison.mines:
        assert f"\n{mine.mine_id} " in again.text
    for word in ("Found:", "Alerted:", "Area:", "False:", "Climbing:", "Status:", "Try next:"):
        assert word in again.text
    assert f"sluice sites list --store {out / 'country.sqlite'}" in again.text
    assert again.map.is_file()


def run_country_demo_again(out: Path):
    """The finished demo once more: what is there is kept, and only compared."""
    (out / "comparison.json").unlink()
    return run_country_demo(out, seed=9)


def test_it_replaces_neither_a_finished_demo_nor_other_files(followed, tmp_path) -> None:
    out, _ = followed
    with pytest.raises(ConfigError, match="give --overwrite"):
        run_country_demo(out, seed=9)
    (out / "comparison.json").rename(out / "kept.json")
    with pytest.raises(ConfigError, match="holds another demo that was begun"):
        run_country_demo(out, seed=10)
    (out / "kept.json").rename(out / "comparison.json")
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a demo's"):
        run_country_demo(tmp_path, overwrite=True)
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "mine"
