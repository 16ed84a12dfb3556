"""The image behind a scan, kept beside its map: for pictures, land cover and later looks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from sluice import __version__
from sluice.app.compositing import LayerMaker
from sluice.app.config import ScanConfig
from sluice.app.following.strictness import NDVI_BANDS
from sluice.app.loading import Compositor, refuse_missing_bands
from sluice.app.planning import ScanPlan, choose_tiles, first_tile, model_bands
from sluice.app.products import layout
from sluice.app.products.composite_files import composite_tags, write_image
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.run_record import grid_record
from sluice.app.within import needed_by
from sluice.base.errors import ConfigError
from sluice.imagery.names import find_band
from sluice.models.manifest import Manifest
from sluice.scan.composing import LayerTiles, compose_tiles

NOTHING = "none"
_RADAR_BANDS = {"vv", "vh"}


def kept_bands(config: ScanConfig, manifest: Manifest) -> tuple[str, ...]:
    """The bands of the image to keep, by common name.

    Without a word of the user those that the model reads, if the result goes into a store: they
    are there anyway, so that keeping them costs no download. `--strict` needs some more.

    Raises:
        ConfigError: See `bands_named`.
    """
    needed = NDVI_BANDS if config.strict else ()
    if config.keep is None:
        usual = model_bands(manifest)[0] if config.store is not None else ()
        return tuple(dict.fromkeys([*usual, *needed]))
    return tuple(dict.fromkeys([*bands_named(config.keep), *needed]))


def bands_named(names: Sequence[str]) -> tuple[str, ...]:
    """The bands that `--keep-bands` names, by common name; none for `none` alone.

    Raises:
        ConfigError: A name is not known, or there is none.
    """
    if not names:
        raise ConfigError(
            f"--keep-bands: names no band; use names such as red, nir, swir16, B04, or {NOTHING}"
        )
    return () if tuple(names) == (NOTHING,) else tuple(_band(name) for name in names)


def _band(name: str) -> str:
    band = find_band(name, None)
    if band is None:
        raise ConfigError(
            f"--keep-bands: {name!r} is no band; use names such as red, nir, swir16, B04, or "
            f"{NOTHING}"
        )
    return band


def keep_image(plan: ScanPlan, bands: Sequence[str], work: Path) -> dict[str, Path]:
    """Compose the period's image once more, whole, into the folder for work in progress.

    Args:
        plan: The scan's; its grid, scenes and recipe.
        bands: From `kept_bands`.
        work: Where finished tiles are kept.

    Returns:
        The files by the names that they land under; none where no bands are kept.

    Raises:
        BandNotFound: A scene lacks one.
        SluiceError: As `compose_tiles`.
    """
    if not bands:
        return {}
    images = plan.images
    refuse_missing_bands(images.scenes, bands, wanted_by="--keep-bands")
    tile_px, workers = choose_tiles(plan.config, [images], plan.geobox, len(bands))
    parts = {
        "version": __version__,
        "scenes": [scene.model_dump(mode="json") for scene in images.scenes],
        "layers": list(bands),
        "read_as": plan.config.model_dump(include={"bands", "sensor", "nodata"}),
        "recipe": dataclasses.asdict(plan.loader.recipe),
        "grid": grid_record(plan.geobox),
        "tile_px": tile_px,
    }
    scale = 0.01 if set(bands) <= _RADAR_BANDS else 0.0001
    with telling_disk_errors(plan.job.out):
        tiles = LayerTiles(
            work / "image",
            json.dumps(parts, sort_keys=True),
            plan.geobox,
            tile_px,
            needed_by(plan.area, plan.geobox),
            first=first_tile(images, plan.geobox, tile_px),
        )
    compose_tiles(
        tiles,
        LayerMaker(Compositor(images, tuple(bands), plan.loader.recipe), tuple(bands), scale),
        workers=workers,
        failure_budget=plan.config.failure_budget,
    )
    stage = work / "kept"
    with telling_disk_errors(plan.job.out):
        stage.mkdir(parents=True, exist_ok=True)
        tags = {"TIFFTAG_SOFTWARE": "Sluice", **composite_tags(images.scenes)}
        write_image(stage, tiles, bands, scale, tags)
    return {name: stage / name for name in (layout.COMPOSITE, layout.LOOKS)}
