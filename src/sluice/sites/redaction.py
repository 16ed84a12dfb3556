"""Sensitive places are shown as a cell of a fixed grid, and late: the one way that every exit uses.

What is made public of a sensitive place is its cell, and what does not help to find it within.

- The cell follows from the place alone. Random jitter would average out over many publications,
  a fixed cell stays what it is.
- It is the cell of the place where the site was first found, which its id holds for ever. The
  centre of a site moves as the site grows: a place that went from one cell to the next would
  tell that it lies on their common edge.
- Only columns of a short list leave, coarsened. Distances, names, legality, priority, exact
  areas and days would find the place again, on a map, in another list, or in the pattern of clouds.
- A site's id is its geohash: its place to five metres. What leaves is a keyed digest; without
  the key a digest of the few geohashes in a cell would be looked up in a second.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray, ObjectArray
from sluice.base.errors import ConfigError, DataError, GridMismatch
from sluice.base.places import Status, Verdict
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.fixed_grid import LARGEST_M, SMALLEST_M, cells_of

NAMED_CELLS = 100
"""The area that is followed is named beside redacted places if it is as large as so many cells …"""
_NAMED_SHARE = 0.5
"""… and at least so much of each cell that is shown lies within: who knows the area, and looks for
the place where both are, has half a cell left to look through."""
REDACTED, CELL_M = "redacted", "cell_m"
"""Columns that are added: whether a row is redacted, and the least side of its cell in metres."""

_SITE = ("site_id", "lon", "lat", "first_seen", "known_before", "last_seen", "status", "level",
         "area_ha", "verdict", "reviewers")  # fmt: skip
_ALERT = ("alert_id", "site_id", "kind", "start", "end", "raised", "updated", "level", "state",
          "growth_ha", "lon", "lat", "verdict")  # fmt: skip
_PERIOD = ("site_id", "start", "end", "status", "level", "area_ha")
_FIRST_DAYS = ("first_seen", "start")
_LAST_DAYS = ("last_seen", "end", "raised", "updated")
_HECTARES = ("area_ha", "growth_ha")

_GEOHASH = "0123456789bcdefghjkmnpqrstuvwxyz"
_GEOHASHED = r"^s-([0-9b-hjkmnp-z]{8,12})(?![0-9a-z])"
# An id of other origin may look like a geohash; then it is that of a place far away.
_ID_FAR_M = 200_000.0
_KEY_BYTES, _LONGEST_KEY_BYTES = 16, 64
_WGS84 = pyproj.Geod(ellps="WGS84")

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sensitive:
    """Sites that meet any of these are sensitive."""

    status: tuple[Status, ...] = ()
    verdict: tuple[Verdict | None, ...] = ()
    """None: not reviewed yet."""
    within: BaseGeometry | None = None
    """In EPSG:4326; sites whose outline meets it."""


@dataclass(frozen=True)
class Redaction:
    """What is hidden of which places."""

    grid_m: float
    """Least side of a cell. Publish with one size only: overlapping cells of two are narrower."""
    delay_months: int = 0
    delay_days: int = 0
    """Added to the months: what is younger is held back."""
    which: Sensitive | None = None
    """None: all sites are sensitive."""
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Secret behind the ids. With the same key a site has the same id in each export; without
    one, nobody can tell."""

    def __post_init__(self) -> None:
        if not SMALLEST_M <= self.grid_m <= LARGEST_M:
            raise ConfigError(
                f"a grid of {self.grid_m:g} m is not possible; give {SMALLEST_M:.0f} m to "
                f"{LARGEST_M / 1000:.0f} km, such as 5km"
            )
        if self.delay_months < 0 or self.delay_days < 0:
            raise ConfigError("a delay counts back from today; give no negative one")
        if not _KEY_BYTES <= len(self.key) <= _LONGEST_KEY_BYTES:
            raise ConfigError(
                f"a key of {len(self.key)} bytes cannot be used; give {_KEY_BYTES} to "
                f"{_LONGEST_KEY_BYTES} that nobody can guess"
            )

    @property
    def delayed(self) -> bool:
        """Whether anything is held back."""
        return bool(self.delay_months or self.delay_days)

    def newest(self, today: dt.date) -> dt.date:
        """The last day of which anything is told."""
        delay = pd.DateOffset(months=self.delay_months, days=self.delay_days)
        try:
            return (pd.Timestamp(today) - delay).date()
        except (OverflowError, ValueError) as err:
            raise ConfigError(
                f"a delay of {self.delay_months:,} months and {self.delay_days:,} days reaches "
                "beyond the calendar; give a shorter one"
            ) from err


