"""A store in memory, and a site that was followed over eight quarters, for tests of reports."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from shapely.affinity import scale as stretched
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError
from sluice.base.periods import Period
from sluice.base.places import (
    Alert,
    LandedRun,
    Legality,
    Level,
    Look,
    Review,
    Site,
    SitePeriod,
    Status,
    Verdict,
    columns_of,
)
from sluice.base.said import SAID_COLUMNS, Said, packed
from sluice.base.store import SiteQuery
from sluice.phantom.series import build_series

AREA = "tapajos"
SITE = "s-6s0c2x9r4"
QUARTERS = tuple(
    (dt.date(year, month, 1), dt.date(year, month + 2, last))
    for year in (2022, 2023)
    for month, last in ((1, 31), (4, 30), (7, 30), (10, 31))
)
# Quarter by quarter: observed share, area in hectares where detected, status.
COURSE: tuple[tuple[float, float | None, Status | None], ...] = (
    (0.97, None, None),
    (0.88, None, None),
    (0.95, 1.2, Status.NEW),
    (0.91, 2.6, Status.GROWING),
    (0.12, None, Status.NOT_OBSERVED),
    (0.99, 4.9, Status.GROWING),
    (0.96, 5.2, Status.STEADY),
    (0.93, 7.1, Status.GROWING),
)
LANDED = dt.datetime(2024, 1, 15, 9, 30, tzinfo=dt.UTC)
CONTEXT: dict[str, Any] = {
    "district": "Itaituba",
    "in_protected": True,
    "protected_share": 0.62,
    "protected_name": "Floresta Nacional do Crepori",
    "in_indigenous": False,
    "indigenous_share": 0.0,
    "indigenous_m": 8_400.0,
    "in_concession": False,
    "concession_share": 0.0,
    "concession_m": 2_140.0,
    "river_m": 85.0,
    "river_name": "Rio Crepori",
    "settlement_m": 14_300.0,
    "settlement_name": "Creporizão",
    "airstrip_m": 640.0,
    "slope_deg": 3.2,
}


class FakeStore:
    """What reports ask of a store, from tables in memory."""

    def __init__(
        self,
        sites: gpd.GeoDataFrame,
        *,
        looks: pd.DataFrame | None = None,
        periods: pd.DataFrame | None = None,
        alerts: pd.DataFrame | None = None,
        reviews: Sequence[Review] = (),
        runs: Sequence[LandedRun] = (),
        area: BaseGeometry | None = None,
    ) -> None:
        self._sites = sites
        self._looks = empty(Look) if looks is None else looks
        self._periods = empty(SitePeriod) if periods is None else periods
        self._alerts = empty(Alert) if alerts is None else alerts
        self._reviews, self._runs = list(reviews), list(runs)
        shape = area or box(*sites.total_bounds)
        created = dt.datetime(2022, 1, 1, tzinfo=dt.UTC)
        self._areas = gpd.GeoDataFrame(
            {"name": [AREA], "created": [created]}, geometry=[shape], crs="EPSG:4326"
        )

    def areas(self) -> gpd.GeoDataFrame:
        return self._areas

    def sites(self, query: SiteQuery) -> gpd.GeoDataFrame:
        sites = self._sites
        if query.site_ids is not None:
            sites = sites[sites["site_id"].isin(query.site_ids)]
        if not query.with_past:
            sites = sites[sites["current"]]
        if query.verdict is not None:
            named = [str(one) for one in query.verdict if one is not None]
            unsaid = sites["verdict"].isna() & (None in query.verdict)
            sites = sites[sites["verdict"].isin(named) | unsaid]
        return sites

    def count_sites(self, query: SiteQuery) -> int:
        return len(self.sites(query))

    def looks(self, site_ids: Sequence[str]) -> pd.DataFrame:
        return self._looks[self._looks["site_id"].isin(site_ids)]

    def periods(self, site_ids: Sequence[str]) -> pd.DataFrame:
        return self._periods[self._periods["site_id"].isin(site_ids)]

    def alerts(self, query: SiteQuery) -> pd.DataFrame:
        return self._alerts[self._alerts["site_id"].isin(query.site_ids or ())]

    def reviews(self, site_ids: Sequence[str] | None = None) -> list[Review]:
        return [one for one in self._reviews if site_ids is None or one.site_id in site_ids]

    def runs(self, area: str | None = None, *, with_past: bool = False) -> list[LandedRun]:
        return [run.model_copy(update={"record": {}}) for run in self._runs]

    def run(self, run_id: str) -> LandedRun:
        for run in self._runs:
            if run.run_id == run_id:
                return run
        raise ConfigError(f"{run_id}: no such run")


def empty(record: Any) -> pd.DataFrame:
    return pd.DataFrame(columns=columns_of(record))


def table(records: Sequence[Any]) -> pd.DataFrame:
    kind = type(records[0])
    return pd.DataFrame(
        [
            {name: _stored(name, getattr(record, name)) for name in columns_of(kind)}
            for record in records
        ]
    )


def _stored(name: str, value: Any) -> Any:
    """As a store's tables have it."""
    if name == "reasons":
        return [one.plain() for one in value]
    return packed(value) if name in SAID_COLUMNS else value


