"""The map with images, in the languages and sizes of its users; and the form to log in."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from arrivals import GRID
from map_cases import OLD
from sluice.app.accounts import add_user
from sluice.app.following.landing import add_named_area
from sluice.app.following.layer_files import read_layer
from sluice.app.following.stores import open_store, people_of
from sluice.base.people import Role
from sluice.base.store import SiteQuery

pytestmark = pytest.mark.slow
PHONE = {"width": 390, "height": 844, "mobile": True}
WORDS = "a river runs through it"
RISE_M = 300.0
LONG_NAME = (
    "Área de conservación comunal de los ríos tributarios del alto Malinowski y sus quebradas"
)


@pytest.fixture(scope="module")
def store(pictured_store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """With images, and ground that rises by 300 m from west to east."""
    folder = tmp_path_factory.mktemp("relief")
    path = folder / "ours.sqlite"
    shutil.copy(pictured_store, path)
    elevation = folder / "elevation.tif"
    write_elevation(elevation)
    layer = read_layer(elevation, name="slope")
    with contextlib.closing(open_store(str(path))) as opened:
        opened.put_layer(layer.layer, layer.features)
    return str(path)


def write_elevation(path: Path) -> None:
    """A plain at 100 m, a slope of two kilometres in the middle, a plain at 400 m."""
    height, width = GRID.shape.yx
    east = np.arange(width) * 80.0
    metres = np.interp(east, [3000, 5000], [100, 100 + RISE_M])
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=2, dtype="float32",
        crs="EPSG:32721", transform=GRID.affine, nodata=np.nan,
    ) as out:  # fmt: skip
        out.write(np.broadcast_to(metres, (height, width)).astype(np.float32), 1)
        out.write(np.zeros((height, width), np.float32), 2)
        out.descriptions = ("elevation", "slope")


@pytest.fixture(scope="module")
def other_areas(serve, first_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of a store with two more areas, of which nothing was analysed."""
    path = shutil.copy(first_store, tmp_path_factory.mktemp("areas") / "ours.sqlite")
    sides = shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -178, -17)
    with contextlib.closing(open_store(str(path))) as opened:
        add_named_area(opened, LONG_NAME, shapely.box(-70, -13, -69.9, -12.9))
        add_named_area(opened, "Fiji", shapely.MultiPolygon(sides))
    with serve(str(path)) as address:
        yield address


@pytest.mark.parametrize("size", [{}, PHONE])
def test_an_area_with_a_long_name_that_was_never_analysed(play, other_areas, size) -> None:
    said = play("longName", address=other_areas, area=LONG_NAME, **size)
    assert said["alerts"] == said["sites"] == "This area has not been analysed yet."
    assert f"All sites of {LONG_NAME} but rejected ones" in said["exports"]


def test_an_area_across_180_degrees_is_shown_near(play, other_areas) -> None:
    found = play("acrossTheLine", address=other_areas, area="Fiji")
    assert found["bbox"] == [179, -18, -178, -17]
    for seen in found["first"], found["again"]:
        assert seen["zoom"] > 5
        assert abs((seen["lng"] + 360) % 360 - 180.5) < 1.5
        assert abs(seen["lat"] + 17.5) < 1


@pytest.mark.parametrize(
    ("title", "options"),
    [
        ("english", {}),
        ("french", {"locale": "fr-FR"}),
        ("phone", {"locale": "fr-FR", **PHONE}),
    ],
)
def test_the_map_shows_images_and_their_sources(browse, title, options) -> None:
    browse("pictured", title=title, **options)


@pytest.mark.parametrize(("title", "options"), [("wide", {}), ("phone", PHONE)])
def test_two_dates_are_uncovered_by_a_line(browse, title, options) -> None:
    found = browse("swipe", title=title, **options)
    assert "2023" in "".join(found["years"])


def test_probabilities_have_a_key_and_the_dates_of_their_halves(browse) -> None:
    shares = ["1%", "9%", "48%", "≥ 90%"]
    browse("probability", layer="Probability of a mine", shares=shares, unseen="not observed")