def redact(
    sites: gpd.GeoDataFrame,
    rule: Redaction,
    today: dt.date,
    *,
    periods: pd.DataFrame | None = None,
) -> gpd.GeoDataFrame:
    """Sites as they may be shown; see the module for what is hidden and why.

    Args:
        sites: Columns of `Site`, with `verdict` and `reviewers` where known, and outlines in
            EPSG:4326.
        rule: What is hidden.
        today: The day from which the delay counts.
        periods: The sites' periods; needed with a delay, since the table of sites tells only
            today's state. Sensitive sites are told as of the last period that ended before it.

    Returns:
        Rows that are not sensitive as they were, in their order; then the others, in an order
        that tells nothing, with the cell as outline. Columns that are not told are left out
        where all sites are sensitive, else empty in their rows. `redacted` and `cell_m` are
        added.

    Raises:
        GridMismatch: Not in EPSG:4326.
        DataError: A column is missing, or the periods.
    """
    _check(sites)
    hidden = _sensitive(sites, rule)
    open_rows, rows = sites[~hidden], sites[hidden]
    if rule.delayed:
        rows = _as_of(rows, rule.newest(today), periods)
    lon, lat = _anchors(rows)
    told = _told(pd.DataFrame(rows), _SITE, rule)
    cells = cells_of(lon, lat, rule.grid_m)
    told["lon"], told["lat"], told[sites.geometry.name] = cells.lon, cells.lat, cells.polygons()
    together = _together(open_rows, told, list(sites.columns), rule, ("site_id",))
    return gpd.GeoDataFrame(together, geometry=sites.geometry.name, crs="EPSG:4326")


def may_name_area(area: BaseGeometry, shown: gpd.GeoDataFrame, rule: Redaction) -> bool:
    """Whether the name of an area tells no more of redacted places than their cells do.

    Args:
        area: In EPSG:4326.
        shown: From `redact`.
        rule: That it was redacted by.
    """
    cells = shown.geometry.to_numpy()[shown[REDACTED].to_numpy(dtype=bool)]
    least_ha = NAMED_CELLS * rule.grid_m**2 / 10_000
    # Also where nothing is shown as yet: with the first site the name would go, and tell of it.
    if geodesic_areas_ha([area], "EPSG:4326")[0] < least_ha:
        return False
    if not len(cells):
        return True
    # Of a cell, shares of degrees are shares of its ground.
    shares = shapely.area(shapely.intersection(cells, area)) / shapely.area(cells)
    return bool((shares >= _NAMED_SHARE).all())


def redact_alerts(
    alerts: pd.DataFrame, rule: Redaction, today: dt.date, *, sites: gpd.GeoDataFrame
) -> pd.DataFrame:
    """Alerts as they may be shown: their site's cell, and none that was raised too lately.

    Level and state that a younger look gave are left empty.

    Args:
        alerts: Columns of `Alert`, and `verdict` where known.
        rule: As for `redact`, with the same key.
        today: The day from which the delay counts.
        sites: As they were before `redact`. An alert of a site that is not among them is taken
            for sensitive.

    Returns:
        As `redact`; `lon` and `lat` are the centre of the cell.

    Raises:
        GridMismatch: The sites are not in EPSG:4326.
        DataError: A column is missing.
    """
    _check(sites)
    alerts = pd.DataFrame(alerts).drop(columns="geometry", errors="ignore")
    _need(alerts, ("alert_id", "site_id", "raised", "updated", "lon", "lat"), "alerts")
    hidden = ~alerts["site_id"].isin(set(sites["site_id"][~_sensitive(sites, rule)])).to_numpy()
    rows = alerts[hidden]
    if rule.delayed:
        newest = rule.newest(today)
        rows = rows[_until(rows["raised"], newest)].copy()
        younger = ~_until(rows["updated"], newest)
        for name in ("level", "state", "growth_ha", "updated"):
            if name in rows:
                rows[name] = _blank_where(rows[name], younger)
    # The site's own place: an alert of growth may lie in the next cell.
    place = sites.drop_duplicates("site_id").set_index("site_id")[["lon", "lat"]]
    own = place.reindex(rows["site_id"])
    at = rows[["site_id"]].copy()
    for name in ("lon", "lat"):
        known = own[name].to_numpy(dtype=float)
        at[name] = np.where(np.isnan(known), rows[name].to_numpy(dtype=float), known)
    cells = cells_of(*_anchors(at), rule.grid_m)
    told = _told(rows, _ALERT, rule)
    told["lon"], told["lat"] = cells.lon, cells.lat
    return _together(alerts[~hidden], told, list(alerts.columns), rule, ("alert_id",))


