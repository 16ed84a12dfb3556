"""`sluice train`: options and YAML are one, and the command line wins."""

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

yaml = pytest.importorskip("yaml", reason="YAML needs pyyaml: make test EXTRAS=dev,train")

from sluice.app.cli.main import app  # noqa: E402
from sluice.app.training_config import (  # noqa: E402
    ChipDetectorRequest,
    CnnRequest,
    FeatureTableRequest,
    RandomFeaturesRequest,
    UNetRequest,
    read_request,
)
from sluice.base.errors import AssetReadError, ConfigError  # noqa: E402

NEEDED = {"data": "d", "out": "o", "name": "n", "licence": "CC0-1.0", "attribution": "nobody"}


def write(path, **values):
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_command_line_wins_over_the_file(tmp_path):
    config = write(
        tmp_path / "t.yaml", **NEEDED, epochs=7, bands=["red", "nir"], **{"learning-rate": 0.5}
    )
    request = read_request(UNetRequest, config, {"epochs": 9, "indices": "ndwi, ndvi"})
    assert (request.epochs, request.learning_rate) == (9, 0.5)
    assert request.bands == ("red", "nir")
    assert request.indices == ("ndwi", "ndvi")
    assert request.data == Path("d")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epochs": 0}, "--epochs 0: Input should be greater"),
        ({"epochen": 3}, "epochen: is no option"),
        ({"loss": "hinge"}, "--loss hinge"),
        ({"loss": "tversky", "alpha": 0.9}, "sum to 1.6"),
        ({"name": None}, "--name"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
    ],
)
def test_wrong_options_are_named(given, words):
    with pytest.raises(ConfigError, match=words):
        read_request(UNetRequest, None, {**NEEDED, **given})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"loss": "dice"}, "--loss dice: .*'bce', 'weighted_bce' or 'focal'"),
        ({"loss": "focal", "label_smoothing": 0.1}, "leave it out for focal"),
        ({"class_weights": "1,2,3"}, "^the options: class_weights has 3 numbers; windows want two"),
    ],
)
def test_losses_that_windows_have_not_are_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        read_request(CnnRequest, None, {**NEEDED, **given})


@pytest.mark.parametrize("kind", [ChipDetectorRequest, RandomFeaturesRequest, FeatureTableRequest])
@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_no_draw_takes_are_refused(kind, seed):
    needed = {"labels": "l", "features": "f", "out": "o"}
    given = NEEDED if kind is not FeatureTableRequest else needed
    assert read_request(kind, None, {**given, "seed": 3}).seed == 3
    with pytest.raises(ConfigError, match=f"--seed {seed}: Input should be"):
        read_request(kind, None, {**given, "seed": seed})


@pytest.mark.parametrize("alphas", ["", "0,1", "-1", "nan"])
def test_penalties_that_penalise_nothing_are_refused(alphas):
    with pytest.raises(ConfigError, match="--alphas"):
        read_request(RandomFeaturesRequest, None, {**NEEDED, "alphas": alphas})


def test_a_missing_option_is_named():
    with pytest.raises(ConfigError, match="--data: is missing"):
        read_request(CnnRequest, None, {})


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("- a\n- b\n", ConfigError, "no table"),
        ("epochs: [1\n", AssetReadError, "cannot be read as YAML"),
        ("!!python/object/apply:os.getcwd []\n", AssetReadError, "cannot be read as YAML"),
        ("1: 2\n", ConfigError, "no table"),
    ],
)
def test_files_that_are_no_options_are_refused(tmp_path, text, error, words):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(error, match=words):
        read_request(UNetRequest, tmp_path / "t.yaml", NEEDED)
    with pytest.raises(AssetReadError, match="cannot be read"):
        read_request(UNetRequest, tmp_path / "none.yaml", NEEDED)


@pytest.mark.parametrize("family", ["unet", "segformer", "cnn"])
def test_help_tells_every_option(family):
    told = CliRunner().invoke(app, ["train", family, "--help"]).output
    for option in ("--data", "--from", "--config", "--epochs", "--learning-rate", "--bands"):
        assert option in told
    assert "Undefined" not in told


@pytest.mark.parametrize("family", ["chip-detector", "random-features", "feature-table"])
def test_all_families_take_a_file_and_an_aim(family):
    told = CliRunner().invoke(app, ["train", family, "--help"]).output
    for option in ("--out", "--config", "--aim", "--calibration"):
        assert option in told


def test_random_features_from_a_file(tmp_path):
    pytest.importorskip("skl2onnx")
    from training_cases import write_masked_chips

    write_masked_chips(tmp_path / "d", bands=("red", "nir"))
    config = write(
        tmp_path / "t.yaml",
        **NEEDED | {"data": str(tmp_path / "d"), "out": str(tmp_path / "out")},
        patches=8,
        folds=5,
        alphas=[0.5, 1],
        aim="recall>=0.9",
    )
    words = ["train", "random-features", "--config", str(config), "--folds", "2"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    training = json.loads((tmp_path / "out" / "n" / "manifest.json").read_text())["training"]
    assert training["aim"] == "recall>=0.9"
    settings = training["settings"]
    assert (settings["patches"], settings["folds"], settings["alphas"]) == (8, 2, [0.5, 1])


def test_a_unet_is_trained_from_the_command_line(tmp_path, one_thread):
    pytest.importorskip("monai")
    from training_cases import write_masked_chips

    write_masked_chips(tmp_path / "d", splits=True, bands=("red", "nir"))
    config = write(tmp_path / "t.yaml", epochs=50, width=2, loss="focal", batch=4, warmup_steps=2)
    words = ["train", "unet", "--config", str(config), "--data", str(tmp_path / "d")]
    words += ["--out", str(tmp_path / "out"), "--name", "tiny", "--licence", "CC0-1.0"]
    words += ["--attribution", "nobody", "--epochs", "2", "--indices", "ndvi", "--window-px", "2"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "IoU at" in result.output
    assert (tmp_path / "out" / "tiny" / "manifest.json").is_file()
    lines = (tmp_path / "out" / "work" / "tiny-curves.csv").read_text().splitlines()
    assert len(lines) == 3


def test_going_on_takes_the_models_width_where_none_is_asked_for(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    from sluice.training import pixel_model
    from training_cases import write_masked_chips

    asked = []

    class Reached(Exception):
        pass

    def reach(training):
        asked.append(training.options)
        raise Reached

    write_masked_chips(tmp_path / "d", splits=True, bands=("red", "green", "blue"))
    monkeypatch.setattr(pixel_model, "_build", reach)
    words = ["--data", str(tmp_path / "d"), "--out", str(tmp_path / "out"), "--name", "tiny"]
    words += ["--licence", "CC0-1.0", "--attribution", "nobody", "--from", "workings"]
    runner = CliRunner()
    assert isinstance(runner.invoke(app, ["train", "unet", *words]).exception, Reached)
    assert asked[0].width == 16
    wider = runner.invoke(app, ["train", "unet", *words, "--width", "8"])
    assert "workings is family unet width 16, asked for is family unet width 8" in str(
        wider.exception
    )
    if importlib.util.find_spec("transformers"):
        other = runner.invoke(app, ["train", "segformer", *words])
        assert "workings is family unet width 16, asked for is family segformer" in str(
            other.exception
        )
    assert len(asked) == 1