def site_record(**changes: Any) -> Site:
    """The site as its last quarter leaves it."""
    values: dict[str, Any] = {
        "site_id": SITE,
        "area": AREA,
        "lon": -56.873412,
        "lat": -6.512345,
        "first_seen": QUARTERS[2][0],
        "known_before": True,
        "last_seen": QUARTERS[-1][1],
        "last_observed": QUARTERS[-1][1],
        "status": Status.GROWING,
        "status_rule": Said.of(
            "status_rule.grew",
            from_ha=5.2,
            to_ha=7.1,
            since_period=Period(*QUARTERS[-2]),
            least_share=0.2,
            least_ha=0.5,
            noise_share=0.29,
        ),
        "posterior": 0.983,
        "level": Level.HIGHEST,
        "area_ha": 7.1,
        "area_low_ha": 5.7,
        "area_high_ha": 8.9,
        "cumulative_ha": 10.9,
        "legality": Legality.PROTECTED,
        "legality_why": Said.of(
            "legality_why.protected_part",
            name="Floresta Nacional do Crepori",
            inside_share=0.62,
        ),
        "context": CONTEXT,
        "priority": 87.4,
        "priority_parts": {"probability": 39.3, "growth": 18.1, "protected": 20.0, "river": 10.0},
    }
    return Site(**(values | changes))


def period_records(site_id: str = SITE) -> pd.DataFrame:
    records = []
    for (start, end), (share, area, status) in zip(QUARTERS, COURSE, strict=True):
        if status is None:
            continue
        records.append(
            SitePeriod(
                site_id=site_id,
                start=start,
                end=end,
                observed=share > 0.5,
                detected=area is not None,
                status=status,
                status_rule="As recorded.",
                posterior=0.62 if status is Status.NEW else 0.97,
                level=Level.LOW if status is Status.NEW else Level.HIGHEST,
                sensors="s2-l2a",
                area_ha=area,
                area_low_ha=None if area is None else area * 0.8,
                area_high_ha=None if area is None else area * 1.25,
            )
        )
    return table(records)


def look_records(runs: Sequence[LandedRun], site_id: str = SITE) -> pd.DataFrame:
    records = []
    for run in runs:
        share, area, _ = COURSE[[start for start, _ in QUARTERS].index(run.start)]
        radar = run.sensor == "s1"
        forest = 21.0 - (area or 0.0)
        records.append(
            Look(
                site_id=site_id,
                run_id=run.run_id,
                sensor=run.sensor,
                start=run.start,
                end=run.end,
                observed_share=1.0 if radar else share,
                detected=area is not None,
                log_lr=0.9 if radar else 2.6 if area else -1.4 if share > 0.5 else None,
                footprint_ha=None if area is None else area * 1.4,
                area_ha=area,
                area_low_ha=None if area is None else area * 0.8,
                area_high_ha=None if area is None else area * 1.25,
                forest_ha=None if radar or share < 0.5 else forest,
                farmland_ha=None if radar or share < 0.5 else 0.0,
                water_ha=None if radar or share < 0.5 else (area or 0.0) * 0.2,
                bare_ha=None if radar or share < 0.5 else (area or 0.0) * 0.8,
            )
        )
    return table(records)


