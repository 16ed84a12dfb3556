"""Which site to visit first: points from 0 to 100, with each part visible."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluice.base.arrays import FloatArray

PARTS = ("probability", "growth", "protected", "river", "settlement")


class PriorityRule(BaseModel):
    """Points of each part, and what earns them. A choice, not a measurement: set your own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probability: float = Field(default=40, ge=0)
    """Points of a certain mine; others by their posterior."""
    growth: float = Field(default=20, ge=0)
    """Points of endless growth; half of them at `growth_half_ha`."""
    protected: float = Field(default=20, ge=0)
    """Points within a protected or indigenous area."""
    river: float = Field(default=10, ge=0)
    """Points in a river, falling to none at `river_far_m`."""
    settlement: float = Field(default=10, ge=0)
    """Points in a settlement, falling to none at `settlement_far_m`."""
    growth_half_ha: float = Field(default=5, gt=0)
    river_far_m: float = Field(default=1000, gt=0)
    settlement_far_m: float = Field(default=5000, gt=0)

    @model_validator(mode="after")
    def _hundred(self) -> PriorityRule:
        total = sum(getattr(self, part) for part in PARTS)
        if abs(total - 100) > 1e-9:
            raise ValueError(f"the points of the parts add up to {total:g}; make them 100")
        return self


def priorities(sites: pd.DataFrame, rule: PriorityRule | None = None) -> pd.DataFrame:
    """Points of many sites.

    Args:
        sites: `posterior`; and, where they are known, `growth_ha` (hectares added within the last
            year, see `sluice.sites.growth`), `in_protected`, `in_indigenous` (bool), `river_m`,
            `settlement_m` (metres). A column that is missing, or NaN, is not known and earns
            nothing.
        rule: The points.

    Returns:
        Index of `sites`; `priority`, and `priority_parts`, a dict each of `PARTS`, in tenths of
        points, which add up to it.
    """
    rule = rule or PriorityRule()
    growth = np.maximum(_numbers(sites, "growth_ha"), 0)
    protected = _flags(sites, "in_protected") | _flags(sites, "in_indigenous")
    parts = {
        "probability": rule.probability * _numbers(sites, "posterior").clip(0, 1),
        "growth": rule.growth * growth / (growth + rule.growth_half_ha),
        "protected": rule.protected * protected,
        "river": rule.river * _nearness(_numbers(sites, "river_m"), rule.river_far_m),
        "settlement": rule.settlement
        * _nearness(_numbers(sites, "settlement_m"), rule.settlement_far_m),
    }
    points = np.stack([parts[name] for name in PARTS], axis=1)
    tenths = np.rint(10 * np.where(np.isfinite(points), points, 0)).astype(np.int64)
    listed = [dict(zip(PARTS, row, strict=True)) for row in (tenths / 10).tolist()]
    return pd.DataFrame(
        {"priority": tenths.sum(axis=1) / 10, "priority_parts": listed}, index=sites.index
    )


def _nearness(metres: FloatArray, far: float) -> FloatArray:
    """1 at the place itself, 0 from `far` on, NaN where it is not known."""
    return np.asarray(np.clip(1 - metres / far, 0, 1))


def _numbers(sites: pd.DataFrame, column: str) -> FloatArray:
    if column not in sites.columns:
        return np.full(len(sites), np.nan)
    return sites[column].to_numpy(np.float64, na_value=np.nan)


def _flags(sites: pd.DataFrame, column: str) -> npt.NDArray[np.bool_]:
    """True where it is known to be so."""
    if column not in sites.columns:
        return np.zeros(len(sites), np.bool_)
    return np.asarray(sites[column].eq(True), np.bool_)  # noqa: FBT003
