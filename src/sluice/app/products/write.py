"""Everything that a finished run leaves behind, written in one call."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas as gpd
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.app.products import layout, vectors
from sluice.app.products.catalogue import scan_product, write_stac
from sluice.app.products.class_map import classes_qml
from sluice.app.products.coverage import measure_coverage
from sluice.app.products.landing import land, telling_disk_errors
from sluice.app.products.layout import ProductPaths
from sluice.app.products.quicklook import draw_quicklook
from sluice.app.products.run_record import write_run
from sluice.app.products.summary import Summary, summarise
from sluice.app.products.table import sites_table
from sluice.base.protocols import TileLoader
from sluice.base.records import Run

_STAGE = "products"


def write_products(
    out_dir: Path,
    detections: gpd.GeoDataFrame,
    run: Run,
    *,
    score_path: Path,
    probability_path: Path | None,
    classes_path: Path | None = None,
    image: Mapping[str, Path] | None = None,
    preview: TileLoader,
    geobox: GeoBox,
    window_m: float,
    smallest_site_ha: float,
    area: BaseGeometry | None = None,
    workings: gpd.GeoDataFrame | None = None,
    removed: Sequence[str] = (),
    times_coarser: float = 1.0,
) -> tuple[ProductPaths, Summary]:
    """Write all files in hiding, then let them land in `out_dir`, `run.json` last.

    Args:
        out_dir: A folder that `open_output` accepted.
        detections: In EPSG:4326 with the columns of `Detection`; may be empty.
        run: Its `summary` is filled in here.
        score_path: COG in `open_output`'s folder, NaN = not observed; it is moved.
        probability_path: Likewise; None where the model has no calibration.
        classes_path: Likewise, of numbers of the classes in `run.model`; None where it does not
            tell several sought ones apart.
        image: The composite that was kept and its looks, by name; they are moved. None where none
            was.
        preview: Gives the image on any coarse grid, for the quicklook.
        geobox: Processing grid.
        window_m: Side of the model's window in metres.
        smallest_site_ha: Smallest mapping unit of the run in hectares.
        area: In EPSG:4326, the part that was asked for; the whole grid if None.
        workings: In EPSG:4326, the outlines within sites; None where none were made.
        removed: What was taken away on purpose, a line each.
        times_coarser: See `summarise`.

    Returns:
        Where the files are, and the outcome that `run.json` holds.

    Raises:
        RunFailed: The disk is full, or a file could not be written.
        ConfigError: The folder cannot be written.
    """
    with telling_disk_errors(out_dir):
        stage = _empty_stage(out_dir)
        table = sites_table(detections, run)
        coverage = measure_coverage(score_path, geobox, area=area)
        summary = summarise(
            table,
            run,
            coverage,
            window_m=window_m,
            smallest_site_ha=smallest_site_ha,
            removed=removed,
            times_coarser=times_coarser,
        )
        run = run.model_copy(update={"summary": summary.model_dump(mode="json")})

        files = _map_files(stage, run, score_path, probability_path, classes_path)
        files |= image or {}
        files |= _write_sites(table, workings, stage, run.disclaimer)
        draw_quicklook(
            stage / layout.QUICKLOOK,
            table=table,
            run=run,
            summary=summary,
            score_path=score_path,
            preview=preview,
            geobox=geobox,
            area=area,
        )
        write_run(run, stage / layout.RUN)
        files |= {name: stage / name for name in (layout.QUICKLOOK, layout.RUN)}
        write_stac(stage, files, run=run, product=scan_product(summary), geobox=geobox)
        files |= {name: stage / name for name in (layout.ITEM, layout.CATALOGUE)}
        land(files, out_dir)
    paths = ProductPaths.in_folder(
        out_dir,
        with_probability=probability_path is not None,
        with_classes=classes_path is not None,
    )
    return paths, summary


def _empty_stage(out_dir: Path) -> Path:
    stage = out_dir / layout.WORK_FOLDER / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    return stage


def _map_files(
    stage: Path, run: Run, score: Path, probability: Path | None, classes: Path | None
) -> dict[str, Path]:
    """The maps that there are, by the names they land under, and the style of the classes."""
    files = {layout.SCORE: score}
    if probability is not None:
        files[layout.PROBABILITY] = probability
    if classes is not None:
        style = stage / layout.CLASSES_STYLE
        style.write_text(classes_qml(run.model["classes"]), encoding="utf-8")
        files |= {layout.CLASSES: classes, layout.CLASSES_STYLE: style}
    return files


def _write_sites(
    table: gpd.GeoDataFrame, workings: gpd.GeoDataFrame | None, stage: Path, disclaimer: str
) -> dict[str, Path]:
    paths = ProductPaths.in_folder(stage, with_probability=False, with_classes=False)
    vectors.write_gpkg(table, paths.sites_gpkg, disclaimer=disclaimer, workings=workings)
    vectors.write_geoparquet(table, paths.sites_parquet, disclaimer=disclaimer)
    vectors.write_geojson(table, paths.sites_geojson, disclaimer=disclaimer)
    vectors.write_csv(table, paths.sites_csv)
    written = (paths.sites_gpkg, paths.sites_parquet, paths.sites_geojson, paths.sites_csv)
    return {path.name: path for path in written}
