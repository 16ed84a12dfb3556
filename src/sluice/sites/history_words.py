"""The rule that gave a status, as sentences with its figures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
from sluice.base.periods import Period
from sluice.base.said import joined_texts, said_texts
from sluice.sites.growth import FOOTPRINT
from sluice.sites.history_looks import Seen
from sluice.sites.history_states import HistoryRule, Told

_LEAST = 0.001
"""What was observed of a site is never told as nothing."""


def tell(told: Told, seen: Seen, rule: HistoryRule, periods: Sequence[Period]) -> ObjectArray:
    """Say of each site why it has its status.

    Args:
        told: What the last of the periods made of the sites.
        seen: What was seen of them in it.
        rule: The thresholds.
        periods: All up to this one.

    Returns:
        (sites,) sentences, as `sluice.base.said.packed` has them; empty for sites not begun.
    """
    why = _Why(told, seen, rule, periods)
    detected = told.begun & seen.detected
    # A later case goes before an earlier one.
    cases = (
        (detected, why.first_area),
        (detected & (seen.area_share < rule.min_observed_share), why.little_seen),
        (detected & np.isnan(seen.area), why.no_area),
        (told.judged, why.judged),
        (told.resumed, why.resumed),
        (told.resumed & told.grew, why.resumed_larger),
        (told.started, why.started),
        (told.gap, why.gap),
        (told.inactive, why.inactive),
        (told.recovering, why.recovering),
        (told.recovering & np.isnan(seen.cover), why.recovering_unseen),
        (told.hidden, why.hidden),
        (told.hidden & (seen.share > 0), why.partly_hidden),
    )
    case_of = np.full(len(told.begun), -1)
    for number, (chosen, _) in enumerate(cases):
        case_of[chosen] = number
    words = np.full(len(told.begun), "", dtype=object)
    for number, (_, sentences) in enumerate(cases):
        rows = np.flatnonzero(case_of == number)
        if len(rows):
            words[rows] = joined_texts(*sentences(rows))
    return words


@dataclass(frozen=True)
class _Why:
    """The sentences of each case, for sites by their numbers."""

    told: Told
    seen: Seen
    rule: HistoryRule
    periods: Sequence[Period]

    def first_area(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        return said_texts("status_rule.first_area", len(rows)), self._area(rows)

    def little_seen(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        little = said_texts(
            "status_rule.little_seen",
            len(rows),
            observed_share=self._observed(rows),
            least_share=self.rule.min_observed_share,
        )
        return little, self._area(rows)

    def no_area(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        return (said_texts("status_rule.no_area", len(rows)),)

    def judged(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        """That it grew, or did not grow enough; footprints are called so."""
        codes = np.where(
            self.seen.kind[rows] == FOOTPRINT,
            np.where(
                self.told.grew[rows],
                "status_rule.footprint_grew",
                "status_rule.footprint_not_grown",
            ),
            np.where(self.told.grew[rows], "status_rule.grew", "status_rule.not_grown"),
        )
        figures = said_texts(
            codes.astype(object),
            len(rows),
            from_ha=self.told.reference[rows],
            to_ha=self.seen.area[rows],
            since_period=self._names(self.told.reference_at[rows]),
            least_share=self.rule.growth.share,
            least_ha=self.rule.growth.least_ha,
            noise_share=self.told.noise[rows] - 1,
        )
        return (figures,)

    def resumed(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        return self._again(rows), self._area(rows)

    def resumed_larger(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        return self._again(rows), *self.judged(rows)

    def _again(self, rows: IntArray) -> ObjectArray:
        since = self._names(self.told.since[rows])
        return said_texts("status_rule.resumed", len(rows), since_period=since)

    def started(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        known = self.told.known_before[rows]
        codes = np.where(known, "status_rule.began", "status_rule.may_be_older").astype(object)
        return said_texts(codes, len(rows)), self._area(rows)

    def gap(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        last = self.periods[-1]
        days = (last.end - last.start) // dt.timedelta(days=1) + 1
        observed = self._observed(rows)
        return (said_texts("status_rule.gap", len(rows), observed_share=observed, n=days),)

    def inactive(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        silent = said_texts(
            "status_rule.inactive",
            len(rows),
            since_period=self._names(self.told.since[rows]),
            observed_share=self._observed(rows),
            least_share=self.rule.min_observed_share,
        )
        return (silent,)

    def recovering(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        covered = said_texts(
            "status_rule.recovering",
            len(rows),
            since_period=self._names(self.told.since[rows]),
            cover_share=self.seen.cover[rows],
            least_share=self.rule.recovering_cover,
            worked_share=self.told.worked_cover[rows],
        )
        return (covered,)

    def recovering_unseen(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        since = self._names(self.told.since[rows])
        return (said_texts("status_rule.recovering_unseen", len(rows), since_period=since),)

    def hidden(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        return (said_texts("status_rule.hidden", len(rows)),)

    def partly_hidden(self, rows: IntArray) -> tuple[ObjectArray, ...]:
        partly = said_texts(
            "status_rule.partly_hidden",
            len(rows),
            observed_share=self._observed(rows),
            least_share=self.rule.min_observed_share,
        )
        return (partly,)

    def _area(self, rows: IntArray) -> ObjectArray:
        area, at_most = self.seen.area[rows], self.seen.kind[rows] == FOOTPRINT
        # Where nothing could be outlined, the end of the interval is all that is known.
        unclear = ~at_most & (area == 0) & (self.seen.high[rows] > 0)
        area, at_most = np.where(unclear, self.seen.high[rows], area), at_most | unclear
        known = ~np.isnan(area)
        codes = np.where(at_most, "status_rule.area_at_most", "status_rule.area").astype(object)
        texts = said_texts("status_rule.area_unknown", len(rows))
        texts[known] = said_texts(codes[known], int(known.sum()), area_ha=area[known])
        return texts

    def _names(self, numbers: IntArray) -> ObjectArray:
        """Periods as text."""
        texts = [f"{period.start}/{period.end}" for period in self.periods]
        return np.array(texts, dtype=object)[numbers]

    def _observed(self, rows: IntArray) -> FloatArray:
        """Whole percents below it, so that what is less than a limit does not look like it."""
        # Of a detected one what counts is the look that tells its area.
        share = np.where(self.seen.detected, self.seen.area_share, self.seen.share)[rows]
        whole = np.floor(100 * share + 1e-9) / 100
        return np.asarray(np.where(share > 0, np.maximum(whole, _LEAST), 0.0))
