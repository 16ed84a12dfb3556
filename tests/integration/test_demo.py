"""`sluice demo`: what a newcomer sees first must work, and be told against the truth."""

import json
from pathlib import Path

import geopandas as gpd
import pytest
from typer.testing import CliRunner

from sluice.app.cli.main import app
from sluice.app.demo import run_demo
from sluice.base.errors import ConfigError
from sluice.phantom.scene import build_scene

SMALL_PX = 240


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("demo") / "out"
    result = CliRunner().invoke(app, ["demo", "--out", str(out), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def test_planted_mines_are_told_apart(demo) -> None:
    out, outcome = demo
    truth, summary = outcome["truth"], outcome["summary"]
    planted = gpd.read_file(out / "scene" / "truth.gpkg", layer="mines")
    told = {*truth["found"], *truth["missed"], *truth["not_observed"]}
    assert told == set(planted["mine_id"])
    # One lies wholly under cloud, and must not be called missed or found.
    hidden = set(planted.loc[planted["clear_share"] == 0, "mine_id"])
    assert hidden
    assert hidden <= set(truth["not_observed"])
    assert summary["not_observed_percent"] > 0
    # Not a promise of accuracy (docs/accuracy.md has that), but the demo must show something.
    assert len(truth["found"]) > len(truth["missed"])
    assert summary["sites"] == truth["detections"]


def test_everything_says_it_is_a_lead(demo) -> None:
    out, outcome = demo
    assert "not proof" in outcome["summary"]["disclaimer"]
    assert (out / "map" / "quicklook.png").stat().st_size > 100_000
    assert "not proof" in (out / "map" / "sites.csv").read_text(encoding="utf-8")


def test_it_does_not_replace_an_earlier_demo_unasked(demo) -> None:
    out, _ = demo
    with pytest.raises(ConfigError, match="holds an earlier demo; give --overwrite"):
        CliRunner().invoke(app, ["demo", "--out", str(out)], catch_exceptions=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_it_leaves_other_peoples_files_alone(tmp_path, overwrite) -> None:
    (tmp_path / "scene").mkdir()
    theirs = tmp_path / "scene" / "B04.tif"
    theirs.write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"not a demo's \(scene, 1 in all\)"):
        run_demo(tmp_path, overwrite=overwrite)
    assert theirs.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["scene"]
    with pytest.raises(ConfigError, match="is a file"):
        run_demo(theirs)


def test_a_demo_that_was_stopped_goes_on_with_the_same_command(tmp_path, monkeypatch) -> None:
    small = build_scene(7, size_px=SMALL_PX)
    monkeypatch.setattr("sluice.app.demo.demo_scene", lambda: small)

    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    for cut_off in ("write_scene", "scan"):
        with monkeypatch.context() as patch:
            patch.setattr(f"sluice.app.demo.{cut_off}", stop)
            with pytest.raises(KeyboardInterrupt):
                run_demo(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, progress=stop)
    assert not (tmp_path / "map" / "run.json").exists()
    assert run_demo(tmp_path).summary.tiles > 0
    with pytest.raises(ConfigError, match="holds an earlier demo"):
        run_demo(tmp_path)
