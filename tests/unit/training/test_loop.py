"""The engine: schedules against torch's, and fits that are killed, damaged or diverge."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")
pytest.importorskip("matplotlib", reason="curves need matplotlib: make test EXTRAS=dev,train")

from sluice.base.errors import ConfigError, DataError, WeightsError  # noqa: E402
from sluice.training.options import FitOptions  # noqa: E402
from sluice.training.schedule import Plateau, learning_rate, look_at_plateau  # noqa: E402
from training_cases import tiny_fit  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TESTS = Path(__file__).parents[2]


def test_cosine_after_warm_up_is_torchs():
    options = FitOptions(learning_rate=0.1, warmup_steps=4)
    rates = [learning_rate(options, step, 24, Plateau()) for step in range(24)]
    assert rates[:4] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=20)
    for rate in rates[4:]:
        assert rate == pytest.approx(reference.get_last_lr()[0])
        optimiser.step()
        reference.step()


def test_plateau_steps_down_when_torchs_does():
    options = FitOptions(
        schedule="plateau", plateau_patience=2, plateau_factor=0.5, learning_rate=1, warmup_steps=0
    )
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="max", factor=0.5, patience=2, threshold=0
    )
    plateau = Plateau()
    for figure in (1, 2, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 4):
        plateau = look_at_plateau(plateau, figure, options)
        reference.step(figure)
        assert learning_rate(options, 0, 1, plateau) == optimiser.param_groups[0]["lr"]


def same_weights(one, other):
    first, second = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_killed_fit_goes_on_to_the_same_weights(tmp_path, capsys, schedule):
    whole = tiny_fit(tmp_path / "whole", schedule=schedule)
    killed = tmp_path / "killed"
    killed.mkdir()
    paths = os.pathsep.join((str(TESTS), *sys.path))
    command = [sys.executable, str(TESTS / "training_cases.py"), str(killed), schedule]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not (killed / "hanging").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert len(list(killed.glob("*.safetensors"))) == 1
    capsys.readouterr()
    resumed = tiny_fit(killed, schedule=schedule)
    assert "epoch 3/5" in capsys.readouterr().err.splitlines()[0], "epochs 1 and 2 are not repeated"
    assert same_weights(whole, resumed)
    assert [row.loss for row in resumed.rows] == [row.loss for row in whole.rows]
    assert [row.learning_rate for row in resumed.rows] == [r.learning_rate for r in whole.rows]

    assert same_weights(whole, tiny_fit(killed, schedule=schedule))
    assert not capsys.readouterr().err, "a finished fit is read, not repeated"


def test_seeds_reproduce_and_another_one_begins_anew(tmp_path):
    first = tiny_fit(tmp_path / "a", epochs=2)
    assert same_weights(first, tiny_fit(tmp_path / "b", epochs=2))
    other = tiny_fit(tmp_path / "a", epochs=2, seed=1)
    assert not same_weights(first, other)
    assert len(list((tmp_path / "a").glob("*.safetensors"))) == 2


def test_early_stop_keeps_the_best_epoch(tmp_path):
    fitted = tiny_fit(tmp_path, epochs=40, early_stop=2, learning_rate=0.3, warmup_steps=0)
    figures = [row.figure for row in fitted.rows]
    assert len(figures) < 40
    assert fitted.best_figure == max(figures)
    assert fitted.best_epoch == figures.index(max(figures)) + 1 == len(figures) - 2


def test_a_loss_of_nan_is_named_and_loses_nothing(tmp_path, monkeypatch):
    tiny_fit(tmp_path / "a", epochs=3)
    finished = {p.name: p.read_bytes() for p in (tmp_path / "a").glob("*.safetensors")}
    real = torch.nn.BatchNorm2d.forward
    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", lambda self, x: real(self, x) * torch.nan)
    with pytest.raises(DataError, match="broke down in epoch 1: the loss is nan"):
        tiny_fit(tmp_path / "b", epochs=3)
    tiny_fit(tmp_path / "a", epochs=3)
    assert finished == {p.name: p.read_bytes() for p in (tmp_path / "a").glob("*.safetensors")}


def test_a_loss_of_nan_in_a_later_epoch_keeps_those_before(tmp_path, monkeypatch):
    whole = tiny_fit(tmp_path / "whole")
    with monkeypatch.context() as patch:
        real, steps = torch.nn.BatchNorm2d.forward, iter(range(100))

        def fail(self, x):
            # Of four steps an epoch, the tenth.
            broken = self.training and next(steps) == 9
            return real(self, x) * (torch.nan if broken else 1)

        patch.setattr(torch.nn.BatchNorm2d, "forward", fail)
        with pytest.raises(DataError, match=r"in epoch 3: the loss is nan.*first 2 epochs are"):
            tiny_fit(tmp_path / "broken")
    assert {path.suffix for path in (tmp_path / "broken").iterdir()} == {".safetensors", ".csv"}
    lines = (tmp_path / "broken" / "tiny-curves.csv").read_text().splitlines()
    assert len(lines) == 1 + 2
    assert same_weights(whole, tiny_fit(tmp_path / "broken")), "the two kept epochs are whole"


def test_a_damaged_checkpoint_is_named_and_kept(tmp_path):
    tiny_fit(tmp_path, epochs=2)
    (path,) = tmp_path.glob("*.safetensors")
    whole = path.read_bytes()
    for damaged in (whole[:-200], b"", whole[:8] + b"x" + whole[9:]):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="cannot be gone on with"):
            tiny_fit(tmp_path, epochs=2)
        assert path.read_bytes() == damaged


def test_curves_are_written(tmp_path):
    fitted = tiny_fit(tmp_path, epochs=3)
    lines = (tmp_path / "tiny-curves.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,negative error,learning_rate,seconds"
    assert [float(line.split(",")[2]) for line in lines[1:]] == pytest.approx(
        [row.figure for row in fitted.rows], rel=1e-4
    )
    assert (tmp_path / "tiny-curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no GPU"):
        tiny_fit(tmp_path, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_mixed_precision_on_a_gpu_learns(tmp_path):
    fitted = tiny_fit(tmp_path, epochs=20, device="cuda")
    assert fitted.device == "cuda bf16"
    assert fitted.best_figure > fitted.rows[0].figure
    assert next(fitted.network.parameters()).device.type == "cpu"


def test_bf16_is_possible_on_a_processor(tmp_path):
    fitted = tiny_fit(tmp_path, precision="bf16", device="cpu")
    assert fitted.device == "cpu bf16"
    assert fitted.best_figure > fitted.rows[0].figure


def test_checkpoints_hold_tensors_and_json_alone(tmp_path):
    tiny_fit(tmp_path, epochs=1)
    (path,) = tmp_path.glob("*.safetensors")
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["state"])["epoch"] == 1
