"""What the registered layers say about a place's permission, and why; never a verdict.

Nothing here claims that anything is illegal. A layer may be out of date, incomplete or drawn
wrongly, a permit may not be in it, and a footprint reaches beyond the mine itself.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import BoolHW, FloatArray
from sluice.base.periods import Period
from sluice.base.places import Legality

LEAST_SHARE = 0.5
"""Of a place's area: less of it within an area does not make its class, and is told."""

_AREAS = {"protected": "the protected area", "indigenous": "the indigenous area"}


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

    A concession without dates counts as valid, and the sentence says that the layer gives none.

    Args:
        context: From `sluice.sites.context.describe_places`, for the same period.
        period: The period.
        least_share: 0-1.

    Returns:
        `legality` (`Legality`'s values) and `legality_why`, on the index of `context`.
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
    """A sentence or two for each place; those alike are written once."""
    far = context["concession_m"].to_numpy(dtype=float)
    why = np.empty(len(context), object)
    why[known] = [_outside(metres) for metres in far[known]]
    why[~known] = "No registered layer of concessions reaches this place."
    within = np.flatnonzero(held > 0)
    if len(within):
        told = context.iloc[within]
        why[within] = [
            _concession(*facts, period=period)
            for facts in zip(
                told["concession_name"],
                told["concession_id"],
                zip(told["concession_start"], told["concession_end"], strict=True),
                zip(held[within], valid[within], strict=True),
                strict=True,
            )
        ]
    for stem, words in _AREAS.items():
        share = _number(context, f"{stem}_share")
        rows = np.flatnonzero(share > 0)
        why[rows] = [
            f"{sentence} {_part(part)} lies in {words} {_name(name)}."
            for sentence, part, name in zip(
                why[rows], share[rows], context[f"{stem}_name"].iloc[rows], strict=True
            )
        ]
    return why


def _outside(metres: float) -> str:
    lies = "It lies in none of the registered concessions"
    if np.isnan(metres):
        return f"{lies}; none is within 50 km."
    return f"{lies}; the nearest is {metres / 1000:,.1f} km away."


def _concession(
    name: str | None,
    number: str | None,
    term: tuple[dt.date | None, dt.date | None],
    shares: tuple[float, float],
    *,
    period: Period,
) -> str:
    (start, end), (held, valid) = term, shares
    told = f" (id {number})" if number else ""
    sentence = f"{_part(held)} lies in the concession {_name(name)}{told}, {_term(start, end)}"
    if end is not None and end < period.start:
        return f"{sentence}: it had ended before the period {_days(period)}."
    if start is not None and start > period.end:
        return f"{sentence}: it begins after the period {_days(period)}."
    if (start is not None and start > period.start) or (end is not None and end < period.end):
        sentence += f": for a part of the period {_days(period)}"
    if valid < held - 0.005:
        sentence += f"; {_part(valid).lower()} lies in concessions valid in the period"
    return f"{sentence}."


def _term(start: dt.date | None, end: dt.date | None) -> str:
    if start is None and end is None:
        return "for which the layer gives no dates"
    if end is None:
        return f"valid from {start}"
    return f"valid until {end}" if start is None else f"valid {start} to {end}"


def _part(share: float) -> str:
    if share >= 0.995:
        return "All of it"
    return f"{100 * share:.0f} % of it" if share >= 0.01 else "Less than 1 % of it"


def _name(name: str | None) -> str:
    return "without a name" if name is None else name


def _days(period: Period) -> str:
    return f"{period.start} to {period.end}"


def _number(context: pd.DataFrame, name: str) -> FloatArray:
    """A column of shares, 0 where nothing is known."""
    return np.asarray(np.nan_to_num(context[name].to_numpy(dtype=float)))
