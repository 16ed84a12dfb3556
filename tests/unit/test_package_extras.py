"""Further files of a model package: whole or not at all, and checked when read."""

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from sluice.base.errors import ManifestMismatch, WeightsError
from sluice.models.manifest import Manifest
from sluice.models.package import ModelPackage, check_weights, load_package, write_package

TENSORS = b"tensors"


def named(package: ModelPackage, name: str, **files: str) -> Manifest:
    return package.manifest.model_copy(update={"name": name, "training": {"files": files}})


@pytest.fixture
def package(toy_model: Path) -> ModelPackage:
    return load_package(toy_model, None)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(package, folder, files, extras):
    manifest = named(package, folder.name, **files)
    return write_package(folder, manifest, package.read_weights(), "# Card\n", extras=extras)


def test_further_files_are_kept_and_checked(package, tmp_path):
    files = {"weights.safetensors": sha(TENSORS)}
    written = write(package, tmp_path / "m", files, {"weights.safetensors": TENSORS})
    assert load_package(written.folder, None).read_extra("weights.safetensors") == TENSORS
    (written.folder / "weights.safetensors").write_bytes(TENSORS + b"!")
    with pytest.raises(WeightsError, match="SHA-256 is not"):
        written.read_extra("weights.safetensors")
    (written.folder / "weights.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        written.read_extra("weights.safetensors")
    with pytest.raises(WeightsError, match="has no curves"):
        written.read_extra("curves.csv")


@pytest.mark.parametrize(
    ("files", "extras"),
    [
        ({"weights.safetensors": sha(TENSORS)}, {}),
        ({}, {"weights.safetensors": TENSORS}),
        ({"weights.safetensors": sha(b"others")}, {"weights.safetensors": TENSORS}),
        ({"../x.csv": sha(TENSORS)}, {"../x.csv": TENSORS}),
        ({"manifest.json.exe": sha(TENSORS)}, {"manifest.json.exe": TENSORS}),
        ({"manifest.json": sha(TENSORS)}, {"manifest.json": TENSORS}),
    ],
)
def test_files_that_the_manifest_does_not_name_are_not_written(package, tmp_path, files, extras):
    with pytest.raises(ManifestMismatch, match="further file"):
        write(package, tmp_path / "m", files, extras)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(package, tmp_path, monkeypatch):
    real = Path.write_bytes

    def full(path, data):
        if path.suffix == ".safetensors":
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    files = {"weights.safetensors": sha(TENSORS)}
    with pytest.raises(OSError, match="No space"):
        write(package, tmp_path / "m", files, {"weights.safetensors": TENSORS})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_px": None}, "has patch_px"),
        ({"patch_overlap_px": 40}, "half at most"),
        ({"classes": ("one",)}, "two classes or more"),
        ({"window_px": 3}, "multiples of window_px"),
        ({"judges": "windows"}, "belong to a model"),
    ],
)
def test_a_manifest_of_pixels_is_whole(package, changes, words):
    fields = {
        **package.manifest.model_dump(),
        "judges": "pixels",
        "window_px": 1,
        "dense_stride_px": None,
        "patch_px": 64,
        "patch_overlap_px": 16,
        "classes": ("other", "mine"),
        "thresholds": {"t_main": 0.5, "t_iso": 0.5},
    }
    pixels = Manifest(**fields)
    with pytest.raises(ManifestMismatch, match="weights"):
        check_weights(package.read_weights(), pixels, href="m")
    with pytest.raises(ValidationError, match=words):
        Manifest(**{**fields, **changes})
