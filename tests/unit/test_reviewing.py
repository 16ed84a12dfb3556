"""What reviews amount to when sites were merged, against the plain rule read off one by one."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from sluice.base.places import Verdict
from sluice.store.reviewing import families, lineage, verdicts
from stores import NOW, a_review

SITES = [f"s-{n}" for n in range(6)]


@st.composite
def merges(draw: st.DrawFn) -> dict[str, str]:
    """Each site merged into an earlier one, or its own."""
    into = {n: draw(st.none() | st.integers(0, n - 1)) for n in range(1, len(SITES))}
    return {SITES[n]: SITES[heir] for n, heir in into.items() if heir is not None}


SAID = st.lists(
    st.tuples(st.sampled_from(SITES), st.sampled_from("ABC"), st.sampled_from(Verdict)), max_size=12
)


@given(merges(), SAID)
def test_a_review_counts_for_all_that_its_site_became(into, said):
    reviews = [
        a_review(f"r{k}", site, who=who, verdict=verdict, when=NOW + dt.timedelta(hours=k))
        for k, (site, who, verdict) in enumerate(said)
    ]
    found = verdicts(reviews, into)
    for site in SITES:
        # Slowly: a review is of this site if walking up from its own comes by.
        own = []
        for of_site, who, verdict in said:
            at = of_site
            while at != site and at in into:
                at = into[at]
            if at == site:
                own.append((who, verdict))
        if not own:
            assert site not in found
            continue
        last = own[-1][1]
        people = {who for who, _ in own}
        words = {who: [word for name, word in own if name == who][-1] for who in people}
        assert found[site] == (last, sum(word == last for word in words.values()))


@given(merges())
def test_families_are_those_whose_line_comes_by(into):
    for site in SITES:
        assert families([site], into) == {one for one in SITES if site in lineage(one, into)}


def test_a_circle_ends():
    circle = {"a": "b", "b": "c", "c": "a"}
    assert lineage("b", circle) == ["b", "c", "a"]
    assert set(verdicts([a_review("r1", "a")], circle)) == {"a", "b", "c"}
