"""The adapter to OmniCloudMask, with a stand-in for the package."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sluice.base.errors import ConfigError, ShapeMismatch, WeightsError
from sluice.composite.clear import CLEAR, CLOUD, SHADOW, UNSEEN
from sluice.composite.omnicloud import classify_by_omnicloudmask

SHAPE = (60, 80)


class StandIn(ModuleType):
    """Answers with classes that were set, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("omnicloudmask")
        self.classes = np.zeros(SHAPE, np.uint8)
        self.asked: dict[str, Any] = {}
        self.error: Exception | None = None

    def predict_from_array(self, input_array: np.ndarray, **options: Any) -> np.ndarray:
        self.asked = {"image": input_array, **options}
        if self.error:
            raise self.error
        return self.classes[None]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "omnicloudmask", stand_in)
    return stand_in


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"")
    return tmp_path


def bands(value: float = 0.1) -> list[np.ndarray]:
    return [np.full(SHAPE, value + 0.1 * i, np.float32) for i in range(3)]


def test_its_classes_become_ours(package: StandIn, weights: Path) -> None:
    package.classes[10, 10], package.classes[30, 30], package.classes[50, 50] = 1, 2, 3
    classes = classify_by_omnicloudmask(*bands(), weights)
    expected = np.full(SHAPE, CLEAR)
    expected[10, 10] = expected[30, 30] = CLOUD
    expected[50, 50] = SHADOW
    np.testing.assert_array_equal(classes, expected)


def test_it_is_asked_for_red_green_nir_without_nan_and_never_to_download(
    package: StandIn, weights: Path
) -> None:
    red, green, nir = bands()
    red[0, 0], red[0, 1] = np.nan, 0
    classes = classify_by_omnicloudmask(red, green, nir, weights)
    image = package.asked["image"]
    np.testing.assert_allclose(image[:, 5, 5], [0.1, 0.2, 0.3], rtol=1e-6)
    assert not image[:, 0, 0].any()
    assert image[:, 0, 1].all()
    assert classes[0, 0] == UNSEEN
    assert classes[0, 1] == CLEAR
    assert package.asked["model_download_source"] not in ("hugging_face", "google_drive")
    assert package.asked["destination_model_dir"] == weights
    assert package.asked["patch_size"] == 60
    assert package.asked["patch_overlap"] <= 30


def test_without_the_package_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    monkeypatch.setitem(sys.modules, "omnicloudmask", None)
    with pytest.raises(ConfigError, match=r"install the package omnicloudmask.*own cloud layer"):
        classify_by_omnicloudmask(*bands(), weights)


def test_weights_must_be_there_and_safe(package: StandIn, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"holds no \*\.safetensors"):
        classify_by_omnicloudmask(*bands(), tmp_path)
    (tmp_path / "another.safetensors").write_bytes(b"")
    package.error = ValueError("Invalid source")
    with pytest.raises(WeightsError, match="newest version"):
        classify_by_omnicloudmask(*bands(), tmp_path)


def test_shapes(package: StandIn, weights: Path) -> None:
    red, green, nir = bands()
    with pytest.raises(ShapeMismatch):
        classify_by_omnicloudmask(red, green, nir[:50], weights)
    with pytest.raises(ConfigError, match="at least 50"):
        classify_by_omnicloudmask(red[:20], green[:20], nir[:20], weights)
