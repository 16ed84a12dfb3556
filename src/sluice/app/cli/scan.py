"""`sluice scan` and `sluice demo`."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.config import DEFAULT_PRIOR


def scan(
    images: list[Path] = typer.Argument(
        help="GeoTIFFs with several bands, or folders of single-band files. Several are one "
        "period: where they overlap, the median of the clear looks is taken."
    ),
    out: Path = typer.Option(..., "--out", help="Folder for the results."),
    model: str = typer.Option("default", "--model", help="A model's name, or its folder."),
    area: str | None = typer.Option(
        None, "--area", help="West,south,east,north in degrees, or a file with polygons."
    ),
    bands: str | None = typer.Option(
        None, "--bands", help="Names of the file's bands in file order, with commas: blue,green,red"
    ),
    sensor: str | None = typer.Option(
        None, "--sensor", help="s2-l1c, s2-l2a, s1, planet-4b, planet-8b or nicfi."
    ),
    scale: float | None = typer.Option(
        None, "--scale", help="Reflectance = number x scale + offset."
    ),
    offset: float | None = typer.Option(None, "--offset", help="See --scale."),
    nodata: float | None = typer.Option(None, "--nodata", help="The number that means no data."),
    prior: float = typer.Option(
        DEFAULT_PRIOR, "--prior", help="Share of windows you expect to hold a mine."
    ),
    stride: float | None = typer.Option(
        None, "--stride", help="Metres between windows; the model's own if left out."
    ),
    min_area: float = typer.Option(
        2.0, "--min-area", help="Smallest footprint to report, in hectares."
    ),
    cloud_margin: int = typer.Option(
        2, "--cloud-margin", help="Pixels around cloud and shadow that are left out too."
    ),
    engine: str = typer.Option("auto", "--engine", help="auto, onnxruntime or openvino."),
    precision: str = typer.Option("f32", "--precision", help="f32 or bf16; kept in the record."),
    workers: int | None = typer.Option(
        None, "--workers", help="Tiles at a time; one for each core if left out."
    ),
    processes: bool = typer.Option(
        False, "--processes", help="Use processes instead of threads, for machines of many cores."
    ),
    any_level: bool = typer.Option(
        False, "--any-level", help="Use imagery that the model was not made for; kept on record."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a finished result."),
    json: bool = typer.Option(False, "--json", help="Print the summary as JSON."),
    quiet: bool = typer.Option(False, "--quiet", help="No progress bar."),
) -> None:
    """Find likely mines in satellite images and write a map of them.

    A scan that was stopped goes on where it was when the same command is given again.
    """
    from sluice.app.cli.progress import tile_progress
    from sluice.app.config import make_config
    from sluice.app.products.summary import summary_text
    from sluice.app.workflows import scan as run_scan

    config = make_config(
        images=tuple(images),
        out=out,
        model=model,
        area=area,
        bands=tuple(part.strip() for part in bands.split(",")) if bands else None,
        sensor=sensor,
        scale=scale,
        offset=offset,
        nodata=nodata,
        prior=prior,
        stride_m=stride,
        min_footprint_ha=min_area,
        cloud_margin_px=cloud_margin,
        engine=engine,
        precision=precision,
        workers=workers,
        processes=processes,
        any_level=any_level,
        overwrite=overwrite,
    )
    with tile_progress(shown=not (json or quiet)) as progress:
        finished = run_scan(config, progress)
    if json:
        typer.echo(finished.summary.model_dump_json(indent=2))
        return
    typer.echo(summary_text(finished.summary))
    typer.echo(f"\nMap: {finished.paths.quicklook}")
    typer.echo(f"Sites for QGIS: {finished.paths.sites_gpkg}")


def demo(
    out: Path = typer.Option(Path("demo"), "--out", help="Folder for the scene and the map."),
    seed: int | None = typer.Option(None, "--seed", help="Another number makes another landscape."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an earlier demo."),
    json: bool = typer.Option(False, "--json", help="Print the comparison as JSON."),
) -> None:
    """Scan a synthetic scene with known mines, and compare with the truth. Needs no network."""
    from sluice.app.cli.progress import tile_progress
    from sluice.app.demo import run_demo

    with tile_progress(shown=not json) as progress:
        outcome = run_demo(out, seed=seed, overwrite=overwrite, progress=progress)
    typer.echo(outcome.model_dump_json(indent=2) if json else outcome.text)
