"""`sluice composite`."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options


def composite(
    images: list[Path] = options.IMAGES,
    out: Path = options.OUT,
    layers: str = typer.Option(
        "blue,green,red,nir",
        "--layers",
        help="Bands and indices to write: B04, red, swir16, vv, ndvi, ndwi, mndwi, bsi, ndti; "
        "vv_drop, vh_drop: by how many dB radar fell since the period before.",
    ),
    gsd_m: float = options.PIXEL,
    area: str | None = options.AREA,
    first: str | None = options.FROM,
    last: str | None = options.TO,
    every: str = options.EVERY,
    source: str | None = options.SOURCE,
    collection: str | None = options.COLLECTION,
    sensor: str | None = options.SENSOR,
    max_cloud: float | None = options.MAX_CLOUD,
    method: str | None = options.REDUCE,
    min_looks: int = options.MIN_LOOKS,
    guard: bool = options.GUARD,
    speckle: bool = options.SPECKLE,
    cloud_mask: str = options.CLOUD_MASK,
    cloud_margin_px: int = options.CLOUD_MARGIN,
    bands: str | None = options.BANDS,
    scale: float | None = options.SCALE,
    offset: float | None = options.OFFSET,
    nodata: float | None = options.NODATA,
    workers: int | None = options.WORKERS,
    cache_gb: float = options.CACHE,
    dry_run: bool = options.DRY_RUN,
    overwrite: bool = options.OVERWRITE,
    json: bool = options.JSON,
    quiet: bool = options.QUIET,
) -> None:
    """Make one clear image of a period: composite.tif, and looks.tif with its clear looks.

    Give images from disk, or --source, --area, --from and --to. What was stopped goes on where
    it was when the same command is given again.
    """
    asked = options.config_values(locals())
    from sluice.app.cli.results import show_findings, show_results
    from sluice.app.compositing import composite_all, find_for_composite
    from sluice.app.config import CompositeConfig, make_config
    from sluice.app.finding import findings_text
    from sluice.app.products.composite_files import CompositeSummary, composite_text

    config = make_config(CompositeConfig, **asked)
    if dry_run:
        show_findings(find_for_composite, findings_text, config, as_json=json)
        return

    def tell(summary: dict[str, object], folder: Path) -> str:
        text = composite_text(CompositeSummary.model_validate(summary))
        return f"{text}\n\nImage: {folder / 'composite.tif'}\nPicture: {folder / 'preview.png'}"

    show_results(composite_all, config, tell, as_json=json, quiet=quiet)