def redact_periods(
    periods: pd.DataFrame, rule: Redaction, today: dt.date, *, sites: gpd.GeoDataFrame
) -> pd.DataFrame:
    """Periods as they may be shown: from the first detection on, up to the delay.

    When a place was hidden is not told of sensitive sites, since the clouds of many periods, in
    public images, would find it: status and area of such a period are those of the one before.

    Args:
        periods: Columns of `SitePeriod`.
        rule: As for `redact`, with the same key.
        today: The day from which the delay counts.
        sites: As they were before `redact`; see `redact_alerts`.

    Returns:
        As `redact`, without a place.

    Raises:
        GridMismatch: The sites are not in EPSG:4326.
        DataError: A column is missing.
    """
    _check(sites)
    _need(periods, ("site_id", "start", "end", "observed", "detected", "status"), "periods")
    hidden = ~periods["site_id"].isin(set(sites["site_id"][~_sensitive(sites, rule)])).to_numpy()
    rows = periods[hidden].sort_values(["site_id", "end", "start"], kind="stable")
    if rule.delayed:
        rows = rows[_until(rows["end"], rule.newest(today))]
    seen = rows["detected"].astype(bool)
    rows = rows[seen.groupby(rows["site_id"]).cummax().to_numpy()].copy()
    unseen = ~(rows["observed"].to_numpy(dtype=bool) | rows["detected"].to_numpy(dtype=bool))
    for name in ("status", "level", "area_ha"):
        if name in rows:
            values = _blank_where(rows[name], unseen)
            # The last observed row's value, absent ones too: its position, carried on.
            position = pd.Series(np.where(unseen, np.nan, np.arange(len(rows))), index=rows.index)
            position = position.groupby(rows["site_id"]).ffill()
            rows[name] = values.to_numpy()[position.to_numpy(dtype=int)]
    told = _told(rows, _PERIOD, rule)
    order = ("site_id", "end", "start")
    return _together(periods[~hidden], told, list(periods.columns), rule, order)


def redact_reports(reports: gpd.GeoDataFrame, rule: Redaction, today: dt.date) -> gpd.GeoDataFrame:
    """Mines that people reported as they may be shown: their cell, and the month of the report.

    All of them are sensitive, whichever sites are: that somebody was there is told by nothing else.

    Args:
        reports: `label_id`, `when` (moments) and the outlines, in EPSG:4326.
        rule: What is hidden.
        today: The day from which the delay counts.

    Returns:
        `label_id`, `when` (the first day of the month), `redacted`, `cell_m` and the cells, by id.
    """
    days = pd.to_datetime(reports["when"], utc=True).dt.date
    rows = reports[_until(days, rule.newest(today))] if rule.delayed else reports
    points = shapely.point_on_surface(rows.geometry.to_numpy())
    cells = cells_of(shapely.get_x(points), shapely.get_y(points), rule.grid_m)
    kind = f"label_id:{float(rule.grid_m)}"
    told = {
        "label_id": [_digest(str(one), kind, rule.key) for one in rows["label_id"]],
        "when": _month(days[rows.index], last=False).to_numpy(),
        REDACTED: True,
        CELL_M: float(rule.grid_m),
    }
    table = gpd.GeoDataFrame(told, geometry=list(cells.polygons()), crs="EPSG:4326")
    return table.sort_values("label_id", ignore_index=True)


