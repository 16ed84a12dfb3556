"""From scenes to a model's inputs: read, take away clouds, reduce to one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from odc.geo.geobox import GeoBox

from sluice.base.errors import BandNotFound, ConfigError
from sluice.base.protocols import ImagerySource
from sluice.base.raster import Raster
from sluice.base.records import ModelInput
from sluice.composite.adapt import adapt_bands
from sluice.composite.clear import clear_sky
from sluice.composite.reduce import median_of_clear


@dataclass(frozen=True)
class CompositeLoader:
    """Loads any part of the median of a source's clear looks; a `TileLoader`, and pickles.

    Each call reads every scene for its part of the grid only, so memory is bounded by the tile.
    """

    source: ImagerySource
    inputs: tuple[ModelInput, ...]
    cloud_margin_px: int = 2
    """Pixels around cloud and shadow that are not trusted either."""
    adapt: Mapping[str, Sequence[tuple[float, float]] | None] = field(default_factory=dict)
    """By sensor: (gain, offset) for each input, from the model's manifest."""

    def check(self, model_name: str) -> None:
        """Fail early where every tile would fail.

        Raises:
            BandNotFound: A scene lacks a band that the model needs.
            ConfigError: The model needs more than one period.
        """
        earlier = [i.key for i in self.inputs if i.period != 0]
        if earlier:
            raise ConfigError(
                f"model {model_name} compares periods (it needs {', '.join(earlier)}); "
                "files from disk are one period: choose another model"
            )
        for scene in self.source.scenes:
            missing = [i.band for i in self.inputs if i.band not in scene.bands]
            if missing:
                raise BandNotFound.from_missing_and_available(
                    missing, scene.bands, wanted_by=f"model {model_name}", href=scene.href
                )

    def __call__(self, geobox: GeoBox) -> Raster:
        """Read the inputs on a grid, NaN where no scene has a clear look."""
        bands = [i.band for i in self.inputs]
        margin = self.cloud_margin_px
        # Cloud just beyond the part spoils pixels inside it; so the sky is read with a margin.
        wider = geobox.pad(margin)
        stack, clear = [], []
        for scene in self.source.scenes:
            image = self.source.read(scene, bands, geobox)
            sky = self.source.read_sky(scene, wider) if scene.sky_layer else None
            if sky is None or scene.sky_layer is None:
                seen = image.valid
            else:
                grown = clear_sky(scene.sky_layer, sky, grow_px=margin)
                inner = slice(margin, -margin) if margin else slice(None)
                seen = image.valid & grown[inner, inner]
            lines = self.adapt.get(scene.sensor or "")
            stack.append(adapt_bands(image.data_bhw, lines) if lines else image.data_bhw)
            clear.append(seen)
        median, _ = median_of_clear(np.stack(stack), np.stack(clear))
        return Raster(median, tuple(i.key for i in self.inputs), geobox)
