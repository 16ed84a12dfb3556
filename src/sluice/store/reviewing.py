"""What reviews amount to, and the chain that shows whether one was changed.

Each review carries a SHA-256 over the one before it and its own content: to change or take out a
review without a trace, all that follow would have to be written anew, and where they end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from sluice.base.places import Review
from sluice.store.columns import moment_text

FIRST_LINK = ""
"""What the first review follows."""


def link(previous: str, review: Review) -> str:
    """The chain's value at a review.

    Args:
        previous: At the review before; `FIRST_LINK` for the first.
        review: The one that is added.
    """
    content = [
        previous,
        review.review_id,
        review.site_id,
        str(review.verdict),
        None if review.reason is None else str(review.reason),
        review.who,
        moment_text(review.when),
        review.note,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def agreement(reviews: Iterable[Review]) -> tuple[str | None, int]:
    """The last verdict on a site, and how many people's last word it is.

    Args:
        reviews: Of one site, oldest first.
    """
    last_words = {review.who: review.verdict for review in reviews}
    verdict = None
    # A dictionary keeps the place of a person's first word: the last review is asked for itself.
    for review in reviews:
        verdict = review.verdict
    if verdict is None:
        return None, 0
    return str(verdict), sum(word == verdict for word in last_words.values())


def lineage(site_id: str, merged_into: Mapping[str, str]) -> list[str]:
    """A site, the one that it was merged into, and so on to the one that goes on.

    Args:
        site_id: The first.
        merged_into: By site; those that were not merged are left out. A circle ends where it
            closes.
    """
    line = {site_id: None}
    while (heir := merged_into.get(site_id)) is not None and heir not in line:
        line[heir] = None
        site_id = heir
    return list(line)


def families(site_ids: Iterable[str], merged_into: Mapping[str, str]) -> set[str]:
    """These sites and all that were merged into them."""
    wanted = set(site_ids)
    return wanted | {one for one in merged_into if not wanted.isdisjoint(lineage(one, merged_into))}


def verdicts(
    reviews: Iterable[Review], merged_into: Mapping[str, str]
) -> dict[str, tuple[str | None, int]]:
    """What reviews make of each site: one counts for its site and for those it was merged into.

    Args:
        reviews: Of any sites, oldest first.
        merged_into: See `lineage`.

    Returns:
        `agreement` by site, for those of which something was said.
    """
    told: dict[str, list[Review]] = {}
    for review in reviews:
        for site_id in lineage(review.site_id, merged_into):
            told.setdefault(site_id, []).append(review)
    return {site_id: agreement(of_site) for site_id, of_site in told.items()}