def write_folder(
    folder: Path, bands: np.ndarray, names: Sequence[str], grid: Any, run: str
) -> None:
    """A run's folder with an image, a result, and the item that tells their hashes."""
    folder.mkdir(parents=True)
    counts = np.where(np.isnan(bands), 0, np.round(bands * 10_000)).astype(np.uint16)
    with rasterio.open(
        folder / "composite.tif",
        "w",
        driver="GTiff",
        height=grid.shape.y,
        width=grid.shape.x,
        count=len(names),
        dtype="uint16",
        nodata=0,
        crs=str(grid.crs),
        transform=grid.affine,
    ) as target:
        target.write(counts)
        target.descriptions = tuple(names)
        target.scales = (1e-4,) * len(names)
    (folder / "score.tif").write_bytes(f"scores of {run}".encode())
    (folder / "run.json").write_text(json.dumps({"run_id": run}))
    assets = {
        name: {"href": f"./{name}", "file:checksum": f"1220{digest(folder / name)}"}
        for name in ("composite.tif", "score.tif")
    }
    (folder / "item.json").write_text(json.dumps({"assets": assets}))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_record(k: int, sensor: str = "s2-l2a", folder: Path | None = None) -> LandedRun:
    start, end = QUARTERS[k]
    run_id = f"{end:%Y%m%d}T120000Z-{hashlib.sha256(f'{k}{sensor}'.encode()).hexdigest()[:8]}"
    day = start + dt.timedelta(days=17)
    mark = "S1A_IW_GRDH" if sensor == "s1" else "S2B_MSIL2A"
    scene = {
        "id": f"{mark}_{day:%Y%m%d}T134211_N0510_R124_T21MVN_{day:%Y%m%d}T181523",
        "href": f"s3://sentinel-s2-l2a/tiles/21/M/VN/{day:%Y/%m/%d}/0",
        "sensor": sensor,
        "acquired": day.isoformat(),
        "sha256": None,
    }
    other = scene | {
        "id": scene["id"].replace("S2B", "S2A"),
        "acquired": (day + dt.timedelta(days=25)).isoformat(),
        "files": {"B04.tif": hashlib.sha256(f"file {k}".encode()).hexdigest()},
    }
    return LandedRun(
        run_id=run_id,
        area=AREA,
        start=start,
        end=end,
        sensor=sensor,
        model="radar-drop" if sensor == "s1" else "default",
        model_sha256=hashlib.sha256(sensor.encode()).hexdigest(),
        prior=0.01,
        landed=LANDED + dt.timedelta(hours=k),
        folder=str(folder) if folder else None,
        record={"run_id": run_id, "sluice_version": "0.1.0", "scenes": [scene, other]},
    )


