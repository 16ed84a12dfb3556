"""What the measurements share: where data, models and pictures lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sluice.app.config import models_folder
from sluice.models.keras_import import import_keras
from sluice.models.package import ModelPackage, load_package
from sluice.models.presets import PRESETS
from sluice.training.naming import Naming

REPOSITORY = Path(__file__).resolve().parents[1]

PUBLISHED = {
    "amw-2021-28px": "28_px_v9.h5",
    "amw-2021": "44px_v2.8_2021-11-11.h5",
    "amw-2021-rgb": "44px_v2.6_rgb_2021-11-11.h5",
    "amw-2024": "48px_v3.2-3.7ensemble_2024-02-13.h5",
    "amw-2026": "48px_v4.21-CNN100ka_2026-05-08ep179.h5",
}
"""File of each preset in `amw-models`."""


@dataclass(frozen=True)
class Setup:
    """What to measure, and with what."""

    data: Path
    """The shared data; `has_data` says whether they are there."""
    model: str
    """Name or folder of the model under proof."""
    fold_models: Path
    """Holds `<name>-fold-K`: the networks that did not see fold K."""
    out_of_fold: Path
    """Table of the pool's chips with the columns grid, cell, fold and score."""
    pictures: Path
    work: Path
    """For what is not kept."""
    seeds: int | None = None
    """Most countries of `following`; None takes all."""

    @property
    def has_data(self) -> bool:
        """Whether the shared data are there."""
        return (self.data / "README.md").is_file()

    @property
    def chips(self) -> Path:
        """The folder of labelled chips."""
        return self.data / "amw-chips"

    @property
    def package(self) -> ModelPackage:
        """The model under proof."""
        return load_package(self.model, models_folder())

    def fold_folder(self, fold: int) -> Path:
        """The package whose networks did not see a fold."""
        return self.fold_models / f"{self.package.name}-fold-{fold}"

    def published(self) -> dict[str, ModelPackage]:
        """The published Keras models, imported once, by preset."""
        folder = self.work / "published"
        for preset in PRESETS:
            if not (folder / preset).is_dir():
                file = self.data / "amw-models" / PUBLISHED[preset]
                import_keras(file, preset, preset, folder)
        return {preset: load_package(folder / preset, None) for preset in PRESETS}


def default_data_folder() -> Path:
    """`SLUICE_SHARED_DATA`, or the folder beside the repository."""
    return Path(os.environ.get("SLUICE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


def naming(number: int) -> Naming:
    """Of a model that is fitted to be measured, and not kept."""
    return Naming(name=f"proof-{number}", licence="CC0-1.0", attribution="proof")
