"""Reviews that wait in the browser until the service has answered them."""

from typing import Any

import pytest

from map_code import asker

# `value`: what attempts are answered (200 beyond), or those of a site, and what is done.
PLAY = """(async () => {
  const kept = new Map(Object.entries(value.kept ?? {}));
  const shelf = value.shelf === false ? null : {
    get length() { return kept.size; },
    key: (at) => [...kept.keys()][at] ?? null,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, words) => { if (value.full) throw new Error("full"); kept.set(key, words); },
    removeItem: (key) => kept.delete(key),
  };
  const told = { tried: [], sent: [], refused: [], forms: 0, waits: [], before: [] };
  const answers = [...(value.answers ?? [])];
  let due = null;
  const deedsOf = (deeds) => ({
    send: async (one) => {
      told.tried.push(one.review_id);
      const status = value.sites?.[one.site] ?? answers.shift() ?? 200;
      if (status !== 200) throw { status, kind: value.kind ?? "bad_data", message: "why" };
    },
    sent: (one) => {
      told.sent.push(one.review_id);
      if (value.breaks) throw new Error("a fault of the page");
    },
    refused: (one) => { told.refused.push(one.review_id); told.before.push(one.before); },
    loggedOut: () => told.forms++,
    changed: () => undefined,
    later: (then, ms) => { told.waits.push(ms); due = then; return 1; },
    forget: () => { due = null; },
    ...deeds,
  });
  const owner = [value.store ?? "gold", value.person ?? "ama"];
  const outbox = new Outbox(owner, shelf, deedsOf());
  // A page of the same browser that is behind a line of its own.
  const gone = async () => { throw { status: 0 }; };
  const away = { send: gone, later: () => 2, forget: () => undefined };
  const otherPage = new Outbox(owner, shelf, deedsOf(away));
  process.on("unhandledRejection", () => undefined);
  const rest = async () => { for (let n = 0; n < 50; n++) await null; };
  for (const [deed, ...how] of value.deeds ?? []) {
    const [review_id, site, before = null] = how;
    const said = { review_id, site, verdict: "confirmed", reason: null, note: "cur?", before };
    if (deed === "add") outbox.add(said);
    else if (deed === "add elsewhere") otherPage.add(said);
    else if (deed === "later") due?.();
    else if (deed === "drop") outbox.drop(outbox.returned[0]);
    else outbox[deed]();
    if (how.at(-1) !== "at once") await rest();
  }
  told.left = outbox.waiting.map((one) => one.review_id);
  told.returned = outbox.returned.map(({ review_id, note, why }) => [review_id, note, why]);
  told.loose = outbox.holdsLoose;
  return { ...told, kept: Object.fromEntries(kept) };
})()"""


@pytest.fixture(scope="module")
def play() -> Any:
    ask = asker("base/outbox.ts", "Outbox", PLAY)
    return lambda **value: ask([value])[0]


def test_a_review_is_sent_until_it_is_answered_and_ever_more_seldom(play) -> None:
    away = [0, 503, 429, 408, 0, 502, 0]
    told = play(answers=away, deeds=[["add", "1", "s"], *[["later"]] * len(away)])
    assert told["sent"] == ["1"]
    assert told["tried"] == ["1"] * 8
    assert told["waits"] == [1500, 3000, 6000, 12_000, 24_000, 48_000, 60_000]
    assert (told["left"], told["kept"], told["refused"]) == ([], {}, [])


def test_what_is_given_meanwhile_waits_in_its_order(play) -> None:
    deeds = [["add", "1", "s"], ["add", "2", "t"], ["add", "3", "s"], ["wake"]]
    told = play(answers=[0, 0, 0], deeds=deeds)
    assert told["tried"] == ["1", "1", "1", "1", "2", "3"]
    assert told["sent"] == ["1", "2", "3"]


def test_the_next_page_sends_what_is_kept_for_its_person_alone(play) -> None:
    away = {"answers": [0] * 4}
    first = play(**away, deeds=[["add", "1", "s"], ["add", "2", "t"]])
    assert first["left"] == ["1", "2"]
    other = play(person="kofi", kept=first["kept"], deeds=[["wake"], ["clear"]])
    assert other["tried"] == []
    assert other["kept"] == first["kept"]
    # Not even somebody whose name begins the same.
    assert play(person="am", kept=first["kept"], deeds=[["wake"]])["tried"] == []
    assert play(person="ama/", kept=first["kept"], deeds=[["wake"]])["tried"] == []
    # Nor in another store that is served at the same address.
    assert play(store="tin", kept=first["kept"], deeds=[["wake"]])["tried"] == []
    again = play(kept=first["kept"], deeds=[["wake"]])
    assert again["sent"] == ["1", "2"]
    assert again["kept"] == {}
    assert play(kept=first["kept"], deeds=[["clear"], ["wake"]])["kept"] == {}


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422])
def test_a_definite_refusal_is_told_and_holds_up_nothing(play, status) -> None:
    told = play(sites={"s": status}, deeds=[["add", "1", "s", "unsure"], ["add", "2", "t"]])
    assert (told["refused"], told["sent"], told["left"]) == (["1"], ["2"], [])
    assert told["before"] == ["unsure"]