def test_periods_without_an_image_are_not_set_side_by_side(
    play, serve, pictured_store, tmp_path
) -> None:
    """No image of the last period, clouds over all sites in the third, Planet's in the second."""
    shutil.copytree(Path(pictured_store).parent, tmp_path, dirs_exist_ok=True)
    path = str(tmp_path / Path(pictured_store).name)
    own = contextlib.closing(sqlite3.connect(path))
    with own as connection, connection:
        folders = str(Path(pictured_store).parent), str(tmp_path)
        connection.execute("UPDATE runs SET folder = replace(folder, ?, ?)", folders)
    (tmp_path / "run-3" / "composite.tif").unlink()
    with contextlib.closing(open_store(path)) as opened:
        second, third = (run.run_id for run in opened.runs()[1:3])
        table = opened.sites(SiteQuery())
    looks = contextlib.closing(sqlite3.connect(path))
    with looks as connection, connection:
        hidden = connection.execute(
            "UPDATE looks SET observed_share = 0.6 WHERE run_id = ?", (third,)
        )
        assert hidden.rowcount >= len(OLD)
        connection.execute("UPDATE runs SET sensor = 'nicfi' WHERE run_id = ?", (second,))
    began = table.sort_values("first_seen")["site_id"]
    with serve(path) as address:
        play("swipeImages", address=address, old=began.iloc[0], late=began.iloc[-1])


def test_ground_cover_is_told_before_and_after(play, serve, first_store, tmp_path) -> None:
    path = str(shutil.copy(first_store, tmp_path / "ours.sqlite"))
    with contextlib.closing(open_store(path)) as opened:
        first, *_, last = (run.run_id for run in opened.runs())
        site = opened.sites(SiteQuery()).sort_values("first_seen")["site_id"].iloc[-1]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for run_id, figures in ((first, (3.5, 0.5, 0, 0)), (last, (1.25, 0.5, 1.5, 0.75))):
            connection.execute(
                "UPDATE looks SET forest_ha = ?, farmland_ha = ?, water_ha = ?, bare_ha = ? "
                "WHERE run_id = ?",
                (*figures, run_id),
            )
    with serve(path) as address:
        told = play("coverChange", address=address, site=site, locale="fr-FR", width=1400)
    assert [[cell.replace("\xa0", " ") for cell in row] for row in told["rows"]] == [
        ["", "Janv.–mars 2023", "Oct.–déc. 2023", "Différence"],
        ["Forêt", "3,5 ha", "1,3 ha", "\u22122,3 ha"],
        ["Terres agricoles", "0,5 ha", "0,5 ha", "0,0 ha"],
        ["Eau", "0,0 ha", "1,5 ha", "+1,5 ha"],
        ["Sol nu", "0,0 ha", "0,8 ha", "+0,8 ha"],
    ]
    assert "existait déjà" not in told["hint"]


def test_the_ground_is_raised_to_its_heights(browse) -> None:
    found = browse(
        # Small: without a graphics card, each pixel of a raised map costs.
        "terrain",
        low=[-56.085, -6.475],
        high=[-56.03, -6.475],
        width=800,
        height=560,
    )
    assert found["rise_m"] == pytest.approx(1.5 * RISE_M, rel=0.03)


@pytest.fixture(scope="module")
def guarded(
    node, serve, first_store: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A service of which two people have accounts."""
    path = tmp_path_factory.mktemp("guarded") / "ours.sqlite"
    shutil.copy(first_store, path)
    with contextlib.closing(open_store(str(path))) as opened:
        for name in ("Kofi", "Ama"):
            add_user(people_of(opened), name, WORDS, role=Role.REVIEWER, by="test")
    with serve(str(path)) as address:
        yield address


@pytest.mark.parametrize(
    ("title", "refused", "options"),
    [
        ("wide", "Name or password is wrong", {}),
        ("phone", "incorrect", {"locale": "fr-FR", **PHONE}),
    ],
)
def test_one_logs_in_and_out(play, guarded, title, refused, options) -> None:
    play("logIn", address=guarded, title=title, refused=refused, password=WORDS, **options)


def test_a_session_that_ends_loses_no_review(play, guarded) -> None:
    play("sessionEnds", address=guarded, name="Kofi", other="Ama", password=WORDS)