def _check(sites: gpd.GeoDataFrame) -> None:
    if sites.crs is None or not sites.crs.equals("EPSG:4326"):
        raise GridMismatch(f"sites must be in EPSG:4326, got {sites.crs}; reproject them first")
    _need(sites, ("site_id", "lon", "lat"), "sites")


def _need(table: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(
            f"the {what} lack the columns {', '.join(missing)}, and cannot be redacted "
            "without; give the table as the store does"
        )


def _sensitive(sites: gpd.GeoDataFrame, rule: Redaction) -> Bools:
    if rule.which is None:
        return np.ones(len(sites), dtype=bool)
    found: Bools = np.zeros(len(sites), dtype=bool)
    if rule.which.status:
        _need(sites, ("status",), "sites")
        found |= sites["status"].isin([str(one) for one in rule.which.status]).to_numpy()
    if rule.which.verdict:
        _need(sites, ("verdict",), "sites")
        said = [str(one) for one in rule.which.verdict if one is not None]
        found |= sites["verdict"].isin(said).to_numpy()
        if None in rule.which.verdict:
            found |= sites["verdict"].isna().to_numpy()
    if rule.which.within is not None:
        shapely.prepare(rule.which.within)
        found |= shapely.intersects(rule.which.within, sites.geometry.to_numpy())
        # A site without an outline still has a place.
        points = shapely.points(sites["lon"].to_numpy(float), sites["lat"].to_numpy(float))
        found |= shapely.intersects(rule.which.within, points)
    return found


def _as_of(
    sites: gpd.GeoDataFrame, newest: dt.date, periods: pd.DataFrame | None
) -> gpd.GeoDataFrame:
    """Sites first detected by a day, with what was known on it."""
    if periods is None:
        raise DataError("a delay needs the sites' periods, to tell what was known then; give them")
    _need(periods, ("site_id", "start", "end", "observed", "detected", "status"), "periods")
    known = periods[_until(periods["end"], newest)].sort_values(["end", "start"], kind="stable")
    found = known[known["detected"].astype(bool)].groupby("site_id")
    # By position: the first or last value that is not absent would be another one's.
    looks = known[known["observed"].astype(bool)].groupby("site_id")
    last_found, last_look = (by.tail(1).set_index("site_id") for by in (found, looks))
    rows = sites[sites["site_id"].isin(last_found.index)].copy()
    first = found["start"].min().reindex(rows["site_id"])
    rows["first_seen"] = first.to_numpy()
    for source, pairs in (
        (last_found, {"last_seen": "end", "area_ha": "area_ha"}),
        (last_look, {"status": "status", "level": "level"}),
    ):
        for name, column in pairs.items():
            values = source[column] if column in source else pd.Series(dtype=object)
            rows[name] = values.reindex(rows["site_id"]).to_numpy()
    return rows


def _anchors(rows: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Where sites were first found: the place in their id, else `lon` and `lat`."""
    lon, lat = rows["lon"].to_numpy(dtype=float), rows["lat"].to_numpy(dtype=float)
    codes = rows["site_id"].astype(str).str.extract(_GEOHASHED, expand=False)
    readable = codes.notna().to_numpy()
    if not readable.any():
        return lon, lat
    at_lon, at_lat = _geohash_centres(codes[readable].to_numpy(dtype=object))
    away = _WGS84.inv(lon[readable], lat[readable], at_lon, at_lat)[2]
    own = readable.copy()
    own[readable] = np.asarray(away) < _ID_FAR_M
    near = own[readable]
    lon, lat = lon.copy(), lat.copy()
    lon[own], lat[own] = at_lon[near], at_lat[near]
    return lon, lat


def _geohash_centres(codes: ObjectArray) -> tuple[FloatArray, FloatArray]:
    """Centres of geohashes of any length: `sluice.sites.vectorise.geohash` the other way."""
    lon, lat = np.full(len(codes), -180.0), np.full(len(codes), -90.0)
    width, height = np.full(len(codes), 360.0), np.full(len(codes), 180.0)
    lengths = np.array([len(code) for code in codes])
    padded = "".join(code.ljust(12, "0") for code in codes).encode("ascii")
    letters = np.frombuffer(padded, dtype=np.uint8).reshape(len(codes), 12)
    values = np.zeros(128, dtype=np.int64)
    values[np.frombuffer(_GEOHASH.encode("ascii"), dtype=np.uint8)] = np.arange(len(_GEOHASH))
    for place in range(12):
        value = values[letters[:, place]]
        within = place < lengths
        for bit in range(5):
            up = (value >> (4 - bit)) & 1
            if (place * 5 + bit) % 2 == 0:
                width = np.where(within, width / 2, width)
                lon = np.where(within, lon + up * width, lon)
            else:
                height = np.where(within, height / 2, height)
                lat = np.where(within, lat + up * height, lat)
    return lon + width / 2, lat + height / 2


def _told(rows: pd.DataFrame, columns: tuple[str, ...], rule: Redaction) -> pd.DataFrame:
    """The columns that leave, coarsened; ids under the key."""
    told = rows[[name for name in columns if name in rows]].copy()
    for name in ("site_id", "alert_id"):
        if name in told:
            # With the size in it, cells of two sizes cannot be laid over each other by id.
            kind = f"{name}:{float(rule.grid_m)}"
            told[name] = [_digest(str(value), kind, rule.key) for value in told[name]]
    for name in _FIRST_DAYS:
        if name in told:
            told[name] = _month(told[name], last=False)
    for name in _LAST_DAYS:
        if name in told:
            told[name] = _month(told[name], last=True)
    for name in _HECTARES:
        if name in told:
            told[name] = coarse_hectares(told[name].to_numpy(dtype=float))
    return told


def _digest(text: str, kind: str, key: bytes) -> str:
    """A keyed BLAKE2 digest (RFC 7693) of 64 bits."""
    content = f"{kind}:{text}".encode("utf-8", "surrogatepass")
    return f"r-{hashlib.blake2b(content, digest_size=8, key=key).hexdigest()}"


def coarse_hectares(hectares: FloatArray) -> FloatArray:
    """The nearest of 1, 2, 5, 10, 20, 50 and so on, by ratio; NaN stays."""
    values = np.asarray(hectares, dtype=np.float64)
    some = values > 0
    exponent = np.floor(np.log10(np.where(some, values, 1.0)))
    mantissa = np.where(some, values, 1.0) / 10.0**exponent
    # Half-way by ratio between neighbours of the ladder.
    steps = np.array([1.0, 2.0, 5.0, 10.0])
    nearest = steps[np.searchsorted(np.sqrt(steps[:-1] * steps[1:]), mantissa, side="right")]
    return np.where(some, np.round(nearest * 10.0**exponent, 9), values)


def _month(days: pd.Series, *, last: bool) -> pd.Series:
    """The first or last day of each day's month."""
    stamps = pd.to_datetime(days).dt.to_period("M")
    ends = stamps.dt.end_time if last else stamps.dt.start_time
    return ends.dt.date.astype(object).where(ends.notna(), None)


def _until(days: pd.Series, newest: dt.date) -> Bools:
    """Whether days are known and not after one."""
    return np.asarray(pd.to_datetime(days) <= pd.Timestamp(newest))


def _blank_where(values: pd.Series, blank: Bools) -> pd.Series:
    return values.astype(values.dtype if values.dtype.kind == "f" else object).mask(blank, None)


def _together(
    open_rows: pd.DataFrame,
    told: pd.DataFrame,
    columns: list[str],
    rule: Redaction,
    order: tuple[str, ...],
) -> pd.DataFrame:
    """Open rows as they were, then the others sorted by their new ids."""
    told = told.sort_values(list(order), kind="stable")
    if rule.which is None:
        kept = [name for name in columns if name in told.columns]
        together = pd.DataFrame(told)[kept].assign(**{REDACTED: True, CELL_M: float(rule.grid_m)})
        return together.reset_index(drop=True)
    both = {}
    for name in columns:
        hidden = told[name] if name in told else pd.Series([None] * len(told), dtype=object)
        values = [*open_rows[name], *hidden]
        numeric = pd.api.types.is_float_dtype(open_rows[name])
        both[name] = pd.Series(values, dtype=open_rows[name].dtype if numeric else object)
    frame = pd.DataFrame(both)
    frame[REDACTED] = np.repeat([False, True], [len(open_rows), len(told)])
    frame[CELL_M] = np.where(frame[REDACTED], float(rule.grid_m), np.nan)
    return frame
