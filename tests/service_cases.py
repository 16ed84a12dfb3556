"""Services over small stores, in this process or on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from sluice.app.following.stores import open_store
from sluice.app.web.connections import protocol_of
from sluice.app.web.running import listen
from sluice.app.web.server import create_app
from sluice.app.web.settings import Settings
from sluice.base.places import (
    Alert,
    AlertKind,
    AlertState,
    Area,
    Layer,
    LayerKind,
    Level,
    Look,
    SitePeriod,
    Status,
)
from sluice.base.said import Said
from sluice.store.sql_store import SqlStore
from stores import NOW, a_run, a_site, detections

QUARTERS = (
    (dt.date(2024, 1, 1), dt.date(2024, 3, 31)),
    (dt.date(2024, 4, 1), dt.date(2024, 6, 30)),
)
STATUSES = (Status.NEW, Status.GROWING, Status.STEADY, Status.INACTIVE, Status.RECOVERING)


def some_sites(count: int = 12) -> gpd.GeoDataFrame:
    """Sites `s-0`, `s-1`, … in a row from west to east, the first of the highest priority."""
    rows = [
        a_site(
            f"s-{n}",
            lon=n / 10 + 0.025,
            lat=5.025,
            priority=50.0 - n,
            posterior=0.9 - n / 100,
            status=STATUSES[n % 5],
            level=[Level.HIGH, None, Level.LOW][n % 3],
            area_ha=3.0 + n if n != 3 else float("nan"),
            first_seen=QUARTERS[n % 2][0],
            last_seen=QUARTERS[1][1],
            context={
                "district": f"District {n % 3}",
                "in_protected": n % 4 == 0,
                "protected_name": "=Reserve" if n % 4 == 0 else None,
                "river_m": 100.0 * n,
            },
        )
        for n in range(count)
    ]
    shapes = [shapely.box(n / 10, 5, n / 10 + 0.05, 5.05) for n in range(count)]
    return gpd.GeoDataFrame(rows, geometry=shapes, crs="EPSG:4326")


def fill(store: SqlStore, count: int = 12, folder: Path | None = None) -> None:
    """Land two quarters in area `ashanti`, add an empty area and two layers."""
    sites = some_sites(count)
    ids = sites["site_id"].tolist()
    # With room around the sites: else its name would be withheld with their places.
    store.add_area(Area(name="ashanti", created=NOW), shapely.box(-3, 4, 2, 8))
    store.add_area(Area(name="bono east", created=NOW), shapely.box(-2, 7, -1, 8))
    for number, (start, end) in enumerate(QUARTERS):
        run_id = f"run-{number}"
        with store.landing("ashanti") as landing:
            run = a_run(run_id, start=start, end=end, sensor="s2-l2a", folder=str(folder))
            landing.put_run(run, None)
            landing.put_sites(sites)
            landing.put_detections(detections(run_id, [f"d{n}" for n in range(count)]))
            landing.put_looks(pd.DataFrame([_look(i, run_id, start, end) for i in ids]))
            landing.put_periods(ids, _periods(ids))
            landing.put_alerts(ids, _alerts(sites))
    _add_layers(store)


def _look(site_id: str, run_id: str, start: dt.date, end: dt.date) -> dict[str, Any]:
    sizes = dict.fromkeys(("area_ha", "area_low_ha", "area_high_ha"), 3.0)
    return Look(
        site_id=site_id,
        run_id=run_id,
        sensor="s2-l2a",
        start=start,
        end=end,
        observed_share=1.0,
        detected=True,
        log_lr=2.0,
        footprint_ha=3.0,
        **sizes,
    ).model_dump()


def _periods(ids: list[str]) -> pd.DataFrame:
    """New in the quarter in which it was first seen, growing after; one was hidden at last."""
    rows = []
    for n, site_id in enumerate(ids):
        for number, (start, end) in enumerate(QUARTERS[n % 2 :], n % 2):
            hidden = n == 1 and number == 1
            rows.append(
                SitePeriod(
                    site_id=site_id,
                    start=start,
                    end=end,
                    observed=not hidden,
                    detected=not hidden,
                    status=Status.NEW if number == n % 2 else Status.GROWING,
                    status_rule="as the test says",
                    posterior=0.5,
                    level=None,
                    sensors="s2-l2a",
                    area_ha=1.0 + n,
                    area_low_ha=None,
                    area_high_ha=None,
                ).model_dump()
            )
    return pd.DataFrame(rows)


def _alerts(sites: gpd.GeoDataFrame) -> pd.DataFrame:
    """An alert at each third site; the last is rejected."""
    rows = [
        Alert(
            alert_id=f"a-{n}",
            site_id=row.site_id,
            area=row.area,
            kind=AlertKind.NEW,
            start=QUARTERS[0][0],
            end=QUARTERS[0][1],
            raised=QUARTERS[0][1],
            updated=QUARTERS[1][1],
            level=Level.HIGH,
            state=AlertState.REJECTED if n >= 9 else AlertState.OPEN,
            posterior=0.9,
            growth_ha=None,
            reasons=[Said.of("alert_reason.highest", high_probability=0.975)],
            lon=row.lon,
            lat=row.lat,
            priority=row.priority,
            priority_parts={"probability": row.priority},
        ).model_dump()
        for n, row in enumerate(sites.itertuples())
        if n % 3 == 0
    ]
    return pd.DataFrame(rows)


def _add_layers(store: SqlStore) -> None:
    districts = gpd.GeoDataFrame(
        {
            "name": ["Amansie Ouest", "Ahafo Ano"],
            "start": None,
            "end": None,
            "properties": [{"id": "1"}, {"id": "2"}],
        },
        geometry=[shapely.box(-1, 5, 0, 6), shapely.box(0, 5, 1.2, 6)],
        crs="EPSG:4326",
    )
    line = shapely.LineString([(-1, 5.2), (0, 5.3), (1, 5.1)])
    rivers = gpd.GeoDataFrame(
        {"name": ["Ofin"], "start": None, "end": None, "properties": [{}]},
        geometry=[line],
        crs="EPSG:4326",
    )
    for name, kind, table in (
        ("districts", LayerKind.DISTRICTS, districts),
        ("rivers", LayerKind.RIVERS, rivers),
    ):
        layer = Layer(
            name=name,
            kind=kind,
            source="a test",
            sha256="0" * 64,
            features=len(table),
            registered=NOW,
        )
        store.put_layer(layer, table)


def write_store(path: Path, count: int = 12, folder: Path | None = None) -> Path:
    """A store for a service."""
    with open_store(str(path), create=True) as store:
        fill(store, count, folder)
    return path


@contextlib.contextmanager
def client_of(store: Path | str, **settings: Any) -> Iterator[TestClient]:
    """A client of a service in this process; its faults are answers, as on a socket."""
    app = create_app(Settings(store=str(store), **settings))
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@contextlib.contextmanager
def on_loopback(app: FastAPI, **options: Any) -> Iterator[str]:
    """A service on a port of its own; gives its address."""
    settings: Settings = app.state.settings
    with listen(settings.model_copy(update={"port": 0})) as listening:
        options.setdefault("http", protocol_of(app.state.service.connections))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", **options))
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True
        )
        thread.start()
        try:
            until = time.monotonic() + 20
            while not server.started and time.monotonic() < until:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


def get(client: TestClient, path: str, **query: Any) -> Any:
    """A good answer, read as JSON."""
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def refused(client: TestClient, path: str, code: int = 400, **query: Any) -> str:
    """What a refusal says."""
    response = client.get(path, params=query)
    assert response.status_code == code, response.text
    assert set(response.json()) == {"error"}
    message: str = response.json()["error"]["message"]
    return message
