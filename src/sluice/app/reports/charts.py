"""Charts as SVG to stand in a page: text stays text, ids are the chart's own, no dates.

Figures are made without pyplot, which keeps a list of them for all threads.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import FloatArray
from sluice.evaluation.bootstrap import Estimate
from sluice.evaluation.curves import PrecisionRecallCurve, Reliability, RocCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b5394", "#c2570c", "#1b7f5c", "#8e3a8c", "#5b5b5b")
"""Told apart by people who see red and green alike, and on grey paper by their lines."""
FOUND, MISSED, ALARM = "#7b9cb8", "#b3261e", "#e08600"

_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_INK, _FAINT = "#1d2730", "#d5dbe1"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    # The first is what the page's own text falls back to; only its metrics are used here.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#8a949d",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": "#4a555f",
    "ytick.color": "#4a555f",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}
# Where a line would not move by a thousandth of the axis, no point is needed.
_FINEST = 1e-3


@dataclass(frozen=True)
class ModelCurves:
    """What is drawn of one model."""

    name: str
    roc: RocCurve
    precision_recall: PrecisionRecallCurve
    threshold: float


def roc_svg(models: Sequence[ModelCurves], aucs: Sequence[str], name: str) -> str:
    """ROC curves, each with a dot at its model's threshold.

    Args:
        models: The first is drawn on top.
        aucs: Area under each curve, in words.
        name: Of the chart, unique in its page; begins its ids.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#9aa4ad", linewidth=1, linestyle=":")
        axes.set(xlabel="share of other places that raise an alarm", ylabel="share of mines found")
        for k, (model, auc) in reversed(list(enumerate(zip(models, aucs, strict=True)))):
            x, y = model.roc.false_alarm_rate, model.roc.recall
            # The first threshold is infinite: nothing is detected there.
            at = int((model.roc.thresholds >= model.threshold).sum()) - 1
            _line(axes, k, x, y, f"{model.name}, area {auc}", dot=(x[at], y[at]))
        _share_axes(axes)

    label = "ROC curves of " + ", ".join(model.name for model in models)
    return _svg(draw, name, label, size=(5.2, 5.0), legend_below=True)


def precision_recall_svg(models: Sequence[ModelCurves], areas: Sequence[str], name: str) -> str:
    """Precision against recall in steps, each curve with a dot at its model's threshold.

    Args:
        models: As for `roc_svg`.
        areas: Average precision of each, in words.
        name: Of the chart.
    """

    def draw(axes: Axes) -> None:
        axes.set(xlabel="share of mines found (recall)", ylabel="share of alarms that are mines")
        for k, (model, area) in reversed(list(enumerate(zip(models, areas, strict=True)))):
            curve = model.precision_recall
            at = int((curve.thresholds >= model.threshold).sum()) - 1
            dot = (curve.recall[at], curve.precision[at]) if at >= 0 else None
            x = np.append(0, curve.recall)
            y = np.append(curve.precision[0], curve.precision)
            _line(axes, k, x, y, f"{model.name}, AP {area}", dot=dot, steps=True)
        _share_axes(axes)

    label = "Precision and recall of " + ", ".join(model.name for model in models)
    return _svg(draw, name, label, size=(5.2, 5.0), legend_below=True)


