"""The families of networks that judge pixels, and how a trained one is taken up again."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import safetensors.torch
from pydantic import JsonValue, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from sluice.base.errors import ConfigError, ManifestMismatch, WeightsError
from sluice.models.manifest import Manifest
from sluice.models.package import ModelPackage
from sluice.training import segformer, unet
from sluice.training.export import read_networks
from sluice.training.network import NetworkShape
from sluice.training.options import FitOptions, PixelOptions, SegFormerOptions, UNetOptions
from sluice.training.patch_cnn import ARCHITECTURES

TORCH_FILE = "weights.safetensors"
"""Beside the ONNX in a package: the network's own weights, to go on from."""
NETWORK_KEY = "network"
"""In `Manifest.training`: family and options of the network."""

_DETECTOR = re.compile(r"ChipNetwork \((\d+), (\d+), (\d+), (\d+)\), \d+ views")
"""Architecture of models of `sluice train chip-detector`, the default one among them. Their
packages have no further file: the ONNX keeps each weight by its name."""

Options = TypeVar("Options", bound=FitOptions)


@dataclass(frozen=True)
class PixelFamily:
    """One family."""

    name: str
    """On the command line."""
    title: str
    multiple: int
    """Sides of patches are multiples of it."""
    head: str
    """Prefix of the layer that gives the classes."""
    build: Callable[[Sequence[str], int, Any], nn.Module]
    """From names of channels, number of classes and options to a network of logits."""
    shape: frozenset[str]
    """Options that the network's shape depends on."""


UNET = PixelFamily(
    "unet",
    "U-Net",
    unet.MULTIPLE,
    unet.HEAD,
    lambda channels, classes, options: unet.build_unet(len(channels), classes, options),
    frozenset({"width"}),
)
SEGFORMER = PixelFamily(
    "segformer",
    "SegFormer",
    segformer.MULTIPLE,
    segformer.HEAD,
    segformer.build_segformer,
    frozenset({"size", "decoder_width"}),
)


def family_of(options: PixelOptions) -> PixelFamily:
    """The family that the options belong to.

    Raises:
        ConfigError: There is none.
    """
    if isinstance(options, SegFormerOptions):
        return SEGFORMER
    if isinstance(options, UNetOptions):
        return UNET
    raise ConfigError(f"{type(options).__name__} are of no family of pixel models; use another")


def network_record(family: PixelFamily, options: PixelOptions) -> dict[str, JsonValue]:
    """What `training.network` of a manifest says."""
    shape = options.model_dump(mode="json", include=set(family.shape))
    return {"family": family.name, **shape}


def check_same_network(package: ModelPackage, expected: dict[str, JsonValue]) -> None:
    """Refuse to go on from a model of another shape.

    Raises:
        ManifestMismatch: It is of another family or shape, or was not trained here.
    """
    found = _network_of(package.manifest)
    if found != expected:
        raise ManifestMismatch(
            f"model {package.name} is {_spell(found)}, asked for is {_spell(expected)}; "
            "go on from it with the same family and shape"
        )


def take_shape(
    options: Options, given: Collection[str], package: ModelPackage, expected: dict[str, JsonValue]
) -> Options:
    """Options of a model's own shape, where nobody asked for another.

    Args:
        options: Of a training.
        given: Names of those that somebody asked for.
        package: The model that training goes on from.
        expected: What `options` amount to, as `training.network` of a manifest says it.

    Raises:
        ManifestMismatch: The manifest tells a shape that no network has.
    """
    found = _network_of(package.manifest)
    if not isinstance(found, dict) or found.get("family") != expected["family"]:
        return options
    fields = type(options).model_fields
    taken = {k: v for k, v in found.items() if k in fields and k not in given}
    try:
        return type(options).model_validate({**options.model_dump(), **taken})
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"])) or _spell(found)
        raise ManifestMismatch(
            f"model {package.name}: training.network of its manifest cannot be "
            f"({at}: {first['msg']}); fetch the model again"
        ) from err


def _network_of(manifest: Manifest) -> JsonValue:
    """Family and shape of a model's network; None where it was not trained here."""
    if NETWORK_KEY in manifest.training:
        return manifest.training[NETWORK_KEY]
    detector = _DETECTOR.fullmatch(manifest.architecture)
    if detector is None or manifest.framework != "pytorch":
        return None
    widths: list[JsonValue] = [int(width) for width in detector.groups()]
    own = ARCHITECTURES["chip-network"].record
    return own if tuple(widths) == NetworkShape().widths else own | {"widths": widths}


def check_same_inputs(
    parent: Manifest, bands: Sequence[str] | None, indices: Sequence[str] | None
) -> None:
    """Refuse other inputs than the model's that is gone on from.

    Args:
        parent: Of that model.
        bands: Asked for; None or empty means the model's own.
        indices: Likewise.

    Raises:
        ManifestMismatch: They differ.
    """
    for what, asked, own in (
        ("bands", bands, parent.bands),
        ("indices", indices, parent.indices),
    ):
        if asked and tuple(asked) != tuple(own):
            raise ManifestMismatch(
                f"model {parent.name} takes the {what} {', '.join(own) or 'none'}, asked for are "
                f"{', '.join(asked)}; leave {what} out to go on from it"
            )


def start_from(network: nn.Module, package: ModelPackage, *, head: str, same_classes: bool) -> None:
    """Give a network another's weights, in place.

    Args:
        network: Of the same shape.
        package: With `weights.safetensors`.
        head: Prefix of the last layer, which stays as it is where the classes differ.
        same_classes: Whether they are the same.

    Raises:
        WeightsError: The file is missing, damaged, or of another network.
    """
    tensors = load_tensors(package)
    if not same_classes:
        own = network.state_dict()
        tensors |= {name: own[name] for name in own if name.startswith(head)}
    load_weights(network, tensors, package)


def load_weights(network: nn.Module, tensors: dict[str, Tensor], package: ModelPackage) -> None:
    """Fill a network.

    Raises:
        WeightsError: The tensors are of another network; names the package that they are from.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as err:
        raise WeightsError(
            f"{package.folder / TORCH_FILE}: belongs to another network "
            f"({' '.join(str(err).split())[:120]}); use the model's own file",
            href=str(package.folder),
        ) from err


def load_tensors(package: ModelPackage) -> dict[str, Tensor]:
    """The tensors of a package: of its `weights.safetensors`, or of a chip detector's ONNX.

    Raises:
        WeightsError: Missing, changed or damaged.
    """
    if TORCH_FILE not in package.extras and _DETECTOR.fullmatch(package.manifest.architecture):
        return read_networks(package.read_weights())
    content = package.read_extra(TORCH_FILE)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except (SafetensorError, ValueError) as err:
        raise WeightsError(
            f"{package.folder / TORCH_FILE}: damaged ({err}); fetch the model again",
            href=str(package.folder),
        ) from err
    return tensors


def save_tensors(network: nn.Module) -> bytes:
    """The content of `weights.safetensors`."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    content: bytes = safetensors.torch.save(tensors)
    return content


def _spell(record: JsonValue) -> str:
    if not isinstance(record, dict):
        return "of no family that training can go on from"
    return " ".join(f"{key} {value}" for key, value in record.items() if value is not None)
