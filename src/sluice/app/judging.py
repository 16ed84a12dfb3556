"""Judging models: chips scored for `sluice evaluate` and the proof, and sites against the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from sluice.app.area import read_area
from sluice.app.chip_inputs import ChipInputs, open_chip_inputs, taught_warning, was_taught
from sluice.app.config import models_folder
from sluice.app.products.coverage import observed_polygons
from sluice.app.products.landing import holds_finished
from sluice.app.products.layout import RUN, SCORE, SITES_PARQUET
from sluice.base.errors import AssetReadError, ConfigError, ItemNotFound
from sluice.base.files import read_vector, vector_layers, write_whole
from sluice.evaluation.compare import Comparison, ScoredModel, compare_models
from sluice.evaluation.report import ChipReport, evaluate_scores
from sluice.evaluation.site_figures import BLOCK_KM, SiteReport, evaluate_sites
from sluice.labels.dataset import ChipDataset, read_dataset
from sluice.models.manifest import Manifest
from sluice.models.package import ModelPackage, load_package
from sluice.models.predictor import WindowPredictor


@dataclass(frozen=True)
class JudgedModel:
    """A model and what it made of some chips."""

    manifest: Manifest
    report: ChipReport
    table: pd.DataFrame
    """The chips with a column `score` (NaN: not observed)."""
    was_taught: bool
    """Whether it has learnt from some of these chips."""


@dataclass(frozen=True)
class Judgement:
    """Models judged on the same chips."""

    dataset: ChipDataset
    models: tuple[JudgedModel, ...]
    comparison: Comparison | None
    """With the first model; None where there is only one."""

    @property
    def warning(self) -> str | None:
        """What is said of models that were trained on these chips; None where none was."""
        return taught_warning([m.manifest.name for m in self.models if m.was_taught])


def judge_models(folder: Path, models: Sequence[str], split: str | None = None) -> Judgement:
    """Judge each model on labelled chips, and compare them with the first.

    Args:
        folder: A data set, or `chips.csv` and `grids/`.
        models: Names or folders.
        split: Only this split.

    Raises:
        ConfigError: A model is named twice.
        SluiceError: As `evaluate_chips`.
    """
    judged = []
    for name in models:
        package = load_package(name, models_folder())
        chips = open_chip_inputs(folder, package, split)
        report, table = _judge(package, chips, split)
        taught = was_taught(chips)
        warning = taught_warning([package.name] if taught else [])
        told = report.model_copy(update={"warning": warning})
        judged.append(JudgedModel(package.manifest, told, table, taught))
    comparison = None
    if len(judged) > 1:
        scored = [
            ScoredModel(
                model.manifest.name,
                model.table["score"].to_numpy(np.float32),
                model.manifest.thresholds.t_main,
                model.manifest.calibration,
            )
            for model in judged
        ]
        comparison = compare_models(judged[0].table, scored, data=judged[0].report.data)
    return Judgement(read_dataset(folder), tuple(judged), comparison)


def write_judged_scores(judgement: Judgement, path: Path) -> None:
    """Write each chip's score as CSV: its id and `score`, or a column for each model.

    The id of a chip of a sheet is `grid` and `cell`, of others `chip_id`.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    first, *others = judgement.models
    ids = ["grid", "cell"] if "grid" in first.table else ["chip_id"]
    columns = (
        {model.manifest.name: model.table["score"] for model in judgement.models}
        if others
        else {"score": first.table["score"]}
    )
    with write_whole(path) as part:
        first.table[ids].assign(**columns).to_csv(
            part, index=False, float_format="%.7f", lineterminator="\n"
        )


def evaluate_sites_of_files(
    detections: Path,
    truth: Path,
    area: str | None,
    *,
    truth_layer: str | None = None,
    found_share: float = 0.0,
    block_km: float = BLOCK_KM,
) -> SiteReport:
    """Judge the detections of a file, or of a scan, by the outlines of a file.

    What a scan could not observe, for cloud or for want of images, counts as not looked at: a
    mine there is neither found nor missed.

    Args:
        detections: A vector file, or the folder of a finished scan.
        truth: A vector file.
        area: As for `read_area`; None for all that a scan observed.
        truth_layer: Layer of `truth`; None where there is only one.
        found_share: Share of a site that detections must cover for it to be found.
        block_km: Side of a block of the bootstrap.

    Raises:
        ConfigError: The folder holds no finished scan, an area or a layer has to be named, or the
            area was not observed at all.
        SourceError: A file cannot be read.
        DataError: What `evaluate_sites` refuses.
    """
    is_scan = detections.is_dir()
    if not detections.exists():
        raise ItemNotFound(f"{detections}: no such file or folder; check the path")
    if area is None and not is_scan:
        raise ConfigError("--area is missing: a file with detections does not tell what was seen")
    polygons = None if area is None else read_area(area)
    if is_scan:
        drawn, ground = _read_scan(detections, polygons)
    else:
        drawn = read_vector(detections)
        ground = gpd.GeoSeries([polygons], crs="EPSG:4326")
    return evaluate_sites(
        drawn,
        read_truth(truth, truth_layer),
        ground,
        found_share=found_share,
        block_km=block_km,
        # Published outlines often cross themselves somewhere; the report says how many did.
        mend=True,
    )


