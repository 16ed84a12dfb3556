"""`sluice train`: models from labels. Needs the extra `train`."""

from __future__ import annotations

import typer

from sluice.app.cli import train_features, train_networks
from sluice.app.cli.errors import stoppable

app = typer.Typer(
    cls=stoppable("unet", "segformer", "cnn", "chip-detector"),
    help="Train a model from labels. Needs: pip install 'sluice[train]'",
)
train_networks.register(app)
train_features.register(app)
