"""Stores to test with, of both kinds, and rows to put into them."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import shutil
from pathlib import Path
from typing import Any, Protocol

import geopandas as gpd
import pandas as pd
import psycopg
import shapely
from psycopg import sql

from sluice.app.following.stores import open_store
from sluice.base.places import (
    Alert,
    AlertKind,
    AlertState,
    Area,
    LandedRun,
    Legality,
    Level,
    Review,
    Site,
    Status,
    Verdict,
)
from sluice.base.records import Detection
from sluice.base.said import packed, read_said
from sluice.store.schema import metadata
from sluice.store.sql_store import SqlStore

NOW = dt.datetime(2024, 7, 1, 12, 30, 15, 123456, tzinfo=dt.UTC)
AREA_SHAPE = shapely.box(-3, 4, 1, 8)


class StorePlaces(Protocol):
    """Where stores are made."""

    kind: str

    def empty(self) -> str:
        """Address of a place without a store."""
        ...

    def made(self) -> str:
        """Address of a store that holds nothing; its schema is not to be touched."""
        ...


class SqlitePlaces:
    """Files in a folder; copies of one, as making each anew takes a second."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()
        self._pattern: Path | None = None

    def empty(self) -> str:
        return str(self.folder / f"store-{next(self._numbers)}.sqlite")

    def made(self) -> str:
        if self._pattern is None:
            self._pattern = Path(self.empty())
            open_store(str(self._pattern), create=True).close()
        return str(shutil.copy(self._pattern, self.empty()))

    def take_back(self) -> None:
        """All that was given may be used again."""


class PostgisPlaces:
    """Databases of a server: those that were made are emptied and used again."""

    kind = "postgis"

    def __init__(self, address: str) -> None:
        self._address = address
        self._numbers = itertools.count()
        self._given: list[str] = []
        self._free: list[str] = []

    def address_of(self, database: str) -> str:
        return self._address.replace("/postgres?", f"/{database}?")

    def empty(self) -> str:
        name = f"store_{next(self._numbers)}"
        pattern = sql.SQL("CREATE DATABASE {} TEMPLATE postgres").format(sql.Identifier(name))
        run_sql(self.address_of("template1"), pattern)
        return self.address_of(name)

    def made(self) -> str:
        if self._free:
            address = self._free.pop()
            tables = ", ".join(f"sluice.{table}" for table in metadata.tables)
            run_sql(
                address,
                f"SET session_replication_role = replica; TRUNCATE {tables} RESTART IDENTITY",
            )
        else:
            address = self.empty()
            open_store(address, create=True).close()
        self._given.append(address)
        return address

    def take_back(self) -> None:
        """All that was given may be used again."""
        self._free += self._given
        self._given = []


def run_sql(address: str, statement: Any) -> None:
    """Run a statement past the store."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement)


def open_with_area(address: str, *areas: str, **options: Any) -> SqlStore:
    """A store with areas, `ashanti` unless others are named."""
    store = open_store(address, create=True, **options)
    for name in areas or ("ashanti",):
        store.add_area(Area(name=name, created=NOW), AREA_SHAPE)
    return store


def a_run(run_id: str = "run-1", **changes: Any) -> LandedRun:
    """A run of the first quarter of 2024."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "area": "ashanti",
        "start": dt.date(2024, 1, 1),
        "end": dt.date(2024, 3, 31),
        "sensor": "sentinel-2",
        "model": "toy",
        "model_sha256": None,
        "prior": 0.001,
        "landed": NOW,
        "folder": None,
    }
    return LandedRun(**values | changes)


def detections(run_id: str, ids: list[str], **changes: Any) -> gpd.GeoDataFrame:
    """Detections in a row from west to east, each at a site of its number."""
    rows = [
        Detection(
            detection_id=name,
            lon=n / 10,
            lat=5.0,
            score_mean=0.5,
            score_peak=0.75,
            probability_mean=None,
            probability_peak=None,
            footprint_ha=3.0,
            delineated_ha=None,
            isolated=False,
            cells=3,
        ).model_dump()
        | {"run_id": run_id, "site_id": f"s-{n}"}
        | changes
        for n, name in enumerate(ids)
    ]
    shapes = [shapely.box(n / 10, 5, n / 10 + 0.05, 5.05) for n in range(len(ids))]
    return gpd.GeoDataFrame(rows, geometry=shapes, crs="EPSG:4326")