def _read_scan(folder: Path, area: BaseGeometry | None) -> tuple[gpd.GeoDataFrame, gpd.GeoSeries]:
    """The sites of a finished scan, and the polygons of what it observed of an area."""
    sites = folder / SITES_PARQUET
    if not holds_finished(folder) or not sites.is_file():
        raise ConfigError(
            f"{folder}: holds no finished scan; give a result folder of `sluice scan`, or a file "
            "with polygons",
            href=str(folder),
        )
    observed = observed_polygons(folder / SCORE, _grid_of(folder), area=area)
    if observed.empty:
        raise ConfigError(f"{folder}: observed nothing of the area; choose one that was scanned")
    # A scan may have found nothing, which is an answer; of other files it is more likely a slip.
    return read_vector(sites, may_be_empty=True), observed


def _grid_of(folder: Path) -> GeoBox:
    """The processing grid that a finished run tells of."""
    try:
        grid = json.loads((folder / RUN).read_bytes())["grid"]
        return GeoBox(tuple(grid["shape"]), Affine(*grid["transform"]), grid["crs"])
    except (KeyError, TypeError, ValueError, CRSError) as err:
        raise AssetReadError(
            f"{folder / RUN}: tells no grid ({err}); scan again", href=str(folder / RUN)
        ) from err


def read_truth(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    """Read the outlines of all mines of an area.

    Args:
        path: A vector file.
        layer: Of it; None where there is only one.

    Raises:
        ConfigError: No such layer, or one has to be named.
        SourceError: The file cannot be read.
    """
    layers = vector_layers(path)
    if layer is None and len(layers) > 1:
        raise ConfigError(
            f"{path}: has the layers {', '.join(layers)}; name one with --truth-layer"
        )
    if layer is not None and layer not in layers:
        raise ConfigError(f"{path}: has no layer {layer!r}; found: {', '.join(layers) or 'none'}")
    return read_vector(path, layer=layer)


def evaluate_chips(
    folder: Path, model: str, split: str | None = None
) -> tuple[ChipReport, pd.DataFrame]:
    """Score labelled chips and judge the scores at the model's own threshold.

    Args:
        folder: A data set, or `chips.csv` and `grids/`.
        model: Name or folder of a model that judges windows.
        split: Only this split.

    Returns:
        The figures, and the table of chips with a column `score` (NaN: not observed).

    Raises:
        ConfigError: The model judges pixels, or no chip is in the split.
        BandNotFound, ManifestMismatch: The chips are not what the model takes.
        SluiceError: Either cannot be read.
    """
    package = load_package(model, models_folder())
    return _judge(package, open_chip_inputs(folder, package, split), split)


def _judge(
    package: ModelPackage, chips: ChipInputs, split: str | None
) -> tuple[ChipReport, pd.DataFrame]:
    scored = score_chips(package, chips)
    report = evaluate_scores(
        scored,
        package.manifest.thresholds.t_main,
        package.manifest.calibration,
        model=package.name,
        data=f"{chips.data}, {f'split {split}' if split else 'all chips'}",
    )
    return report, scored


def score_chips(package: ModelPackage, chips: ChipInputs) -> pd.DataFrame:
    """Score the chosen chips, each by its central window.

    Args:
        package: A model that judges windows.
        chips: Opened for it.

    Returns:
        Their table with a column `score` (NaN: not observed).

    Raises:
        ConfigError: The model judges pixels.
        ShapeMismatch: The chips are smaller than the model's window.
        SourceError: A chip cannot be read.
    """
    predictor = WindowPredictor(package)
    bands = package.manifest.bands
    scores = [predictor.score_chips(images, bands) for _, images in chips.batches()]
    return chips.table.assign(score=np.concatenate(scores))
