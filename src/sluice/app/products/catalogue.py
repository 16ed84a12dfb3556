"""The static STAC catalogue of a run: one catalogue, one item, relative links, checksums."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import antimeridian
import pystac
import shapely
from odc.geo.geobox import GeoBox
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

from sluice.app.products import layout
from sluice.app.products.class_map import describe_classes
from sluice.app.products.coverage import outline_lonlat
from sluice.app.products.summary import Summary, classes_in_words
from sluice.base.files import open_raster, sha256_file
from sluice.base.records import ImageryRun, Run, Scene

_PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
# A multihash: 0x12 means SHA-256, 0x20 its length in bytes.
_SHA256_MULTIHASH = "1220"
_GEOPARQUET = "application/vnd.apache.parquet"

# Name in the folder: key, title, media type, roles.
_ASSETS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    layout.COMPOSITE: ("composite", "Composite image", pystac.MediaType.COG, ("data",)),
    layout.LOOKS: (
        "looks",
        "Clear looks, and days from 1970-01-01 to the last one",
        pystac.MediaType.COG,
        ("data",),
    ),
    layout.PREVIEW: ("preview", "Picture", pystac.MediaType.PNG, ("overview",)),
    layout.ELEVATION: (
        "elevation",
        "Elevation in metres, slope in degrees",
        pystac.MediaType.COG,
        ("data",),
    ),
    layout.SCORE: ("score", "Score, raw output of the model", pystac.MediaType.COG, ("data",)),
    layout.PROBABILITY: (
        "probability",
        "Probability of a mine at the run's prior",
        pystac.MediaType.COG,
        ("data",),
    ),
    layout.CLASSES: (
        "classes",
        "Class of each cell",
        pystac.MediaType.COG,
        ("data",),
    ),
    layout.CLASSES_STYLE: (
        "classes-style",
        "QGIS style of the classes",
        pystac.MediaType.XML,
        ("metadata",),
    ),
    layout.SITES_GPKG: (
        "sites",
        "Likely mine sites, with QGIS style",
        pystac.MediaType.GEOPACKAGE,
        ("data",),
    ),
    layout.SITES_PARQUET: ("sites-parquet", "Likely mine sites", _GEOPARQUET, ("data",)),
    layout.SITES_GEOJSON: (
        "sites-geojson",
        "Likely mine sites",
        pystac.MediaType.GEOJSON,
        ("data",),
    ),
    layout.SITES_CSV: ("sites-csv", "Likely mine sites, centres", "text/csv", ("data",)),
    layout.QUICKLOOK: (
        "quicklook",
        "Map of the sites on the image",
        pystac.MediaType.PNG,
        ("overview",),
    ),
    layout.RUN: (
        "run",
        "Inputs, model, parameters and every tile's outcome",
        pystac.MediaType.JSON,
        ("metadata",),
    ),
}


@dataclass(frozen=True)
class Product:
    """What a folder holds, in words and dates."""

    title: str
    description: str
    first_date: dt.date | None
    """Of the images; None where they carry no date."""
    last_date: dt.date | None


def scan_product(summary: Summary) -> Product:
    """What a scan left."""
    return Product(
        title="Likely mine sites",
        description=f"Likely mine sites found: {summary.sites}"
        f"{f' ({classes_in_words(summary)})' if summary.classes else ''}. "
        f"Images: {summary.images}. "
        f"Model: {summary.model}.",
        first_date=summary.first_date,
        last_date=summary.last_date,
    )


def write_stac(
    folder: Path, files: Mapping[str, Path], *, run: ImageryRun, product: Product, geobox: GeoBox
) -> None:
    """Write `catalog.json` and `item.json`.

    Args:
        folder: Where to write; links are relative, so that it can be moved.
        files: Name in the output folder to present path, everything but the catalogue.
        run: As in `run.json`.
        product: What the files are.
        geobox: Processing grid, for the outline and the CRS.

    Raises:
        OSError: They cannot be written.
    """
    item = _item(run, product, geobox)
    for scene in run.scenes:
        item.add_link(_source_link(scene))
    catalogue = pystac.Catalog(
        id=f"sluice-{run.run_id}",
        title="Sluice run",
        description=f"{item.properties['description']} {run.disclaimer}",
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
    )
    catalogue.set_self_href(str(folder / layout.CATALOGUE))
    catalogue.add_item(item)
    # Beside the catalogue, not in pystac's folder per item; then the assets, whose links are
    # relative to it.
    item.set_self_href(str(folder / layout.ITEM))
    for name, path in files.items():
        _add_asset(item, name, path)
    if layout.CLASSES in files and isinstance(run, Run):
        asset = item.assets[_ASSETS[layout.CLASSES][0]]
        classification = ClassificationExtension.ext(asset, add_if_missing=True)
        classification.apply(classes=describe_classes(run.model["classes"]))
    catalogue.save()


def _item(run: ImageryRun, product: Product, geobox: GeoBox) -> pystac.Item:
    # Corners, and points between only where an edge bends by more than 0.1 m.
    outline = shapely.transform(outline_lonlat(geobox).simplify(1e-6), lambda xy: xy.round(7))
    moment, period = _dates(run, product)
    found = product.description
    item = pystac.Item(
        id=run.run_id,
        geometry=outline.__geo_interface__,
        # Across 180 degrees the western edge has the larger longitude, as RFC 7946 has it.
        bbox=antimeridian.bbox(outline),
        datetime=moment,
        properties={
            **period,
            "title": product.title,
            "description": found
            if product.first_date
            else f"{found} The images carry no date: datetime is that of the run.",
            "created": pystac.utils.datetime_to_str(run.finished or run.started),
            "processing:software": {"sluice": run.sluice_version},
            "processing:lineage": f"{found} {run.disclaimer}",
        },
    )
    item.stac_extensions.append(_PROCESSING)
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    if geobox.crs is not None and geobox.crs.epsg is not None:
        projection.apply(code=f"EPSG:{geobox.crs.epsg}")
    elif geobox.crs is not None:
        projection.apply(wkt2=geobox.crs.to_wkt())
    return item


def _dates(run: ImageryRun, product: Product) -> tuple[dt.datetime | None, dict[str, Any]]:
    """STAC wants a moment or a period; where no image has a date, the run's start stands in."""
    if product.first_date is None or product.last_date is None:
        return run.started, {}
    start = dt.datetime.combine(product.first_date, dt.time.min, dt.UTC)
    end = dt.datetime.combine(product.last_date, dt.time(23, 59, 59), dt.UTC)
    return None, {
        "start_datetime": pystac.utils.datetime_to_str(start),
        "end_datetime": pystac.utils.datetime_to_str(end),
    }


