"""A source's login and key: used, and shown nowhere."""

import json
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely

import stac_items as si
from fault_server import Fault, FaultServer
from sluice.base.errors import ConfigError, SluiceError, SourceUnavailable
from sluice.base.periods import parse_span
from sluice.imagery.catalogue import Found
from sluice.imagery.stac import search, static
from sluice.imagery.stac.catalogues import open_catalogue
from sluice.imagery.stac.web import Patience

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
AREA = shapely.box(*si.AREA)
YEAR = parse_span("2024", "2024")
PATIENCE = Patience(timeout_s=10, retries=1, backoff_s=0.01, longest_wait_s=0.1)
SECRETS = ("pa55w0rd", "k3yk3yk3y", "t0kent0ken")
LOGIN = f"me:{SECRETS[0]}@"
QUERY = f"?api_key={SECRETS[1]}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    with FaultServer(tmp_path) as server:
        yield server


def address(server: FaultServer, name: str) -> str:
    return f"{server.url.replace('://', '://' + LOGIN)}/{name}{QUERY}"


def write(server: FaultServer, name: str, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (server.folder / name).write_text(text)


def page(items: list[si.Item], following: str | None = None) -> Any:
    links = [{"rel": "next", "href": following}] if following else []
    return {"type": "FeatureCollection", "features": items, "links": links}


def write_api(server: FaultServer, results: Any, collections: tuple[str, ...] = ()) -> str:
    """An API of files, that names itself by the address that it was asked at."""
    here = address(server, "stac")
    classes = ["core", "item-search", "collections", "ogcapi-features"]
    root = {
        "type": "Catalog",
        "id": "api",
        "description": "api",
        "stac_version": "1.0.0",
        "conformsTo": [f"https://api.stacspec.org/v1.0.0/{one}" for one in classes],
        "links": [
            {"rel": "self", "href": here},
            {"rel": "root", "href": here},
            {
                "rel": "search",
                "href": address(server, "search"),
                "method": "GET",
                "type": "application/geo+json",
            },
            {"rel": "data", "href": address(server, "collections")},
        ],
    }
    write(server, "stac", root)
    write(server, "search", results)
    listed = [si.collection(name, [si.earth_search_c1()]) for name in collections]
    write(server, "collections", {"collections": listed, "links": []})
    return here


def find(
    source: str, collection: str | None = "sentinel-2-c1-l2a", patience: Patience = PATIENCE
) -> Found:
    catalogue = open_catalogue(source, "s2-l2a", collection=collection, patience=patience)
    return catalogue.find(AREA, YEAR, ("red",))


def refuse_secrets(*texts: str) -> None:
    text = " ".join(texts)
    assert not [secret for secret in SECRETS if secret in text]
    assert LOGIN not in text
    assert "api_key" not in text


def refusal(
    source: str, collection: str | None = "sentinel-2-c1-l2a", patience: Patience = PATIENCE
) -> SluiceError:
    """The error of a search, after a look at everything that it shows, with --debug too."""
    with pytest.raises(SluiceError) as caught:
        find(source, collection, patience)
    err = caught.value
    refuse_secrets(str(err), repr(vars(err)), *traceback.format_exception(err))
    assert err.href is None or err.href.startswith("http://127.0.0.1:")
    return err


def shown(found: Found) -> list[str]:
    """Everything of scenes found and left out that is recorded."""
    texts = [files.scene.model_dump_json() for files in found.files]
    return texts + [out.model_dump_json() for out in found.left_out]


ECHO = f"<p>no {LOGIN} at /stac{QUERY}</p>"
TOLD = json.dumps({"description": f"the key {SECRETS[1]} of {LOGIN} is not known, at /stac{QUERY}"})
KINDS = [400, 401, 403, 404, 407, 408, 418, 429, 500, 503, "reset", "cut", "slow"]


@pytest.mark.parametrize("body", [ECHO, TOLD])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["/stac", "/search"])
def test_an_api_that_fails(server: FaultServer, part: str, kind: str | int, body: str) -> None:
    source = write_api(server, page([si.earth_search_c1()]))
    server.faults[part] = Fault(kind, body=body)
    # Only what hangs is to be given up soon: a busy machine answers late, too.
    patience = replace(PATIENCE, timeout_s=0.3) if kind == "slow" else PATIENCE
    told = str(refusal(source, patience=patience))
    assert f"{server.url}/stac: " in told


@pytest.mark.parametrize("name", ["stac", "catalog.json", "items.parquet"])
def test_nobody_listens(tmp_path: Path, name: str) -> None:
    with FaultServer(tmp_path) as server:
        source = address(server, name)
    assert isinstance(refusal(source), SourceUnavailable)


@pytest.mark.parametrize("name", ["stac", "catalog.json", "items.parquet"])
def test_nothing_there(server: FaultServer, name: str) -> None:
    assert f"{server.url}/{name}: nothing there" in str(refusal(address(server, name)))


@pytest.mark.parametrize("name", ["stac", "catalog.json", "items.parquet"])
@pytest.mark.parametrize("content", [ECHO, "{", "[1, 2]", '{"hello": 1}', TOLD])
def test_something_else_lies_there(server: FaultServer, name: str, content: str) -> None:
    write(server, name, content)
    assert isinstance(refusal(address(server, name)), ConfigError)


@pytest.mark.parametrize("results", [ECHO, '{"features": 7}', {"features": [{"no": "id"}]}])
def test_results_that_are_none(server: FaultServer, results: Any) -> None:
    assert "no STAC catalogue" in str(refusal(write_api(server, results)))


