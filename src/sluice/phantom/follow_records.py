"""How following a country went, as records."""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from sluice.base.arrays import FloatArray
from sluice.base.places import Level, Status
from sluice.base.records import Record

LEAST_HA = 1.0
"""A mine is expected to be told once its ground is so large."""
LEAST_SEEN = 0.5
"""Least share of a mine's ground that must have been seen in a period for it to be visible."""


class MineQuarter(Record):
    """One mine in one quarter: what was true, and what was told."""

    quarter: int
    status: Status
    """True."""
    seen_share: float
    area_ha: float
    """True outline of bare ground and water."""
    said: Status | None
    """Status of the mine's main site; None where no site was known yet."""
    detected: bool
    """By some run, at one of its sites."""
    found_ha: float | None
    """Told area of the workings at all its sites, where those are of this mine alone; None too
    where only a footprint was told."""
    low_ha: float | None
    """Lower end of the told interval, of a single site."""
    high_ha: float | None


class MineOutcome(Record):
    """What was told of one mine."""

    mine_id: str
    role: str
    largest_ha: float
    """Largest true outline of bare ground and water."""
    sites: tuple[str, ...]
    """Those that are of it, the one with most of it first."""
    shares_site_with: tuple[str, ...]
    """Other mines under one of them."""
    due: int | None
    """Quarter in which it first had `LEAST_HA`; None if it never had."""
    visible: int | None
    """The first one from `due` on in which enough of it was seen."""
    found: int | None
    """Quarter in which a scan first detected it, and it became a site; None without."""
    alerted: int | None
    """Quarter whose looks first raised an alert; None without."""
    level: Level | None
    """The highest that an alert or a period of its sites had."""
    rejected: bool
    """All its alerts were taken back."""
    quarters: tuple[MineQuarter, ...]

    @property
    def delay(self) -> int | None:
        """Quarters from `due` to the alert, negative where it came before."""
        return None if self.alerted is None or self.due is None else self.alerted - self.due

    @property
    def delay_visible(self) -> int | None:
        """Quarters from `visible` to the alert."""
        return None if self.alerted is None or self.visible is None else self.alerted - self.visible

    @property
    def delay_found(self) -> int | None:
        """Quarters from `visible` to its first detection."""
        return None if self.found is None or self.visible is None else self.found - self.visible


class FalseGround(Record):
    """False alerts on one kind of ground."""

    kind: str
    alerts: int
    high: int
    """Of them, those of the levels high and highest."""
    rejected: int
    """Of them, those taken back by later looks."""


class CountryComparison(Record):
    """How following a country went."""

    mines: tuple[MineOutcome, ...]
    quarters: int
    km2: float
    years: float
    sites: int
    false_sites: int
    """Sites that touch no mine."""
    grazing_sites: int
    """Sites that touch a mine, and are of none by `LEAST_OVERLAP`."""
    shared_sites: int
    """Sites that are of several mines."""
    split_mines: int
    """Mines of several sites."""
    true_alerts: int
    false_alerts: tuple[FalseGround, ...]
    """By what they lie on, most first; also those on a mine that had not begun."""
    persistent: int
    """False sites that were detected in two periods or more."""
    climbed: int
    """Of them, those whose level rose after they first had one."""
    climbed_to: dict[str, int]
    """Highest level of those that climbed."""
    status_table: dict[str, dict[str, int]]
    """True word, then told word, of quarters that were seen well enough; `none` where no site was
    known."""
    hidden: int
    """Mine-quarters of known sites that clouds hid."""
    hidden_said_hidden: int
    """Of them, those told as not observed."""
    seen_said_hidden: int
    """Visible mine-quarters of known sites told as not observed."""

    @property
    def due(self) -> list[MineOutcome]:
        """Mines that had `LEAST_HA` in some quarter."""
        return [mine for mine in self.mines if mine.due is not None]

    @property
    def judged(self) -> list[MineOutcome]:
        """Due mines whose next quarter still belongs to the record, so that one can be late."""
        return [mine for mine in self.due if mine.due is not None and mine.due < self.quarters - 1]

    @property
    def false_per_1000_km2_year(self) -> float:
        """False alerts, those taken back included."""
        return sum(kind.alerts for kind in self.false_alerts) / (self.km2 / 1000 * self.years)

    @property
    def areas_ha(self) -> FloatArray:
        """(n, 2) true and told area of quarters in which one mine and its sites were compared."""
        pairs = [
            (quarter.area_ha, quarter.found_ha)
            for mine in self.mines
            for quarter in mine.quarters
            if quarter.found_ha is not None and quarter.seen_share >= LEAST_SEEN
        ]
        return np.array(pairs, dtype=np.float64).reshape(-1, 2)

    @property
    def tries(self) -> FloatArray:
        """(n, 2) true area of a visible mine in a quarter, and whether it was detected, 1 or 0."""
        rows = [
            (quarter.area_ha, float(quarter.detected))
            for mine in self.mines
            for quarter in mine.quarters
            if quarter.seen_share >= LEAST_SEEN and quarter.area_ha > 0
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    @property
    def status_errors(self) -> tuple[int, int]:
        """Wrong words, and words in all, of visible quarters of known sites."""
        told = right = 0
        for true, words in self.status_table.items():
            for said, count in words.items():
                if said != "none":
                    told += count
                    right += count * (said == true)
        return told - right, told


def size_at_half(tries: FloatArray, share: float = 0.5) -> float | None:
    """Area at which half of the mines are detected in a period in which they can be seen.

    A logistic curve over the logarithm of area, fitted by maximum likelihood with a weak pull
    towards no slope, so that few or cleanly parted observations have a finite answer.

    Args:
        tries: (n, 2) area in hectares, above 0, and 1 where it was detected, else 0.
        share: Which share, if not half.

    Returns:
        Hectares; None where all or none were detected, or larger ones were detected less often.

    Source:
        Cox 1958, doi:10.1111/j.2517-6161.1958.tb00292.x (logistic regression).
    """
    if len(tries) == 0 or tries[:, 1].min() == tries[:, 1].max():
        return None
    x, hit = np.log(tries[:, 0]), tries[:, 1] > 0

    def loss(line: FloatArray) -> float:
        logit = line[0] + line[1] * x
        return float(-special.log_expit(np.where(hit, logit, -logit)).sum() + 0.01 * line[1] ** 2)

    at, slope = optimize.minimize(loss, np.array([0.0, 1.0]), method="BFGS").x
    if slope <= 0:
        return None
    return float(np.exp((special.logit(share) - at) / slope))
