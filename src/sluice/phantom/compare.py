"""Detections against the truth that was planted: pure geometry in a metric CRS."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox
from rasterio import features
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import BoolHW
from sluice.base.errors import GridMismatch, ShapeMismatch
from sluice.base.records import Record
from sluice.phantom.scene import LAND_KINDS

MIN_FOUND_SHARE = 0.1
"""Least share of a mine's observed area that detections must cover for it to be found."""
MIN_OBSERVED_SHARE = 0.5
"""Least share of a mine that must have been observed for it to count as found or missed."""
BACKGROUND = "background"
"""Where a false alarm lies when it lies on nothing planted."""


class FalseAlarms(Record):
    """False alarms on one kind of ground."""

    kind: str
    """A confuser's kind, or `background`."""
    count: int
    area_ha: float


class TruthComparison(Record):
    """What a scan found of what was planted."""

    found: tuple[str, ...]
    """`mine_id` of mines of which detections cover at least `MIN_FOUND_SHARE`."""
    missed: tuple[str, ...]
    """Observed well enough, and not found."""
    not_observed: tuple[str, ...]
    """Less than `MIN_OBSERVED_SHARE` seen, mostly for cloud: neither found nor missed."""
    observed_mine_ha: float
    """Area of the mines' outlines that was observed."""
    detected_mine_ha: float
    """Part of it that detections cover."""
    detected_ha: float
    """Area of all detections, counted once where they overlap."""
    detections: int
    true_detections: int
    """Detections that touch a mine."""
    false_alarms: tuple[FalseAlarms, ...]
    """The others, by what they lie on, most first."""

    def to_text(self) -> str:
        """A few plain lines for a person."""
        judged = len(self.found) + len(self.missed)
        lines = [f"{len(self.found)} of {judged} observed mines found"]
        if self.missed:
            lines[0] += f" (missed: {', '.join(self.missed)})"
        if self.not_observed:
            names = ", ".join(self.not_observed)
            lines.append(f"{len(self.not_observed)} not observed, under cloud or shadow: {names}")
        lines.append(
            f"{self.detected_mine_ha:.1f} of {self.observed_mine_ha:.1f} ha of mines lie in "
            f"detections, which cover {self.detected_ha:.1f} ha"
        )
        alarms = self.detections - self.true_detections
        kinds = ", ".join(f"{alarm.kind} {alarm.count}" for alarm in self.false_alarms)
        lines.append(f"{alarms} of {self.detections} detections are false alarms")
        if kinds:
            lines[-1] += f": {kinds}"
        return "\n".join(lines)


def compare_with_truth(
    detections: gpd.GeoDataFrame,
    mines: gpd.GeoDataFrame,
    confusers: gpd.GeoDataFrame,
    observed: gpd.GeoSeries,
) -> TruthComparison:
    """Say which planted mines were found, and what the false alarms lie on.

    A false alarm is a detection that touches no mine. It is put down to the confuser that it
    overlaps most: first among objects, then among land cover, else to the background.

    Args:
        detections: Polygons; brought into the mines' CRS. May be empty.
        mines: With a column `mine_id`, in a projected CRS in metres.
        confusers: With a column `kind`.
        observed: Polygons of what the scan saw, see `observed_area`.

    Raises:
        GridMismatch: The mines' CRS is not in metres, or a layer has no CRS.
    """
    crs = _metric_crs(mines)
    found_ground = _union(detections.geometry, crs)
    seen = _union(observed, crs)
    verdicts: dict[str, list[str]] = {"found": [], "missed": [], "not_observed": []}
    observed_ha = detected_ha = 0.0
    for mine_id, outline in zip(mines["mine_id"], mines.geometry, strict=True):
        visible = outline.intersection(seen)
        covered = visible.intersection(found_ground).area
        observed_ha += visible.area / 10_000
        detected_ha += covered / 10_000
        if visible.area < MIN_OBSERVED_SHARE * outline.area:
            verdict = "not_observed"
        else:
            verdict = "found" if covered >= MIN_FOUND_SHARE * visible.area else "missed"
        verdicts[verdict].append(str(mine_id))
    polygons = _to(detections.geometry, crs)
    touches = shapely.intersects(polygons.to_numpy(), shapely.union_all(mines.geometry.to_numpy()))
    return TruthComparison(
        found=tuple(verdicts["found"]),
        missed=tuple(verdicts["missed"]),
        not_observed=tuple(verdicts["not_observed"]),
        observed_mine_ha=observed_ha,
        detected_mine_ha=detected_ha,
        detected_ha=found_ground.area / 10_000,
        detections=len(polygons),
        true_detections=int(touches.sum()),
        false_alarms=_sort_alarms(polygons[~touches], confusers, crs),
    )