def _add_asset(item: pystac.Item, name: str, path: Path) -> None:
    key, title, media_type, roles = _ASSETS[name]
    fields: dict[str, Any] = {}
    if media_type == pystac.MediaType.COG:
        with open_raster(path) as raster:
            bands = [
                {"name": name or key} | ({"unit": unit} if unit else {})
                for name, unit in zip(raster.descriptions, raster.units, strict=True)
            ]
            fields["bands"] = bands if len(bands) > 1 else [{"name": key}]
            fields["proj:shape"] = list(raster.shape)
            fields["proj:transform"] = list(raster.transform)[:6]
            fields["data_type"] = raster.dtypes[0]
            absent = raster.nodata
            fields["nodata"] = "nan" if absent is None or math.isnan(absent) else int(absent)
            if raster.scales[0] != 1:
                fields |= {"raster:scale": raster.scales[0], "raster:offset": raster.offsets[0]}
        if name not in {layout.LOOKS, layout.ELEVATION, layout.CLASSES}:
            fields["unit"] = "1"
    asset = pystac.Asset(f"./{name}", title, None, media_type, list(roles), fields)
    item.add_asset(key, asset)
    file = FileExtension.ext(asset, add_if_missing=True)
    file.apply(checksum=f"{_SHA256_MULTIHASH}{sha256_file(path)}", size=path.stat().st_size)


def _source_link(scene: Scene) -> pystac.Link:
    is_address = re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", scene.href) is not None
    # A local file by its name and checksum: its folder is nobody's business elsewhere.
    href = scene.href if is_address else Path(scene.href).name
    extra = {"file:checksum": f"{_SHA256_MULTIHASH}{scene.sha256}"} if scene.sha256 else None
    return pystac.Link(pystac.RelType.DERIVED_FROM, href, title=scene.id, extra_fields=extra)
