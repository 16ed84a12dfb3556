"""A service with accounts to test with: two areas, sites in both, and people of every role."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sluice.app.accounts import add_token, add_user
from sluice.app.following.stores import open_store, people_of
from sluice.app.web.server import create_app
from sluice.app.web.settings import Settings
from sluice.base.people import People, Role
from sluice.base.places import Area, SitePeriod, Status
from sluice.base.said import Said
from sluice.sites.vectorise import geohash
from stores import NOW, a_run, a_site, detections

ORIGIN = "http://127.0.0.1:8765"
PASSWORD = "river stones in march"  # noqa: S105
WEAK = {"time_cost": 1, "memory_cost": 1024, "parallelism": 1}
"""Hashes of full strength take a second on a busy computer."""
Serve = Callable[..., Callable[..., TestClient]]
"""Starts a service, and gives clients of it, by the name of a person or of nobody."""
SHAPES = {"obuasi": shapely.box(-2, 5, -1, 6), "bibiani": shapely.box(-2, 7, -1, 8)}


@dataclass
class Place:
    """A site that was put into the store."""

    site_id: str
    area: str
    lon: float
    lat: float


@dataclass
class Case:
    """A store with people."""

    address: str
    places: list[Place]
    tokens: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def people(self) -> Iterator[People]:
        """The accounts, past the service."""
        with open_store(self.address) as store:
            yield people_of(store)


def fill(address: str) -> Case:
    """Land sites in both areas, six in each, in places that a grid does not tell."""
    places: list[Place] = []
    with open_store(address, create=True) as store:
        for number, (name, shape) in enumerate(SHAPES.items()):
            store.add_area(Area(name=name, created=NOW), shape)
            west, south, _, _ = shape.bounds
            lon = west + 0.1 + 0.137 * np.arange(6)
            lat = south + 0.123 + 0.129 * np.arange(6)
            ids = [f"s-{geohash(x, y)}" for x, y in zip(lon, lat, strict=True)]
            rows = [
                a_site(
                    site_id,
                    area=name,
                    lon=x,
                    lat=y,
                    priority=60.0 - 10 * number - n,
                    status=Status.NEW if n % 2 else Status.GROWING,
                )
                for n, (site_id, x, y) in enumerate(zip(ids, lon, lat, strict=True))
            ]
            boxes = shapely.box(lon - 0.001, lat - 0.001, lon + 0.001, lat + 0.001)
            run = a_run(f"run-{name}", area=name)
            found = detections(run.run_id, ids).assign(site_id=ids, lon=lon, lat=lat)
            with store.landing(name) as landing:
                landing.put_run(run, None)
                landing.put_sites(gpd.GeoDataFrame(rows, geometry=boxes, crs="EPSG:4326"))
                landing.put_detections(found.set_geometry(boxes))
                landing.put_periods(ids, _periods(ids, run))
                landing.put_alerts(ids, _alerts(rows, run))
            places += [Place(i, name, x, y) for i, x, y in zip(ids, lon, lat, strict=True)]
    return Case(address, places)


def _periods(ids: list[str], run: Any) -> Any:
    rows = [
        SitePeriod(
            site_id=site_id,
            start=run.start,
            end=run.end,
            observed=True,
            detected=True,
            status=Status.NEW,
            status_rule="first seen",
            posterior=0.5,
            level=None,
            sensors="sentinel-2",
            area_ha=3.0,
            area_low_ha=None,
            area_high_ha=None,
        ).model_dump()
        for site_id in ids
    ]
    return gpd.pd.DataFrame(rows)


def _alerts(rows: list[dict[str, Any]], run: Any) -> Any:
    return gpd.pd.DataFrame(
        [
            {
                "alert_id": f"a{row['site_id'][1:]}-new",
                "site_id": row["site_id"],
                "area": row["area"],
                "kind": "new",
                "start": run.start,
                "end": run.end,
                "raised": run.end,
                "updated": run.end,
                "level": "low",
                "state": "open",
                "posterior": 0.5,
                "growth_ha": None,
                "reasons": [Said.of("alert_reason.likely", highest_probability=0.5)],
                "lon": row["lon"],
                "lat": row["lat"],
                "priority": row["priority"],
                "priority_parts": {},
            }
            for row in rows
        ]
    )


def add_people(case: Case) -> Case:
    """Somebody of every role, by its name; `limited` is an analyst of obuasi alone, `guest` a
    viewer of it. Each has a token."""
    with case.people() as people:
        for name, role, areas in (
            *((str(role), role, None) for role in Role),
            ("limited", Role.ANALYST, ["obuasi"]),
            ("guest", Role.VIEWER, ["obuasi"]),
        ):
            person = f"{name}-1"
            add_user(
                people, person, PASSWORD, role=role, areas=areas, known_areas=SHAPES, by="test"
            )
            case.tokens[name] = add_token(people, person, "t", by="test")[1]
    return case


def app_of(case: Case, **settings: Any) -> FastAPI:
    """The service."""
    return create_app(Settings(store=case.address, **settings))


@contextlib.contextmanager
def client_of(app: FastAPI, *, origin: str = ORIGIN, **options: Any) -> Iterator[TestClient]:
    """A program that talks to it; give `token` for one of a person."""
    token = options.pop("token", None)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    # Without the lifespan: several clients share one service.
    client = TestClient(app, base_url=origin, headers=headers, follow_redirects=False, **options)
    try:
        yield client
    finally:
        client.close()
