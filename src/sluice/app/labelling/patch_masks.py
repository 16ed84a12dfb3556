"""From chips labelled as wholes to a data set with masks, for models that judge pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.app.config import models_folder
from sluice.base.errors import AssetReadError, ConfigError, DataError, NoValidData
from sluice.labels.dataset import UNLABELLED, ChipDataset, DatasetWriter, read_dataset
from sluice.labels.patch_masks import mask_from_cues, spread_fields
from sluice.labels.splits import check_trainable
from sluice.models.local_scores import LocalScorer
from sluice.models.package import load_package

_AT_ONCE = 256
_SEED = 0
_FACTS = ("source", "group", "lon", "lat", "start", "end", "clear_threshold")


def make_patch_masks(
    folder: Path,
    out: Path,
    *,
    model: str = "default",
    split: str | None = None,
    leave_out: Path | None = None,
    negatives: float | None = None,
) -> ChipDataset:
    """Mask the mines of chips that are labelled as wholes; the others hold none anywhere.

    A chip with a mine of which the cues tell nothing is left out.

    Args:
        folder: A data set or a folder of chip sheets, with red and green.
        out: Of the new data set; must not exist, or be empty.
        model: A detector of local features, which tells where in a chip a mine is.
        split: Only the chips of this split.
        leave_out: CSV with the column `chip_id`: these chips are left out, and all others that
            share their groups, so that they can judge what is learnt.
        negatives: Chips without a mine for each with one, drawn with a fixed seed; None takes
            all. A model that outlines what was found to be a mine needs few of them.

    Raises:
        DataError: Chips that are held out, or none of one kind.
        ManifestMismatch: The model does not tell where it sees something.
        SluiceError: The folder cannot be read.
    """
    dataset = read_dataset(folder)
    table = dataset.table
    chosen = table if split is None else table[table["split"] == split]
    check_trainable(chosen)
    if leave_out is not None:
        chosen = chosen[~chosen["group"].isin(_groups_of(table, leave_out))]
    if chosen["label"].nunique() < 2:
        raise DataError(f"{folder}: masks need chips with mines and without; got one kind only")
    if negatives is not None:
        if not 0 < negatives < math.inf:
            raise ConfigError(
                f"--negatives {negatives:g}: give how many chips without a mine there shall be "
                "for each with one, above 0"
            )
        chosen = _with_fewer_negatives(chosen, negatives)
    scorer = LocalScorer(load_package(model, models_folder()))
    about = dataset.about.model_copy(update={"name": out.name, "classes": ("other", "mine")})
    writer = DatasetWriter(out, about)
    rows = chosen.index.to_numpy()
    for start in range(0, len(rows), _AT_ONCE):
        index = rows[start : start + _AT_ONCE]
        images = dataset.images(index)
        fields = scorer.score_fields(images, about.bands)
        red, green = (about.bands.index(band) for band in ("red", "green"))
        for image, scores, (_, row) in zip(
            images, fields.scores_nhw, table.loc[index].iterrows(), strict=True
        ):
            if row["label"]:
                spread = spread_fields(scores, fields.first_px, fields.step_px, image.shape[-1])
                mask = mask_from_cues(image[red], image[green], spread)
                if not (mask == 1).any():
                    # There is a mine, and nothing tells where: it would pass for none.
                    continue
            else:
                absent = ~np.isfinite(image).all(axis=0)
                mask = np.where(absent, UNLABELLED, 0).astype(np.uint8)
            writer.add(row["chip_id"], image, None, mask, **{name: row[name] for name in _FACTS})
    return writer.finish()


def _with_fewer_negatives(chosen: pd.DataFrame, negatives: float) -> pd.DataFrame:
    has_mine = chosen["label"] == 1
    wanted = round(negatives * int(has_mine.sum()))
    others = chosen[~has_mine]
    drawn = others.sample(min(wanted, len(others)), random_state=_SEED)
    return chosen[has_mine | chosen.index.isin(drawn.index)]


def _groups_of(table: pd.DataFrame, path: Path) -> set[object]:
    try:
        names = pd.read_csv(path, dtype=str)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as err:
        raise AssetReadError(f"{path}: not a CSV table ({err})", href=str(path)) from err
    if "chip_id" not in names:
        raise DataError(f"{path}: column chip_id is missing; add it", href=str(path))
    named = table["chip_id"].isin(set(names["chip_id"]))
    if not named.any():
        raise NoValidData(f"{path}: names no chip of these labels; check the ids", href=str(path))
    return set(table.loc[named, "group"])
