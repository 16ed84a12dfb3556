"""The U-Net family: monai's BasicUNet, for any number of channels and classes.

Source:
    Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28. Used for mines by the Ghana
    galamsey service (CERSGIS / SERVIR) and by ASMSpotter, with NDWI and NDVI as channels.
"""

from __future__ import annotations

from torch import nn

from sluice.training.options import UNetOptions

MULTIPLE = 16
"""Four halvings: sides of a patch are multiples of it."""
HEAD = "final_conv."
"""Prefix of the layer that gives the classes."""


def build_unet(channels: int, classes: int, options: UNetOptions) -> nn.Module:
    """Make a network with random weights.

    Batch normalisation, since statistics of a patch would make a pixel's score depend on what
    else lies in its patch, and neighbouring patches would not meet.

    Args:
        channels: Inputs and indices.
        classes: At least 2.
        options: `width` and `dropout`.

    Returns:
        (N, channels, H, W) to (N, classes, H, W) logits.
    """
    # Slow to import, and only this family needs it.
    from monai.networks.nets.basic_unet import BasicUNet, UpCat  # noqa: PLC0415

    width = options.width
    network: nn.Module = BasicUNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=classes,
        features=(width, width, 2 * width, 4 * width, 8 * width, width),
        norm="batch",
        dropout=options.dropout,
    )
    for module in network.modules():
        if isinstance(module, UpCat):
            # For odd sides, which never come; ONNX cannot say it for free sides.
            module.is_pad = False
    return network
