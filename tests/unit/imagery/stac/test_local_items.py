"""Files on disk that are, and are not, what their items say."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

import stac_items as si
from sluice.base.errors import GridMismatch
from sluice.base.grid import PixelWindow
from sluice.base.sensors import find_sensor
from sluice.imagery.assets import Asset, list_assets, read_overview
from sluice.imagery.raster_header import RasterHeader
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac.claims import UnsettledFiles
from sluice.imagery.stac.items import Reading, scene_of_item
from sluice.imagery.stac.offsets import settle_offsets


def files_of(item: si.Item, base: str | None = None) -> SceneFiles:
    found = scene_of_item(item, Reading(find_sensor("s2-l2a")), base=base)
    assert isinstance(found, SceneFiles), found
    return found


def local_band(folder: Path, counts: np.ndarray[Any, Any], **stated: Any) -> Asset:
    """The red band of an item beside a file, which is 10 m with its corner at LEFT, TOP."""
    with rasterio.open(
        folder / "red.tif",
        "w",
        driver="GTiff",
        height=counts.shape[0],
        width=counts.shape[1],
        count=1,
        dtype=counts.dtype,
        crs=f"EPSG:{si.EPSG}",
        transform=Affine(10, 0, si.LEFT, 0, -10, si.TOP),
    ) as dataset:
        dataset.write(counts, 1)
    item = si.earth_search_c1() | {"geometry": None, "bbox": None}
    true = {
        "href": "red.tif",
        "proj:shape": list(counts.shape),
        "proj:transform": [10, 0, si.LEFT, 0, -10, si.TOP],
    }
    item["assets"] = {"red": item["assets"]["red"] | true | stated}
    return files_of(item, str(folder / "item.json")).bands["red"]


COUNTS = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50) + 1


def test_a_local_file_as_its_item_says(tmp_path: Path) -> None:
    # Within what rounding may do.
    near = [10, 0, si.LEFT + 0.1, 0, -10, si.TOP]
    asset = replace(local_band(tmp_path, COUNTS, **{"proj:transform": near}), scale=1, offset=0)
    np.testing.assert_array_equal(asset.read(PixelWindow(3, 5, 20, 30)), COUNTS[3:23, 5:35])


@pytest.mark.parametrize(
    ("stated", "promised"),
    [
        ({"proj:transform": [10, 0, si.LEFT + 100, 0, -10, si.TOP]}, rf"{si.LEFT + 100:.10g}, 0"),
        ({"proj:transform": [10, 0, si.LEFT, 0, -10, si.TOP - 100]}, rf"{si.TOP - 100:.10g}\)"),
        ({"proj:shape": [80, 50]}, r"\(80, 50\) px"),
        ({"proj:shape": [30, 50]}, r"\(30, 50\) px"),
        ({"proj:code": "EPSG:32720", "proj:epsg": 32720}, "EPSG:32720"),
        ({"raster:bands": [{"data_type": "int16", "scale": 1e-4, "offset": -0.1}]}, "int16"),
    ],
)
def test_a_local_file_that_is_another(
    tmp_path: Path, stated: dict[str, Any], promised: str
) -> None:
    asset = local_band(tmp_path, COUNTS, **stated)
    found = rf"the file has uint16 \(40, 50\) px, EPSG:{si.EPSG}"
    message = rf"red\.tif: its catalogue promises .*{promised}.*; {found}"
    for _ in range(2):
        with pytest.raises(GridMismatch, match=message):
            asset.read(PixelWindow(0, 0, *asset.geobox.shape.yx))
    with pytest.raises(GridMismatch, match=message):
        read_overview(asset, 16)
    # What another item or the file itself tells of the same open file still holds.
    assert list_assets(tmp_path / "red.tif")[0].read(PixelWindow(0, 0, 1, 1)) == 1
    true = replace(local_band(tmp_path, COUNTS), scale=1, offset=0)
    assert true.read(PixelWindow(0, 0, 1, 1)) == 1
    with pytest.raises(GridMismatch, match=message):
        asset.read(PixelWindow(0, 0, 1, 1))


def test_a_local_file_of_fewer_bands(tmp_path: Path) -> None:
    asset = replace(local_band(tmp_path, COUNTS), index=4)
    with pytest.raises(GridMismatch, match="promises a band 4; the file has 1 bands"):
        asset.read(PixelWindow(0, 0, 1, 1))


def test_a_local_file_that_lies_nowhere(tmp_path: Path) -> None:
    asset = local_band(tmp_path, COUNTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            asset.href, "w", driver="GTiff", height=40, width=50, count=1, dtype="uint16"
        ) as dataset:
            dataset.write(COUNTS, 1)
    with pytest.raises(GridMismatch, match="the file has no CRS"):
        asset.read(PixelWindow(0, 0, 1, 1))


def test_a_local_file_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def count(self: Asset, header: RasterHeader) -> None:
        looks.append(self.href)

    monkeypatch.setattr(Asset, "_refuse_other_file", count)
    asset = local_band(tmp_path, COUNTS)
    for row in range(10):
        asset.read(PixelWindow(row, 0, 1, 1))
        replace(asset, scale=2.0).read(PixelWindow(row, 0, 1, 1))
    assert len(looks) == 1
    for own in list_assets(tmp_path / "red.tif"):
        assert not own.is_promised
        own.read(PixelWindow(0, 0, 1, 1))
    assert len(looks) == 1


def test_a_scene_of_another_file_is_left_out(tmp_path: Path) -> None:
    counts = np.full((64, 64), 1500, np.uint16)
    moved = {"proj:transform": [10, 0, si.LEFT + 100, 0, -10, si.TOP]}
    assets = {"red": local_band(tmp_path, counts, **moved)}
    files = files_of(si.earth_search_c1())
    assert isinstance(files, UnsettledFiles)
    unsure = replace(files.claim, is_sure=False)
    found = settle_offsets((replace(files, bands=assets, sky=None, claim=unsure),), read_overview)
    (out,) = found.left_out
    assert "its catalogue promises" in out.reason
