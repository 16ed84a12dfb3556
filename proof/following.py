"""Phantom countries followed over eight quarters: found when, how large, how falsely."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from proof.markdown import spell, to_table
from proof.setup import Setup
from sluice import __version__
from sluice.app.following.country import (
    OPTICAL,
    RADAR,
    compare_country,
    land_country,
    scan_country,
)
from sluice.app.following.stores import open_store
from sluice.app.planning import usable_cores
from sluice.app.products.layout import RUN, SCORE, SITES_GPKG, SITES_PARQUET
from sluice.base.arrays import FloatArray
from sluice.base.files import write_whole
from sluice.evaluation.bootstrap import LEVEL, Estimate, Statistic, bootstrap_estimates
from sluice.evaluation.metrics import ratio
from sluice.models.package import load_package
from sluice.phantom.country import Country, build_country, watched_quarters
from sluice.phantom.country_files import CountryFiles, write_country
from sluice.phantom.follow_records import LEAST_HA, CountryComparison, MineOutcome, size_at_half

SEEDS = tuple(range(6001, 6021))
"""Countries that nothing was tuned on."""
CLOUDS = (0.3, 0.6, 0.9)
SIZE_PX, MINES, LARGEST_HA, DATES = 480, 8, 30.0, 4
"""Side of a country, mines planted, their largest size, Sentinel-2 dates in a quarter."""
_RESAMPLES = 400
_KEPT = (RUN, SCORE, SITES_PARQUET, SITES_GPKG)
"""Of a scan: what a landing reads."""
_DONE = "scanned.json"


@dataclass(frozen=True)
class Following:
    """One way of looking, over all countries."""

    cloud: float
    radar: bool
    countries: tuple[CountryComparison, ...]


def prove_following(setup: Setup) -> str:
    """Scan each country under each cloud, land it with and without radar, compare.

    The scans of each seed are kept beside the pictures, so that a proof that was cut off goes on,
    and one after a change of the rules lands them anew.
    """
    seeds = SEEDS[: setup.seeds]
    kept = setup.pictures / "following"
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        scan_s = sum(pool.map(scan_seed, seeds, [kept / str(seed) for seed in seeds]))
        started = time.monotonic()
        ways = []
        for cloud in CLOUDS:
            for radar in (False, True):
                jobs = [
                    pool.submit(land_seed, kept / str(seed), cloud, radar=radar) for seed in seeds
                ]
                ways.append(Following(cloud, radar, tuple(job.result() for job in jobs)))
    landed_s = time.monotonic() - started
    return following_text(ways, scan_s=scan_s, landed_s=landed_s)


def scan_seed(seed: int, folder: Path) -> float:
    """Draw and scan one country under each cloud, unless that was done by these models.

    Returns:
        Seconds of one core that it took, now or then.
    """
    # Radar sees through cloud: one scan serves all.
    return sum(scan_cloud(seed, cloud, folder, radar=cloud == CLOUDS[0]) for cloud in CLOUDS)


def scan_cloud(seed: int, cloud: float, folder: Path, *, radar: bool) -> float:
    """Draw and scan one country under one cloud; see `scan_seed`."""
    models = ("default", "workings", "radar-drop")
    mark = {
        "sluice_version": __version__,
        "models": {name: load_package(name, None).sha256 for name in models},
        "country": [SIZE_PX, MINES, LARGEST_HA, DATES],
    }
    kept = CountryFiles(folder / f"truth-{cloud:g}")
    with contextlib.suppress(FileNotFoundError, ValueError):
        done = json.loads((kept.folder / _DONE).read_bytes())
        if done["made_with"] == mark:
            return float(done["seconds"])
    outs = {OPTICAL: folder / f"{OPTICAL}-{cloud:g}"}
    if radar:
        outs[RADAR] = folder / RADAR
    work = folder / f"work-{cloud:g}"
    for path in (kept.folder, work, *outs.values()):
        shutil.rmtree(path, ignore_errors=True)
    started = time.process_time()
    country = _draw(seed, cloud)
    files = write_country(country, work, levels=("l2a", "s1") if radar else ("l2a",))
    for look, out in outs.items():
        scan_country(files, country.quarters, out, look=look, workers=1)
        _keep_needed(out)
    kept.folder.mkdir(parents=True)
    for name in (files.area.name, files.truth.name):
        shutil.copy(work / name, kept.folder / name)
    shutil.rmtree(work)
    seconds = time.process_time() - started
    with write_whole(kept.folder / _DONE) as part:
        part.write_text(json.dumps({"made_with": mark, "seconds": seconds}), encoding="utf-8")
    return seconds


def land_seed(folder: Path, cloud: float, *, radar: bool) -> CountryComparison:
    """Land the scans of a country, and compare with the truth."""
    quarters = watched_quarters()
    files = CountryFiles(folder / f"truth-{cloud:g}")
    looks = [f"{OPTICAL}-{cloud:g}", *([RADAR] if radar else [])]
    scans = [
        {q: folder / look / q.name for q in quarters if (folder / look / q.name / RUN).is_file()}
        for look in looks
    ]
    path = folder / f"landing-{cloud:g}-{radar:d}.sqlite"
    _remove(path)
    with contextlib.closing(open_store(str(path), create=True)) as store:
        land_country(store, files, scans)
        found = compare_country(store, files, quarters)
    _remove(path)
    return found


def following_text(ways: Sequence[Following], *, scan_s: float, landed_s: float) -> str:
    """The tables.

    Args:
        ways: Of the same countries.
        scan_s: Seconds of one core that scanning took.
        landed_s: Seconds that landing and comparing took.
    """
    km2 = sum(country.km2 for country in ways[0].countries)
    due = sum(len(country.due) for country in ways[0].countries)
    heads = [
        "cloud",
        "radar",
        "site within a quarter",
        "alerted within a quarter",
        "opened: likewise",
        "ever alerted",
        "median delay",
        "false alerts",
        "of them high",
    ]
    size_heads = ["cloud", "radar", "area bias", "half off by less than", "within the interval"]
    size_heads += ["ha at which half are seen", "smallest seen, ha", "climbed", "right words"]
    return "\n\n".join(
        [
            f"{len(ways[0].countries)} countries of {SIZE_PX / 100:.1f} km ({km2:,.0f} km² in all, "
            f"{ways[0].countries[0].quarters} quarters), {due} mines that reach {LEAST_HA:g} ha; "
            f"{DATES} Sentinel-2 dates a quarter of the stated mean cloud, Sentinel-1 every twelve "
            "days. Nothing was tuned on these seeds.",
            to_table(heads, [_row(way) for way in ways]),
            "Site within a quarter: share of mines of 1 ha and more that a scan detected not later "
            "than one quarter after they reached it. Alerted within a quarter: share of them with "
            "an alert of any level by then; opened: of those that were not there in the first "
            "quarter. Median delay: quarters from 1 ha to the alert, of "
            "those alerted. False alerts: per 1,000 km² a year, those taken back included.",
            to_table(size_heads, [_size_row(way) for way in ways]),
            "Areas are of outlined workings of mines whose sites are theirs alone, against the "
            "outline of bare ground and water on the quarter's middle day. Half are seen: size at "
            "which a scan detects half of the mines in a quarter in which no cloud hides them. "
            "Climbed: false sites detected in two quarters or more whose alert level rose. Right "
            "words: status in quarters in which the ground was seen.",
            f"[ ] 95 % intervals over countries. Scanning took {scan_s / 60:.0f} minutes of one "
            f"core, landing and comparing {landed_s / 60:.0f} minutes.",
        ]
    )


def _row(way: Following) -> list[str]:
    mines = _mine_table(way)
    false = _country_table(way)
    blocks = mines["country"].to_numpy()
    found = _estimates(
        {
            "site": _share(mines, "found_soon", "judged"),
            "soon": _share(mines, "soon", "judged"),
            "opened": _share(mines, "opened_soon", "opened"),
            "ever": _share(mines, "alerted", "due"),
            "delay": _median(mines["delay"].to_numpy(np.float64)),
        },
        blocks,
        resamples=_RESAMPLES,
    )
    alarms = _estimates(
        {"false": _share(false, "false", "area"), "high": _share(false, "high", "area")},
        false["country"].to_numpy(),
        resamples=_RESAMPLES,
    )
    return [
        f"{way.cloud:.0%}",
        "with" if way.radar else "without",
        *(spell(found[name], 2) for name in ("site", "soon", "opened", "ever")),
        spell(found["delay"], 1),
        *(spell(_counted(alarms[name], float(false["area"].sum())), 0) for name in alarms),
    ]


def _counted(rate: Estimate, exposure: float) -> Estimate:
    """A rate of which nothing was counted, with the exact limit that no resample can give.

    Source:
        Garwood 1936, doi:10.1093/biomet/28.3-4.437.
    """
    if rate.value != 0:
        return rate
    return rate.model_copy(update={"low": 0.0, "high": -np.log((1 - LEVEL) / 2) / exposure})


def _size_row(way: Following) -> list[str]:
    areas = _stacked(way, lambda country: country.areas_ha)
    tries = _stacked(way, lambda country: country.tries)
    figures = _country_table(way)
    told = _estimates(
        {
            "bias": _bias(areas),
            "off": _median(np.abs(areas[:, 2] / areas[:, 1] - 1)),
        },
        areas[:, 0],
        resamples=_RESAMPLES,
    )
    size = _estimates({"half": _half(tries[:, 1:])}, tries[:, 0], resamples=_RESAMPLES // 4)["half"]
    shares = _estimates(
        {
            "within": _share(figures, "within", "intervals"),
            "climbed": _share(figures, "climbed", "persistent"),
            "right": _share(figures, "right", "words"),
        },
        figures["country"].to_numpy(),
        resamples=_RESAMPLES,
    )
    climbed = f"{int(figures['climbed'].sum())} of {int(figures['persistent'].sum())}"
    smallest = tries[tries[:, 2] > 0, 1]
    return [
        f"{way.cloud:.0%}",
        "with" if way.radar else "without",
        spell(told["bias"], 2),
        spell(told["off"], 2),
        spell(shares["within"], 2),
        spell(size, 1),
        f"{smallest.min():.1f}" if smallest.size else "-",
        climbed,
        spell(shares["right"], 2),
    ]


def _estimates(
    statistics: dict[str, Statistic], blocks: FloatArray, *, resamples: int
) -> dict[str, Estimate]:
    """Estimates over countries, without a value where there is nothing to look at."""
    if not blocks.size:
        return dict.fromkeys(statistics, Estimate(value=None, low=None, high=None))
    return bootstrap_estimates(statistics, blocks, resamples=resamples)


def _mine_table(way: Following) -> pd.DataFrame:
    rows = [
        {"country": number, **_mine_figures(mine, country)}
        for number, country in enumerate(way.countries)
        for mine in country.mines
    ]
    return pd.DataFrame(rows).astype(np.float64)


def _mine_figures(mine: MineOutcome, country: CountryComparison) -> dict[str, float]:
    judged = mine in country.judged
    soon = judged and mine.delay is not None and mine.delay <= 1
    opened = judged and mine.quarters[0].quarter > 0
    return {
        "due": mine.due is not None,
        "judged": judged,
        "found_soon": judged
        and mine.found is not None
        and mine.due is not None
        and mine.found - mine.due <= 1,
        "soon": soon,
        "opened": opened,
        "opened_soon": opened and soon,
        "alerted": mine.due is not None and mine.alerted is not None,
        "delay": np.nan if mine.delay is None else mine.delay,
    }


def _country_table(way: Following) -> pd.DataFrame:
    rows = []
    for number, country in enumerate(way.countries):
        wrong, words = country.status_errors
        held = [
            quarter.low_ha <= quarter.area_ha <= quarter.high_ha
            for mine in country.mines
            for quarter in mine.quarters
            if quarter.low_ha is not None and quarter.high_ha is not None
        ]
        rows.append(
            {
                "country": number,
                "false": sum(kind.alerts for kind in country.false_alerts),
                "high": sum(kind.high for kind in country.false_alerts),
                "area": country.km2 / 1000 * country.years,
                "persistent": country.persistent,
                "climbed": country.climbed,
                "words": words,
                "right": words - wrong,
                "intervals": len(held),
                "within": sum(held),
            }
        )
    return pd.DataFrame(rows).astype(np.float64)


def _stacked(way: Following, of: Callable[[CountryComparison], FloatArray]) -> FloatArray:
    """(n, 3): number of the country, and the two columns of a pair."""
    parts = [
        np.column_stack([np.full(len(pairs), number), pairs])
        for number, pairs in ((n, of(country)) for n, country in enumerate(way.countries))
    ]
    return np.concatenate(parts)


def _share(table: pd.DataFrame, part: str, whole: str) -> Statistic:
    above, below = table[part].to_numpy(), table[whole].to_numpy()
    return lambda weights: ratio(weights @ above, weights @ below)


def _bias(areas: FloatArray) -> Statistic:
    true, told = areas[:, 1], areas[:, 2]
    return lambda weights: ratio(weights @ (told - true), weights @ true)


def _median(values: FloatArray) -> Statistic:
    """Of those that are there, each as often as it was drawn."""
    known = np.isfinite(values)

    def median(weights: FloatArray) -> FloatArray:
        found = [_repeated_median(values[known], row[known]) for row in np.atleast_2d(weights)]
        return np.array(found) if weights.ndim > 1 else np.asarray(found[0])

    return median


def _repeated_median(values: FloatArray, times: FloatArray) -> float:
    drawn = np.repeat(values, times.astype(int))
    return float(np.median(drawn)) if drawn.size else np.nan


def _half(tries: FloatArray) -> Statistic:
    def half(weights: FloatArray) -> FloatArray:
        found = [
            size_at_half(np.repeat(tries, row.astype(int), axis=0))
            for row in np.atleast_2d(weights)
        ]
        sizes = np.array([np.nan if size is None else size for size in found])
        return sizes if weights.ndim > 1 else np.asarray(sizes[0])

    return half


def _draw(seed: int, cloud: float) -> Country:
    return build_country(
        seed,
        size_px=SIZE_PX,
        cloud=cloud,
        dates_per_quarter=DATES,
        mine_count=MINES,
        largest_ha=LARGEST_HA,
    )


def _keep_needed(out: Path) -> None:
    """Leave of each scan what a landing reads; of one that saw nothing but cloud, nothing."""
    for folder in out.iterdir():
        if folder.is_dir() and not (folder / RUN).is_file():
            shutil.rmtree(folder)
        elif folder.is_dir():
            for path in folder.iterdir():
                if path.name not in _KEPT:
                    path.unlink()


def _remove(store: Path) -> None:
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink()
