"""Map tiles of images and probabilities: the right pixel at the right place, and nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from PIL import Image

from arrivals import QUARTERS, arrival_of

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from sluice.app.following.landing import add_named_area, land
from sluice.app.following.layer_files import read_layer
from sluice.app.following.stores import open_store
from sluice.app.products.picture_tones import ColourTones
from sluice.app.web import access, identity
from sluice.app.web.image_tiles import (
    TILE_PX,
    TileAddress,
    colour_probabilities,
    draw_heights,
    draw_image,
    draw_probability,
    encode_terrarium,
    facts_of,
    lowest_of,
    read_tones,
)
from sluice.app.web.server import create_app
from sluice.app.web.settings import Settings
from sluice.base.errors import AssetReadError

SIDE = 400
WEST, NORTH, STEP = 600_000.0, 9_288_000.0, 10.0
EDGE = math.pi * 6_378_137
PLAIN = ColourTones((0.0, 0.0, 0.0), 1.0)


def write_image(path: Path, *, nodata: int | None = -32768) -> np.ndarray:
    """Red grows to the east, green to the south; a square in the middle is hidden."""
    steps = np.arange(SIDE, dtype=np.float32) / SIDE * 10_000
    counts = np.zeros((3, SIDE, SIDE), np.int16)
    counts[0], counts[1], counts[2] = steps[None, :], steps[:, None], 5_000
    if nodata is not None:
        counts[:, 150:250, 150:250] = nodata
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "int16"}
    place = {
        "crs": "EPSG:32721",
        "transform": rasterio.Affine(STEP, 0, WEST, 0, -STEP, NORTH),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile, **place) as out:
        out.write(counts)
        out.scales = (1e-4,) * 3
        for number, name in enumerate(("red", "green", "blue"), start=1):
            out.set_band_description(number, name)
    return counts


def write_probability(path: Path) -> None:
    values = np.full((SIDE, SIDE), 0.001, np.float32)
    values[:200] = np.nan
    values[300:] = 0.95
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=1, dtype="float32",
        crs="EPSG:32721", transform=rasterio.Affine(STEP, 0, WEST, 0, -STEP, NORTH), nodata=np.nan,
    ) as out:  # fmt: skip
        out.write(values, 1)


def tile_at(x: float, y: float, z: int) -> tuple[TileAddress, int, int]:
    """The tile of a point of EPSG:32721, and the pixel of it."""
    to_map = pyproj.Transformer.from_crs("EPSG:32721", "EPSG:3857", always_xy=True)
    east, north = to_map.transform(x, y)
    side = 2 * EDGE / 2**z
    col, row = (east + EDGE) / side, (EDGE - north) / side
    tile = TileAddress(z, int(col), int(row))
    return tile, int((row - int(row)) * TILE_PX), int((col - int(col)) * TILE_PX)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(("row", "col"), [(20, 30), (380, 20), (100, 350), (390, 390)])
def test_a_pixel_is_shown_where_it_lies(tmp_path: Path, row: int, col: int) -> None:
    path = tmp_path / "composite.tif"
    counts = write_image(path)
    tile, at_row, at_col = tile_at(WEST + (col + 0.5) * STEP, NORTH - (row + 0.5) * STEP, 15)
    found = pixels(draw_image(path, tile, PLAIN))[at_row, at_col]
    expected = 255 * (counts[:, row, col] * 1e-4) ** 0.7
    # A pixel of the tile lies within one of the image: two steps of the slope at most.
    np.testing.assert_allclose(found[:3], expected, atol=4)
    assert found[3] == 255


def test_hidden_and_outer_ground_is_transparent(tmp_path: Path) -> None:
    path = tmp_path / "composite.tif"
    write_image(path)
    for col, row in ((200, 200), (-5, 100), (100, SIDE + 5)):
        tile, at_row, at_col = tile_at(WEST + col * STEP, NORTH - row * STEP, 15)
        assert pixels(draw_image(path, tile, PLAIN))[at_row, at_col, 3] == 0
    assert pixels(draw_image(path, TileAddress(3, 0, 0), PLAIN)).max() == 0


def test_an_image_without_a_value_for_no_data_has_edges(tmp_path: Path) -> None:
    path = tmp_path / "composite.tif"
    write_image(path, nodata=None)
    tile, at_row, at_col = tile_at(WEST - 50, NORTH - 1000, 15)
    assert pixels(draw_image(path, tile, PLAIN))[at_row, at_col, 3] == 0
    tile, at_row, at_col = tile_at(WEST + 2000, NORTH - 2000, 15)
    assert pixels(draw_image(path, tile, PLAIN))[at_row, at_col, 3] == 255


def test_probabilities_are_seen_where_they_say_something(tmp_path: Path) -> None:
    path = tmp_path / "probability.tif"
    write_probability(path)

    def at(row: float) -> list[int]:
        tile, at_row, at_col = tile_at(WEST + 1000, NORTH - row * STEP, 15)
        found: list[int] = pixels(draw_probability(path, tile))[at_row, at_col].tolist()
        return found

    assert at(350) == [122, 1, 119, 220]
    assert at(250)[3] == 0
    assert at(100) == [110, 110, 110, 90]
    # Beyond the map nothing was claimed, so nothing is told to be hidden.
    assert at(-10)[3] == 0


def test_more_probable_is_darker() -> None:
    steps = np.array([[0.0, 0.005, 0.02, 0.1, 0.4, 0.8, 0.95, 1.0]], np.float32)
    colours = colour_probabilities(steps)[0].astype(int)
    assert (np.diff(colours[:, 3]) >= 0).all()
    assert colours[0, 3] == colours[1, 3] == 0
    light = colours[2:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(light) <= 0).all()


def test_facts_tell_place_and_zoom(tmp_path: Path) -> None:
    path = tmp_path / "composite.tif"
    write_image(path)
    facts = facts_of(path)
    to_lonlat = pyproj.Transformer.from_crs("EPSG:32721", "EPSG:4326", always_xy=True)
    corners = to_lonlat.transform_bounds(WEST, NORTH - 4000, WEST + 4000, NORTH)
    np.testing.assert_allclose(facts.bounds, corners, atol=1e-4)
    # 10 m near the equator lie between the zooms of 9.6 and 19.1 m.
    assert (facts.bands, facts.maxzoom) == (("red", "green", "blue"), 14)
    assert facts.minzoom < facts.maxzoom
    assert read_tones(path).span > 0.9


def test_an_image_across_180_degrees_is_as_fine_as_one_beside_them(tmp_path: Path) -> None:
    to_zone = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32760", always_xy=True)
    found = []
    for west in (179.9, 179.99):
        path = tmp_path / f"{west}.tif"
        write_image(path)
        x, y = to_zone.transform(west, -17)
        with rasterio.open(path, "r+") as image:
            image.crs = "EPSG:32760"
            image.transform = rasterio.Affine(STEP, 0, x, 0, -STEP, y)
        found.append(facts_of(path))
    beside, across = found
    assert beside.bounds[0] < beside.bounds[2]
    assert across.bounds[0] > across.bounds[2]
    assert (across.minzoom, across.maxzoom) == (beside.minzoom, beside.maxzoom)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "composite.tif"
    write_image(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    tile, _, _ = tile_at(WEST + 2000, NORTH - 3900, 15)
    with pytest.raises(AssetReadError, match=r"composite\.tif"):
        draw_image(path, tile, PLAIN)


def write_heights(path: Path, *, metres_per_metre: float = 0.05) -> None:
    """Ground that rises to the east from 100 m; a hole in its south-eastern quarter."""
    east = (np.arange(SIDE, dtype=np.float32) + 0.5) * STEP
    metres = np.broadcast_to(100 + metres_per_metre * east, (SIDE, SIDE)).copy()
    metres[200:, 200:] = np.nan
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=2, dtype="float32",
        crs="EPSG:32721", transform=rasterio.Affine(STEP, 0, WEST, 0, -STEP, NORTH), nodata=np.nan,
    ) as out:  # fmt: skip
        out.write(metres, 1)
        out.write(np.zeros((SIDE, SIDE), np.float32), 2)
        out.descriptions = ("elevation", "slope")


def metres_of(png: bytes) -> np.ndarray:
    """As MapLibre reads them."""
    red, green, blue = pixels(png).astype(float).transpose(2, 0, 1)[:3]
    return red * 256 + green + blue / 256 - 32768


def test_heights_are_encoded_to_a_256th_of_a_metre() -> None:
    known = {
        -32768.0: (0, 0, 0),
        -0.5: (127, 255, 128),
        0.0: (128, 0, 0),
        1.5: (128, 1, 128),
        8848.25: (162, 144, 64),
        40_000.0: (255, 255, 255),
    }
    given = np.array([list(known)], np.float32)
    assert [tuple(one) for one in encode_terrarium(given)[0].tolist()] == list(known.values())


def test_heights_lie_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "elevation.tif"
    write_heights(path)
    assert lowest_of(path) == pytest.approx(100.25, abs=0.3)
    write_image(tmp_path / "composite.tif")
    assert lowest_of(tmp_path / "composite.tif") is None
    for east in (300.0, 1000.0, 3700.0):
        tile, row, col = tile_at(WEST + east, NORTH - 500, 15)
        metres = metres_of(draw_heights([path], tile, lowest_m=100.0))
        # A pixel of a tile is 4.8 m wide: 0.24 m of height.
        assert metres[row, col] == pytest.approx(100 + 0.05 * east, abs=0.3)
    tile, row, col = tile_at(WEST + 3000, NORTH - 3000, 15)
    assert metres_of(draw_heights([path], tile, lowest_m=77.5))[row, col] == 77.5
    beyond, _, _ = tile_at(WEST - 9000, NORTH, 15)
    assert (metres_of(draw_heights([path], beyond, lowest_m=77.5)) == 77.5).all()


def test_of_two_elevation_maps_the_first_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "first.tif", tmp_path / "second.tif"
    write_heights(first)
    write_heights(second, metres_per_metre=1.0)
    tile, row, col = tile_at(WEST + 1000, NORTH - 500, 15)
    both = metres_of(draw_heights([first, second], tile, lowest_m=0.0))
    assert both[row, col] == pytest.approx(150, abs=0.3)


def test_heights_are_served_where_an_elevation_map_is_registered(
    client: TestClient, tmp_path: Path
) -> None:
    assert client.get("/api/elevation").json() is None
    path = tmp_path / "elevation.tif"
    write_heights(path)
    layer = read_layer(path, name="slope")
    with contextlib.closing(open_store(str(tmp_path / "store.sqlite"))) as store:
        store.put_layer(layer.layer, layer.features)
    client.app.state.service.written()
    told = client.get("/api/elevation").json()
    assert told["encoding"] == "terrarium"
    assert "Copernicus DEM" in told["attribution"]
    west, south, east, north = told["bounds"]
    assert west < -56.09 < east
    assert south < -6.45 < north
    tile, row, col = tile_at(WEST + 1000, NORTH - 500, told["maxzoom"])
    address = told["tiles"][0].format(z=tile.z, x=tile.x, y=tile.y)
    metres = metres_of(client.get(address).content)
    assert metres[row, col] == pytest.approx(150, abs=1)
    assert client.get("/elevation/000000000000/0/0/0.png").status_code == 404
    path.unlink()
    answer = client.get(address)
    assert answer.status_code == 404
    assert str(tmp_path) not in answer.text


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A service whose first run has an image, and whose second has none."""
    address = tmp_path / "store.sqlite"
    folder = tmp_path / "run"
    folder.mkdir()
    write_image(folder / "composite.tif")
    write_probability(folder / "probability.tif")
    area = shapely.box(-57, -7, -55, -6)
    with open_store(str(address), create=True) as store:
        add_named_area(store, "here", area)
        for number in range(2):
            arrival = arrival_of(number, [])
            run = arrival.run
            if number == 0:
                (folder / "run.json").write_text(json.dumps({"run_id": run.run_id}))
                run = run.model_copy(update={"folder": str(folder)})
            land(store, type(arrival)(run.model_copy(update={"area": "here"}), arrival.detections))
    app = create_app(Settings(store=str(address)))
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


