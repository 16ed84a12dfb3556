"""A published folder in a real browser, behind Python's own plain web server."""

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import shapely

from arrivals import arrival_of
from map_cases import LATE, OLD

pytest.importorskip("fastapi")

from sluice.app.exports.options import read_redaction
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.stores import open_store
from sluice.app.publishing import publish as publishing
from sluice.app.publishing.publish import Publishing, publish

pytestmark = pytest.mark.slow
PHONE = {"width": 390, "height": 844, "mobile": True}
LEAD = "A detection is a lead to verify, not proof."


@contextlib.contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The folder below an address of its own, as `python -m http.server` shows it."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "-d", str(folder.parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            port = re.search(r"port (\d+)", server.stdout.readline())[1]
            yield f"http://127.0.0.1:{port}/{folder.name}/"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def written(node, pictured_store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("public") / "open"
    publish(pictured_store, folder, Publishing())
    return folder


@pytest.fixture(scope="module")
def withheld(node, pictured_store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("public") / "withheld"
    asked = Publishing(redaction=read_redaction("5km", "6months"), language="fr")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(publishing, "LARGEST_GEOJSON_BYTES", 0)
        publish(pictured_store, folder, asked)
    return folder


def test_a_published_map_shows_what_the_store_knows(play, written) -> None:
    with hosted(written) as address:
        strip = [LEAD, "Copernicus Sentinel data 2023", "with Sluice"]
        found = play("publishedMap", address=address, folder=str(written), title="published",
                     strip=strip)  # fmt: skip
    assert found["sites"] == len(OLD) + len(LATE)
    assert not list(written.rglob("*.mjs")), "many web spaces do not know what that is"
    # What is not looked at is not loaded: no site, no outline, no other language.
    asked = "\n".join(found["requests"])
    assert "messages/en.json" in asked
    for needless in ("/sites/s-", "messages/fr", ".jpg", "draw-", "published_tiles"):
        assert needless not in asked


def test_a_site_of_a_published_map_has_its_pictures(play, written) -> None:
    with hosted(written) as address:
        found = play("publishedSite", address=address, folder=str(written), title="published",
                     pictured=2)  # fmt: skip
    assert not found["tiled"]
    assert all(width == 720 for width, _ in found["pictures"])


def test_a_redacted_map_shows_cells_in_tiles_without_range_requests(play, withheld) -> None:
    with hosted(withheld) as address:
        options = {"address": address, "folder": str(withheld), "title": "withheld"}
        strip = ["indice à vérifier", "maille d'une grille fixe"]
        play("publishedMap", **options, strip=strip)
        found = play("publishedSite", **options, pictured=0)
    assert found["tiled"]


def test_a_published_map_fits_a_phone(play, written) -> None:
    with hosted(written) as address:
        play("publishedPhone", address=address, folder=str(written), locale="fr-FR", **PHONE)


def test_areas_without_names_stand_beside_named_ones(play, first_store, tmp_path) -> None:
    store, folder = tmp_path / "two.sqlite", tmp_path / "two"
    shutil.copy(first_store, store)
    with open_store(str(store)) as held:
        add_named_area(held, "Wide land", shapely.box(-57.5, -8, -54.5, -5))
        for quarter in (0, 1):
            arrival = arrival_of(quarter, OLD[:2], tag="wide")
            run = arrival.run.model_copy(update={"area": "Wide land"})
            land(held, type(arrival)(run, arrival.detections, arrival.evidence_map))
    publish(str(store), folder, Publishing(redaction=read_redaction("5km", None)))
    with hosted(folder) as address:
        options = {"address": address, "folder": str(folder)}
        link = play("publishedNameless", **options, name="Area without a name")["link"]
        play("publishedNameless", **options, name="Zone sans nom", locale="fr-FR", link=link)
