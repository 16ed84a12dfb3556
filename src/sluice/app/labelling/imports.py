"""`sluice labels import`: labels of any format → polygons on the map, or a data set of chips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
from pydantic import BaseModel, ConfigDict, Field

from sluice import __version__
from sluice.app.area import read_area
from sluice.app.products.landing import telling_disk_errors
from sluice.base.errors import ConfigError, RunFailed
from sluice.base.files import sha256_file, write_whole
from sluice.base.records import Record
from sluice.labels.exports import read_label_studio, read_labelbox
from sluice.labels.foreign_chips import ImportedChips
from sluice.labels.mine_points import PointFilters
from sluice.labels.pictures import PictureLabels, PlacedLabels, place_labels, read_places
from sluice.labels.points import (
    discs_around,
    read_africa_mining_watch,
    read_ipis_visits,
    read_mosaiks,
    read_points,
    read_sampling_locations,
)
from sluice.labels.polygons import read_polygons
from sluice.labels.smallminesds import BANDS, Radar, import_smallminesds
from sluice.labels.vector_table import (
    NEGATIVE,
    LabelColumns,
    LabelTable,
    check_near,
    refuse_none_left,
)
from sluice.labels.vitsegh import import_vitsegh

LabelFormat = Literal[
    "polygons",
    "points",
    "amw-points",
    "africa-mining-watch",
    "ipis",
    "mosaiks",
    "label-studio",
    "labelbox",
    "smallminesds",
    "vitsegh",
]
LABELS_FILE, RECORD_FILE = "labels.gpkg", "import.json"
LABELS_LAYER, PICTURES_LAYER = "labels", "pictures"
_CHIP_FORMATS = ("smallminesds", "vitsegh")
_VECTORS = ("polygons", "points", "amw-points", "africa-mining-watch", "ipis", "mosaiks")
_USED_BY: dict[str, tuple[str, ...]] = {
    "area": _VECTORS,
    "class_column": ("polygons", "points"),
    "start_column": ("polygons", "points"),
    "end_column": ("polygons", "points"),
    "layer": ("polygons", "points"),
    "class_name": _VECTORS,
    "lon": ("points",),
    "lat": ("points",),
    "crs": ("polygons", "points"),
    "area_column": ("points",),
    "radius_m": ("points", "amw-points", "ipis", "mosaiks", "label-studio", "labelbox"),
    "min_inspected": ("mosaiks",),
    "min_confidence": ("mosaiks",),
    "exclude_types": ("mosaiks",),
    "pictures": ("label-studio", "labelbox"),
    "project": ("labelbox",),
    "offset": _CHIP_FORMATS,
    "mine_value": _CHIP_FORMATS,
    "bands": ("smallminesds",),
    "file_bands": ("smallminesds",),
    "radar": ("smallminesds",),
}
_T = TypeVar("_T")


class LabelImportConfig(BaseModel):
    """One import."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: LabelFormat
    sources: tuple[Path, ...]
    out: Path
    area: str | None = None
    """`west,south,east,north` or a vector file: labels that do not meet it are left out."""
    class_column: str | None = None
    class_name: str | None = None
    """Of all, where no column says it."""
    start_column: str | None = None
    end_column: str | None = None
    layer: str | None = None
    lon: str | None = None
    lat: str | None = None
    crs: str | None = None
    area_column: str | None = None
    radius_m: float | None = Field(default=None, gt=0)
    """Points become discs of it."""
    min_inspected: float | None = Field(default=None, ge=0, le=1)
    """Of MOSAIKS's filters; None takes ours, 0 turns it off."""
    min_confidence: float | None = Field(default=None, ge=0)
    """As `min_inspected`."""
    exclude_types: tuple[str, ...] | None = None
    """None takes ours, none at all turns it off."""
    pictures: Path | None = None
    """Made by `sluice labels prepare`."""
    project: str | None = None
    offset: float | None = None
    mine_value: int | None = None
    bands: tuple[str, ...] | None = None
    file_bands: tuple[str, ...] | None = None
    radar: Radar | None = None


class LabelImportSummary(Record):
    """What was imported: `import.json`."""

    sluice_version: str = __version__
    format: LabelFormat
    sources: dict[str, str | None]
    """SHA-256 of each file by its name; None for folders."""
    labels: int
    """Polygons, points or chips."""
    shape: Literal["polygons", "points", "chips"]
    classes: dict[str, int]
    mended: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)
    verdicts: dict[str, int] = Field(default_factory=dict)
    """Of pictures."""
    notes: tuple[str, ...] = ()