def a_site(site_id: str = "s-0", **changes: Any) -> dict[str, Any]:
    """A site's columns, without its shape."""
    values: dict[str, Any] = {
        "site_id": site_id,
        "area": "ashanti",
        "lon": 0.0,
        "lat": 5.0,
        "first_seen": dt.date(2024, 1, 1),
        "known_before": False,
        "last_seen": dt.date(2024, 3, 31),
        "last_observed": dt.date(2024, 3, 31),
        "status": Status.NEW,
        "status_rule": "first seen",
        "posterior": 0.5,
        "level": None,
        "area_ha": 3.0,
        "area_low_ha": None,
        "area_high_ha": None,
        "cumulative_ha": 3.0,
        "legality": Legality.UNKNOWN,
        "legality_why": "no layer of concessions",
        "context": {"river_m": 120.5},
        "priority": 10.0,
        "priority_parts": {"probability": 10.0},
    }
    row = Site(**values | changes).model_dump()
    # As tables have them.
    return row | {name: packed(read_said(row[name])) for name in ("status_rule", "legality_why")}


def sites(count: int = 3, **changes: Any) -> gpd.GeoDataFrame:
    """Sites `s-0`, `s-1`, … in a row from west to east, the first of the highest priority."""
    rows = [a_site(f"s-{n}", **{"priority": 50.0 - n} | changes) for n in range(count)]
    shapes = [shapely.box(n / 10, 5, n / 10 + 0.05, 5.05) for n in range(count)]
    return gpd.GeoDataFrame(rows, geometry=shapes, crs="EPSG:4326")


def a_review(review_id: str, site_id: str = "s-0", **changes: Any) -> Review:
    """A person's verdict."""
    values: dict[str, Any] = {
        "review_id": review_id,
        "site_id": site_id,
        "verdict": Verdict.CONFIRMED,
        "reason": None,
        "who": "Ama",
        "when": NOW,
    }
    return Review(**values | changes)


def land_three(store: SqlStore, run_id: str = "run-1", **changes: Any) -> None:
    """Land a run that found three sites."""
    with store.landing("ashanti") as landing:
        landing.put_run(a_run(run_id, **changes), b"map of " + run_id.encode())
        landing.put_sites(sites())
        landing.put_detections(detections(run_id, ["d0", "d1", "d2"]))


def count_landings(address: str, area: str, times: int) -> None:
    """Land several times, each time one more than what is read: for processes of their own."""
    with open_store(address) as store:
        for _ in range(times):
            with store.landing(area) as landing:
                known = landing.sites()
                told = [{"landings": c["landings"] + 1} for c in known["context"]]
                landing.put_sites(known.assign(context=told))


def make_store(address: str) -> None:
    """Open a store, made where it is not there: for processes of their own."""
    open_with_area(address).close()


def an_alert(site_id: str = "s-0", **changes: Any) -> pd.DataFrame:
    """A new mine that is likely, as a table of one row."""
    values: dict[str, Any] = {
        "alert_id": f"a-{site_id}",
        "site_id": site_id,
        "area": "ashanti",
        "kind": AlertKind.NEW,
        "start": dt.date(2024, 1, 1),
        "end": dt.date(2024, 3, 31),
        "raised": dt.date(2024, 3, 31),
        "updated": dt.date(2024, 3, 31),
        "level": Level.HIGH,
        "state": AlertState.OPEN,
        "posterior": 0.9,
        "growth_ha": None,
        "reasons": [{"code": "alert_reason.found", "values": {}}],
        "lon": 0.0,
        "lat": 5.0,
        "priority": 10.0,
        "priority_parts": {"probability": 10.0},
    }
    return pd.DataFrame([Alert(**values | changes).model_dump()])


def plain(values: pd.Series) -> list[Any]:
    """Values with None for every kind of absence."""
    return [None if isinstance(v, float) and math.isnan(v) else v for v in values.tolist()]


def ids(frame: pd.DataFrame, column: str = "site_id") -> list[str]:
    """Of the rows, in their order."""
    return frame[column].tolist()
