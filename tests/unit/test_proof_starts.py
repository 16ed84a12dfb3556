"""What the comparison of starts stands on: who is shown what, and what VICReg's loss says."""

import importlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")
pytest.importorskip("onnxruntime")

from sluice.training.fit import ChipSet, FitSettings  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = FitSettings(epochs=4, batch=16, widths=(4, 8, 8, 8), warmup_steps=2)


@pytest.fixture
def module(monkeypatch):
    """Modules of `proof`, which lies beside the installed package."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return lambda name: importlib.import_module(f"proof.{name}")


def _task(starts, judged_byte):
    """Checkered mines and plain ground: 64 to learn from, 16 unlabelled, 16 that judge."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 90, (96, 3, 48, 48)).astype(np.uint8)
    mines = np.arange(96) % 2 == 0
    images[mines, :, ::4, ::4] = 250
    labels = mines.copy()
    labels[64:] = False  # Whatever is written beside unlabelled and judging chips.
    if judged_byte is not None:
        images[80:] = judged_byte
        labels[80:] = True
    taught = np.where(mines, 0.9, 0.1)
    return starts.Task(
        ChipSet(images, labels, (0.2, 0.2, 0.2)),
        taught,
        learn=np.arange(64),
        unlabelled=np.arange(64, 80),
        judge=np.arange(80, 96),
    )


def _scores(found):
    return {key[0]: scores for key, scores in found.items()}


def test_every_start_tells_checkers_from_plain_ground(module):
    starts = module("starts")
    task = _task(starts, None)
    mines = np.arange(80, 96) % 2 == 0
    found = {}
    for way in (starts._SCRATCH, starts._DISTILLED, starts._SELF):
        found |= _scores(starts.score_start(task, TINY, way, 0))
    assert set(found) == set(starts._PASSES) - {starts._LONGER}
    for way, scores in found.items():
        assert scores[mines].min() > scores[~mines].max(), way


@pytest.mark.parametrize("way", ["_DISTILLED", "_SELF"])
def test_no_start_is_shown_the_chips_that_judge(module, way, monkeypatch):
    starts = module("starts")
    networks = []
    monkeypatch.setattr(starts, "_score", lambda network, task: networks.append(network))
    for judged_byte in (None, 7):
        starts.score_start(_task(starts, judged_byte), TINY, getattr(starts, way), 1)
    half = len(networks) // 2
    for one, other in zip(networks[:half], networks[half:], strict=True):
        for name, weights in one.state_dict().items():
            assert torch.equal(weights, other.state_dict()[name]), name


def test_vicreg_wants_views_alike_and_chips_unlike(module):
    unlikeness = module("vicreg").unlikeness
    # Columns of a Hadamard matrix: no two correlate, each with a deviation above 1.
    signs = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    assert float(unlikeness(signs, signs)) == pytest.approx(0, abs=1e-5)
    assert float(unlikeness(signs, signs + 2)) == pytest.approx(25 * 4)
    all_the_same = torch.ones(4, 3)
    assert float(unlikeness(all_the_same, all_the_same)) == pytest.approx(25 * 0.99)
    twice_the_same = signs[:, [0, 0, 1]]
    # The variance of each is 4/3, and so is the covariance of two that are one.
    assert float(unlikeness(twice_the_same, twice_the_same)) == pytest.approx(2 * 2 * 16 / 9 / 3)


def test_self_supervision_reads_no_label_and_leaves_the_last_layer(module):
    starts, vicreg = module("starts"), module("vicreg")
    chips = _task(starts, None).chips
    fitted = [
        vicreg.fit_without_labels(
            ChipSet(chips.images_bytes, labels, chips.fill), np.arange(80), TINY
        )
        for labels in (chips.labels, ~chips.labels)
    ]
    drawn = vicreg.fit_without_labels(chips, np.arange(80), TINY.model_copy(update={"epochs": 1}))
    same = [torch.equal(a, b) for a, b in zip(*(n.parameters() for n in fitted), strict=True)]
    assert all(same)
    assert torch.equal(fitted[0].logit.weight, drawn.logit.weight)
    assert not torch.equal(fitted[0].features[0].weight, drawn.features[0].weight)


def test_unlabelled_chips_are_whole_and_as_the_satellite_sees_them(module, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    counts = np.full((100, 150), 400, np.uint16)
    counts[60, 10] = 0  # Takes the lower left square away.
    for band in ("B2", "B3", "B4"):
        path = tmp_path / f"Sentinel2_{band}_place_2020_01_01.tiff"
        with rasterio.open(
            path,
            "w",
            "GTiff",
            150,
            100,
            1,
            dtype="uint16",
            transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
        ) as file:
            file.write(counts, 1)
    chips = module("starts").read_para_chips(tmp_path)
    assert chips.shape == (5, 3, 48, 48)
    # Path reflectance and transmission of a clear sky, of red, green and blue.
    expected = [(0.02 + 0.91 * 0.04), (0.037 + 0.87 * 0.04), (0.067 + 0.82 * 0.04)]
    assert chips[0, :, 0, 0].tolist() == [round(value / 0.3 * 255) for value in expected]