def test_the_same_page_for_ever(server: FaultServer) -> None:
    source = write_api(server, page([si.earth_search_c1()], address(server, "search")))
    assert "again and again" in str(refusal(source))


def test_too_many(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_ITEMS", 0)
    monkeypatch.setattr(static, "MOST_FILES", 0)
    source = write_api(server, page([si.earth_search_c1()]))
    assert "more than 0 scenes" in str(refusal(source))
    links = [{"rel": "item", "href": f"{k}.json"} for k in range(3)]
    write(server, "catalog.json", {"type": "Catalog", "stac_version": "1.0.0", "links": links})
    assert "more than 0 files" in str(refusal(address(server, "catalog.json")))


def test_collections_that_are_not_there_or_not_told(server: FaultServer) -> None:
    source = write_api(server, page([]), ("one", "two"))
    server.faults["/collections/"] = Fault(404, body=ECHO)
    assert "has no collection three; it has: one, two" in str(refusal(source, "three"))
    assert "name it with --collection" in str(refusal(source, None))


def test_another_sensor(server: FaultServer) -> None:
    source = write_api(server, page([si.earth_search_l1c()]))
    assert "holds no s2-l2a, only s2-l1c" in str(refusal(source))
    write(server, "items.json", page([si.earth_search_l1c()]))
    assert "holds no s2-l2a" in str(refusal(address(server, "items.json"), None))


def hostile_items(server: FaultServer) -> list[si.Item]:
    """Items whose own addresses hold logins, keys and signatures; the first two are sound."""
    sound = si.earth_search_c1("2024-08-01")
    signed = si.earth_search_c1("2024-08-02")
    for asset in signed["assets"].values():
        asset["href"] = f"{asset['href']}?sig={SECRETS[2]}"
    items = [sound, signed]
    hrefs = [
        f"ftp://{LOGIN}host/a.tif?sig={SECRETS[2]}",
        f"file:///etc/a.tif?sig={SECRETS[2]}",
        f"/vsicurl/https://{LOGIN}host/a.tif?sig={SECRETS[2]}",
    ]
    for day, href in enumerate(hrefs, start=3):
        items.append(si.earth_search_c1(f"2024-08-{day:02d}"))
        items[-1]["assets"]["red"]["href"] = href
    undated = si.earth_search_c1("2024-08-20")
    undated["properties"]["datetime"] = None
    unheld = si.earth_search_c1("2024-08-21")
    del unheld["assets"]["red"]
    # Of no known grid: its header would have to be read, and is not there.
    headless = si.earth_search_c1("2024-08-22")
    headless["properties"].pop("proj:code", None)
    headless["properties"].pop("proj:epsg", None)
    for asset in headless["assets"].values():
        asset.pop("proj:shape", None)
        asset.pop("proj:transform", None)
        asset["href"] = f"{server.url.replace('://', '://' + LOGIN)}/gone.tif?sig={SECRETS[2]}"
    items += [undated, unheld, headless]
    for k, item in enumerate(items):
        self_link = {"rel": "self", "href": address(server, f"items/{k}?token={SECRETS[2]}")}
        item["links"] = [self_link] if k % 2 else []
    return items


@pytest.mark.parametrize("kind", ["api", "list"])
def test_scenes_found_and_left_out(server: FaultServer, kind: str) -> None:
    items = page(hostile_items(server))
    source = write_api(server, items)
    if kind == "list":
        write(server, "items.json", items)
        source = address(server, "items.json")
    found = find(source)
    assert [files.scene.acquired.day for files in found.files if files.scene.acquired][:2] == [1, 2]
    assert len(found.left_out) >= 4
    refuse_secrets(*shown(found))
    for files in found.files:
        assert files.scene.href.startswith("http")
    # What reads the pixels keeps the signature that the catalogue gave.
    assert found.files[1].bands["red"].href.endswith(SECRETS[2])


def test_parts_of_a_catalogue_that_cannot_be_read(server: FaultServer) -> None:
    hrefs = [
        address(server, "gone.json"),
        address(server, "else.json"),
        f"gone-too.json?sig={SECRETS[2]}",
        f"s3://{LOGIN}bucket/item.json?sig={SECRETS[2]}",
        f"ftp://{LOGIN}host/item.json?sig={SECRETS[2]}",
        f"file:///etc/item.json?sig={SECRETS[2]}",
        address(server, "item.json"),
    ]
    links = [{"rel": "item", "href": href} for href in hrefs]
    write(server, "catalog.json", {"type": "Catalog", "stac_version": "1.0.0", "links": links})
    write(server, "else.json", {"hello": 1})
    write(server, "item.json", si.earth_search_c1() | {"links": []})
    found = find(address(server, "catalog.json"))
    assert [files.scene.href for files in found.files] == [f"{server.url}/item.json"]
    assert len(found.left_out) == len(hrefs) - 1
    refuse_secrets(*shown(found))


def test_a_source_that_is_no_address_shows_no_key() -> None:
    with pytest.raises(ConfigError, match="is not known") as caught:
        open_catalogue(f"host/stac{QUERY}", "s2-l2a")
    refuse_secrets(str(caught.value))


def test_the_login_is_used(server: FaultServer) -> None:
    source = write_api(server, page([si.earth_search_c1()]))
    assert len(find(source).files) == 1
    assert all("Authorization" in request.headers for request in server.requests)
    assert QUERY in server.requests[0].path
