"""What a run found, in numbers and in plain language."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Sequence

import geopandas as gpd

from sluice.app.products.coverage import Coverage
from sluice.base.records import Record, Run, TileStatus
from sluice.sites.classes import CLASS, class_columns

LANDED = "landed"
"""Beside a scan's figures: what came of its landing in a store."""
_SHOWN = 5
_PIXELS_M = 100.0
"""Below it a model judges pixels, not windows."""
_COARSE = 3
"""Times: from here on a small mine lies within a pixel or two."""
_LEVEL_NAMES = {"s2-l1c": "top-of-atmosphere (L1C)"}


class LargestSite(Record):
    """One of the largest sites."""

    rank: int
    detection_id: str
    lat: float
    lon: float
    footprint_ha: float
    score_peak: float
    probability_peak: float | None
    isolated: bool
    class_name: str | None = None
    """The class that covers most of it; None where the model does not tell several apart."""


class ClassTotal(Record):
    """A class of what is sought."""

    name: str
    sites: int
    """Of which it covers most."""
    area_ha: float
    """Of all sites together."""


class Summary(Record):
    """The outcome of a run: `summary` in `run.json`, and what `--json` prints."""

    sites: int
    isolated_sites: int
    footprint_ha: float
    """Of all sites: the cells that were marked."""
    delineated_ha: float | None
    """Of the outlined workings; None where no site has an outline."""
    outlined_sites: int = 0
    """That have one: of a site of which too little was seen, the workings cannot be told."""
    classes: tuple[ClassTotal, ...] = ()
    """Those that are sought, in the model's order, where it tells several apart."""
    area_ha: float
    """Of what was asked for."""
    not_observed_ha: float
    not_observed_percent: float
    tiles: int
    tiles_failed: int
    images: int
    undated_images: int
    images_without_cloud_layer: int
    """Optical images in which cloud was not looked for; it is judged like ground."""
    images_left_out: int = 0
    """Found and not used, or not everywhere: refused, or not to be read."""
    min_looks: int = 1
    """Clear looks that a pixel needed to count as observed."""
    first_date: dt.date | None
    last_date: dt.date | None
    model: str
    other_levels: tuple[str, ...] = ()
    """Levels of images that the model was not made for, used at the user's word."""
    unverified_levels: tuple[str, ...] = ()
    """Levels of images that the model takes, on which its figures were not measured."""
    measured_levels: tuple[str, ...] = ()
    """Those on which they were; told where there are others."""
    assumed_level: str | None = None
    """The level that images of unknown sensor were taken as, where the model treats levels
    differently; None where nothing was assumed."""
    times_coarser: float | None = None
    """How many times coarser the coarsest image's pixels are than those that the model was made
    for, where that hides small mines; None where it does not."""
    window_m: float
    """Side of the square that the model judges at once."""
    smallest_site_ha: float
    """Smaller detections are left out."""
    removed: tuple[str, ...] = ()
    """What `--strict` took away, a line each."""
    prior: float | None
    """Share of windows that hold a mine, behind every probability."""
    largest: tuple[LargestSite, ...]
    disclaimer: str


def summarise(
    table: gpd.GeoDataFrame,
    run: Run,
    coverage: Coverage,
    *,
    window_m: float,
    smallest_site_ha: float,
    removed: Sequence[str] = (),
    times_coarser: float = 1.0,
) -> Summary:
    """Put the outcome in numbers.

    Args:
        table: From `sites_table`.
        run: Gives scenes, tiles, prior and `model["name"]`.
        coverage: Of the area asked for.
        window_m: Side of the model's window in metres.
        smallest_site_ha: Smallest mapping unit of the run in hectares.
        removed: What was taken away on purpose, a line each.
        times_coarser: By how much the coarsest image's pixels exceed the model's.
    """
    dates = [scene.acquired for scene in run.scenes if scene.acquired is not None]
    outlined = int(table["delineated_ha"].notna().sum())
    unverified, measured = _unverified_levels(run)
    return Summary(
        sites=len(table),
        isolated_sites=int(table["isolated"].sum()),
        footprint_ha=round(float(table["footprint_ha"].sum()), 1),
        delineated_ha=round(float(table["delineated_ha"].sum()), 1) if outlined else None,
        outlined_sites=outlined,
        classes=_class_totals(table, run),
        area_ha=round(coverage.area_ha, 1),
        not_observed_ha=round(coverage.not_observed_ha, 1),
        # Not rounded where that would make all or nothing of it.
        not_observed_percent=_rounded_share(coverage.not_observed_percent),
        tiles=len(run.tiles),
        tiles_failed=sum(tile.status is TileStatus.FAILED for tile in run.tiles),
        images=len(run.scenes),
        undated_images=len(run.scenes) - len(dates),
        images_without_cloud_layer=sum(
            scene.sky_layer is None and scene.sensor != "s1" for scene in run.scenes
        ),
        images_left_out=len({left_out.scene_id for left_out in run.left_out}),
        min_looks=int(run.parameters.get("min_looks", 1)),
        first_date=min(dates, default=None),
        last_date=max(dates, default=None),
        model=str(run.model["name"]),
        other_levels=_other_levels(run),
        unverified_levels=unverified,
        measured_levels=measured if unverified else (),
        assumed_level=_assumed_level(run),
        times_coarser=times_coarser if times_coarser >= _COARSE else None,
        window_m=window_m,
        smallest_site_ha=smallest_site_ha,
        removed=tuple(removed),
        prior=run.prior,
        largest=_largest(table),
        disclaimer=run.disclaimer,
    )