def _run_ids(client: TestClient) -> list[str]:
    (area,) = client.get("/api/areas").json()
    assert [run["start"] for run in area["runs"]] == [f"{QUARTERS[k][0]}" for k in range(2)]
    return [run["run_id"] for run in area["runs"]]


def test_tiles_are_served_once(client: TestClient) -> None:
    first, second = _run_ids(client)
    told = client.get(f"/api/imagery/{first}").json()
    assert set(told["tiles"]) == {"image", "probability"}
    tile, _, _ = tile_at(WEST + 500, NORTH - 500, 14)
    address = told["tiles"]["image"].format(z=tile.z, x=tile.x, y=tile.y)
    answer = client.get(address)
    assert answer.headers["content-type"] == "image/png"
    assert pixels(answer.content)[..., 3].max() == 255
    again = client.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/api/imagery/{second}").status_code == 404
    assert client.get(f"/imagery/{second}/image/0/0/0.png").status_code == 404
    assert client.get(f"/imagery/{first}/image/3/8/0.png").status_code == 400
    assert client.get(f"/imagery/{first}/run.json/3/0/0.png").status_code == 400


def test_an_image_that_was_moved_is_told(client: TestClient, tmp_path: Path) -> None:
    first, _ = _run_ids(client)
    assert client.get(f"/imagery/{first}/image/0/0/0.png").status_code == 200
    (tmp_path / "run" / "composite.tif").unlink()
    answer = client.get(f"/imagery/{first}/image/0/0/0.png")
    assert answer.status_code == 404
    assert str(tmp_path) not in answer.text


def test_what_a_person_may_not_see_is_not_there(client: TestClient) -> None:
    first, _ = _run_ids(client)
    app = client.app
    app.dependency_overrides[access.person] = lambda: identity.Person(
        "Kofi", identity.Role.VIEWER, frozenset({"elsewhere"}), redacted=False
    )
    assert client.get(f"/imagery/{first}/image/0/0/0.png").status_code == 404
