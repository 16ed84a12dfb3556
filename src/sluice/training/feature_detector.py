"""Training a detector of random convolutional features: folds, threshold, calibration, package.

A model fitted to all folds but one scores the fold left out; the figures are of those scores. The
package's own model is fitted to everything with the same settings. Thresholds and calibration are
of its scores of images kept for that, or without such of the scores of the folds.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, JsonValue, model_validator
from scipy.special import expit

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError, ModelError, ShapeMismatch
from sluice.base.records import Record
from sluice.evaluation.aims import CalibrationMethod
from sluice.evaluation.report import IN_FOLDS, ON_KEPT, ChipReport, evaluate_scores, render_report
from sluice.labels.dataset import read_dataset
from sluice.labels.splits import CALIBRATION, grouped_folds, join_alike, joined_words
from sluice.models.manifest import (
    MANIFEST_FILE,
    Manifest,
    ScaledInput,
    Thresholds,
    Weights,
    read_manifest,
)
from sluice.models.package import EXTRAS_KEY, ModelPackage, weights_sha256, write_package
from sluice.models.taught import TAUGHT_FILE, Lessons, gather_lessons
from sluice.training.feature_data import LabelledImages, checked_table, open_images
from sluice.training.feature_graph import forest_weights, linear_weights
from sluice.training.folds import FOLD_SEED, write_out_of_fold
from sluice.training.kept import ScoredWindows, decide_on_kept, refuse_taught
from sluice.training.levels import levels_for
from sluice.training.naming import Naming
from sluice.training.options import ALPHAS, Penalties, Regressor, Seed
from sluice.training.random_features import (
    PATCH_SIDES,
    BandScaling,
    Features,
    ImagesNBHW,
    PatchKind,
    RandomFilters,
    draw_empirical_filters,
    draw_random_filters,
    featurise_all,
    fit_scaling,
    invalid_shares,
)
from sluice.training.regressors import (
    FittedModel,
    LinearModel,
    fit_model,
    scale_decisions,
)

MAX_INVALID_SHARE = 0.2
_EXAMPLES = 16
_OUT_OF_FOLD = ("chip_id", "grid", "cell", "label", "source", "group", "fold", "score")


class FeatureSettings(Record):
    """What a fit depends on, beside the images."""

    patches: int = Field(default=512, ge=1)
    """K; an image is told by 2K numbers."""
    patch_kind: PatchKind = "empirical"
    sides: tuple[int, ...] = PATCH_SIDES
    model: Regressor = "ridge"
    alphas: Penalties = ALPHAS
    folds: int = Field(default=5, ge=2)
    stride_px: int = Field(default=8, ge=1)
    """Between the scores of one pass over a larger image; linear models only."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _drawable(self) -> FeatureSettings:
        if not self.sides or min(self.sides) < 1 or self.patches < len(self.sides):
            raise ValueError(f"{self.patches} patches of sides {self.sides} cannot be drawn")
        return self


def _say_nothing(doing: str) -> None:
    del doing


@dataclass(frozen=True)
class TrainedFeatures:
    """What training leaves."""

    package: ModelPackage
    out_of_fold: pd.DataFrame
    """The images' table with the columns `fold` and `score` (NaN: too little was observed)."""
    report: ChipReport
    """Figures of `out_of_fold`."""


def train_on_dataset(
    folder: Path,
    out_dir: Path,
    *,
    name: str,
    licence: str,
    attribution: str,
    settings: FeatureSettings,
    bands: tuple[str, ...] = (),
    sensor: str | None = None,
    tell: Callable[[str], None] = _say_nothing,
    **decided: Any,
) -> TrainedFeatures:
    """`train_random_features` on the chips of a data set that may teach.

    Args:
        folder: A data set, or a folder of chip sheets; labels of whole chips suffice.
        out_dir: As for `train_random_features`, and so are the others.
        name: Of the model.
        licence: Of the weights.
        attribution: Whom to name.
        settings: See there.
        bands: Of the data set, by name, or `rgb`, `rgb+nir`; none means all.
        sensor: Of the images, where the data set does not say it.
        tell: Called with what is being done.
        decided: `aim` and `calibration`.

    Raises:
        BandNotFound: A band is not in the data set, or none of the sensor's.
        ConfigError: The sensor is unknown.
        SluiceError: The folder cannot be read, or as `train_random_features`.
    """
    return train_random_features(
        open_images(read_dataset(folder), bands, sensor),
        out_dir,
        name=name,
        licence=licence,
        attribution=attribution,
        settings=settings,
        tell=tell,
        **decided,
    )


