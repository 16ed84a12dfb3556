"""What the registered layers say about a place's permission, and why; never a verdict.

Nothing here claims that anything is illegal. A layer may be out of date, incomplete or drawn
wrongly, a permit may not be in it, and a footprint reaches beyond the mine itself.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import BoolHW, FloatArray
from sluice.base.periods import Period
from sluice.base.places import Legality
from sluice.base.said import Said, joined_texts, packed, said_texts
from sluice.sites.context import REACH_M

LEAST_SHARE = 0.5
"""Of a place's area: less of it within an area does not make its class, and is told."""
_ALL = 0.995
"""Whole percents of this are all."""


@dataclass(frozen=True)
class _Inside:
    """Codes of the sentences that a place lies in a kind of area."""

    whole: str
    part: str
    whole_unnamed: str
    part_unnamed: str

    def say(self, share: FloatArray, names: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of each place, by the share of it that lies inside."""
        whole, named = share >= _ALL, np.array([bool(name) for name in names], bool)
        texts = np.empty(len(names), object)
        cases: tuple[tuple[str, BoolHW, dict[str, npt.NDArray[Any]]], ...] = (
            (self.whole, named & whole, {"name": names}),
            (self.part, named & ~whole, {"name": names, "inside_share": share}),
            (self.whole_unnamed, ~named & whole, {}),
            (self.part_unnamed, ~named & ~whole, {"inside_share": share}),
        )
        for code, rows, values in cases:
            told = {name: value[rows] for name, value in values.items()}
            texts[rows] = said_texts(code, int(rows.sum()), **told)
        return texts


_CONCESSION = _Inside(
    "legality_why.concession",
    "legality_why.concession_part",
    "legality_why.concession_unnamed",
    "legality_why.concession_part_unnamed",
)
_AREAS = {
    "protected": _Inside(
        "legality_why.protected",
        "legality_why.protected_part",
        "legality_why.protected_unnamed",
        "legality_why.protected_part_unnamed",
    ),
    "indigenous": _Inside(
        "legality_why.indigenous",
        "legality_why.indigenous_part",
        "legality_why.indigenous_unnamed",
        "legality_why.indigenous_part_unnamed",
    ),
}


def legalities(
    context: pd.DataFrame, period: Period, *, least_share: float = LEAST_SHARE
) -> pd.DataFrame:
    """Class places by where most of their area lies, and say why.

    In this order, `least_share` of the area being what counts:

    1. within concessions valid on some day of the period: `IN_CONCESSION`; within concessions that
       are valid and others that are not together: likewise where the valid ones hold half of that;
    2. within protected or indigenous areas: `PROTECTED`;
    3. within concessions that are not valid in the period: `EXPIRED_CONCESSION`;
    4. elsewhere where a layer of concessions reaches: `OUTSIDE`; else `UNKNOWN`.

    A concession without dates counts as valid, and a sentence says that the layer gives none.

    Args:
        context: From `sluice.sites.context.describe_places`, for the same period.
        period: The period.
        least_share: 0-1.

    Returns:
        `legality` (`Legality`'s values) and `legality_why` (sentences, as
        `sluice.base.said.packed` leaves them), on the index of `context`.
    """
    held, valid = _number(context, "concession_share"), _number(context, "concession_valid_share")
    kept = np.maximum(_number(context, "protected_share"), _number(context, "indigenous_share"))
    most = held >= least_share
    in_valid = (valid >= least_share) | (most & (valid >= held / 2) & (valid > 0))
    known = context["in_concession"].notna().to_numpy()
    classes = np.select(
        [in_valid, kept >= least_share, most, known],
        [
            Legality.IN_CONCESSION.value,
            Legality.PROTECTED.value,
            Legality.EXPIRED_CONCESSION.value,
            Legality.OUTSIDE.value,
        ],
        Legality.UNKNOWN.value,
    ).astype(object)
    return pd.DataFrame(
        {"legality": classes, "legality_why": _reasons(context, period, known, held, valid)},
        index=context.index,
    )


def _reasons(
    context: pd.DataFrame, period: Period, known: BoolHW, held: FloatArray, valid: FloatArray
) -> npt.NDArray[Any]:
    """The sentences of each place, packed."""
    why = said_texts("legality_why.unreached", len(context))
    why[known] = _outside(context["concession_m"].to_numpy(dtype=float)[known])
    within = np.flatnonzero(held > 0)
    if len(within):
        why[within] = _concessions(context.iloc[within], period, held[within], valid[within])
    for stem, codes in _AREAS.items():
        share = _number(context, f"{stem}_share")
        rows = np.flatnonzero(share > 0)
        names = context[f"{stem}_name"].to_numpy(dtype=object)[rows]
        why[rows] = why[rows] + "," + codes.say(share[rows], names)
    return joined_texts(why)


def _outside(metres: FloatArray) -> npt.NDArray[Any]:
    texts = said_texts("legality_why.outside_far", len(metres), reach_m=REACH_M)
    near = np.isfinite(metres)
    texts[near] = said_texts("legality_why.outside_near", int(near.sum()), nearest_m=metres[near])
    return texts


def _concessions(
    context: pd.DataFrame, period: Period, held: FloatArray, valid: FloatArray
) -> npt.NDArray[Any]:
    """Of places that lie in one: which, its dates, and what they mean for the period."""
    names = np.empty(len(context), object)
    named = zip(context["concession_name"], context["concession_id"], strict=True)
    names[:] = [_called(name, number) for name, number in named]
    texts = _CONCESSION.say(held, names)
    dates = zip(context["concession_start"], context["concession_end"], strict=True)
    shares = zip(held.tolist(), valid.tolist(), strict=True)
    terms = [
        packed(_term(start, end, period, *told))[1:-1]
        for (start, end), told in zip(dates, shares, strict=True)
    ]
    return np.asarray(texts + "," + np.array(terms, dtype=object))


def _called(name: str | None, number: str | None) -> str | None:
    """`Obuasi (P0)`."""
    parts = [name or "", f"({number})" if number else ""]
    return " ".join(filter(None, parts)) or None


def _term(
    start: dt.date | None, end: dt.date | None, period: Period, held: float, valid: float
) -> list[Said]:
    said = [_dates(start, end)]
    if end is not None and end < period.start:
        return [*said, Said.of("legality_why.concession_ended", period=period)]
    if start is not None and start > period.end:
        return [*said, Said.of("legality_why.concession_begins_later", period=period)]
    if (start is not None and start > period.start) or (end is not None and end < period.end):
        said.append(Said.of("legality_why.concession_part_of_period", period=period))
    if valid < held - 0.005:
        said.append(Said.of("legality_why.concessions_valid", valid_share=valid))
    return said


def _dates(start: dt.date | None, end: dt.date | None) -> Said:
    if start is not None and end is not None:
        return Said.of("legality_why.concession_valid_between", start_day=start, end_day=end)
    if start is not None:
        return Said.of("legality_why.concession_valid_from", start_day=start)
    if end is not None:
        return Said.of("legality_why.concession_valid_until", end_day=end)
    return Said.of("legality_why.concession_undated")


def _number(context: pd.DataFrame, name: str) -> FloatArray:
    """A column of shares, 0 where nothing is known."""
    return np.asarray(np.nan_to_num(context[name].to_numpy(dtype=float)))
