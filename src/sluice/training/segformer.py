"""The SegFormer family: transformers' network, for any number of channels and classes.

Source:
    Xie et al. 2021, arXiv:2105.15203. Used for mines by MineSegSAT and VitSegh24 (MiT-B3).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from sluice.base.errors import ConfigError, WeightsError
from sluice.training.options import SegFormerOptions

MULTIPLE = 32
"""The deepest stage sees a 32nd of the resolution: sides of a patch are multiples of it."""
HEAD = "segformer.decode_head.classifier."
"""Prefix of the layer that gives the classes."""

# Channels and blocks of the four stages, and channels of the decoder.
_SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}
_RGB = ("red", "green", "blue")


class SegFormer(nn.Module):
    """transformers' SegFormer, its logits brought to full resolution."""

    def __init__(self, segformer: nn.Module) -> None:
        super().__init__()
        self.segformer = segformer

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, classes, H, W) logits."""
        quarter = self.segformer(image).logits
        return nn.functional.interpolate(
            quarter, size=image.shape[-2:], mode="bilinear", align_corners=False
        )


def build_segformer(channels: Sequence[str], classes: int, options: SegFormerOptions) -> nn.Module:
    """Make a network, with random weights or those of a local checkpoint.

    Args:
        channels: Names of bands and indices; with a checkpoint, `red`, `green` and `blue` take
            their weights in its first layer, and every other channel their mean.
        classes: At least 2.
        options: `size`, `decoder_width`, `dropout`, `checkpoint`.

    Returns:
        (N, channels, H, W) to (N, classes, H, W) logits.

    Raises:
        ConfigError: No checkpoint there, or one of another size.
        WeightsError: The checkpoint is damaged, no SegFormer, or has no safetensors.
    """
    from transformers import SegformerConfig  # noqa: PLC0415 - slow
    from transformers.models.segformer.modeling_segformer import (  # noqa: PLC0415
        SegformerForSemanticSegmentation,
    )

    widths, depths, decoder = _SIZES[options.size]
    if options.checkpoint is not None:
        network = _load_checkpoint(options.checkpoint, classes, options)
        _adapt_first_layer(network, channels)
        return SegFormer(network)
    config = SegformerConfig(
        num_channels=len(channels),
        num_labels=classes,
        hidden_sizes=list(widths),
        depths=list(depths),
        num_attention_heads=[1, 2, 5, 8],
        decoder_hidden_size=options.decoder_width or decoder,
        classifier_dropout_prob=options.dropout,
    )
    return SegFormer(SegformerForSemanticSegmentation(config))


def _load_checkpoint(folder: Path, classes: int, options: SegFormerOptions) -> nn.Module:
    from transformers.models.segformer.modeling_segformer import (  # noqa: PLC0415
        SegformerForSemanticSegmentation,
    )

    _check_checkpoint(folder, options.size)
    try:
        with _quiet():
            network: nn.Module = SegformerForSemanticSegmentation.from_pretrained(
                folder,
                num_labels=classes,
                classifier_dropout_prob=options.dropout,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as err:
        reason = " ".join(str(err).split())[:160]
        raise WeightsError(
            f"{folder}: the checkpoint cannot be loaded ({reason}); fetch it again",
            href=str(folder),
        ) from err
    return network


def _check_checkpoint(folder: Path, size: str) -> None:
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder}: holds no config.json; give the folder of a SegFormer checkpoint",
            href=str(folder),
        )
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"{folder}: holds no safetensors file, and pickled weights are never opened: they "
            "can run anything; fetch the checkpoint in the safetensors form",
            href=str(folder),
        )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, found = config.get("model_type"), tuple(config.get("depths", ()))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as err:
        raise WeightsError(f"{folder}: config.json is damaged; fetch it again") from err
    widths, depths, _ = _SIZES[size]
    if kind != "segformer":
        raise WeightsError(f"{folder}: is of the kind {kind}, not segformer; choose another")
    if found != depths or tuple(config.get("hidden_sizes", ())) != widths:
        fitting = [name for name, (w, d, _) in _SIZES.items() if (d == found)]
        raise ConfigError(
            f"{folder}: has stages of {list(found)} blocks, size {size} has {list(depths)}; "
            f"use size {' or '.join(fitting) or 'of the checkpoint'}"
        )


def _adapt_first_layer(network: nn.Module, channels: Sequence[str]) -> None:
    """Give the first layer as many channels as there are inputs."""
    layer = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    old = layer.weight.detach()
    if old.shape[1] != len(_RGB):
        raise WeightsError(
            f"the checkpoint's first layer takes {old.shape[1]} channels; red, green and blue are "
            "expected"
        )
    mean = old.mean(dim=1)
    new = [old[:, _RGB.index(name)] if name in _RGB else mean for name in channels]
    layer.weight = nn.Parameter(torch.stack(new, dim=1))
    layer.in_channels = len(channels)
    network.config.num_channels = len(channels)  # type: ignore[union-attr]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers lists the layers that a checkpoint lacks: the classifier, always."""
    from transformers.utils import logging  # noqa: PLC0415

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
