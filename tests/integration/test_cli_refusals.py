"""Commands beside `scan`: places that take no files, damaged models, Ctrl-C."""

import json

import pandas as pd
import pytest

from scenes import write_toy_model
from sluice.app.judging import JudgedModel, Judgement


@pytest.fixture
def sluice(sluice, tmp_path, monkeypatch):
    """With a folder of models of its own."""
    monkeypatch.setenv("SLUICE_MODELS", str(tmp_path / "models"))
    return sluice


@pytest.fixture
def file(tmp_path):
    """A file where a folder is needed: no folder can be made in it."""
    path = tmp_path / "file"
    path.write_text("mine")
    return path


def assert_refused(ended) -> None:
    code, _, told = ended
    assert code == 2, told
    assert told.count("\n") == 1
    assert "cannot be written" in told
    assert "fault in Sluice" not in told


def test_scores_that_cannot_be_written(sluice, file, monkeypatch) -> None:
    table = pd.DataFrame({"grid": ["g"], "cell": [0], "label": [1], "score": [0.5]})
    judged = Judgement(None, (JudgedModel(None, None, table, was_taught=False),), None)
    monkeypatch.setattr("sluice.app.judging.judge_models", lambda *_: judged)
    assert_refused(sluice("evaluate", "chips", ".", "--scores", file / "scores.csv"))


def test_a_models_folder_that_cannot_be_written(sluice, file, monkeypatch) -> None:
    def import_keras(_file, _preset, _name, folder):
        folder.mkdir(parents=True)

    monkeypatch.setattr("sluice.models.keras_import.import_keras", import_keras)
    monkeypatch.setenv("SLUICE_MODELS", str(file / "models"))
    words = ("models", "import", "a.h5", "--preset", "amw-2021", "--name", "a")
    assert_refused(sluice(*words))


def test_a_training_folder_that_cannot_be_written(sluice, file, monkeypatch) -> None:
    pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")

    def train(_data, out, **_settings):
        out.mkdir(parents=True)

    monkeypatch.setattr("sluice.training.chip_detector.train_chip_detector", train)
    options = ("--name", "a", "--licence", "MIT", "--attribution", "me")
    assert_refused(sluice("train", "chip-detector", "--data", ".", "--out", file / "a", *options))


def test_one_damaged_model_does_not_hide_the_others(sluice, tmp_path) -> None:
    write_toy_model(tmp_path / "models", "whole")
    broken = write_toy_model(tmp_path / "models", "broken")
    broken.weights_path.unlink()
    code, said, _ = sluice("models", "list")
    assert code == 0
    (line,) = [line for line in said.splitlines() if line.startswith("broken ")]
    assert "damaged: " in line
    assert "cannot be read" in line
    assert "Redness of a square" in said
    code, said, _ = sluice("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(said)}
    assert code == 0
    assert "cannot be read" in rows["broken"]["damaged"]
    assert len(rows["whole"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("words", "function", "told"),
    [
        (("models", "list"), "sluice.models.package.list_packages", "Stopped.\n"),
        (("evaluate", "chips", "."), "sluice.app.judging.judge_models", "Stopped.\n"),
        (
            ("demo",),
            "sluice.app.demo.run_demo",
            "Stopped. Run the same command again to go on where it stopped.\n",
        ),
        (
            ("labels", "grid", "--labels", "a.gpkg", "--area", "a.gpkg", "--out", "b"),
            "sluice.app.config.make_config",
            "Stopped. Run the same command again to go on where it stopped.\n",
        ),
        (("labels", "check", "chips"), "sluice.labels.check.check_dataset", "Stopped.\n"),
    ],
)
def test_only_what_goes_on_says_so_when_stopped(words, function, told, sluice, monkeypatch) -> None:
    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(function, stop)
    assert sluice(*words) == (130, "", told)