def observed_area(valid: BoolHW, geobox: GeoBox) -> gpd.GeoSeries:
    """Outline what was observed, for `compare_with_truth`.

    Args:
        valid: (H, W), True where the scan has a score.
        geobox: Its grid.

    Returns:
        Polygons in the grid's CRS.

    Raises:
        ShapeMismatch: Array and grid differ.
    """
    if valid.shape != geobox.shape.yx:
        raise ShapeMismatch(f"a mask of {geobox.shape.yx} was announced, got {valid.shape}")
    found = features.shapes(valid.astype(np.uint8), mask=valid, transform=geobox.affine)
    return gpd.GeoSeries([shapely.geometry.shape(s) for s, _ in found], crs=str(geobox.crs))


def _sort_alarms(
    alarms: gpd.GeoSeries, confusers: gpd.GeoDataFrame, crs: pyproj.CRS
) -> tuple[FalseAlarms, ...]:
    ground = {
        str(kind): shapely.union_all(_to(part.geometry, crs).to_numpy())
        for kind, part in confusers.groupby("kind")
    }
    count: dict[str, int] = {}
    area: dict[str, float] = {}
    for alarm in alarms:
        kind = ground_under(alarm, ground)
        count[kind] = count.get(kind, 0) + 1
        area[kind] = area.get(kind, 0.0) + alarm.area / 10_000
    order = sorted(count, key=lambda kind: (-count[kind], kind))
    return tuple(FalseAlarms(kind=k, count=count[k], area_ha=area[k]) for k in order)


def ground_under(alarm: BaseGeometry, ground: dict[str, BaseGeometry]) -> str:
    """The kind of ground that most of a shape lies on.

    Args:
        alarm: The shape.
        ground: Shape of each kind, in the same CRS in metres.

    Returns:
        A kind: first among objects, then among land cover, else `BACKGROUND`.
    """
    for land in (False, True):
        overlap = {
            kind: alarm.intersection(shape).area
            for kind, shape in ground.items()
            if (kind in LAND_KINDS) == land
        }
        best = max(overlap, key=lambda kind: (overlap[kind], kind), default=None)
        if best is not None and overlap[best] > 0:
            return best
    return BACKGROUND


def _metric_crs(frame: gpd.GeoDataFrame) -> pyproj.CRS:
    crs: pyproj.CRS | None = frame.crs
    if crs is None or not crs.is_projected or crs.axis_info[0].unit_name != "metre":
        name = "none" if crs is None else crs.name
        raise GridMismatch(
            f"areas need a projected CRS in metres, the planted mines have {name}; "
            "bring them into a UTM zone"
        )
    return crs


def _to(shapes: gpd.GeoSeries, crs: pyproj.CRS) -> gpd.GeoSeries:
    if shapes.crs is None:
        raise GridMismatch("a layer has no CRS; set the one that it was made in")
    return shapes.to_crs(crs)


def _union(shapes: gpd.GeoSeries, crs: pyproj.CRS) -> BaseGeometry:
    return shapely.union_all(_to(shapes, crs).to_numpy())
