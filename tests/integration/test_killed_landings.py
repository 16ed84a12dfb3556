"""Commands that land a scan, killed on the way: nothing or all is there; again is always safe."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from scenes import Patch, forest_with, utm_geobox, write_image, write_toy_model
from sluice.app.cli.main import app
from sluice.app.following.stores import open_store
from sluice.app.products.run_record import name_run
from sluice.base.errors import ConfigError
from sluice.base.store import SiteQuery
from sluice.store.checking import check

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

SHAPE = (480, 480)
PERIOD = ("--from", "2024-01", "--to", "2024-03")
KILLED = """
import os, signal, sys
import {module} as module
place = getattr(module, "{owner}") if "{owner}" else module
undisturbed = place.{step}
def killed(*values, **options):
    if {after}:
        undisturbed(*values, **options)
    os.kill(os.getpid(), signal.SIGKILL)
place.{step} = killed
from sluice.app.cli.main import main
sys.argv = ["sluice", *sys.argv[1:]]
main()
"""
LANDING = {"module": "sluice.store.landing", "owner": "SqlLanding", "after": True}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A scan of a small image with two mines, as a command."""
    folder = tmp_path_factory.mktemp("scene")
    bands = forest_with(
        [Patch(100, 100, 96, 96), Patch(300, 320, 64, 64)], SHAPE, colours=("green", "red")
    )
    image = write_image(folder / "scene.tif", bands, utm_geobox(SHAPE))
    model = write_toy_model(folder / "models").folder
    return ("scan", str(image), "--model", str(model), "--workers", "1", "--quiet")


@pytest.fixture(scope="module")
def scanned(words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scanned") / "q1"
    said(*words, "--out", str(out))
    return out


@pytest.fixture(scope="module")
def reference(scanned: Path, tmp_path_factory: pytest.TempPathFactory) -> list[pd.DataFrame]:
    """What an undisturbed landing leaves."""
    store = tmp_path_factory.mktemp("reference") / "ours.sqlite"
    said(*import_of(scanned, store))
    return contents(store)


def said(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def import_of(folder: Path, store: Path) -> tuple[str, ...]:
    named = ("--area-name", "ours", "--store", str(store))
    return ("import", "run", str(folder), *named, *PERIOD)


def kill_at(words: tuple[str, ...], **step: object) -> None:
    """Run a command that is killed at a step of its landing."""
    code = KILLED.format(**(LANDING | step))
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def contents(store: Path) -> list[pd.DataFrame]:
    with contextlib.closing(open_store(str(store))) as opened:
        assert [finding for finding in check(opened.db) if finding.wrong] == []
        sites = opened.sites(SiteQuery(with_past=True))
        ids = sites["site_id"].tolist()
        tables = [
            opened.areas().drop(columns="created"),
            sites,
            opened.detections(SiteQuery()),
            opened.looks(ids),
            opened.periods(ids),
            opened.alerts(SiteQuery()),
        ]
    return [
        pd.DataFrame(table).assign(geometry=table.geometry.to_wkb())
        if "geometry" in table
        else table
        for table in tables
    ]


def rows(tables: list[pd.DataFrame]) -> list[int]:
    return [len(table) for table in tables]


def test_an_import_that_is_killed_leaves_nothing_and_lands_again(
    scanned: Path, reference: list[pd.DataFrame], tmp_path: Path
) -> None:
    store = tmp_path / "ours.sqlite"
    kill_at(import_of(scanned, store), step="finish")
    assert rows(contents(store)) == [0] * len(reference), "not even the area"
    assert "2 sites in all" in said(*import_of(scanned, store))
    for landed, expected in zip(contents(store), reference, strict=True):
        pd.testing.assert_frame_equal(landed, expected)


def test_an_import_that_is_killed_once_all_is_written_has_landed(
    scanned: Path, reference: list[pd.DataFrame], tmp_path: Path
) -> None:
    store = tmp_path / "ours.sqlite"
    module = "sluice.app.following.landing_runs"
    kill_at(import_of(scanned, store), module=module, owner="", step="land")
    assert rows(contents(store)) == rows(reference)
    assert "had landed" in said(*import_of(scanned, store))
    for landed, expected in zip(contents(store), reference, strict=True):
        pd.testing.assert_frame_equal(landed, expected)


def test_another_run_of_the_same_id_is_not_taken_for_it(scanned: Path, tmp_path: Path) -> None:
    store, other = tmp_path / "ours.sqlite", tmp_path / "other"
    said(*import_of(scanned, store))
    shutil.copytree(scanned, other)
    record = json.loads((other / "run.json").read_text(encoding="utf-8"))
    record["started"] = "2020-01-01T00:00:00Z"
    (other / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ConfigError, match="another run of this id has landed in area ours"):
        CliRunner().invoke(app, [*import_of(other, store)], catch_exceptions=False)


def test_runs_that_begin_in_the_same_second_are_told_apart() -> None:
    moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert len({name_run(moment) for _ in range(100)}) == 100


def test_a_scan_that_is_killed_while_it_lands_goes_on_where_it_was(
    words: tuple[str, ...], reference: list[pd.DataFrame], tmp_path: Path
) -> None:
    store, out = tmp_path / "ours.sqlite", tmp_path / "q1"
    landing = ("--store", str(store), "--area-name", "ours", *PERIOD)
    command = (*words, "--out", str(out), *landing)
    kill_at(command, step="put_detections")
    assert rows(contents(store)) == [0] * len(reference)
    written = (out / "run.json").stat().st_mtime_ns
    said(*command)
    assert (out / "run.json").stat().st_mtime_ns == written, "what was scanned is kept"
    assert rows(contents(store)) == rows(reference)