def train_random_features(
    labelled: LabelledImages,
    out_dir: Path,
    *,
    name: str,
    licence: str,
    attribution: str,
    settings: FeatureSettings,
    tell: Callable[[str], None] = _say_nothing,
    aim: str = "f1",
    calibration: CalibrationMethod = "beta",
) -> TrainedFeatures:
    """Train a detector and write its package.

    The scaling of the bands is that of all images, and so are random patches; empirical patches
    and the model of a fold come from the other folds alone.

    Args:
        labelled: Images and labels; none of a held-out split, but for those in `kept`.
        out_dir: Gets `<name>/` (the package) and `out_of_fold.csv`.
        name: Of the model.
        licence: SPDX expression of the weights, following from the data's.
        attribution: Whom to name for the data.
        settings: See there.
        tell: Called with what is being done.
        aim: What the threshold is chosen for, see `choose_threshold_for`.
        calibration: Its form, see `fit_calibration`.

    Raises:
        ConfigError: The stride or the patches do not fit the images, the name cannot be a folder
            everywhere, or the folder holds a model of that name from other data or settings.
        DataError: Held-out images, or labels that cannot be divided into folds.
        WeightsError: The exported model differs from the fitted one.
    """
    naming = Naming(name, licence, attribution)
    table = checked_table(labelled)
    window_px = _window_side(labelled, settings)
    levels = levels_for(labelled.sensor, labelled.bands)
    everything = np.arange(len(table))
    observed = invalid_shares(labelled.images, everything) <= MAX_INVALID_SHARE
    digests = labelled.digests(everything)
    groups = join_alike(table, digests)
    joined = labelled.joined_groups + int(table["group"].nunique() - groups.nunique())
    if joined:
        tell(joined_words(joined))
    labelled = replace(labelled, joined_groups=joined)
    table = table.assign(group=groups)
    fold_of = grouped_folds(table, settings.folds, FOLD_SEED).to_numpy()
    kept = _kept_digests(labelled.kept)
    refuse_taught(kept, digests, labelled.name)
    data_sha256 = _data_digest(labelled, table, digests + kept)
    _refuse_another(out_dir / name, settings, data_sha256)
    labels = table["label"].to_numpy()
    run = _Run(labelled, labels, fold_of, observed, settings, tell, data_sha256, aim)
    fitted, scores = _cross_fit(run)
    out_of_fold = table.assign(fold=fold_of, score=scores)
    judged = _judge(run, scores, fitted, calibration)
    report = evaluate_scores(
        out_of_fold,
        judged.thresholds.t_main,
        judged.calibration,
        model=name,
        data=f"{run.folds_in_words}, each scored by a model that never saw its places",
    )
    examples = fitted.scaling.apply(labelled.images(_some(everything[observed])))
    weights, dense_stride = _export(fitted, window_px, settings.stride_px, examples)
    contract = {
        **asdict(naming),
        "levels": levels,
        "window_px": window_px,
        "dense_stride_px": dense_stride,
        **_description(run, fitted, judged, window_px),
    }
    how = ON_KEPT if judged.on_kept else IN_FOLDS
    card = f"# {name}\n\n{attribution}\n\n{how}\n\n```\n{render_report(report)}\n```\n"
    taught = [digests[k] for k in np.flatnonzero(observed)]
    lessons = gather_lessons(taught, None, kept if judged.on_kept else [])
    package = _write_package(out_dir, contract, lessons, weights, card)
    columns = [column for column in _OUT_OF_FOLD if column in out_of_fold]
    write_out_of_fold(out_of_fold, out_dir, columns)
    return TrainedFeatures(package, out_of_fold, report)


def _write_package(
    out_dir: Path, contract: dict[str, Any], lessons: Lessons, weights: bytes, card: str
) -> ModelPackage:
    extras = {TAUGHT_FILE: lessons.content}
    files = {file: weights_sha256(content) for file, content in extras.items()}
    manifest = Manifest(
        weights=Weights(sha256=weights_sha256(weights)),
        **{**contract, "training": {EXTRAS_KEY: files, **contract["training"]}},
    )
    folder = out_dir / manifest.name
    return write_package(folder, manifest, weights, card, replace=True, bind=True, extras=extras)


def _data_digest(labelled: LabelledImages, table: pd.DataFrame, digests: list[str]) -> str:
    """Of images, labels and places, and of how the images are read."""
    read = (labelled.bands, labelled.sensor, labelled.gsd_m, labelled.limits)
    parts = (repr(read), table[["label", "group"]].to_csv(), *digests)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _kept_digests(kept: LabelledImages | None) -> list[str]:
    if kept is None:
        return []
    index = np.arange(len(kept.table))
    # Read once, as some readers know only then what is in them.
    invalid_shares(kept.images, index)
    return kept.digests(index)


