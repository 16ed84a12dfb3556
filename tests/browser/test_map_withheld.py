"""The map of somebody from whom places are withheld, in a real browser."""

import contextlib
import shutil

import pytest
import shapely

from access_cases import PASSWORD
from map_cases import AREA
from served import NO_WORKER
from sluice.app.accounts import add_user
from sluice.app.following.landing import add_named_area
from sluice.app.following.stores import open_store, people_of
from sluice.base.people import Role

pytestmark = pytest.mark.slow
COUNTRY = shapely.box(-70, -20, -65, -15)


@pytest.mark.parametrize("named", [[], ["country"]])
def test_sites_of_areas_without_a_name_are_shown_among_all(
    play, serve, first_store, tmp_path, named
) -> None:
    path = shutil.copy(first_store, tmp_path / "ours.sqlite")
    with contextlib.closing(open_store(str(path))) as store:
        for name in named:
            add_named_area(store, name, COUNTRY)
        add_user(people_of(store), "vera", PASSWORD, role=Role.VIEWER, known_areas=[AREA], by="t")
    with serve(str(path), [*NO_WORKER, "--redact", "5km"]) as address:
        found = play("withheldPlaces", address=address, name="vera", password=PASSWORD)
    assert found["sites"] > 0
    assert found["areas"] == named
    assert found["offered"] == (["All places", "country"] if named else [])
    if named:
        assert "does not mean that there is nothing" in found["nothing"]
