"""Published Keras models become Sluice packages, without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from sluice.base.errors import ManifestMismatch, WeightsError
from sluice.base.files import sha256_file
from sluice.models.keras_file import KerasFile, read_keras_file
from sluice.models.keras_graph import to_onnx
from sluice.models.manifest import Manifest, Weights
from sluice.models.package import ModelPackage, check_new_name, weights_sha256, write_package
from sluice.models.presets import Preset, find_preset


def import_keras(file: Path, preset: str, name: str, models_dir: Path) -> ModelPackage:
    """Write a model package from a Keras `.h5` file.

    The same file, preset and name give the same package, byte for byte.

    Args:
        file: A whole model as Keras 2 saves it.
        preset: What the file does not say: bands, scaling, thresholds; see `presets.PRESETS`.
        name: Of the new package.
        models_dir: Where its folder is written.

    Raises:
        ConfigError: No such file or preset, or the name is illegal or taken.
        ManifestMismatch: The file's input is not the preset's.
        WeightsError: The file is damaged, unsafe, or of an architecture that cannot be expressed.
        OSError: `models_dir` cannot be written.
    """
    contract = find_preset(preset)
    check_new_name(name, models_dir)
    keras = read_keras_file(file)
    try:
        model, found = to_onnx(keras)
    except WeightsError as err:
        raise WeightsError(f"{file}: {err}", href=str(file)) from err
    expected = (contract.window_px, contract.window_px, len(contract.inputs))
    if found != expected:
        raise ManifestMismatch(
            f"{file}: takes windows of {found[0]} x {found[1]} px and {found[2]} bands, "
            f"the preset {preset} is for {expected[0]} x {expected[1]} px and {expected[2]} bands; "
            "choose the preset that fits the file",
            href=str(file),
        )
    weights = model.SerializeToString(deterministic=True)
    manifest = _manifest(contract, name, weights_sha256(weights), file, keras)
    return write_package(models_dir / name, manifest, weights, _card(manifest, contract), bind=True)


def _manifest(preset: Preset, name: str, sha256: str, file: Path, keras: KerasFile) -> Manifest:
    return Manifest(
        name=name,
        title=preset.title,
        summary=preset.summary,
        licence=preset.licence,
        attribution=preset.attribution,
        architecture=preset.architecture,
        framework="tensorflow",
        pretrained=True,
        pretrained_source=file.name,
        inputs=preset.inputs,
        levels=preset.levels,
        gsd_m=preset.gsd_m,
        window_px=preset.window_px,
        stride_m=preset.stride_m,
        output="a mine lies in the window; 0-1, not calibrated",
        thresholds=preset.thresholds,
        weights=Weights(sha256=sha256),
        training={
            "imported_from": file.name,
            "imported_sha256": sha256_file(file),
            "keras_version": keras.keras_version,
            "preset": preset.id,
            "thresholds_from": preset.thresholds_from,
        },
    )


def _card(manifest: Manifest, preset: Preset) -> str:
    limits = manifest.thresholds
    return f"""# {manifest.title}

{manifest.summary} Imported by Sluice from `{manifest.pretrained_source}`
(SHA-256 `{manifest.training["imported_sha256"]}`); the weights were not changed.

- Licence: {manifest.licence}. Attribution: {manifest.attribution}.
- Input: {", ".join(manifest.bands)}, {manifest.window_px} x {manifest.window_px} px at \
{manifest.gsd_m:g} m.
- Score: {manifest.output}.
- Thresholds: {limits.t_main:g}, isolated windows {limits.t_iso:g}: {preset.thresholds_from}.
- Trained by others, on places of the Amazon: elsewhere, check its detections before trusting
  them. It carries no calibration, so a scan gives scores and no probabilities.

A detection is a lead to verify, not proof.
"""
