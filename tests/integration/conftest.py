"""A phantom catalogue behind a real STAC API, its files behind a server that can fail; a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fault_server import FaultServer
from sluice.app import gathering
from sluice.app.products.coverage import outline_lonlat
from sluice.imagery.remote import RemoteAccess
from sluice.phantom.catalogue import write_catalogue
from sluice.phantom.series import PhantomSeries, build_series
from sluice.store.sql_store import SqlStore
from stac_server import rustac_program, serve_items
from stores import StorePlaces, open_with_area


@dataclass(frozen=True)
class Served:
    """A catalogue on loopback."""

    series: PhantomSeries
    api: str
    """Address of the STAC API."""
    files: FaultServer
    folder: Path
    """What it serves, on disk: `catalog.json`, `items.json`."""

    @property
    def area(self) -> str:
        """A box well within the scenes, as `--area` takes it."""
        west, south, east, north = outline_lonlat(self.series.geobox).bounds
        trim_x, trim_y = (east - west) * 0.1, (north - south) * 0.1
        box = (west + trim_x, south + trim_y, east - trim_x, north - trim_y)
        return ",".join(f"{value:.6f}" for value in box)

    def item_ids(self, collection: str) -> list[str]:
        """Ids of a collection's items, oldest first."""
        items = json.loads((self.folder / "items.json").read_text())["features"]
        found = [item for item in items if item["collection"] == collection]
        return [i["id"] for i in sorted(found, key=lambda i: str(i["properties"]["datetime"]))]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Eight dates across 25 January 2022, as Planetary Computer writes them."""
    if rustac_program() is None:
        pytest.skip("rustac is not installed: no STAC API to talk to")
    folder = tmp_path_factory.mktemp("catalogue")
    series = build_series(4, 480, cloud_shares=(0.0, 0.3, 0.5, 0.1, 0.9, 0.2, 0.0, 0.4))
    with FaultServer(folder) as files:
        write_catalogue(
            series,
            folder,
            base_href=files.url,
            bands=("blue", "green", "red", "nir"),
            levels=("l2a", "l1c", "s1"),
        )
        items = json.loads((folder / "items.json").read_text())["features"]
        with serve_items(items, tmp_path_factory.mktemp("api")) as api:
            yield Served(series, api, files, folder)


@pytest.fixture
def catalogue(served: Served, tmp_path, monkeypatch) -> Iterator[Served]:
    """The catalogue, without faults, read with little patience and a cache of the test's own."""
    access = RemoteAccess(
        cache_folder=tmp_path / "cache", timeout_s=2, transfer_s=5, attempts=3, backoff_s=0
    )
    monkeypatch.setattr(gathering, "access_for", lambda *_: access)
    served.files.faults.clear()
    served.files.requests.clear()
    yield served
    served.files.faults.clear()


@pytest.fixture
def items(catalogue: Served, tmp_path) -> str:
    """The items as a file, with addresses that nothing in this process has read before."""
    text = (catalogue.folder / "items.json").read_text()
    path = tmp_path / "items.json"
    path.write_text(text.replace(catalogue.files.url, f"{catalogue.files.url}/~{tmp_path.name}"))
    return str(path)


@pytest.fixture
def store(places: StorePlaces) -> Iterator[SqlStore]:
    """One of each kind in turn, with an area and nothing else."""
    with open_with_area(places.made()) as opened:
        yield opened