def _rounded_share(percentage: float) -> float:
    rounded = round(percentage, 2)
    return percentage if rounded in (0, 100) else rounded


def _other_levels(run: Run) -> tuple[str, ...]:
    known = {level["sensor"] for level in run.model.get("levels", [])}
    return tuple(sorted({s.sensor for s in run.scenes if s.sensor and s.sensor not in known}))


def _unverified_levels(run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Levels of the images that the model was not measured on, and those that it was."""
    used = {scene.sensor for scene in run.scenes}
    levels = run.model.get("levels", [])
    unverified = {str(level["sensor"]) for level in levels if not level.get("verified", True)}
    measured = {str(level["sensor"]) for level in levels} - unverified
    return tuple(sorted(unverified & used)), tuple(sorted(measured))


def _assumed_level(run: Run) -> str | None:
    levels = run.model.get("levels", [])
    if all(scene.sensor for scene in run.scenes) or not any(level["adapt"] for level in levels):
        return None
    return next((str(level["sensor"]) for level in levels if not level["adapt"]), None)


def _largest(table: gpd.GeoDataFrame) -> tuple[LargestSite, ...]:
    names = ("rank", "detection_id", "lat", "lon", "footprint_ha", "score_peak", "isolated")
    return tuple(
        LargestSite(
            **{name: row[name] for name in names},
            # The only number unequal to itself is NaN: no calibration.
            probability_peak=row["probability_peak"]
            if row["probability_peak"] == row["probability_peak"]
            else None,
            class_name=row.get(CLASS),
        )
        for row in table.drop(columns="geometry").head(_SHOWN).to_dict("records")
    )


def _class_totals(table: gpd.GeoDataFrame, run: Run) -> tuple[ClassTotal, ...]:
    return tuple(
        ClassTotal(
            name=name,
            sites=int((table[CLASS] == name).sum()),
            area_ha=round(float(table[column].sum()), 1),
        )
        for name, column in class_columns(run.model.get("classes", ())).items()
    )


def summary_text(summary: Summary) -> str:
    """Say it in plain language, in lines of fewer than 100 characters."""
    parts = [_found(summary), _observed(summary)]
    if summary.removed:
        parts.append("Taken away by the strict rule:\n  " + "\n  ".join(summary.removed))
    if summary.largest:
        parts.append(_places(summary))
    parts += [_limits(summary), summary.disclaimer]
    return "\n\n".join(parts)


def _found(summary: Summary) -> str:
    if not summary.sites:
        if summary.not_observed_percent >= 100:
            return "Nothing could be observed, so this run says nothing about the area."
        return (
            "No likely mine site found. Nothing that could be observed looked enough like a mine.\n"
            "That is no proof that there is no mine."
        )
    sites = _count(summary.sites, "likely mine site")
    lines = [
        f"{sites} found, with a footprint of {_hectares(summary.footprint_ha)} in all.",
        *_classes(summary),
        "A footprint is the cells that were marked, not the mine: it may take in ground around it,",
        "and may miss parts of it.",
    ]
    if summary.delineated_ha is not None:
        told = summary.outlined_sites
        of = "" if told == summary.sites else f" of {told:,} of {summary.sites:,} sites"
        lines.append(f"The outlined workings{of} have {_hectares(summary.delineated_ha)}.")
        if summary.delineated_ha > summary.footprint_ha:
            lines.append("They are larger than the footprint, as they may reach beyond its cells.")
    if summary.isolated_sites:
        stand = "stands" if summary.isolated_sites == 1 else "stand"
        lines.append(
            f"{summary.isolated_sites:,} of them {stand} apart, with few or no others nearby."
        )
    return "\n".join(lines)


def _classes(summary: Summary) -> list[str]:
    if not summary.classes:
        return []
    hectares = ", ".join(
        f"{total.name} {_hectares(total.area_ha)}" for total in summary.classes if total.area_ha
    )
    text = f"By the class that covers most of each: {classes_in_words(summary)}. Within them: "
    return textwrap.wrap(f"{text}{hectares}.", 99)


def classes_in_words(summary: Summary) -> str:
    """`2 active, 1 inactive`: sites by the class that covers most of each."""
    return ", ".join(f"{total.sites:,} {total.name}" for total in summary.classes if total.sites)


def _observed(summary: Summary) -> str:
    why = "cloud, no image, or unreadable"
    if summary.min_looks > 1:
        why = f"fewer than {summary.min_looks} clear looks, or unreadable"
    lines = [
        f"Looked at: {_hectares(summary.area_ha)} in {_count(summary.images, 'image')}, "
        f"{dates_in_words(summary)}.",
        f"Not observed ({why}): {percent(summary.not_observed_percent)} "
        f"of it, {_hectares(summary.not_observed_ha)}.",
    ]
    if summary.not_observed_ha > 0:
        lines.append("Mines there would not have been found.")
    if summary.images_without_cloud_layer:
        lines.append(
            f"No cloud layer for {summary.images_without_cloud_layer:,} of "
            f"{_count(summary.images, 'image')}: cloud there was judged like ground."
        )
    if summary.images_left_out:
        lines.append(
            f"{_count(summary.images_left_out, 'image')} left out, or not used everywhere; "
            "run.json says why."
        )
    if summary.other_levels:
        levels = ", ".join(summary.other_levels)
        lines.append(f"The model was not made for {levels}: how well it finds mines is not known.")
    lines += _unverified(summary)
    if summary.assumed_level is not None:
        name = _LEVEL_NAMES.get(summary.assumed_level, summary.assumed_level)
        lines.append(
            f"Imagery level unknown: read as {name};\n"
            "for surface reflectance name it with --sensor: s2-l2a, planet-4b, planet-8b or nicfi."
        )
    if summary.times_coarser is not None:
        told = (
            f"Pixels of the images are {summary.times_coarser:g} times coarser than those that the "
            "model was made for: small mines cannot be told in them."
        )
        lines += textwrap.wrap(told, 99)
    if summary.tiles_failed:
        lines.append(
            f"{summary.tiles_failed:,} of {summary.tiles:,} parts of the area failed; "
            "run.json says why."
        )
    return "\n".join(lines)


def _unverified(summary: Summary) -> list[str]:
    if not summary.unverified_levels:
        return []
    told = (
        f"How well {summary.model} finds mines in {', '.join(summary.unverified_levels)} images "
        "was not measured"
    )
    if summary.measured_levels:
        told += f": its figures are of {', '.join(summary.measured_levels)} images"
    return textwrap.wrap(f"{told}.", 99)


def _places(summary: Summary) -> str:
    heading = "The largest" if summary.sites > len(summary.largest) else "Where"
    lines = [f"{heading} (latitude, longitude in degrees):"]
    for site in summary.largest:
        line = (
            f"{site.rank:>3}. {site.lat:10.5f}, {site.lon:10.5f}"
            f" {site.footprint_ha:9,.1f} ha   score {site.score_peak:.2f}"
        )
        if site.probability_peak is not None:
            line += f"   probability {_probability(site.probability_peak)}"
        if site.class_name is not None:
            line += f"   {site.class_name}"
        lines.append(line)
    if summary.prior is not None and summary.largest[0].probability_peak is not None:
        lines.append(
            f"The probability holds {prior_in_words(summary.prior, summary.window_m)}; where\n"
            "mines are more common it is higher, where they are rarer it is lower."
        )
    return "\n".join(lines)


def _limits(summary: Summary) -> str:
    small = f"fill\nlittle of a {summary.window_m:,.0f} m square"
    if summary.window_m < _PIXELS_M:
        small = f"are\nhardly wider than a pixel of {summary.window_m:,.0f} m"
    return (
        f"What this cannot see: workings under forest or underground, and workings that {small}.\n"
        f"Sites whose footprint is below {summary.smallest_site_ha:g} ha are left out."
    )


def prior_in_words(prior: float, window_m: float) -> str:
    """`if one square of 480 m in 1,000 holds a mine`."""
    one_in = 1 / prior
    if abs(one_in - round(one_in)) <= 0.02 * one_in and round(one_in) > 1:
        return f"if one square of {window_m:,.0f} m in {round(one_in):,} holds a mine"
    return f"if {100 * prior:.3g} in 100 squares of {window_m:,.0f} m hold a mine"


def dates_in_words(summary: Summary) -> str:
    """`2024-01-05 to 2024-03-30`, one date, or that no date is known."""
    if summary.first_date is None or summary.last_date is None:
        return "of unknown date"
    if summary.first_date == summary.last_date:
        text = f"{summary.first_date}"
    else:
        text = f"{summary.first_date} to {summary.last_date}"
    return f"{text} ({summary.undated_images} without a date)" if summary.undated_images else text


def percent(value: float) -> str:
    """`5.2 %`; a little is not written as nothing, nor almost all as all."""
    if 0 < value < 0.1:
        return "less than 0.1 %"
    if 99.9 < value < 100:
        return "more than 99.9 %"
    return f"{value:.1f} %" if value % 1 else f"{value:.0f} %"


def _probability(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _hectares(value: float) -> str:
    return f"{value:,.1f} ha" if value < 1000 else f"{value:,.0f} ha"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
