"""What a report of a site, or of an area, is made from.

Nothing here is words: the same evidence gives a report in each language, and the facts that stand
beside it for machines.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import pandas as pd
from shapely.geometry.base import BaseGeometry

from sluice.app.reports.place_pictures import PlacePicture
from sluice.base.places import LandedRun, Review, Site
from sluice.base.records import Scene
from sluice.base.said import SAID_COLUMNS, read_said


@dataclass(frozen=True)
class EvidenceFile:
    """A file that the findings rest on, or that holds them."""

    name: str
    """Path within its scene or run folder."""
    of: str
    """Id of the scene, or of the run."""
    output: bool
    """Whether a run wrote it; else a run read it."""
    sha256: str | None
    """As the run recorded it; None where it was read from an address, and no hash is known."""
    found: str | None
    """SHA-256 of what lies there now; None where it was not looked at, or is gone."""

    @property
    def altered(self) -> bool:
        """Whether what lies there now is not what the run recorded."""
        return None not in (self.sha256, self.found) and self.sha256 != self.found


@dataclass(frozen=True)
class RunUsed:
    """A run that findings rest on."""

    run: LandedRun
    """With its whole record."""
    files: tuple[EvidenceFile, ...] = ()

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The images that it used, by date and id."""
        named = self.run.record.get("scenes", ())
        scenes = [Scene.model_validate(scene) for scene in named]
        return tuple(sorted(scenes, key=lambda scene: (scene.acquired or dt.date.min, scene.id)))

    @property
    def version(self) -> str | None:
        """Of the software that ran."""
        version = self.run.record.get("sluice_version")
        return str(version) if version else None


@dataclass(frozen=True)
class Withheld:
    """What a report says of places that are not to be found."""

    grid_m: float
    """Least side of the cells to which places are snapped."""
    told: tuple[str, ...]
    """Fields of a site that may be told; the others hold nothing."""


@dataclass(frozen=True)
class SiteEvidence:
    """All that is known of one site."""

    site: Site
    outline: BaseGeometry | None
    """In EPSG:4326: all ground on which anything was ever detected; None where withheld."""
    periods: pd.DataFrame
    """Columns of `SitePeriod`, oldest first."""
    looks: pd.DataFrame
    """Columns of `Look`, oldest first."""
    alerts: pd.DataFrame
    """Columns of `Alert`."""
    reviews: tuple[Review, ...]
    """Oldest first."""
    runs: tuple[RunUsed, ...]
    """Those that looked at the site, oldest period first."""
    verdict: str | None
    """Of the last review."""
    as_of: dt.datetime
    """When the newest of all this came to be known: the date of the report, so that the same
    evidence gives the same report."""
    software: str
    """Version that makes the report."""
    before: PlacePicture | None = None
    after: PlacePicture | None = None
    """On the same grid as `before`."""
    withheld: Withheld | None = None

    @property
    def name(self) -> str:
        """What the report is about."""
        return self.site.site_id

    def facts(self) -> dict[str, Any]:
        """Everything as JSON would have it."""
        told = None if self.withheld is None else set(self.withheld.told)
        return {
            "kind": "site",
            "as_of": self.as_of.isoformat(),
            "software": self.software,
            "withheld_to_m": self.withheld.grid_m if self.withheld else None,
            "site": self.site.model_dump(mode="json", include=told),
            "verdict": self.verdict,
            "outline_wkt": self.outline.wkt if self.outline is not None else None,
            "periods": _rows(self.periods),
            "looks": _rows(self.looks),
            "alerts": _rows(self.alerts),
            "reviews": [review.model_dump(mode="json") for review in self.reviews],
            "pictures": {
                name: picture.facts()
                for name, picture in (("before", self.before), ("after", self.after))
                if picture is not None
            },
            "runs": _run_facts(self.runs, whole=self.withheld is None),
        }


@dataclass(frozen=True)
class AreaEvidence:
    """The sites of an area, and what became of them together."""

    area: str
    geometry: BaseGeometry | None
    """In EPSG:4326; None where withheld."""
    sites: gpd.GeoDataFrame
    """As `Store.sites` gives them, by priority; without those that somebody rejected."""
    by_period: pd.DataFrame
    """From `sum_periods`."""
    runs: tuple[RunUsed, ...]
    as_of: dt.datetime
    software: str
    rejected: int = 0
    """Sites that are left out."""
    withheld: Withheld | None = None

    @property
    def name(self) -> str:
        """What the report is about; `area` where its name is withheld."""
        return self.area or "area"

    def facts(self) -> dict[str, Any]:
        """Everything as JSON would have it."""
        return {
            "kind": "area",
            "as_of": self.as_of.isoformat(),
            "software": self.software,
            "withheld_to_m": self.withheld.grid_m if self.withheld else None,
            "area": self.area or None,
            "rejected_sites": None if self.withheld else self.rejected,
            "sites": _rows(pd.DataFrame(self.sites.drop(columns="geometry", errors="ignore"))),
            "by_period": _rows(self.by_period),
            "runs": _run_facts(self.runs, whole=self.withheld is None),
        }

    def count(self, column: str, *values: str) -> int:
        """How many sites have one of these values."""
        return int(self.sites[column].isin(values).sum()) if column in self.sites else 0


def sum_periods(periods: pd.DataFrame) -> pd.DataFrame:
    """What was detected in each period at all sites together.

    Args:
        periods: Columns of `SitePeriod`, of many sites.

    Returns:
        Oldest first: start, end, sites (known then), observed, detected, area_ha (sum where
        detected; NaN where no site was observed, as nothing is known then).
    """
    names = ["start", "end", "sites", "observed", "detected", "area_ha"]
    if not len(periods):
        return pd.DataFrame(columns=names)
    areas = pd.to_numeric(periods["area_ha"]).where(periods["detected"].astype(bool), 0.0)
    table = periods.assign(area_ha=areas.fillna(0.0))
    summed = (
        table.groupby(["start", "end"], sort=True)
        .agg(
            sites=("site_id", "nunique"),
            observed=("observed", "sum"),
            detected=("detected", "sum"),
            area_ha=("area_ha", "sum"),
        )
        .reset_index()
    )
    summed["area_ha"] = summed["area_ha"].where(summed["observed"] > 0)
    return summed[names]


def _run_facts(runs: Sequence[RunUsed], *, whole: bool) -> list[dict[str, Any]]:
    left_out = set() if whole else {"record", "folder"}
    return [
        {
            **used.run.model_dump(mode="json", exclude=left_out),
            "files": [
                {
                    "of": file.of,
                    "name": file.name,
                    "output": file.output,
                    "sha256": file.sha256,
                    "found_sha256": file.found,
                }
                for file in used.files
            ],
        }
        for used in runs
    ]


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(name): [one.plain() for one in read_said(value)]
            if name in SAID_COLUMNS
            else plain(value)
            for name, value in row.items()
        }
        for row in table.to_dict(orient="records")
    ]


def plain(value: Any) -> Any:
    """A value of a table as JSON has it: NaN and NaT are null, dates are text."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, dt.date) and not pd.isna(value):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int | bool) or value is None:
        return value
    return None if not isinstance(value, str) and pd.isna(value) else str(value)