def test_what_was_refused_is_kept_until_somebody_has_seen_to_it(play) -> None:
    why = {"status": 404, "kind": "bad_data", "message": "why"}
    told = play(sites={"s": 404}, deeds=[["add", "1", "s"]])
    assert told["returned"] == [["1", "cur?", why]]
    # The next page has it, and does not send it again.
    after = play(kept=told["kept"], deeds=[["wake"]])
    assert (after["returned"], after["tried"]) == (told["returned"], [])
    for deeds in ([["drop"]], [["clear"]], [["add", "2", "s"]]):
        done = play(kept=told["kept"], deeds=deeds)
        assert (done["returned"], done["kept"]) == ([], {})
    assert play(kept=told["kept"], deeds=[["add", "2", "t"]])["returned"] == told["returned"]


@pytest.mark.parametrize("status", [403, 404, 405])
def test_what_the_service_did_not_say_itself_is_no_refusal(play, status) -> None:
    """A proxy whose service is away, or the page of a guest network."""
    deeds = [["add", "1", "s"], ["add", "2", "t"]]
    told = play(kind="", sites={"s": status}, deeds=deeds)
    assert (told["sent"], told["left"], told["refused"]) == (["2"], ["1"], [])
    assert play(kept=told["kept"], deeds=[["wake"]])["sent"] == ["1"]


def test_pages_of_one_browser_send_in_the_order_of_what_was_said(play) -> None:
    deeds = [["add elsewhere", "1", "s"], ["add", "2", "s"]]
    assert play(deeds=deeds)["sent"] == ["1", "2"]


def test_who_logs_out_leaves_nothing_of_other_pages_either(play) -> None:
    assert play(deeds=[["add elsewhere", "1", "s"], ["clear"]])["kept"] == {}


def test_nothing_is_sent_once_somebody_else_is_logged_in(play) -> None:
    deeds = [["add", "1", "s"], ["close"], ["later"], ["wake"], ["add", "2", "t"]]
    told = play(answers=[0], deeds=deeds)
    assert (told["tried"], told["left"]) == (["1"], ["1", "2"])
    assert len(told["kept"]) == 2


def test_a_fault_of_the_page_holds_up_nothing(play) -> None:
    deeds = [["add", "1", "s", None, "at once"], ["add", "2", "t"], ["later"]]
    assert play(breaks=True, deeds=deeds)["sent"] == ["1", "2"]


def test_of_two_refused_verdicts_the_first_ones_past_counts(play) -> None:
    """Else the second would be taken back to what was never accepted."""
    deeds = [["add", "1", "s", "unsure", "at once"], ["add", "2", "s", "confirmed"]]
    assert play(sites={"s": 422}, deeds=deeds)["before"] == ["unsure", "unsure"]


def test_a_fault_at_one_site_holds_up_its_own_reviews_only(play) -> None:
    deeds = [
        ["add", "1", "s", None, "at once"],
        ["add", "2", "s", None, "at once"],
        ["add", "3", "t"],
    ]
    told = play(sites={"s": 500}, deeds=deeds)
    assert (told["sent"], told["left"], told["refused"]) == (["3"], ["1", "2"], [])
    assert "2" not in told["tried"]


def test_without_a_session_all_wait_and_one_form_is_asked_for(play) -> None:
    deeds = [["add", "1", "s"], ["add", "2", "t"], ["add", "3", "u"]]
    told = play(answers=[401], deeds=deeds)
    assert (told["tried"], told["forms"], told["waits"]) == (["1"], 1, [])
    assert play(answers=[401], deeds=[*deeds, ["wake"]])["sent"] == ["1", "2", "3"]


@pytest.mark.parametrize("browser", [{"shelf": False}, {"full": True}])
def test_a_browser_that_keeps_nothing_sends_all_the_same(play, browser) -> None:
    told = play(**browser, answers=[0], deeds=[["add", "1", "s"]])
    assert told["loose"] is True
    told = play(**browser, answers=[0], deeds=[["add", "1", "s"], ["later"]])
    assert (told["sent"], told["loose"]) == (["1"], False)


def test_what_cannot_be_read_is_left_alone(play) -> None:
    kept = {
        "sluice.unsent/gold/ama/1": "{",
        "sluice.unsent/gold/ama/2": '{"site": 3}',
        "sluice.language": "fr",
    }
    told = play(kept=kept, deeds=[["wake"]])
    assert (told["tried"], told["kept"]) == ([], kept)