def followed_site(folder: Path) -> FakeStore:
    """One site with all there can be: images of each quarter, radar, an alert, reviews."""
    days = [start + dt.timedelta(days=40) for start, _ in QUARTERS]
    clouds = [0.0, 0.04, 0.1, 0.1, 0.95, 0.05, 0.1, 0.03]
    series = build_series(16, 300, days, mine_count=4, largest_ha=40.0, cloud_shares=clouds)
    last = series.mines_at(days[-1]).to_crs("EPSG:4326")
    # The one that begins between the second image and the third.
    outline = last.geometry[last["started"].between("2022-05-12", "2022-08-09")].iloc[0]
    names = ("blue", "green", "red", "nir")
    runs = []
    for k, _ in enumerate(days):
        scene = series.scene_at(k, names)
        bands = np.where(scene.true_clear_hw, scene.raster.data_bhw, np.nan)
        run = run_record(k, folder=folder / f"q{k}")
        write_folder(folder / f"q{k}", bands, names, series.geobox, run.run_id)
        runs.append(run)
    runs += [run_record(5, "s1"), run_record(7, "s1")]
    middle = outline.representative_point()
    site = site_record(lon=middle.x, lat=middle.y)
    sites = site_table([site], [stretched(outline, 1.02, 1.02)], ["confirmed"])
    alert = Alert(
        alert_id="a-1",
        site_id=SITE,
        area=AREA,
        kind="new",
        start=QUARTERS[2][0],
        end=QUARTERS[2][1],
        raised=QUARTERS[2][1],
        updated=QUARTERS[5][1],
        level=Level.HIGHEST,
        state="confirmed",
        posterior=0.98,
        growth_ha=None,
        reasons=[Said.of("alert_reason.highest", high_probability=0.975)],
        lon=site.lon,
        lat=site.lat,
        priority=87.4,
        priority_parts=site.priority_parts,
    )
    reviews = [
        review("unsure", "A. Souza", 2, "Sandbar? Wait for the dry season."),
        review("confirmed", "M. Ferreira", 9, "Seen from the air on 20 January; two excavators."),
    ]
    return FakeStore(
        sites,
        looks=look_records(runs),
        periods=period_records(),
        alerts=table([alert]),
        reviews=reviews,
        runs=runs,
    )


def moved(store: FakeStore, folder: Path) -> FakeStore:
    """The same store, whose runs have a copy of their folders elsewhere."""
    runs = []
    for run in store._runs:
        if run.folder is None:
            runs.append(run)
            continue
        copied = shutil.copytree(run.folder, folder / Path(run.folder).name)
        runs.append(run.model_copy(update={"folder": str(copied)}))
    other = copy.copy(store)
    other._runs = runs
    return other


def review(verdict: str, who: str, day: int, note: str = "", **changes: Any) -> Review:
    values = {
        "review_id": f"r-{day}",
        "site_id": SITE,
        "verdict": Verdict(verdict),
        "reason": None,
        "who": who,
        "when": dt.datetime(2024, 2, day, 15, tzinfo=dt.UTC),
        "note": note,
    }
    return Review(**(values | changes))


def site_table(
    sites: Sequence[Site],
    shapes: Sequence[BaseGeometry],
    verdicts: Sequence[str | None] | None = None,
) -> gpd.GeoDataFrame:
    frame = table(sites)
    frame["verdict"] = pd.Series(verdicts or [None] * len(frame), dtype=object)
    frame["reviewers"] = 0
    return gpd.GeoDataFrame(frame, geometry=list(shapes), crs="EPSG:4326")


def many_sites(count: int = 200) -> FakeStore:
    """Sites of all kinds over a square degree, by priority."""
    rng = np.random.default_rng(4)
    statuses, levels = list(Status), [None, *Level]
    sites, shapes, verdicts, periods = [], [], [], []
    for k in range(count):
        lon, lat = -57 + rng.random(), -7 + rng.random()
        area = float(rng.lognormal(1.2, 1.0))
        name = f"s-6s{k:07d}"
        status = statuses[k % len(statuses)]
        sites.append(
            site_record(
                site_id=name,
                lon=lon,
                lat=lat,
                status=status,
                level=levels[k % 4],
                area_ha=None if k % 17 == 0 else area,
                area_low_ha=None,
                area_high_ha=None,
                legality=list(Legality)[k % 5],
                priority=100 - k * 100 / count,
                context={},
            )
        )
        shapes.append(box(lon - 0.002, lat - 0.002, lon + 0.002, lat + 0.002))
        verdicts.append([None, "confirmed", "rejected", None, None][k % 5])
        one = period_records(name)
        periods.append(one.assign(area_ha=one["area_ha"] * area / 10))
    runs = [run_record(k) for k in range(8)]
    return FakeStore(
        site_table(sites, shapes, verdicts),
        periods=pd.concat(periods, ignore_index=True),
        runs=runs,
        area=box(-57.05, -7.05, -55.95, -5.95),
    )