def _refuse_another(folder: Path, settings: FeatureSettings, data_sha256: str) -> None:
    if not folder.exists():
        return
    try:
        there = read_manifest(folder / MANIFEST_FILE).training
    except ModelError:
        there = {}
    made_of = (there.get("data_sha256"), there.get("settings"))
    if made_of != (data_sha256, settings.model_dump(mode="json")):
        raise ConfigError(
            f"{folder}: is there already, and of other data or settings; choose another name or "
            "folder, or remove it",
            href=str(folder),
        )


@dataclass(frozen=True)
class _Fit:
    scaling: BandScaling
    filters: RandomFilters
    model: FittedModel


@dataclass(frozen=True)
class _Judged:
    thresholds: Thresholds
    calibration: Calibration
    on_kept: bool
    """Whether they are of images kept for them, not of the folds."""


@dataclass(frozen=True)
class _Run:
    """What the steps of one training share."""

    labelled: LabelledImages
    labels: IntArray
    fold_of: IntArray
    observed: npt.NDArray[np.bool_]
    """False: too little of the image to fit or to score."""
    settings: FeatureSettings
    tell: Callable[[str], None]
    data_sha256: str
    aim: str

    @property
    def folds_in_words(self) -> str:
        return f"{self.labelled.name}, {self.settings.folds} folds by group"

    def fit(self, index: IntArray, features: Features) -> FittedModel:
        groups = pd.factorize(self.labelled.table["group"].iloc[index])[0]
        return fit_model(
            self.settings.model,
            features,
            self.labels[index],
            groups,
            alphas=self.settings.alphas,
            seed=self.settings.seed,
        )


def _cross_fit(run: _Run) -> tuple[_Fit, FloatArray]:
    """The model of all images, whose decisions a sigmoid makes scores, and out-of-fold scores."""
    images, observed = run.labelled.images, np.flatnonzero(run.observed)
    scaling = fit_scaling(images, observed, run.labelled.limits)
    filters = _draw(run, observed, scaling)
    run.tell(f"{filters.n_features} features of {len(observed)} images")
    features = featurise_all(images, observed, scaling, filters)
    fold_of = run.fold_of[observed]
    decisions = np.full(len(observed), np.nan)
    for fold in range(run.settings.folds):
        run.tell(f"fold {fold + 1} of {run.settings.folds}")
        inside, outside = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        told = features
        if run.settings.patch_kind == "empirical":
            # Patches cut from the fold itself would know its ground.
            own = _draw(run, observed[outside], scaling)
            told = featurise_all(images, observed, scaling, own)
        model = run.fit(observed[outside], told[outside])
        decisions[inside] = model.decide(told[inside])
    run.tell("the model of all images")
    model = run.fit(observed, features)
    if isinstance(model, LinearModel):
        slope, offset = scale_decisions(decisions, run.labels[observed])
        model = model.rescaled(slope, offset)
        decisions = expit(slope * decisions + offset)
    scores = np.full(len(run.labels), np.nan)
    scores[observed] = decisions
    return _Fit(scaling, filters, model), scores


def _draw(run: _Run, index: IntArray, scaling: BandScaling) -> RandomFilters:
    settings = run.settings
    if settings.patch_kind == "random":
        return draw_random_filters(
            settings.patches, len(run.labelled.bands), sides=settings.sides, seed=settings.seed
        )
    return draw_empirical_filters(
        run.labelled.images,
        index,
        scaling,
        settings.patches,
        sides=settings.sides,
        seed=settings.seed,
    )


def _judge(run: _Run, scores: FloatArray, fitted: _Fit, method: CalibrationMethod) -> _Judged:
    table = pd.DataFrame({"label": run.labels, "score": scores})
    decided, on_kept = decide_on_kept(
        _score_kept(run.labelled.kept, fitted),
        ScoredWindows(table, run.folds_in_words),
        aim=run.aim,
        method=method,
    )
    thresholds = Thresholds(t_main=decided.t_main, t_iso=decided.t_iso)
    return _Judged(thresholds, decided.calibration, on_kept)


