"""OGC API Features and STAC as their standards have it: properties, limits and claims."""

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from service_cases import client_of, get, refused, write_store

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


def test_who_asks_for_more_than_the_most_is_given_the_most(client: TestClient) -> None:
    assert len(get(client, f"{SITES}?limit=100000")["features"]) == 12
    found = get(client, "/stac/search?limit=100000")["features"]
    assert found == get(client, "/stac/search")["features"]
    answer = client.post("/stac/search", json={"limit": 100_000})
    assert len(answer.json()["features"]) == len(found)
    assert refused(client, "/stac/search", 400, limit="0")
    assert client.post("/stac/search", json={"limit": 0}).status_code == 422


def test_the_standards_claimed_are_those_kept(client: TestClient) -> None:
    claimed = " ".join(get(client, "/ogc/conformance")["conformsTo"])
    assert "queryables-query-parameters" in claimed
    # The description is of OpenAPI 3.1, for which Part 1 has no class.
    assert get(client, "/api/openapi.json")["openapi"].startswith("3.1")
    assert "oas30" not in claimed
