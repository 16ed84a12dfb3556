"""The map in a real browser, over a real service."""

import contextlib
import json
import shutil

import pytest
import shapely

from map_cases import LATE, OLD
from sluice.app.following.reviewing import add_review
from sluice.app.following.stores import open_store
from sluice.base.places import Reason, Verdict
from sluice.base.store import SiteQuery
from sluice.sites.area import geodesic_areas_ha

pytestmark = pytest.mark.slow
PHONE = {"width": 390, "height": 844, "mobile": True}


def test_the_first_screen_shows_alerts_and_sites(browse) -> None:
    found = browse("firstScreen")
    assert found["sites"] == len(OLD) + len(LATE)


def test_the_slider_shows_sites_as_they_were(browse) -> None:
    # From the last period back to the first: three mines begin in the last one.
    seen = browse("slider")["seen"]
    assert seen == [len(OLD) + len(LATE), len(OLD), len(OLD), len(OLD)]


def test_a_site_is_told_and_its_link_reopens_it(browse) -> None:
    browse("site")


def test_a_river_through_a_site_is_told(browse) -> None:
    browse("onTheRiver")


def test_a_site_is_reviewed_by_keyboard(browse, store) -> None:
    found = browse("reviewByKeyboard")
    opened = open_store(store)
    given = opened.reviews()
    opened.close()
    assert len(given) == 3
    reviews = {review.site_id: review for review in given}
    first, second, third, *rest = found["order"]
    assert reviews[first].verdict is Verdict.CONFIRMED
    assert (reviews[second].verdict, reviews[second].reason) == (
        Verdict.REJECTED,
        Reason.FISH_POND,
    )
    assert (reviews[third].verdict, reviews[third].note) == (Verdict.UNSURE, "cur?")
    assert not set(rest) & set(reviews)


def test_no_review_is_lost(play, serve, first_store, tmp_path) -> None:
    with serve(str(shutil.copy(first_store, tmp_path / "ours.sqlite"))) as address:
        play("reviewsWait", address=address)


def test_reviews_go_on_over_the_pages_of_a_list(play, serve, first_store, tmp_path) -> None:
    path = shutil.copy(first_store, tmp_path / "ours.sqlite")
    with contextlib.closing(open_store(str(path))) as opened:
        order = opened.sites(SiteQuery())["site_id"].tolist()
        add_review(opened, order[0], Verdict.CONFIRMED, None, who="ama")
        add_review(opened, order[2], Verdict.REJECTED, Reason.RIVER, who="ama")
    with serve(str(path)) as address:
        assert play("reviewPages", address=address)["ids"] == order


def test_it_fits_a_phone(browse) -> None:
    browse("phone", **PHONE)


def test_it_speaks_the_languages_of_its_users(browse) -> None:
    browse("french", locale="fr-FR")


@pytest.mark.parametrize("language", ["fr", "pt"])
def test_faults_are_told_in_the_language_of_the_map(browse, language) -> None:
    browse("faultsInLanguage", language=language, locale=language)


def test_two_periods_are_compared(browse) -> None:
    browse("compare")


@pytest.mark.parametrize("locale", ["en-GB", "pt-BR"])
def test_two_periods_are_compared_on_a_phone(browse, locale) -> None:
    browse("comparePhone", locale=locale, **PHONE)


def test_a_drawn_shape_is_measured(browse) -> None:
    found = browse("drawing")
    shape = shapely.from_geojson(json.dumps(found["shape"]))
    wanted = geodesic_areas_ha([shape], "EPSG:4326")[0]
    told = float(found["told"].split("ha")[0].strip().replace(",", ""))
    assert told == pytest.approx(wanted, rel=2e-3)


def test_statistics_are_those_of_the_service(browse, store) -> None:
    rows = browse("statistics")["rows"]
    opened = open_store(store)
    rejected = opened.count_sites(SiteQuery(verdict=(Verdict.REJECTED,)))
    opened.close()
    assert sum(int(count) for _, count in rows) == len(OLD) + len(LATE) - rejected


def test_places_are_found(browse) -> None:
    browse("search")


def test_exports_and_reports_are_there(browse) -> None:
    endings = {href.split("?")[0].rsplit(".")[-1] for href in browse("links")["hrefs"]}
    assert endings >= {"geojson", "gpkg", "kmz", "csv", "pdf", "html"}


def test_files_are_saved_and_refusals_told(browse) -> None:
    browse("downloads")