def _score_kept(kept: LabelledImages | None, fitted: _Fit) -> ScoredWindows:
    if kept is None:
        return ScoredWindows(pd.DataFrame({"label": [], "score": []}), "no chips")
    index = np.arange(len(kept.table))
    seen = np.flatnonzero(invalid_shares(kept.images, index) <= MAX_INVALID_SHARE)
    features = featurise_all(kept.images, seen, fitted.scaling, fitted.filters)
    decisions = fitted.model.decide(features)
    scores = np.full(len(index), np.nan)
    scores[seen] = expit(decisions) if isinstance(fitted.model, LinearModel) else decisions
    return ScoredWindows(kept.table.assign(score=scores), f"{kept.name}, split {CALIBRATION}")


def _export(
    fitted: _Fit, window_px: int, stride_px: int, examples: ImagesNBHW
) -> tuple[bytes, int | None]:
    """The weights, and the stride of their dense pass; None where they take single windows."""
    if isinstance(fitted.model, LinearModel):
        weights = linear_weights(fitted.filters, fitted.model, window_px, stride_px, examples)
        return weights, stride_px
    return forest_weights(fitted.filters, fitted.model, window_px, examples), None


def _window_side(labelled: LabelledImages, settings: FeatureSettings) -> int:
    shape = labelled.images(np.arange(1)).shape
    if len(shape) != 4 or shape[1] != len(labelled.bands) or shape[2] != shape[3]:
        raise ShapeMismatch(
            f"{labelled.name}: square images of {len(labelled.bands)} bands are needed, "
            f"(n, {len(labelled.bands)}, side, side), got {shape}; cut square chips of one side"
        )
    side = int(shape[2])
    if max(settings.sides) > side or settings.stride_px > side:
        raise ConfigError(
            f"{labelled.name}: patches of {max(settings.sides)} px and a stride of "
            f"{settings.stride_px} px do not fit images of {side} px; use smaller ones"
        )
    return side


def _some(observed: IntArray) -> IntArray:
    """A few of the images, evenly from all of them."""
    picked = np.linspace(0, len(observed) - 1, min(_EXAMPLES, len(observed))).astype(np.int64)
    return observed[picked]


def _inputs(scaling: BandScaling, bands: tuple[str, ...]) -> tuple[ScaledInput, ...]:
    limits = scaling.limits or ((-math.inf, math.inf),) * len(bands)
    return tuple(
        ScaledInput(
            band=band.partition("@")[0],
            period=int(band.partition("@")[2] or 0),
            subtract=mean,
            divide=deviation,
            low=(low - mean) / deviation if math.isfinite(low) else None,
            high=(high - mean) / deviation if math.isfinite(high) else None,
            fill=0.0,
        )
        for band, mean, deviation, (low, high) in zip(
            bands, scaling.mean, scaling.deviation, limits, strict=True
        )
    )


_WORDS = {
    "ridge": "ridge regression",
    "logistic": "logistic regression",
    "svm": "a linear support vector machine",
    "forest": "a random forest",
}


def _description(run: _Run, fitted: _Fit, judged: _Judged, window_px: int) -> dict[str, Any]:
    """Fields of the manifest that follow from the training."""
    labelled, settings = run.labelled, run.settings
    side = f"{window_px * labelled.gsd_m:g} m window"
    sides = " and ".join(map(str, settings.sides))
    return {
        "title": f"Random convolutional features, {settings.model}",
        "summary": f"Finds {side}s of {', '.join(labelled.bands)} that hold {labelled.sought}, by "
        f"{2 * settings.patches} random convolutional features and {_WORDS[settings.model]}.",
        "created": dt.datetime.now(dt.UTC).date(),
        "architecture": f"MOSAIKS: {settings.patches} {settings.patch_kind} patches of {sides} px, "
        f"{_WORDS[settings.model]}",
        "framework": "scikit-learn",
        "pretrained": False,
        "inputs": _inputs(fitted.scaling, labelled.bands),
        "gsd_m": labelled.gsd_m,
        "stride_m": settings.stride_px * labelled.gsd_m,
        "max_invalid_share": MAX_INVALID_SHARE,
        "output": f"the {side} holds {labelled.sought}",
        "thresholds": judged.thresholds,
        "calibration": judged.calibration,
        "training": _record(run, fitted),
    }


def _record(run: _Run, fitted: _Fit) -> dict[str, JsonValue]:
    record: dict[str, JsonValue] = {
        "data": run.labelled.name,
        "data_sha256": run.data_sha256,
        "images": int(run.observed.sum()),
        "not_observed": int((~run.observed).sum()),
        "joined_groups": run.labelled.joined_groups,
        "settings": run.settings.model_dump(mode="json"),
        "aim": run.aim,
    }
    if isinstance(fitted.model, LinearModel):
        record["alpha"] = fitted.model.alpha
    return record
