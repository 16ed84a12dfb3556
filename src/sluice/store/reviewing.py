"""What reviews amount to, and the chain that shows whether one was changed.

Each review carries a SHA-256 over the one before it and its own content: to change or take out a
review without a trace, all that follow would have to be written anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

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
