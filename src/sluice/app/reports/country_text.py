"""How following a country went, in plain words."""

from __future__ import annotations

import textwrap

import numpy as np

from sluice.app.following.place_lists import table_text
from sluice.base.periods import Period
from sluice.base.places import Status
from sluice.phantom.follow_records import LEAST_HA, CountryComparison, MineOutcome

_ROLES = {
    "grows": "there before, grows",
    "opens": "opens and grows",
    "heals": "there before, left, heals",
    "pauses": "left and worked again",
    "steady": "there before, same size",
    "brief": "opens, left again, heals",
}
_WORDS = (
    Status.NEW,
    Status.GROWING,
    Status.STEADY,
    Status.INACTIVE,
    Status.RECOVERING,
    Status.NOT_OBSERVED,
)
_NONE = "none"
_WIDTH, _INDENT = 99, 11


def comparison_text(found: CountryComparison, quarters: tuple[Period, ...]) -> str:
    """A table of the mines, then the totals.

    Args:
        found: The comparison.
        quarters: Its quarters.
    """
    rows = [_row(mine, quarters) for mine in found.mines]
    head = ("mine", "what it does", f">= {LEAST_HA:g} ha", "visible", "site", "late", "alert")
    lines = [
        f"A fictional country of {found.km2:,.0f} km2, {len(quarters)} quarters, "
        f"{len(found.mines)} mines. What Sluice told, against the truth:",
        "",
        table_text((*head, "level", "true ha", "told ha", "true status", "told"), rows),
        "",
        "visible: the first quarter in which no cloud hid it. site: the one in which a scan first",
        "detected it, so many quarters late. alert: the one in which the evidence was enough to",
        "send one. ha and status: in the last quarter in which it was visible.",
        "",
        *_totals(found),
    ]
    return "\n".join(lines)


def quarter_word(quarters: tuple[Period, ...], number: int | None) -> str:
    """`2023 Q2`, a dash for None."""
    if number is None:
        return "-"
    start = quarters[number].start
    return f"{start.year} Q{(start.month + 2) // 3}"


def _row(mine: MineOutcome, quarters: tuple[Period, ...]) -> tuple[str, ...]:
    seen = [q for q in mine.quarters if q.seen_share >= 0.5] or list(mine.quarters)
    last = seen[-1]
    late = mine.delay_found
    level = "-" if mine.level is None else mine.level.value
    return (
        mine.mine_id,
        _ROLES.get(mine.role, mine.role),
        quarter_word(quarters, mine.due),
        quarter_word(quarters, mine.visible),
        quarter_word(quarters, mine.found),
        "-" if late is None else f"{late:+d}" if late else "0",
        quarter_word(quarters, mine.alerted),
        level + (" (taken back)" if mine.rejected else ""),
        f"{last.area_ha:.1f}",
        "-" if last.found_ha is None else f"{last.found_ha:.1f}",
        _word(last.status),
        "-" if last.said is None else _word(last.said),
    )


def _word(status: Status) -> str:
    return status.value.replace("_", " ")


def _totals(found: CountryComparison) -> list[str]:
    lines = [*_found_lines(found), *_area_lines(found), _false_line(found), _climb_line(found)]
    lines.append(_status_line(found))
    if found.shared_sites or found.split_mines:
        lines.append(
            f"Shapes:    {found.shared_sites} sites lie over several mines, {found.split_mines} "
            "mines have several sites; areas are compared of mines whose sites are theirs alone"
        )
    wrapped = [
        textwrap.fill(line, _WIDTH, subsequent_indent=" " * _INDENT, break_on_hyphens=False)
        for line in lines
    ]
    return [*wrapped, *_status_table(found)]


def _found_lines(found: CountryComparison) -> list[str]:
    due = found.due
    lines = []
    for word, verb, delays in (
        ("Found:     ", "became sites", [mine.delay_found for mine in due]),
        ("Alerted:   ", "were alerted", [mine.delay_visible for mine in due]),
    ):
        late = [delay for delay in delays if delay is not None]
        text = f"{word}{len(late)} of {len(due)} mines of {LEAST_HA:g} ha and more {verb}"
        if late:
            text += (
                f", {sum(delay <= 1 for delay in late)} within one quarter of being visible; "
                f"median delay {np.median(late):g} quarters"
            )
        missed = [mine.mine_id for mine, delay in zip(due, delays, strict=True) if delay is None]
        lines.append(text + (f"; never: {', '.join(missed)}" if missed else ""))
    return lines


def _area_lines(found: CountryComparison) -> list[str]:
    areas = found.areas_ha
    if not len(areas):
        return ["Area:      no mine had a site of its own with an outline"]
    true, told = areas.T
    share = (told - true) / true
    within = [
        quarter.low_ha <= quarter.area_ha <= quarter.high_ha
        for mine in found.mines
        for quarter in mine.quarters
        if quarter.low_ha is not None and quarter.high_ha is not None
    ]
    covered = f"; the told interval holds the true area in {sum(within)} of {len(within)}"
    return [
        f"Area:      {told.sum() / true.sum() - 1:+.0%} in all over {len(areas)} comparisons, "
        f"half of them off by less than {np.median(np.abs(share)):.0%}"
        + (covered if within else "")
    ]


def _false_line(found: CountryComparison) -> str:
    count = sum(kind.alerts for kind in found.false_alerts)
    back = sum(kind.rejected for kind in found.false_alerts)
    high = sum(kind.high for kind in found.false_alerts)
    kinds = ", ".join(f"{k.kind.replace('_', ' ')} {k.alerts}" for k in found.false_alerts)
    rate = found.false_per_1000_km2_year
    text = f"False:     {count} of {count + found.true_alerts} alerts are false"
    if not count:
        return text
    return (
        f"{text} ({kinds}), {high} of level high or above, {back} taken back later; "
        f"{rate:,.0f} per 1,000 km2 a year"
    )


def _climb_line(found: CountryComparison) -> str:
    high = ", ".join(f"{count} to {level}" for level, count in found.climbed_to.items())
    return (
        f"Climbing:  {found.climbed} of {found.persistent} false sites that were seen again and "
        "again rose in level" + (f" ({high})" if high else "")
    )


def _status_line(found: CountryComparison) -> str:
    wrong, told = found.status_errors
    if not told:
        return "Status:    no mine had a site while it was visible"
    return (
        f"Status:    {told - wrong} of {told} words agree with the truth where ground was seen; "
        f"of {found.hidden} hidden by cloud {found.hidden_said_hidden} were told as not observed"
    )


def _status_table(found: CountryComparison) -> list[str]:
    if not found.status_table:
        return []
    heads = [*(status.value for status in _WORDS), _NONE]
    rows = [
        (_word(true), *(str(words.get(said, 0) or ".") for said in heads))
        for true in _WORDS
        if (words := found.status_table.get(true.value))
    ]
    return [
        "",
        "True words down, told words across, mines times quarters in which they were seen:",
        "",
        table_text(("", *(head.replace("_", " ") for head in heads)), rows),
        "",
        "Sluice sees ground, not people: where work has stopped and the ground lies bare, it says",
        "steady; and new is the quarter in which it first saw a mine.",
    ]