def import_labels(config: LabelImportConfig) -> LabelImportSummary:
    """Bring labels of others into Sluice's form.

    Vector formats and exports of labelling tools give `labels.gpkg`: layer `labels`, and for
    exports layer `pictures` with what was looked at. Sets of chips give a data set. Both have
    `import.json` beside them.

    Args:
        config: What to read, how, and where it goes.

    Raises:
        ConfigError: An option that the format has no use for, or lacks; or the folder holds
            something.
        SourceError, DataError: As the readers of `sluice.labels`.
    """
    _check_request(config)
    if config.format in _CHIP_FORMATS:
        with telling_disk_errors(config.out), write_whole(config.out.absolute()) as stage:
            summary = _summary_of_chips(config, _read_chips(config, stage))
            _finish(config, summary, stage)
        return summary
    if config.format in {"label-studio", "labelbox"}:
        placed = _read_exports(config)
        labels, pictures = placed.labels, placed.pictures
    else:
        labels, pictures = _joined([_read_vectors(config, path) for path in config.sources]), None
        labels = _within_area(config, labels)
    summary = _summary_of_vectors(config, labels, pictures)
    with telling_disk_errors(config.out), write_whole(config.out.absolute()) as stage:
        stage.mkdir(parents=True)
        _write_layer(stage / LABELS_FILE, LABELS_LAYER, labels.table)
        if pictures is not None:
            _write_layer(stage / LABELS_FILE, PICTURES_LAYER, pictures)
        _finish(config, summary, stage)
    return summary


def _finish(config: LabelImportConfig, summary: LabelImportSummary, stage: Path) -> None:
    record = summary.model_dump_json(indent=2) + "\n"
    (stage / RECORD_FILE).write_text(record, encoding="utf-8")
    if config.out.is_dir():
        # Empty, and in the way where a folder cannot be renamed onto another.
        config.out.rmdir()


def summary_text(summary: LabelImportSummary, out: Path) -> str:
    """The outcome in words."""
    classes = ", ".join(f"{count} {name}" for name, count in summary.classes.items())
    lines = [f"{summary.labels} {summary.shape} ({classes or 'none'})"]
    if summary.verdicts:
        verdicts = ", ".join(f"{count} {name}" for name, count in summary.verdicts.items())
        lines.append(f"{sum(summary.verdicts.values())} pictures: {verdicts}")
    if summary.mended:
        lines.append(f"{summary.mended} invalid outlines were mended")
    lines += [f"{count} left out: {reason}" for reason, count in summary.left_out.items()]
    lines += summary.notes
    lines.append(
        f"\n{'Data set' if summary.shape == 'chips' else 'Labels'}: {_result(summary, out)}"
    )
    return "\n".join(lines)


def _result(summary: LabelImportSummary, out: Path) -> Path:
    return out if summary.shape == "chips" else out / LABELS_FILE


def _check_request(config: LabelImportConfig) -> None:
    for name, formats in _USED_BY.items():
        if getattr(config, name) is not None and config.format not in formats:
            option = "--class" if name == "class_name" else "--" + name.replace("_", "-")
            raise ConfigError(
                f"{option.removesuffix('-m')}: has no meaning for {config.format}, only for "
                f"{', '.join(formats)}; leave it out"
            )
    if config.class_column is not None and config.class_name is not None:
        raise ConfigError("--class-column and --class both say the class; give one")
    if config.format in {"label-studio", "labelbox"} and config.pictures is None:
        raise ConfigError(
            f"{config.format}: exports say where on a picture, not where on earth; give --pictures "
            "the folder that `sluice labels prepare` made"
        )
    if config.format in _CHIP_FORMATS and len(config.sources) != 1:
        raise ConfigError(f"{config.format}: give one folder, not {len(config.sources)}")
    if not config.sources:
        raise ConfigError("no source given; name a file or folder")
    if len({path.resolve() for path in config.sources}) < len(config.sources):
        raise ConfigError("a source is given twice; name each once")
    out = config.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is not empty; give --out a new folder", href=str(out))


def _read_vectors(config: LabelImportConfig, path: Path) -> LabelTable:
    name = config.class_name or "mine"
    readers: Mapping[str, Callable[[], LabelTable]] = {
        "polygons": lambda: read_polygons(
            path, _columns(config), layer=config.layer, crs=config.crs
        ),
        "points": lambda: read_points(
            path,
            _columns(config),
            lon=config.lon,
            lat=config.lat,
            crs=config.crs or "EPSG:4326",
            layer=config.layer,
            area_column=config.area_column,
            all_alike=config.class_name is not None,
        ),
        "amw-points": lambda: read_sampling_locations(path, class_name=name),
        "africa-mining-watch": lambda: read_africa_mining_watch(path, class_name=name),
        "ipis": lambda: read_ipis_visits(path, class_name=name),
        "mosaiks": lambda: read_mosaiks(path, _filters(config), class_name=name),
    }
    found = readers[config.format]()
    sized = config.radius_m is not None or "radius_m" in found.table
    if config.format != "polygons" and sized:
        return replace(found, table=discs_around(found.table, config.radius_m))
    return found


def _filters(config: LabelImportConfig) -> PointFilters:
    """Those of the request, ours where it says nothing; 0 refuses nobody and needs no column."""
    ours = PointFilters()
    return PointFilters(
        _given(config.min_inspected, ours.min_inspected) or None,
        _given(config.min_confidence, ours.min_confidence) or None,
        _given(config.exclude_types, ours.excluded_types) or (),
    )


