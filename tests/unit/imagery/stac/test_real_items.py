"""Real items of Planetary Computer, from before the offset."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import shapely

import stac_items as si
from sluice.base.sensors import find_sensor
from sluice.imagery.stac.claims import OffsetClaim, UnsettledFiles
from sluice.imagery.stac.items import Reading, meets_area, scene_of_item
from sluice.imagery.stac.presets import PRESETS

L2A = find_sensor("s2-l2a")
L2A_BANDS = tuple(band.common_name for band in L2A.bands)


def read(item: si.Item, preset: str | None = None) -> Any:
    holding = PRESETS[preset].holding("s2-l2a") if preset else None
    return scene_of_item(item, Reading(L2A, L2A_BANDS, holding))


def real_items(shared_data: Path) -> list[si.Item]:
    (path,) = (shared_data / "stac-items-s2-drc").glob("*.geojson")
    return list(json.loads(path.read_text())["features"])


def test_real_items(shared_data: Path) -> None:
    items = real_items(shared_data)
    assert len(items) == 13
    for item in items:
        found = [read(item, preset) for preset in ("planetary-computer", None)]
        assert found[0] == found[1]
        files = found[0]
        assert isinstance(files, UnsettledFiles)
        assert files.claim == OffsetClaim(shifted=False, is_sure=True, source="baseline 02.12")
        assert files.scene.tile == "35MNM"
        assert files.scene.orbit_state == "descending"
        assert files.scene.cloud_cover == item["properties"]["eo:cloud_cover"]
        assert files.scene.sky_layer == "scl"
        for band in L2A.bands:
            asset = files.bands[band.common_name]
            assert f"_{band.name}_{band.gsd_m}m.tif" in asset.href
            xmin, ymin, xmax, ymax = item["assets"][band.name]["proj:bbox"]
            assert asset.geobox.boundingbox.bbox == (xmin, ymin, xmax, ymax)
        assert meets_area(item, files, shapely.box(27.3, -7.9, 27.4, -7.8))


def test_items_as_pystac_migrates_them(shared_data: Path) -> None:
    pystac = pytest.importorskip("pystac")
    for item in real_items(shared_data)[:2]:
        migrated = pystac.Item.from_dict(copy.deepcopy(item)).to_dict(transform_hrefs=False)
        assert migrated["stac_version"] != item["stac_version"]
        assert read(migrated) == read(item)
