"""What an authority of a fictional country has on file: concessions, reserves, districts, roads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import geopandas as gpd
import numpy as np
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from sluice.base.periods import Period
from sluice.base.places import LayerKind
from sluice.phantom.scene import to_ground
from sluice.phantom.series import PhantomSeries

LAYER_COLUMNS = ["id", "name", "start", "end"]
"""Of each layer, beside `geometry`."""

_FROM_CONFUSERS = {
    LayerKind.RIVERS: ("river", "River"),
    LayerKind.ROADS: ("road", "Road"),
    LayerKind.SETTLEMENTS: ("settlement", "Village"),
}
_CONCESSION_ROLES, _RESERVE_ROLES = ("steady", "opens", "grows"), ("opens", "brief", "pauses")
_AROUND_M = 350.0
_STRIP_M = (700.0, 30.0)
_YEARS = dt.timedelta(days=3 * 365)

_Row = tuple[str, str, dt.date | None, dt.date | None, BaseGeometry]


def draw_territory(
    series: PhantomSeries, roles: Mapping[str, str], quarters: Sequence[Period]
) -> dict[LayerKind, gpd.GeoDataFrame]:
    """Lay borders over a landscape, some of them around mines.

    Two concessions with a mine are valid throughout, one with a mine ends halfway, and one holds
    none; two other mines lie in a protected area, one in an indigenous area. Where mines are few,
    the later ones of these are left out. The airstrip is a strip of grass, and not to be seen.

    Args:
        series: With its mines' histories.
        roles: What becomes of each mine, see `phantom.country.ROLES`.
        quarters: In order.

    Returns:
        By kind, in the grid's CRS, columns of `LAYER_COLUMNS`; all names are invented.
    """
    box = shapely.box(*series.geobox.boundingbox.bbox)
    mines = {
        history.mine_id: to_ground(history.plan.planted.outline, series.geobox)
        for history in series.histories
    }
    permitted = _choose(roles, _CONCESSION_ROLES, 3, taken=())
    reserved = _choose(roles, _RESERVE_ROLES, 3, taken=permitted)
    rows = {
        LayerKind.CONCESSIONS: _concessions([mines[name] for name in permitted], box, quarters),
        LayerKind.PROTECTED: _reserve([mines[name] for name in reserved[:2]], box, "PA"),
        LayerKind.INDIGENOUS: _reserve([mines[name] for name in reserved[2:]], box, "IT"),
        LayerKind.DISTRICTS: _districts(box),
        LayerKind.AIRSTRIPS: _airstrip(series, list(mines.values()), box),
    }
    for kind, (confuser, word) in _FROM_CONFUSERS.items():
        shapes = series.confusers.geometry[series.confusers["kind"] == confuser]
        rows[kind] = [
            (f"{word[0]}{number}", f"Phantom {word.lower()} {number}", None, None, shape)
            for number, shape in enumerate(shapes, 1)
        ]
    return {kind: _frame(found, series) for kind, found in rows.items()}


def _choose(
    roles: Mapping[str, str], wanted: Sequence[str], count: int, *, taken: Sequence[str]
) -> list[str]:
    """Mines, one of each role in turn."""
    free = [name for name in roles if name not in taken]
    turns = sorted(free, key=lambda name: _turn(name, free, roles, wanted))
    return [name for name in turns if roles[name] in wanted][:count]


def _turn(
    name: str, free: Sequence[str], roles: Mapping[str, str], wanted: Sequence[str]
) -> tuple[int, int]:
    """Which of its role a mine is, then which role it has."""
    role = roles[name]
    alike = [other for other in free if roles[other] == role]
    return alike.index(name), wanted.index(role) if role in wanted else len(wanted)


def _concessions(
    mines: Sequence[BaseGeometry], box: BaseGeometry, quarters: Sequence[Period]
) -> list[_Row]:
    first, last = quarters[0].start, quarters[-1].end
    terms = [
        ("Phantom Gold One", first - _YEARS, last + _YEARS),
        ("Phantom Gold Two", first - _YEARS, quarters[len(quarters) // 2 - 1].end),
        ("Phantom Sands", first - _YEARS / 3, last + _YEARS),
    ]
    rows: list[_Row] = [
        (f"C-{number:03d}", name, start, end, _block(mine, box))
        for number, (mine, (name, start, end)) in enumerate(zip(mines, terms, strict=False), 1)
    ]
    left, bottom, right, _top = box.bounds
    side = (right - left) / 6
    corner = shapely.box(right - side, bottom, right, bottom + side)
    clear = corner.difference(shapely.union_all([row[-1] for row in rows] + list(mines)))
    if clear.area > 0:
        rows.append(("C-099", "Phantom Idle Block", first - _YEARS, last + _YEARS, clear))
    return rows


def _block(mine: BaseGeometry, box: BaseGeometry) -> BaseGeometry:
    """A rectangle along the grid, as permits are drawn, with room around the mine."""
    shape: BaseGeometry = shapely.box(*mine.buffer(_AROUND_M).bounds).intersection(box)
    return shape


def _reserve(mines: Sequence[BaseGeometry], box: BaseGeometry, prefix: str) -> list[_Row]:
    names = {"PA": "Phantom Forest Reserve", "IT": "Phantom People's Land"}
    return [
        (
            f"{prefix}-{number}",
            f"{names[prefix]} {number}",
            None,
            None,
            mine.convex_hull.buffer(1.5 * _AROUND_M).intersection(box),
        )
        for number, mine in enumerate(mines, 1)
    ]


def _districts(box: BaseGeometry) -> list[_Row]:
    left, bottom, right, top = box.bounds
    x, y = left + 0.42 * (right - left), bottom + 0.55 * (top - bottom)
    parts = [
        ("West Phantomia", shapely.box(left, bottom, x, top)),
        ("North Phantomia", shapely.box(x, y, right, top)),
        ("South Phantomia", shapely.box(x, bottom, right, y)),
    ]
    return [
        (f"D{number}", name, None, None, shape) for number, (name, shape) in enumerate(parts, 1)
    ]


def _airstrip(
    series: PhantomSeries, mines: Sequence[BaseGeometry], box: BaseGeometry
) -> list[_Row]:
    """A strip on free ground, the one nearest to the middle of the country of some tried."""
    rng = series.rng(300)
    taken = shapely.union_all([*mines, *series.confusers.geometry.to_numpy()])
    shapely.prepare(taken)
    left, bottom, right, top = box.buffer(-_STRIP_M[0]).bounds
    strip = shapely.box(-_STRIP_M[0] / 2, -_STRIP_M[1] / 2, _STRIP_M[0] / 2, _STRIP_M[1] / 2)
    for _ in range(200):
        turned = affinity.rotate(strip, float(rng.uniform(0, 180)), origin=(0, 0))
        x, y = rng.uniform([left, bottom], [right, top])
        placed = affinity.translate(turned, x, y)
        if not shapely.intersects(taken, placed):
            return [("A1", "Phantom Field", None, None, placed)]
    return []


def _frame(rows: Sequence[_Row], series: PhantomSeries) -> gpd.GeoDataFrame:
    columns = {
        name: np.array([row[place] for row in rows], dtype=object)
        for place, name in enumerate(LAYER_COLUMNS)
    }
    shapes = gpd.GeoSeries([row[-1] for row in rows], crs=str(series.geobox.crs))
    return gpd.GeoDataFrame(columns, geometry=shapes)
