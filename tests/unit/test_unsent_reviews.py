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
  const outbox = new Outbox(value.person ?? "ama", shelf, {
    send: async (one) => {
      told.tried.push(one.review_id);
      const status = value.sites?.[one.site] ?? answers.shift() ?? 200;
      if (status !== 200) throw { status };
    },
    sent: (one) => told.sent.push(one.review_id),
    refused: (one) => { told.refused.push(one.review_id); told.before.push(one.before); },
    loggedOut: () => told.forms++,
    changed: () => undefined,
    later: (then, ms) => { told.waits.push(ms); due = then; return 1; },
    forget: () => { due = null; },
  });
  const rest = async () => { for (let n = 0; n < 50; n++) await null; };
  for (const [deed, ...how] of value.deeds ?? []) {
    if (deed === "add") {
      const [review_id, site, before = null] = how;
      outbox.add({ review_id, site, verdict: "confirmed", reason: null, note: "cur?", before });
    } else if (deed === "later") due?.();
    else outbox[deed]();
    if (how.at(-1) !== "at once") await rest();
  }
  told.left = outbox.waiting.map((one) => one.review_id);
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
    again = play(kept=first["kept"], deeds=[["wake"]])
    assert again["sent"] == ["1", "2"]
    assert again["kept"] == {}
    assert play(kept=first["kept"], deeds=[["clear"], ["wake"]])["kept"] == {}


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422])
def test_a_definite_refusal_is_told_and_holds_up_nothing(play, status) -> None:
    told = play(sites={"s": status}, deeds=[["add", "1", "s", "unsure"], ["add", "2", "t"]])
    assert (told["refused"], told["sent"], told["left"]) == (["1"], ["2"], [])
    assert told["before"] == ["unsure"]
    assert told["kept"] == {}


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
    told = play(**browser, answers=[0], deeds=[["add", "1", "s"], ["later"]])
    assert told["sent"] == ["1"]


def test_what_cannot_be_read_is_left_alone(play) -> None:
    kept = {
        "sluice.unsent/ama/1": "{",
        "sluice.unsent/ama/2": '{"site": 3}',
        "sluice.language": "fr",
    }
    told = play(kept=kept, deeds=[["wake"]])
    assert (told["tried"], told["kept"]) == ([], kept)