def reliability_svg(bins: Reliability, found: Sequence[Estimate], name: str) -> str:
    """Share of mines found in each bin of stated probability, with intervals.

    Args:
        bins: The bins.
        found: Share of mines in each, with intervals.
        name: Of the chart.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#9aa4ad", linewidth=1, linestyle=":", label="ideal")
        for x, share in zip(bins.stated, found, strict=True):
            if share.low is not None and share.high is not None:
                axes.plot([x, x], [share.low, share.high], color=COLOURS[0], linewidth=1.4)
        axes.scatter(bins.stated, bins.found, s=46, color=COLOURS[0], zorder=3, label="chips")
        axes.set(xlabel="probability that was stated", ylabel="share that are mines")
        _share_axes(axes)

    label = "Reliability: stated probability and share of mines found"
    return _svg(draw, name, label, size=(5.2, 5.0))


def error_map_svg(
    lon: FloatArray, lat: FloatArray, verdict: npt.NDArray[np.str_], name: str
) -> str:
    """Chips by place: found mines, missed mines and false alarms.

    Args:
        lon: (N,) degrees.
        lat: (N,) degrees.
        verdict: (N,) `found`, `missed` or `alarm`.
        name: Of the chart.
    """
    marks = (
        ("found", "o", FOUND, 14, "mines found"),
        ("alarm", "X", ALARM, 38, "false alarms"),
        ("missed", "^", MISSED, 34, "mines missed"),
    )
    box, ratio = _map_frame(lon, lat)

    def draw(axes: Axes) -> None:
        for kind, marker, colour, size, words in marks:
            of = verdict == kind
            if of.any():
                axes.scatter(
                    lon[of],
                    lat[of],
                    s=size,
                    marker=marker,
                    color=colour,
                    linewidths=0.5,
                    edgecolors="white",
                    label=f"{words} ({int(of.sum())})",
                )
        axes.set(xlim=box[:2], ylim=box[2:])
        axes.set_aspect(ratio)
        axes.locator_params(nbins=6)
        axes.xaxis.set_major_formatter(lambda x, _: _degrees(x, "EW"))
        axes.yaxis.set_major_formatter(lambda y, _: _degrees(y, "NS"))
        for spine in axes.spines.values():
            spine.set_visible(True)

    tall = ratio * (box[3] - box[2]) / (box[1] - box[0])
    size = (6.6, float(np.clip(6.6 * tall, 2.6, 7.2)) + 0.5)
    return _svg(draw, name, "Map of chips: found, missed, false alarms", size, legend_below=True)


def _map_frame(lon: FloatArray, lat: FloatArray) -> tuple[tuple[float, float, float, float], float]:
    """Limits in degrees, and how much longer a degree of latitude is than one of longitude."""
    middle = float(lat.min() + lat.max()) / 2
    ratio = 1 / max(0.1, math.cos(math.radians(middle)))
    wide, tall = float(np.ptp(lon)), float(np.ptp(lat)) * ratio
    # A strip would be hard to read: no side under a third of the other.
    longest = max(wide, tall, 0.05)
    half_x = max(wide, longest / 3) * 0.54
    half_y = max(tall, longest / 3) * 0.54 / ratio
    x = float(lon.min() + lon.max()) / 2
    return (x - half_x, x + half_x, middle - half_y, middle + half_y), ratio


def _line(
    axes: Axes,
    k: int,
    x: FloatArray,
    y: FloatArray,
    label: str,
    *,
    dot: tuple[float, float] | None,
    steps: bool = False,
) -> None:
    colour, line = COLOURS[k % len(COLOURS)], _LINES[k % len(_LINES)]
    grid = np.round(np.stack((x, y)) / _FINEST)
    kept = np.append(True, (grid[:, 1:] != grid[:, :-1]).any(axis=0))
    kept[-1] = True
    axes.plot(
        x[kept],
        y[kept],
        color=colour,
        linestyle=line,
        linewidth=2,
        label=label,
        drawstyle="steps-pre" if steps else "default",
    )
    if dot is not None:
        axes.plot(*dot, "o", color=colour, markersize=8, markeredgecolor="white", zorder=4)


def _share_axes(axes: Axes) -> None:
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal")
    ticks = np.linspace(0, 1, 6)
    axes.set_xticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    axes.set_yticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])


def _degrees(value: float, letters: str) -> str:
    side = letters[0] if value > 0 else letters[1]
    return f"{abs(value):g}°{side}" if value else "0°"


def _svg(
    draw: Any, name: str, label: str, size: tuple[float, float], *, legend_below: bool = False
) -> str:
    """Draw on a new figure and give its SVG element, ready for a page."""
    # matplotlib takes half a second to import, which other commands need not wait for.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        _add_legend(figure, axes, below=legend_below)
        buffer = io.StringIO()
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return _for_page(buffer.getvalue(), name, label)


def _add_legend(figure: Figure, axes: Axes, *, below: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if below:
        columns = 3 if len(labels) == 3 and max(map(len, labels)) < 24 else 1
        # Drawn last to first, so that the first lies on top; told first to last.
        order = slice(None) if columns == 3 else slice(None, None, -1)
        figure.legend(handles[order], labels[order], loc="outside lower center", ncols=columns)
    else:
        axes.legend(loc="upper left")


def _for_page(svg: str, name: str, label: str) -> str:
    """The element alone: with ids of its own in the page, and a name for screen readers."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"\s*<metadata>.*?</metadata>", "", element, flags=re.S)
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r"url\(#", f"url(#{name}-", element)
    element = re.sub(r'xlink:href="#', f'href="#{name}-', element)
    element = re.sub(r'\s(?:width|height|xmlns:xlink|version)="[^"]*"', "", element, count=4)
    said = html.escape(label, quote=True)
    return element.replace("<svg", f'<svg role="img" aria-label="{said}" class="chart"', 1)
