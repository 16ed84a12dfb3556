"""What a person's verdict makes of an alert, whenever it is given.

An alert's reasons tell what the evidence says, and after it what a person says: so the state
without a verdict, or with another one, follows from them, and no look is judged anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sluice.base.places import AlertState, Verdict
from sluice.base.said import Said, read_said

_BY_EVIDENCE = {
    "alert_reason.confirmed": AlertState.CONFIRMED,
    "alert_reason.growth_confirmed": AlertState.CONFIRMED,
    "alert_reason.rejected_fell": AlertState.REJECTED,
    "alert_reason.rejected_stayed": AlertState.REJECTED,
    "alert_reason.growth_rejected": AlertState.REJECTED,
}
_BY_PERSON = {
    Verdict.CONFIRMED: (AlertState.CONFIRMED, "alert_reason.person_confirmed"),
    Verdict.REJECTED: (AlertState.REJECTED, "alert_reason.person_rejected"),
}
_PERSONS = {code for _, code in _BY_PERSON.values()}


def judged_by(
    state: AlertState, reasons: Iterable[Mapping[str, Any]], verdict: Verdict | None
) -> tuple[AlertState, list[dict[str, Any]]]:
    """State and reasons of an alert by the last verdict on its site.

    Args:
        state: As it is.
        reasons: As they are, as JSON has them; what an earlier verdict added goes.
        verdict: None, and unsure, leave it to the evidence.
    """
    told = read_said(reasons)
    evidence = [one for one in told if one.code not in _PERSONS]
    if verdict in _BY_PERSON:
        decided, code = _BY_PERSON[verdict]
        return decided, [one.plain() for one in (*evidence, Said.of(code))]
    if len(evidence) < len(told):
        state = next((_BY_EVIDENCE[one.code] for one in evidence if one.code in _BY_EVIDENCE),
                     AlertState.OPEN)  # fmt: skip
    return state, [one.plain() for one in evidence]
