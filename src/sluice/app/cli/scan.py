"""`sluice scan` and `sluice demo`."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options
from sluice.app.config import DEFAULT_PRIOR


def scan(
    images: list[Path] = options.IMAGES,
    out: Path = options.OUT,
    model: str = options.MODEL,
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
    prior: float = typer.Option(
        DEFAULT_PRIOR, "--prior", help="Share of windows you expect to hold a mine."
    ),
    stride_m: float | None = typer.Option(
        None, "--stride", help="Metres between windows; the model's own if left out."
    ),
    min_footprint_ha: float = typer.Option(
        2.0, "--min-area", help="Smallest footprint to report, in hectares."
    ),
    outlines: str | None = typer.Option(
        None,
        "--outlines",
        help="Model that outlines the workings within sites, or none; Sluice's own if left out.",
    ),
    engine: str = typer.Option("auto", "--engine", help="auto, onnxruntime or openvino."),
    precision: str = typer.Option("f32", "--precision", help="f32 or bf16; kept in the record."),
    any_level: bool = typer.Option(
        False, "--any-level", help="Use imagery that the model was not made for; kept on record."
    ),
    store: str | None = typer.Option(
        None,
        "--store",
        help="Where the result is to land, and be followed over time: a file, or a postgresql:// "
        "address.",
    ),
    area_name: str | None = options.AREA_NAME,
    strict: bool = typer.Option(
        False,
        "--strict",
        help="Take out settlements, roads, concessions (the store's layers) and green ground "
        "(NDVI over 0.3; needs the near infrared).",
    ),
    keep: str | None = typer.Option(
        None,
        "--keep-bands",
        help="Bands of the image to keep beside the map, or none; with --store those that the "
        "model reads. nir and swir16 serve land cover and --strict.",
    ),
    workers: int | None = options.WORKERS,
    processes: bool = typer.Option(
        False, "--processes", help="Use processes instead of threads, for machines of many cores."
    ),
    cache_gb: float = options.CACHE,
    dry_run: bool = options.DRY_RUN,
    overwrite: bool = options.OVERWRITE,
    json: bool = options.JSON,
    quiet: bool = options.QUIET,
) -> None:
    """Find likely mines in satellite images and write a map of them.

    Give images from disk, or --source, --area, --from and --to. A scan that was stopped goes on
    where it was when the same command is given again.
    """
    asked = options.config_values(locals())
    from sluice.app.cli.results import show_findings, show_results
    from sluice.app.config import ScanConfig, make_config
    from sluice.app.finding import findings_text

    config = make_config(ScanConfig, **asked)
    # The database is there for those alone who land in a store.
    if config.store is not None:
        from sluice.app.following.landing_runs import find_for_store as find
        from sluice.app.following.landing_runs import scan_into_store as run
    else:
        from sluice.app.workflows import find
        from sluice.app.workflows import scan_all as run
    if dry_run:
        show_findings(find, findings_text, config, as_json=json)
        return
    show_results(run, config, _result_text, as_json=json, quiet=quiet)


def _result_text(summary: dict[str, object], folder: Path) -> str:
    from sluice.app.products.layout import CLASSES
    from sluice.app.products.summary import LANDED, Summary, summary_text

    figures = dict(summary)
    landed = figures.pop(LANDED, None)
    text = summary_text(Summary.model_validate(figures))
    if landed is not None:
        from sluice.app.following.landing import Landed

        text += f"\n\n{Landed.model_validate(landed).text}"
    text += f"\n\nMap: {folder / 'quicklook.png'}\nSites for QGIS: {folder / 'sites.gpkg'}"
    classes = folder / CLASSES
    return f"{text}\nClasses for QGIS: {classes}" if classes.is_file() else text


def demo(
    out: Path | None = typer.Option(
        None, "--out", help="Folder for images, truth and map; demo, or demo-country, if left out."
    ),
    country: bool = typer.Option(
        False,
        "--country",
        help="Follow a country over eight quarters instead: mines open, grow, stop and heal. Takes "
        "a few minutes.",
    ),
    seed: int | None = typer.Option(None, "--seed", help="Another number makes another landscape."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an earlier demo."),
    json: bool = typer.Option(False, "--json", help="Print the comparison as JSON."),
) -> None:
    """Scan a synthetic scene with known mines, and compare with the truth. Needs no network."""
    from sluice.app.cli.progress import stage_progress, tile_progress

    if country:
        from sluice.app.demo_country import run_country_demo

        folder = Path("demo-country") if out is None else out
        with stage_progress(shown=not json) as stage:
            followed = run_country_demo(folder, seed=seed, overwrite=overwrite, stage=stage)
        typer.echo(followed.comparison.model_dump_json(indent=2) if json else followed.text)
        return
    from sluice.app.demo import run_demo

    folder = Path("demo") if out is None else out
    with tile_progress(shown=not json) as progress:
        outcome = run_demo(folder, seed=seed, overwrite=overwrite, progress=progress)
    typer.echo(outcome.model_dump_json(indent=2) if json else outcome.text)