def _given(value: _T | None, otherwise: _T | None) -> _T | None:
    return otherwise if value is None else value


def _columns(config: LabelImportConfig) -> LabelColumns | None:
    """None where the user says nothing: then the file's own usual names count."""
    said = (config.class_column, config.class_name, config.start_column, config.end_column)
    if not any(said):
        return None
    return LabelColumns(
        config.class_column,
        config.class_name or "mine",
        config.start_column,
        config.end_column,
    )


def _read_exports(config: LabelImportConfig) -> PlacedLabels:
    places = read_places(_needed(config.pictures))
    found: list[PictureLabels] = []
    for path in config.sources:
        found += (
            read_label_studio(path)
            if config.format == "label-studio"
            else read_labelbox(path, project=config.project)
        )
    where = ", ".join(str(path) for path in config.sources)
    return place_labels(
        found, places, where=where, source=config.sources[0].stem, radius_m=config.radius_m
    )


def _read_chips(config: LabelImportConfig, out: Path) -> ImportedChips:
    folder = config.sources[0]
    mine_value = 1 if config.mine_value is None else config.mine_value
    if config.format == "vitsegh":
        return import_vitsegh(folder, out, offset=config.offset, mine_value=mine_value)
    return import_smallminesds(
        folder,
        out,
        file_bands=config.file_bands or BANDS,
        bands=config.bands,
        offset=config.offset,
        radar=config.radar or "auto",
        mine_value=mine_value,
    )


def _joined(tables: Sequence[LabelTable]) -> LabelTable:
    left_out: dict[str, int] = {}
    for table in tables:
        for reason, count in table.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + count
    joined = pd.concat([table.table for table in tables], ignore_index=True)
    if NEGATIVE in joined:
        joined[NEGATIVE] = joined[NEGATIVE].isin([True])
    frame = gpd.GeoDataFrame(joined, geometry="geometry", crs="EPSG:4326")
    notes = tuple(note for table in tables for note in table.notes)
    return LabelTable(frame, sum(table.mended for table in tables), left_out, notes)


def _within_area(config: LabelImportConfig, labels: LabelTable) -> LabelTable:
    """Those that meet the area; an inventory of the world has few in a district."""
    if config.area is None:
        return labels
    area = read_area(config.area)
    check_near(labels.table, area.bounds, str(config.sources[0]))
    inside = np.asarray(labels.table.intersects(area))
    left_out = {**labels.left_out, "outside the area": int((~inside).sum())}
    left_out = {reason: count for reason, count in left_out.items() if count}
    table = labels.table[inside].reset_index(drop=True)
    refuse_none_left(len(table), left_out, config.area, "label")
    return replace(labels, table=table, left_out=left_out)


def _summary_of_vectors(
    config: LabelImportConfig, labels: LabelTable, pictures: gpd.GeoDataFrame | None
) -> LabelImportSummary:
    points = bool(len(labels.table)) and bool((labels.table.geom_type == "Point").all())
    notes = ["Points have no extent: with --radius they become discs"] if points else []
    return LabelImportSummary(
        format=config.format,
        sources=_hashes(config),
        labels=len(labels.table),
        shape="points" if points else "polygons",
        classes=_counts(labels.table["class"]),
        mended=labels.mended,
        left_out=dict(labels.left_out),
        verdicts=_counts(pictures["verdict"]) if pictures is not None else {},
        notes=(*labels.notes, *notes),
    )


def _summary_of_chips(config: LabelImportConfig, imported: ImportedChips) -> LabelImportSummary:
    labels = imported.dataset.table["label"].map({0: "other", 1: "mine"})
    return LabelImportSummary(
        format=config.format,
        sources=_hashes(config),
        labels=len(labels),
        shape="chips",
        classes=_counts(labels),
        left_out=dict(imported.left_out),
        notes=imported.notes,
    )


def _hashes(config: LabelImportConfig) -> dict[str, str | None]:
    return {path.name: sha256_file(path) if path.is_file() else None for path in config.sources}


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}


def _write_layer(path: Path, layer: str, table: gpd.GeoDataFrame) -> None:
    kinds = set(table.geom_type)
    pyogrio.write_dataframe(
        table,
        path,
        layer=layer,
        driver="GPKG",
        geometry_type="Point" if kinds == {"Point"} else "MultiPolygon",
        promote_to_multi=kinds != {"Point"},
        append=path.exists(),
    )
    # GDAL reports some write errors as warnings only.
    found = pyogrio.read_info(path, layer=layer)["features"]
    if found != len(table):
        raise RunFailed(
            f"{path.name}: {found} of {len(table)} labels were written; check the free space on "
            "the disk and run again"
        )


def _needed(value: _T | None) -> _T:
    if value is None:
        raise ConfigError("give --pictures the folder that `sluice labels prepare` made")
    return value


FORMATS: tuple[str, ...] = get_args(LabelFormat)
