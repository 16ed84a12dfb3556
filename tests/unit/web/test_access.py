"""Who comes in, and by which way: owner, cookie, token; from which page; how often."""

import contextlib
import getpass
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from access_cases import ORIGIN, PASSWORD, Case, Serve
from sluice.app.accounts import change_user, remove_token
from sluice.app.cli.main import app
from sluice.app.following.stores import open_store
from sluice.app.web import identity
from sluice.base.errors import ConfigError
from sluice.base.people import Role

LOGIN = {"name": "reviewer-1", "password": PASSWORD}
BROWSER = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def at_once(monkeypatch):
    """What the store says holds for no time, so that changes are seen at once."""
    monkeypatch.setattr(identity, "_KEEP_S", 0.0)


def test_without_accounts_everyone_here_is_the_owner(
    filled: Case, serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(getpass, "getuser", lambda: "esi")
    client = serve(filled)()
    told = client.get("/api/session").json()
    assert told["person"] == {"name": "esi", "role": "admin"}
    assert (told["needs_login"], told["csrf"]) == (False, None)
    assert client.get("/api/sites").json()["total"] == 12
    assert client.post("/api/session", json=LOGIN).status_code == 403


def test_each_store_is_told_apart_wherever_it_is_served(filled: Case, serve: Serve, tmp_path: Path):
    def told(address: str) -> str:
        return str(serve(Case(address, filled.places))().get("/api/session").json()["store"])

    first = told(str(shutil.copy(filled.address, tmp_path / "own.sqlite")))
    assert len(first) == 16
    assert told(str(tmp_path / "own.sqlite")) == first
    other = tmp_path / "other.sqlite"
    open_store(str(other), create=True).close()
    assert told(str(other)) != first


def test_nobody_waits_for_a_store_that_cannot_be_given_its_id_now(
    filled: Case, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    path = shutil.copy(filled.address, tmp_path / "o.sqlite")
    client = serve(Case(str(path), filled.places))()
    monkeypatch.setattr(identity, "_ID_WITHIN_S", 0.05)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as landing:
        # Another test may have had it made.
        landing.execute("DELETE FROM secrets WHERE name = 'store'")
        landing.execute("BEGIN IMMEDIATE")
        asked = [client.get("/api/session").json()["store"] for _ in range(3)]
    assert asked == [None] * 3
    monkeypatch.setattr(identity, "_ID_WITHIN_S", 20.0)
    assert len(client.get("/api/session").json()["store"]) == 16


def test_a_review_for_another_store_is_not_taken(
    filled: Case, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Ids of sites tell where they lie: another store may have the same."""
    monkeypatch.setattr(getpass, "getuser", lambda: "esi")
    client = serve(Case(str(shutil.copy(filled.address, tmp_path / "o.sqlite")), filled.places))()
    path = f"/api/sites/{filled.places[0].site_id}"

    def sent(store: str) -> int:
        headers, said = {"X-Sluice-Store": store}, {"verdict": "confirmed"}
        answer = client.post(f"{path}/reviews", json=said, headers=headers)
        # A page keeps its verdict for the other store.
        assert answer.status_code == 201 or answer.json()["error"]["kind"] == "other_store"
        return int(answer.status_code)

    assert sent("0123456789abcdef") == 409
    assert client.get(path).json()["reviews"] == []
    assert sent(client.get("/api/session").json()["store"]) == 201


def test_who_reviews_on_the_map_and_in_a_terminal_is_one_reviewer(
    filled: Case, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(getpass, "getuser", lambda: "esi")
    case = Case(str(shutil.copy(filled.address, tmp_path / "own.sqlite")), filled.places)
    client, site_id = serve(case)(), case.places[0].site_id
    answer = client.post(f"/api/sites/{site_id}/reviews", json={"verdict": "confirmed"})
    assert (answer.status_code, answer.json()["who"]) == (201, "esi")
    words = ["review", site_id, "confirmed", "--store", case.address]
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "confirmed by esi" in told.output
    assert client.get(f"/api/sites/{site_id}").json()["site"]["reviewers"] == 1


def test_a_computer_that_does_not_tell_who_uses_it_has_an_owner(
    filled: Case, serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert serve(filled)().get("/api/session").json()["person"]["name"] == "owner"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8765",
        "localhost",
        "localhost:1234",
        "127.0.0.1.evil.example:8765",
        "localhost:8765.evil.example",
        "localhost:8765@evil.example",
        "evil.example#localhost:8765",
        "0.0.0.0:8765",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/sites", "/tiles/sites/1/1/1.pbf", "/nothing"])
def test_names_that_others_point_here_are_refused(filled: Case, serve: Serve, host, path):
    answer = serve(filled)().get(path, headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["kind"] == "forbidden"


@pytest.mark.parametrize(
    "host", ["localhost:8765", "LOCALHOST:8765", "127.0.0.1:8765", "[::1]:8765"]
)
def test_own_names_are_taken(filled: Case, serve: Serve, host):
    assert serve(filled)().get("/api/sites", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8765"},  # another name than the one that is asked
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "https://127.0.0.1:8765"},
        {"Origin": "chrome-extension://abc"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        },
        {"Referer": "https://evil.example/page"},
        {"Referer": "http://127.0.0.1:3000/"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/api/sites", "/tiles/sites/1/1/1.pbf", "/exports/sites.geojson", "/ogc/"]
)
def test_other_pages_get_no_data(filled: Case, serve: Serve, headers, path):
    client = serve(filled)()
    assert client.get(path, headers=headers).status_code == 403
    assert client.post("/api/layers", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        BROWSER,
        BROWSER | {"Referer": f"{ORIGIN}/?site=s-1"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_the_map_and_programs_get_data(filled: Case, serve: Serve, headers):
    assert serve(filled)().get("/api/sites", headers=headers).status_code == 200


def test_links_of_other_pages_lead_to_the_map_alone(filled: Case, serve: Serve):
    client = serve(filled)()
    link = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
        "Referer": "https://mail.example/",
    }
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert client.get("/api/areas", headers=link).status_code == 403


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_a_proxy_that_was_not_named_is_noticed(filled: Case, serve: Serve, name):
    answer = serve(filled)().get("/api/sites", headers={name: "203.0.113.9"})
    assert answer.status_code == 403
    assert "sluice users add" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},  # noqa: S104
        {"host": "::"},
        {"host": "192.0.2.7"},
        {"proxies": ("127.0.0.1",)},
        {"names": ("mines.example.org",)},
    ],
)
def test_it_lets_nobody_else_in_without_accounts(filled: Case, case: Case, serve: Serve, settings):
    with pytest.raises(ConfigError, match="sluice users add"):
        serve(filled, **settings)
    client = serve(case, **settings)(origin="http://mines.example.org")
    assert client.get("/api/sites").status_code == 401


def test_with_accounts_one_logs_in_on_loopback_too(peopled: Case, serve: Serve):
    client = serve(peopled)()
    told = client.get("/api/session").json()
    assert told["person"] is None
    assert (told["needs_login"], told["store"]) == (True, None)
    for path in ("/api/sites", "/api/areas", "/nothing", "/ogc/", "/tiles/sites/1/1/1.pbf"):
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert client.get("/").status_code == 200
    assert client.get("/api/messages/en").status_code == 200


def test_accounts_hold_from_when_there_are_some(
    filled: Case, case: Case, serve: Serve, tmp_path, at_once
):
    own = Case(str(tmp_path / "open.sqlite"), filled.places)
    Path(own.address).write_bytes(Path(filled.address).read_bytes())
    client = serve(own)()
    assert client.get("/api/sites").status_code == 200
    with own.people() as people:
        from sluice.app.accounts import add_user

        add_user(people, "ama", PASSWORD, by="test")
    assert client.get("/api/sites").status_code == 401


def test_logging_in_and_out(case: Case, serve: Serve):
    client = serve(case)()
    answer = client.post("/api/session", json=LOGIN, headers=BROWSER)
    assert answer.status_code == 200
    told = answer.json()
    assert told["person"] == {"name": "reviewer-1", "role": "reviewer"}
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    assert client.get("/api/sites").json()["total"] == 12
    again = client.get("/api/session").json()
    assert again == told
    # Without the secret of the session nothing is written, and nobody is logged out.
    assert client.delete("/api/session", headers=BROWSER).status_code == 403
    assert client.get("/api/sites").status_code == 200
    with_secret = BROWSER | {"X-CSRF-Token": told["csrf"]}
    secret = client.cookies["sluice-8765"]
    assert client.delete("/api/session", headers=with_secret).status_code == 204
    assert client.get("/api/sites").status_code == 401
    # What the cookie held is worth nothing any more.
    stolen = {"Cookie": f"sluice-8765={secret}"}
    assert client.get("/api/sites", headers=stolen).status_code == 401
    assert secret.encode() not in Path(case.address).read_bytes()


def test_each_login_begins_anew(case: Case, serve: Serve):
    client = serve(case)()
    first = client.post("/api/session", json=LOGIN)
    old = client.cookies["sluice-8765"]
    second = client.post("/api/session", json=LOGIN)
    assert first.json()["csrf"] != second.json()["csrf"]
    answer = client.get("/api/sites", headers={"Cookie": f"sluice-8765={old}"})
    assert answer.status_code in {200, 401}  # held for as long as an answer of the store
    with case.people() as people:
        from sluice.app.accounts import digest_of

        assert people.by_session(digest_of(old)) is None


@pytest.mark.parametrize("csrf", [None, "", "wrong", "é"])
def test_a_review_by_cookie_needs_the_secret(case: Case, serve: Serve, csrf):
    client = serve(case)()
    client.post("/api/session", json=LOGIN)
    path = f"/api/sites/{case.places[0].site_id}/reviews"
    headers = {} if csrf is None else {"X-CSRF-Token": csrf.encode()}
    body = {"verdict": "confirmed"}
    assert client.post(path, json=body, headers=headers).status_code == 403
    right = {"X-CSRF-Token": client.get("/api/session").json()["csrf"]}
    assert client.post(path, json=body, headers=right).status_code == 201


def test_a_token_needs_none(case: Case, serve: Serve):
    path = f"/api/sites/{case.places[0].site_id}/reviews"
    answer = serve(case)("reviewer").post(path, json={"verdict": "confirmed"})
    assert answer.status_code == 201
    assert answer.json()["who"] == "reviewer-1"


@pytest.mark.parametrize("token", ["", "x", "sluice_" + "a" * 43, "a" * 5000])
def test_tokens_that_are_none(peopled: Case, serve: Serve, token):
    answer = serve(peopled)().get("/api/sites", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_whoever_is_disabled_is_out(case: Case, serve: Serve, at_once):
    clients = serve(case)
    by_token, by_cookie = clients("reviewer"), clients()
    by_cookie.post("/api/session", json=LOGIN)
    assert by_token.get("/api/sites").status_code == 200
    assert by_cookie.get("/api/sites").status_code == 200
    with case.people() as people:
        change_user(people, "reviewer-1", disabled=True, by="test")
    assert by_token.get("/api/sites").status_code == 401
    assert by_cookie.get("/api/sites").status_code == 401
    assert by_cookie.post("/api/session", json=LOGIN).status_code == 401


def test_a_token_that_was_taken_back(case: Case, serve: Serve, at_once):
    client = serve(case)("reviewer")
    assert client.get("/api/sites").status_code == 200
    with case.people() as people:
        remove_token(people, "reviewer-1", "t", by="test")
    assert client.get("/api/sites").status_code == 401


def test_roles(case: Case, serve: Serve):
    clients = serve(case)
    path = f"/api/sites/{case.places[0].site_id}/reviews"
    answers = {
        role: [
            clients(str(role)).post(path, json={"verdict": "unsure"}).status_code,
            clients(str(role)).post("/api/areas?name=x&file=x.geojson").status_code,
            clients(str(role)).get("/api/audit").status_code,
        ]
        for role in Role
    }
    assert [answers[role][0] for role in Role] == [403, 201, 201, 201]
    assert [answers[role][1] == 403 for role in Role] == [True, True, False, False]
    assert [answers[role][2] for role in Role] == [403, 403, 403, 200]


def test_wrong_passwords_take_longer_and_longer(case: Case, serve: Serve):
    client = serve(case)()
    codes = []
    for name in ("reviewer-1", "nobody"):
        wrong = {"name": name, "password": "not the right one"}
        answers = [client.post("/api/session", json=wrong) for _ in range(7)]
        codes.append([answer.status_code for answer in answers])
        assert int(answers[-1].headers["Retry-After"]) >= 1
        texts = {answer.json()["error"]["message"] for answer in answers[:5]}
        assert texts == {"name or password are not right"}
    # Whether there is such a user makes no difference.
    assert codes[0] == codes[1]
    assert codes[0][:5] == [401] * 5
    assert 429 in codes[0]
    # The right one has to wait as well.
    assert client.post("/api/session", json=LOGIN).status_code == 429


def test_a_new_password(case: Case, serve: Serve, at_once):
    clients = serve(case)
    here, there = clients(), clients()
    for client in (here, there):
        client.post("/api/session", json=LOGIN)
    csrf = {"X-CSRF-Token": here.get("/api/session").json()["csrf"]}
    path, new = "/api/session/password", "another good one"

    def change(old: str, wanted: str) -> int:
        return here.post(path, json={"old": old, "new": wanted}, headers=csrf).status_code

    assert change("wrong password", new) == 403
    assert change(PASSWORD, "short") == 400
    assert change(PASSWORD, new) == 204
    assert here.get("/api/sites").status_code == 200
    assert there.get("/api/sites").status_code == 401
    assert there.post("/api/session", json=LOGIN).status_code == 401
    assert there.post("/api/session", json=LOGIN | {"password": new}).status_code == 200
    by_token = clients("reviewer").post(path, json={"old": new, "new": PASSWORD})
    assert by_token.status_code == 403


def test_whoever_asks_too_often_waits(peopled: Case, serve: Serve):
    clients = serve(peopled, requests_per_second=0.05, requests_at_once=5)
    client = clients("reviewer")
    answers = [client.get("/api/layers") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 20
    # Others do not wait for them.
    assert clients("analyst").get("/api/layers").status_code == 200


def test_strangers_are_slowed_down_by_address(peopled: Case, serve: Serve):
    client = serve(peopled, strangers_per_second=0.01, requests_at_once=5)()
    codes = [client.get("/api/session").status_code for _ in range(7)]
    assert codes == [200] * 5 + [429] * 2


def test_exports_and_uploads_are_rarer(peopled: Case, serve: Serve):
    client = serve(peopled, heavy_per_minute=2)("analyst")
    codes = [client.get("/api/statistics.csv").status_code for _ in range(4)]
    assert codes == [200, 200, 429, 429]
    assert client.get("/api/layers").status_code == 200


def test_behind_a_proxy_with_https(case: Case, serve: Serve):
    # The test's client has the address `testclient`.
    clients = serve(case, proxies=("127.0.0.1",), names=("mines.example.org",))
    passed_on = {
        "Host": "mines.example.org",
        "X-Forwarded-For": "198.51.100.4, 203.0.113.9",
        "X-Forwarded-Proto": "https",
        "Origin": "https://mines.example.org",
    }
    client = clients(client=("127.0.0.1", 50000))
    answer = client.post("/api/session", json=LOGIN, headers=passed_on)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-sluice=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    with case.people() as people:
        (event,) = [event for _, event in people.events(what="login")]
    # What the client itself wrote there is not believed, the proxy's word is.
    assert event.address == "203.0.113.9"
    # Somebody else's word is not taken.
    stranger = clients(client=("192.0.2.66", 50000))
    assert stranger.post("/api/session", json=LOGIN, headers=passed_on).status_code == 403
    wrong = passed_on | {"Host": "evil.example"}
    assert client.get("/api/session", headers=wrong).status_code == 403


def test_answers_are_kept_by_nobody_on_the_way(peopled: Case, serve: Serve):
    answer = serve(peopled)("reviewer").get("/api/sites")
    assert answer.headers["Cache-Control"] in {"private, no-cache", "no-store"}
    assert {"Cookie", "Authorization"} <= {
        part.strip() for part in answer.headers["Vary"].split(",")
    }


def test_other_methods(peopled: Case, serve: Serve):
    client = serve(peopled)("admin")
    answer = client.put("/api/sites")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"
    assert client.get("/nothing").status_code == 404


def test_what_was_done_is_written_down(case: Case, serve: Serve):
    clients = serve(case)
    browser = clients()
    browser.post("/api/session", json=LOGIN | {"password": "not the right one"})
    browser.post("/api/session", json=LOGIN)
    site = case.places[0].site_id
    clients("reviewer").post(f"/api/sites/{site}/reviews", json={"verdict": "unsure"})
    clients("viewer").post(f"/api/sites/{site}/reviews", json={"verdict": "unsure"})
    clients("viewer").get("/api/statistics.csv?by=district")
    told = clients("admin").get("/api/audit?limit=4").json()["events"]
    assert [(row["who"], row["what"], row["on"], row["outcome"]) for row in told] == [
        ("viewer-1", "export", "/api/statistics.csv?by=district", "done"),
        ("reviewer-1", "review", f"/api/sites/{site}/reviews", "done"),
        ("reviewer-1", "login", "", "done"),
        ("reviewer-1", "login", "", "refused: name or password"),
    ]
    assert {row["address"] for row in told} == {"testclient"}
    page = clients("admin").get(f"/api/audit?limit=2&before={told[1]['number']}").json()["events"]
    assert page == told[2:]


def test_no_export_leaves_that_cannot_be_written_down(case: Case, serve: Serve, monkeypatch):
    from sluice.base.errors import Conflict
    from sluice.store.people import SqlPeople

    def held(*_: object) -> None:
        raise Conflict("somebody else holds it for too long")

    client = serve(case)("viewer")
    monkeypatch.setattr(SqlPeople, "add_event", held)
    answer = client.get("/api/statistics.csv")
    assert answer.status_code == 503
    assert b"hectares" not in answer.content
    # A verdict that is in the store already is told.
    path = f"/api/sites/{case.places[0].site_id}/reviews"
    reviewer = serve(case)("reviewer")
    assert reviewer.post(path, json={"verdict": "unsure"}).status_code == 201
