"""What a sample and its estimate say, in words for a person."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sluice.app.sampling.plan import SamplePlan
from sluice.evaluation.area_estimate import AreaEstimate, Figure, StratumCount, binomial_limits

if TYPE_CHECKING:
    from sluice.app.sampling.estimating import AreaReport

_FEW = 5
_WIDTH = 92


def how_to_label(plan: SamplePlan) -> str:
    """What to do at each point."""
    first, last = plan.source.get("dates") or (None, None)
    when = f" between {first} and {last}" if first else " when the map's images were taken"
    side = f"{plan.pixel_m:g} m square"
    return (
        f"For each point: was most of the {side} around it disturbed by mining{when}? Answer in "
        "`reference`: mine, not mine, or unsure. Look at the best images there are, not "
        "at the map; label in the order of the points; move none, leave none out, add none."
    )


def plan_text(plan: SamplePlan, out: Path, files: list[Path]) -> str:
    """Say what was drawn, and what to do next."""
    expected = sum(stratum.area_ha * stratum.expected_share for stratum in plan.strata)
    lines = [
        f"{len(plan.points)} points drawn in {len(plan.strata)} strata of "
        f"{plan.observed_ha:,.0f} ha, seed {plan.seed}.",
        "",
        f"  {'stratum':<11}{'map says':<10}{'hectares':>12}{'points':>8}{'expected':>10}",
        *(
            f"  {s.name:<11}{s.map_class:<10}{s.area_ha:>12,.1f}{s.points:>8}"
            f"{s.expected_share:>9.1%} "
            for s in plan.strata
        ),
        "",
        *(_wrapped(f"{stratum.name}: {stratum.meaning}.") for stratum in plan.strata),
        "",
        _wrapped(
            f"If the expected shares of mine were true ({expected:,.0f} ha), the estimate would be "
            f"good to about ±{1.96 * plan.expected_se_ha:,.0f} ha. They are guesses that steer "
            "where points go (--expect); the estimate does not lean on them."
        ),
        _wrapped(
            f"Not observed: {plan.not_observed_ha:,.0f} ha. It is in no stratum, and nothing will "
            "be said of it."
        ),
        _wrapped(
            f"Points are pixels of {plan.pixel_m:g} m in {plan.crs}, drawn with equal chances; "
            f"their true areas differ by at most {max(plan.pixel_area_spread, 1e-4):.2%}. Strata "
            "are weighed by geodesic area."
        ),
        "",
        *(f"{path}" for path in files),
        "",
        _wrapped(how_to_label(plan)),
        _wrapped(
            "Whoever labels should not see the map, its sites, or the plan. Then: "
            f"sluice area estimate {out}"
        ),
    ]
    return "\n".join(lines)


def remarks(estimate: AreaEstimate, *, unsure: int, unlabelled: int) -> tuple[str, ...]:
    """What to know before the figures are used.

    Args:
        estimate: Of the mine area; its first class is the mine.
        unsure: Points that were left out as unsure.
        unlabelled: Points without a label.
    """
    name, found = estimate.by_class[0].name, []
    if not estimate.by_class[0].points:
        found.append(
            f"No point was labelled {name}: the estimate is 0 ha, and only the upper end of the "
            "interval says something. Check the labels, or draw more points."
        )
    for stratum in estimate.strata:
        hits = stratum.by_class[name]
        if not hits:
            found.append(_none_found(stratum, name))
        elif hits < _FEW:
            found.append(
                f"Only {hits} of {stratum.points} points in {stratum.name} were {name}, and each "
                f"stands for {stratum.area_ha / stratum.points:,.1f} ha: the published interval "
                "is too narrow there."
            )
    if unsure:
        share = unsure / (unsure + estimate.points)
        found.append(
            f"{unsure} unsure points ({share:.0%}) are left out, as if they were like the others "
            "of their stratum; see what they could change."
        )
    if unlabelled:
        found.append(
            f"Preliminary: {unlabelled} points have no label. It holds only if points were "
            "labelled in their order, and not the easy ones first."
        )
    return tuple(found)


def _none_found(stratum: StratumCount, name: str) -> str:
    _, high = binomial_limits(np.array([0]), np.array([stratum.points]))
    return (
        f"None of {stratum.points} points in {stratum.name} was {name}; up to {high[0]:.1%} of it "
        f"({high[0] * stratum.area_ha:,.1f} ha) still could be."
    )


def report_text(report: AreaReport) -> str:
    """Say what was found, with intervals, and what it does not say."""
    estimate = report.estimate
    mine = estimate.by_class[0]
    area = mine.area_ha
    mapped = "" if mine.mapped_ha is None else f" Counting the map gives {mine.mapped_ha:,.1f} ha."
    lines = [
        f"Mine area: {area.value:,.1f} ha, 95 % interval {_range(area)} ha.{mapped}",
        f"From {estimate.points} labelled points in {report.observed_ha:,.0f} observed ha.",
        "",
        f"  {'':<38}{'estimate':>10}   {'95 % interval':<20}{'± published':>12}",
    ]
    for found in estimate.by_class:
        lines.append(_row(f"area of {found.name}, ha", found.area_ha))
        if found.users is not None:
            lines.append(_row(f"mapped as {found.name}: % right (user's)", found.users, 100))
        if found.producers is not None:
            lines.append(_row(f"{found.name}: % mapped (producer's)", found.producers, 100))
    lines += [
        _row("all ground: % mapped right (overall)", estimate.overall, 100),
        "",
        *_matrix(estimate),
        "",
        *_strata(estimate),
        "",
    ]
    if report.unsure is not None:
        lines += [
            f"If all {report.unsure.points} unsure points were mine: "
            f"{report.unsure.all_mine_ha.value:,.1f} ha ({_range(report.unsure.all_mine_ha)}); if "
            f"none was: {report.unsure.none_mine_ha.value:,.1f} ha "
            f"({_range(report.unsure.none_mine_ha)}).",
            "",
        ]
    if report.remarks:
        lines += [*(_wrapped(f"- {remark}") for remark in report.remarks), ""]
    lines.append(_wrapped(_limits(report)))
    return "\n".join(lines)


def _limits(report: AreaReport) -> str:
    return (
        "What this is: the ground disturbed by mining, on the ground and dates that the map "
        "observed, as the person who labelled saw it. What it is not: it says nothing of the "
        f"{report.not_observed_ha:,.0f} ha that were not observed, nothing of single sites, of who "
        "mines or whether it is legal, and the interval knows only the luck of the draw, not "
        "mistakes in the labels. Of 100 samples drawn like this, about 95 would give an interval "
        "that holds the true area."
    )


def _range(figure: Figure) -> str:
    return f"{figure.low:,.1f} to {figure.high:,.1f}"


def _row(name: str, figure: Figure, times: float = 1.0) -> str:
    low, high = f"{times * figure.low:,.1f}", f"{times * figure.high:,.1f}"
    reach = times * (figure.normal_high - figure.value)
    return f"  {name:<38}{times * figure.value:>10,.1f}   {f'{low} to {high}':<20}{reach:>12,.1f}"


def _matrix(estimate: AreaEstimate) -> list[str]:
    """The error matrix in percent of the area."""
    head = "".join(f"{f'is {name}':>14}" for name in estimate.classes)
    lines = [f"  {'% of the area':<22}{head}{'all':>10}"]
    for name, row in zip(estimate.classes, estimate.matrix, strict=True):
        cells = "".join(f"{100 * cell:>14.3f}" for cell in row)
        lines.append(f"  {f'mapped as {name}':<22}{cells}{100 * sum(row):>10.3f}")
    sums = [sum(column) for column in zip(*estimate.matrix, strict=True)]
    cells = "".join(f"{100 * cell:>14.3f}" for cell in sums)
    lines.append(f"  {'all':<22}{cells}{100 * sum(sums):>10.3f}")
    return lines


def _strata(estimate: AreaEstimate) -> list[str]:
    heads = "".join(f"{name:>10}" for name in estimate.classes)
    lines = [f"  {'stratum':<14}{'hectares':>12}{'points':>8}{heads}"]
    for stratum in estimate.strata:
        cells = "".join(f"{stratum.by_class[name]:>10}" for name in estimate.classes)
        lines.append(f"  {stratum.name:<14}{stratum.area_ha:>12,.1f}{stratum.points:>8}{cells}")
    return lines


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  " if text.startswith("- ") else "")
