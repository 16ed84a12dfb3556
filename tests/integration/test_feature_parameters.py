"""OGC API Features and STAC as their standards have it: properties, limits and claims."""

import json
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from service_cases import client_of, get, refused, write_store
from sluice.app.web.crs import LATLON

SITES = "/ogc/collections/sites/items"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(write_store(tmp_path_factory.mktemp("service") / "s.sqlite")) as one:
        yield one


def ids(client: TestClient, path: str, **asked: str) -> list[str]:
    answer = client.get(path, params=asked or None)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["features"]]


@pytest.mark.parametrize("name", ["sites", "detections", "alerts", "areas"])
def test_each_property_may_be_asked_for_by_its_value(client: TestClient, name: str) -> None:
    path = f"/ogc/collections/{name}/items"
    known = get(client, f"/ogc/collections/{name}/queryables")["properties"]
    features = get(client, path)["features"]
    asked = 0
    for key in known.keys() - {"geometry"}:
        value = features[0]["properties"][key]
        if value is None or isinstance(value, list | dict):
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        fit = [one["id"] for one in features if one["properties"][key] == value]
        assert ids(client, path, **{key: text}) == fit, key
        asked += 1
    assert asked >= 2


def test_they_hold_together_and_beside_a_filter(client: TestClient) -> None:
    told = get(client, SITES)["features"]
    new = [one for one in told if one["properties"]["status"] == "new"]
    area, least = new[0]["properties"]["area"], min(one["properties"]["area_ha"] for one in new)
    wanted = [one["id"] for one in new if one["properties"]["area_ha"] > least]
    assert 0 < len(wanted) < len(new) < len(told)
    found = ids(client, SITES, status="new", area=area, filter=f"area_ha > {least}")
    assert found == wanted
    assert ids(client, SITES, status="new", area="nowhere") == []


def test_the_link_to_the_next_page_keeps_them(client: TestClient) -> None:
    whole = ids(client, SITES, status="new")
    page = client.get(SITES, params={"status": "new", "limit": 1}).json()
    (link,) = [one["href"] for one in page["links"] if one["rel"] == "next"]
    assert dict(parse_qsl(urlsplit(link).query))["status"] == "new"
    found = [page["features"][0]["id"], *ids(client, link.replace("limit=1", "limit=9"))]
    assert found == whole


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("colour=red", "colour: is not known here"),
        ("geometry=1", "geometry: is not known here"),
        ("area_ha=large", "no number"),
        ("area_ha=nan", "no number"),
        ("last_seen=yesterday", "no date"),
        ("status=new&status=growing", "takes one value"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
    ],
)
def test_what_none_has_is_refused(client: TestClient, query: str, words: str) -> None:
    answer = client.get(f"{SITES}?{query}")
    assert (answer.status_code, words in answer.text) == (400, True), answer.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("casei()='a'", "CASEI cannot take 0 values"),
        ("between(area_ha)", "BETWEEN cannot take 1 values"),
        ("s_intersects(geometry)", "S_INTERSECTS cannot take 1 values"),
        ("or()", "OR cannot take 0 values"),
        ("in(site_id)", "IN needs a list"),
        ("T_DURING(start,INTERVAL(nothing,'..'))", "asks for 'nothing'"),
        ("T_DURING(start,INTERVAL(area,'..'))", "needs days"),
        ("T_DURING(start,INTERVAL('2024-01-31'))", "needs two days"),
        ("S_INTERSECTS(geometry,BBOX(0,0,lon,2))", "BBOX needs four numbers"),
        ("S_INTERSECTS(geometry,BBOX(0,6,1,5))", "south north of its north"),
    ],
)
def test_operations_with_too_few_or_other_values_are_refused(
    client: TestClient, text: str, words: str
) -> None:
    assert words in refused(client, "/ogc/collections/alerts/items", 400, filter=text)


def test_boxes_of_filters_are_those_of_the_parameter(client: TestClient) -> None:
    """Across 180 degrees, with heights, and in the order of latitude first."""
    crossing = ids(client, SITES, bbox="1.07,4,0.02,6")
    assert crossing == ["s-0", "s-11"]
    assert ids(client, SITES, filter="S_INTERSECTS(geometry,BBOX(1.07,4,0.02,6))") == crossing
    assert ids(client, SITES, filter="S_INTERSECTS(geometry,BBOX(1.07,4,0,0.02,6,9))") == crossing
    turned = "S_INTERSECTS(geometry,BBOX(4,1.07,6,0.02))"
    assert ids(client, SITES, **{"filter": turned, "filter-crs": LATLON}) == crossing


