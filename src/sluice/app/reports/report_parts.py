"""Parts that the reports of sites and of areas share: places in words, runs, images, hashes."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sluice.app.messages import Messages
from sluice.app.reports.blocks import Block, Document, Heading, Points, Table, Text
from sluice.app.reports.site_evidence import AreaEvidence, EvidenceFile, RunUsed, SiteEvidence
from sluice.sites.coordinates import mgrs_references

NOTHING = "–"
_MOST_SCENES = 60
_MOST_FILES = 60
_TENTHS = 10
_MINUTE, _DEGREE = 60 * _TENTHS, 3600 * _TENTHS
_DOUBTS = ("law", "persons", "mining", "mineral", "dates", "area", "cloud")


def frame(
    evidence: SiteEvidence | AreaEvidence,
    say: Messages,
    title: str,
    subtitle: str,
    blocks: Sequence[Block],
) -> Document:
    """A report around its blocks."""
    day = evidence.as_of.date()
    software = say.text("common.software", version=evidence.software)
    return Document(
        language=say.language,
        title=title,
        subtitle=subtitle,
        state=f"{say.text('common.as_of', date=day)} · {software}",
        footer=say.text("common.lead"),
        page_of=say.text("common.page", page="{page}", pages="{pages}"),
        seconds=int(evidence.as_of.astimezone(dt.UTC).timestamp()),
        author=software,
        blocks=tuple(blocks),
    )


def decimal_degrees(lon: float, lat: float, digits: int = 6) -> str:
    """Latitude, longitude with a decimal point in every language, so that it can be copied."""
    return f"{lat:.{digits}f}, {lon:.{digits}f}"


def degrees_minutes_seconds(lon: float, lat: float, say: Messages) -> str:
    """Latitude and longitude with the language's letters."""
    north = say.text("compass.north" if lat >= 0 else "compass.south")
    east = say.text("compass.east" if lon >= 0 else "compass.west")
    return f"{_sexagesimal(lat)} {north}, {_sexagesimal(lon)} {east}"


def mgrs_reference(lon: float, lat: float) -> str:
    """The square of one metre, in groups."""
    (code,) = mgrs_references(np.array([lon]), np.array([lat]))
    return f"{code[:-12]} {code[-12:-10]} {code[-10:-5]} {code[-5:]}"


def _sexagesimal(angle: float) -> str:
    # In whole tenths of a second first: 59.96 is then the next minute, not 60.0.
    degrees, rest = divmod(round(abs(angle) * _DEGREE), _DEGREE)
    minutes, rest = divmod(rest, _MINUTE)
    seconds, tenth = divmod(rest, _TENTHS)
    return f"{degrees}° {minutes:02d}′ {seconds:02d}.{tenth}″"


def capital(text: str) -> str:
    """Text that begins with a capital."""
    return text[:1].upper() + text[1:]


def figure(value: Any) -> float | None:
    """A number of a table, None where it is absent."""
    if value is None or pd.isna(value):
        return None
    return float(value) if math.isfinite(float(value)) else None


def nothing_outlined(area: float | None, high: float | None) -> bool:
    """Whether an area of 0 stands for workings that could not be told within a detection."""
    return area == 0 and high is not None and high > 0


def area_words(say: Messages, area: float, high: float | None, *, unit: bool = True) -> str:
    """`4.4 ha`; `at most 2.6 ha` where nothing could be outlined."""
    at_most = high if nothing_outlined(area, high) else None
    known = area if at_most is None else at_most
    told = say.hectares(known) if unit else say.number(known, 1)
    return told if at_most is None else say.text("common.at_most", area=told)


def interval_words(say: Messages, low: float | None, high: float | None) -> str:
    """Both ends of an interval, or a dash."""
    if low is None or high is None:
        return NOTHING
    return f"{say.number(low, 1)}–{say.hectares(high)}"


def yes_no(say: Messages, value: Any) -> str:
    """Yes or no."""
    return say.text("common.yes") if bool(value) else say.text("common.no")


def limits(say: Messages, *, area: bool) -> list[Block]:
    """What a report does not prove."""
    keys = (*_DOUBTS, "sum") if area else _DOUBTS
    return [
        Heading(say.text("limits.heading")),
        Points(tuple(say.of("limits", key) for key in keys)),
    ]


