"""Files that the service makes: exports and reports."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service_cases import client_of, get, refused, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("service") / "s.sqlite")


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[TestClient]:
    with client_of(store) as one:
        yield one


@pytest.mark.parametrize(
    "ending",
    ["geojson", "gpkg", "kml", "kmz", "csv", "gpx", "parquet", "pmtiles", "shp.zip"],
)
def test_every_export_is_served_and_its_folder_removed(
    client: TestClient, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    response = client.get(f"/exports/sites.{ending}", params={"area": "ashanti"})
    assert response.status_code == 200
    assert len(response.content) > 500
    assert f"sluice-sites.{ending}" in response.headers["content-disposition"]
    assert list(tmp_path.iterdir()) == []


def test_files_leave_out_what_was_rejected_unless_asked(tmp_path: Path) -> None:
    def ids(**asked: str) -> set[str]:
        answer = client.get("/exports/sites.geojson", params=asked)
        return {one["properties"]["site_id"] for one in answer.json()["features"]}

    def items(name: str, wanted: str | None = None) -> set[str]:
        told = get(
            client, f"/ogc/collections/{name}/items", **({"filter": wanted} if wanted else {})
        )
        return {one["id"] for one in told["features"]}

    def filter_of(name: str) -> str:
        return str(get(client, f"/ogc/collections/{name}")["description"].split("`")[-2])

    with client_of(write_store(tmp_path / "s.sqlite")) as client:
        body = {"verdict": "rejected", "reason": "sandbar"}
        assert client.post("/api/sites/s-3/reviews", json=body).status_code == 201
        assert len(ids()) == 11
        assert "s-3" not in ids()
        assert ids(verdict="rejected") == {"s-3"}
        assert ids(verdict="none") == ids()
        # The alert that later looks rejected, at s-9, is in none of them.
        assert ids(what="alerts") == {"s-0", "s-6"}
        assert ids(what="alerts", verdict="rejected") == {"s-3"}
        assert ids(what="alerts", verdict="rejected,none") == {"s-0", "s-3", "s-6"}
        assert ids(what="alerts", verdict="none") == {"s-0", "s-6"}
        # Collections hold all of them, and say how they are left out.
        assert "s-3" in items("sites")
        assert items("sites", filter_of("sites")) == ids()
        assert {"a-3", "a-9"} <= items("alerts")
        assert items("alerts", filter_of("alerts")) == {"a-0", "a-6"}
        page = client.get("/reports/areas/ashanti.html").text
        assert "11 sites are followed" in page
        assert "s-3<" not in page


def test_reports_are_served_in_a_language(client: TestClient) -> None:
    french = client.get("/reports/sites/s-3.html", params={"language": "fr"})
    assert french.status_code == 200
    assert 'lang="fr"' in french.text
    assert "default-src 'none'" in french.headers["content-security-policy"]
    pdf = client.get("/reports/areas/ashanti.pdf")
    assert pdf.content.startswith(b"%PDF")


@pytest.mark.parametrize("path", ["/reports/sites/s-3", "/reports/areas/ashanti"])
def test_reports_can_be_checked_by_the_file_that_comes_with_them(
    client: TestClient, path: str
) -> None:
    manifest = get(client, f"{path}.json", language="fr")
    assert len(manifest["documents"]) == 2
    for name, known in manifest["documents"].items():
        sent = client.get(f"{path}.{name.rpartition('.')[2]}", params={"language": "fr"})
        assert hashlib.sha256(sent.content).hexdigest() == known["sha256"], name
    assert manifest["facts_sha256"] in client.get(f"{path}.html?language=fr").text


def test_exports_are_served_in_a_language(client: TestClient) -> None:
    told = {
        language: client.get("/exports/sites.kml", params={"language": language}).text
        for language in ("en", "pt")
    }
    assert "Area (ha)" in told["en"]
    assert "Superfície (ha)" in told["pt"]
    assert "Area (ha)" not in told["pt"]
    assert client.get("/exports/sites.kml?language=de").status_code == 400


def test_named_sites_are_exported_alone(client: TestClient) -> None:
    query = {"ids": "s-3,s-5", "area": "ashanti"}
    told = get(client, "/exports/sites.geojson", **query)
    assert {site["properties"]["site_id"] for site in told["features"]} == {"s-3", "s-5"}
    assert get(client, "/api/sites", **query)["total"] == 2
    assert get(client, "/api/sites", ids="s-99")["total"] == 0


def test_what_cannot_be_exported_is_told_without_words_of_the_command(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice.app.following.exporting._MOST_PICTURED", 11)
    told = refused(client, "/exports/sites.kmz", area="ashanti")
    assert "pictures of 12 sites" in told
    assert "11" in told
    assert "--" not in told


def test_exports_that_nobody_makes_room_for_are_sent_away(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    begun, release = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> None:
        begun.set()
        release.wait(20)
        raise RuntimeError

    monkeypatch.setattr("sluice.app.web.exports.export", slow)
    with client_of(store, heavy_at_once=1, heavy_wait_s=0.2) as client:
        first = threading.Thread(target=client.get, args=("/exports/sites.csv",))
        first.start()
        assert begun.wait(20)
        second = client.get("/exports/sites.csv")
        # The rest of the service goes on meanwhile.
        assert client.get("/api/sites").status_code == 200
        release.set()
        first.join()
    assert second.status_code == 429
    assert second.headers["retry-after"] == "5"
