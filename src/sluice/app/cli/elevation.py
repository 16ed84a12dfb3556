"""`sluice elevation`."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options


def elevation(
    area: str = options.AREA_NEEDED,
    out: Path = options.OUT,
    gsd_m: float = typer.Option(30.0, "--pixel", help="Pixel side in metres."),
    source: str = typer.Option(
        "copernicus",
        "--source",
        help="copernicus (the public bucket of GLO-30), an address like it, or a folder of its "
        "cells.",
    ),
    workers: int | None = options.WORKERS,
    cache_gb: float = options.CACHE,
    dry_run: bool = options.DRY_RUN,
    overwrite: bool = options.OVERWRITE,
    json: bool = options.JSON,
    quiet: bool = options.QUIET,
) -> None:
    """Read heights and slopes of an area: elevation.tif, from Copernicus GLO-30."""
    asked = options.config_values(locals())
    from sluice.app.cli.results import show_findings, show_results
    from sluice.app.config import ElevationConfig, make_config
    from sluice.app.elevation import elevation_all, find_elevation, findings_text
    from sluice.app.products.elevation_files import ElevationSummary, elevation_text

    config = make_config(ElevationConfig, **asked)
    if dry_run:
        show_findings(find_elevation, findings_text, config, as_json=json)
        return

    def tell(summary: dict[str, object], folder: Path) -> str:
        text = elevation_text(ElevationSummary.model_validate(summary))
        return f"{text}\n\nMap: {folder / 'elevation.tif'}\nPicture: {folder / 'preview.png'}"

    show_results(elevation_all, config, tell, as_json=json, quiet=quiet)