def method(say: Messages, runs: Sequence[RunUsed]) -> list[Block]:
    """How it was found, by what, and from which images."""
    blocks: list[Block] = [Heading(say.text("method.heading")), Text(say.text("method.text"))]
    if not runs:
        return [*blocks, Text(say.text("method.no_runs"), "note")]
    heads = ("period", "sensor", "run", "model", "version")
    blocks.append(
        Table(
            say.text("method.runs"),
            tuple(say.of("method", head) for head in heads),
            tuple(_run_row(say, used) for used in runs),
            (18, 30, 30, 13, 9),
            codes=(2,),
        )
    )
    models = dict.fromkeys((used.run.model or NOTHING, used.run.model_sha256) for used in runs)
    rows = tuple((name, sha256 or NOTHING) for name, sha256 in models)
    told = (say.text("method.model"), say.text("method.model_hash"))
    blocks.append(Table(say.text("method.models"), told, rows, (30, 70), codes=(1,)))
    scenes = {(scene.id, scene.href): scene for used in runs for scene in used.scenes}
    if not scenes:
        return [*blocks, Text(say.text("method.no_scenes"), "note")]
    shown = sorted(scenes.values(), key=lambda scene: (scene.acquired or dt.date.min, scene.id))
    listed = tuple(
        (
            scene.acquired.isoformat() if scene.acquired else NOTHING,
            scene.id,
            scene.tile or NOTHING,
            scene.href,
        )
        for scene in shown[:_MOST_SCENES]
    )
    names = tuple(say.of("method", head) for head in ("date", "scene", "tile", "address"))
    blocks.append(Table(say.text("method.scenes"), names, listed, (9, 44, 8, 39), codes=(0, 1, 3)))
    if len(shown) > _MOST_SCENES:
        blocks.append(Text(say.text("method.scenes_more", n=len(shown) - _MOST_SCENES), "note"))
    return blocks


def check(say: Messages, runs: Sequence[RunUsed], manifest: str, facts_sha256: str) -> list[Block]:
    """How a third party makes sure that nothing was altered."""
    blocks: list[Block] = [
        Heading(say.text("check.heading")),
        Text(say.text("check.text")),
        Text(say.text("check.manifest", name=manifest)),
        Text(say.text("check.facts", sha=facts_sha256), "code"),
    ]
    files = list(_once(file for used in runs for file in used.files))
    unhashed = sum(file.sha256 is None and file.found is None for file in files)
    files = [file for file in files if file.sha256 or file.found]
    if files:
        files.sort(key=lambda file: not file.output)
        rows = tuple(_file_row(say, file) for file in files[:_MOST_FILES])
        heads = (say.text("check.file"), "", say.text("check.sha"))
        blocks.append(Table(say.text("check.table"), heads, rows, (36, 12, 52), codes=(0, 2)))
        if len(files) > _MOST_FILES:
            blocks.append(Text(say.text("check.files_more", n=len(files) - _MOST_FILES), "note"))
    if unhashed:
        blocks.append(Text(say.text("check.unhashed", n=unhashed), "note"))
    return blocks


def _run_row(say: Messages, used: RunUsed) -> tuple[str, ...]:
    run = used.run
    return (
        say.period(run.start, run.end),
        say.sensor(run.sensor),
        run.run_id,
        run.model or NOTHING,
        used.version or NOTHING,
    )


def _file_row(say: Messages, file: EvidenceFile) -> tuple[str, str, str]:
    if file.altered:
        told = f"{file.sha256} ({say.text('check.altered')}: {file.found})"
    elif file.output and file.found is None:
        told = f"{file.sha256 or NOTHING} ({say.text('check.gone')})"
    else:
        told = file.sha256 or file.found or NOTHING
    kind = say.text("check.outputs" if file.output else "check.inputs")
    return f"{file.of} / {file.name}", kind, told


def _once(files: Iterable[EvidenceFile]) -> Iterable[EvidenceFile]:
    """A scene that several runs read is told once."""
    return dict.fromkeys(files)