def test_days_of_properties_may_bound_an_interval(client: TestClient) -> None:
    early = ids(client, SITES, filter="first_seen <= DATE('2024-01-31')")
    within = "T_INTERSECTS(INTERVAL(first_seen,last_seen),INTERVAL('2024-01-01','2024-01-31'))"
    assert 0 < len(early) < 12
    assert ids(client, SITES, filter=within) == early
    # In UTC it is still March.
    moment = "2024-04-01T01:00:00+02:00"
    assert ids(client, SITES, datetime=f"../{moment}") == early
    assert ids(client, SITES, filter=f"first_seen <= TIMESTAMP('{moment}')") == early
    assert ids(client, SITES, datetime="0001-01-01T00:00:00+02:00/..") == ids(client, SITES)


def test_who_asks_for_more_than_the_most_is_given_the_most(client: TestClient) -> None:
    assert len(get(client, f"{SITES}?limit=100000")["features"]) == 12
    found = get(client, "/stac/search?limit=100000")["features"]
    assert found == get(client, "/stac/search")["features"]
    answer = client.post("/stac/search", json={"limit": 100_000})
    assert len(answer.json()["features"]) == len(found)
    assert refused(client, "/stac/search", 400, limit="0")
    assert client.post("/stac/search", json={"limit": 0}).status_code == 422


def test_runs_are_searched_by_boxes_with_heights_and_by_any_shape(client: TestClient) -> None:
    every = ids(client, "/stac/search")
    assert len(every) == 2

    def posted(**body: object) -> list[str]:
        answer = client.post("/stac/search", json=body)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["features"]]

    for sides, found in (
        ([-1, 5, 0, 6], every),
        ([-1, 5, 0, 0, 6, 100], every),
        ([170, 5, 0, 1, 6, 100], every),
        ([170, 5, 0, -170, 6, 9], []),
    ):
        assert ids(client, "/stac/search", bbox=",".join(map(str, sides))) == found
        assert posted(bbox=sides) == found
    # Within the box of the triangle, not within it.
    corner = [[-9, 3], [-9, 9], [-2.9, 3], [-9, 3]]
    for kind, places, found in (
        ("Point", [0, 5], every),
        ("LineString", [[-9, 5], [9, 5]], every),
        ("Polygon", [corner], []),
        ("MultiPolygon", [[corner], [[[0, 5], [1, 5], [1, 6], [0, 5]]]], every),
    ):
        shape = {"type": kind, "coordinates": places}
        assert ids(client, "/stac/search", intersects=json.dumps(shape)) == found
        assert posted(intersects=shape) == found
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    point = {"type": "Point", "coordinates": [0, 5]}
    for asked in (
        {"bbox": [0, 5, 1]},
        {"bbox": [0, 6, 1, 5]},
        {"bbox": [0, 5, 1, 6], "intersects": point},
        {"intersects": {"type": "Point"}},
        {"intersects": bow},
    ):
        answer = client.post("/stac/search", json=asked)
        assert answer.status_code in {400, 422}, answer.text


def test_links_are_addresses_whatever_areas_are_called(client: TestClient) -> None:
    """Those of `bono east` too."""
    documents = [
        get(client, "/stac"),
        *get(client, "/stac/collections")["collections"],
        *get(client, "/stac/search")["features"],
        get(client, "/ogc/collections/areas/items/bono east"),
    ]
    links = {link["href"] for told in documents for link in told["links"]}
    assert any("bono%20east" in link for link in links)
    for link in links:
        assert " " not in link
        assert client.get(link).status_code == 200, link


def test_the_standards_claimed_are_those_kept(client: TestClient) -> None:
    claimed = " ".join(get(client, "/ogc/conformance")["conformsTo"])
    assert "queryables-query-parameters" in claimed
    # The description is of OpenAPI 3.1, for which Part 1 has no class.
    assert get(client, "/api/openapi.json")["openapi"].startswith("3.1")
    assert "oas30" not in claimed
