"""Landings that are killed at a random moment: what is there afterwards is a whole state.

A store of reference takes the same landings undisturbed. After each kill the store's contents must
be, to the last value, those of the reference before the landing or after it; then the landing is
done again, over whatever is there, and must end in the reference's state after it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import multiprocessing as mp
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from proof.postgis_cluster import postgis_programs, private_cluster
from proof.store_rows import BOX, land_rows, make_rows
from sluice.app.following.stores import open_store
from sluice.base.places import Area, Review, Verdict
from sluice.base.store import SiteQuery
from sluice.store.checking import check
from sluice.store.sql_store import SqlStore

if TYPE_CHECKING:
    from proof.setup import Setup

AREA = "ashanti"
_STEPS = 10
_KILLS = 100
_PATIENCE_S = 60


@dataclass
class Kills:
    """What became of landings that were killed."""

    before: int = 0
    """Nothing of the landing was there."""
    after: int = 0
    """All of it: the kill came too late."""
    neither: int = 0
    unsound: int = 0
    """Checks that failed."""
    lost_reviews: int = 0

    @property
    def rounds(self) -> int:
        """How many there were."""
        return self.before + self.after + self.neither


def kill_landings(address: str, reference: str, *, rounds: int, sites: int, seed: int) -> Kills:
    """Land quarter after quarter in a process that is killed, and compare after each.

    Args:
        address: Of the store, which is made.
        reference: Of the store of reference, likewise.
        rounds: Landings.
        sites: In each.
        seed: Of the moments.
    """
    draw = np.random.default_rng(seed)
    kills = Kills()
    with open_store(address, create=True) as store, open_store(reference, create=True) as whole:
        for each in (store, whole):
            each.add_area(Area(name=AREA, created=_moment(0)), shapely.box(*BOX))
            land_rows(each, make_rows(AREA, 0, sites))
        began = time.monotonic()
        land_rows(store, make_rows(AREA, 0, sites), steps=_STEPS)
        lasts_s = time.monotonic() - began
        for number in range(1, rounds + 1):
            before = state_of(whole)
            land_rows(whole, make_rows(AREA, number, sites))
            after = state_of(whole)
            _kill_one(address, number, sites, draw.uniform(0, 1.2 * lasts_s))
            found = state_of(store)
            kills.before += found == before
            kills.after += found == after
            kills.neither += found not in {before, after}
            kills.unsound += sum(finding.wrong is not None for finding in check(store.db))
            land_rows(store, make_rows(AREA, number, sites))
            kills.neither += state_of(store) != after
            for each in (store, whole):
                each.add_review(_review(number))
            kills.lost_reviews += len(store.reviews()) != number
    return kills


def _kill_one(address: str, number: int, sites: int, after_s: float) -> None:
    """Begin a landing in a process of its own, and kill it."""
    context = mp.get_context("forkserver")
    # What takes seconds to import is there when the process begins.
    context.set_forkserver_preload(["proof.store_kills"])
    here, there = context.Pipe()
    child = context.Process(target=_land, args=(address, number, sites, there), daemon=True)
    child.start()
    try:
        if not here.poll(_PATIENCE_S):
            raise RuntimeError("the process that lands did not begin")
        here.recv()
        time.sleep(after_s)
    finally:
        child.kill()
        child.join()
        here.close()
        there.close()


def _land(address: str, number: int, sites: int, ready: Connection) -> None:
    rows = make_rows(AREA, number, sites)
    with open_store(address) as store:
        ready.send("ready")
        land_rows(store, rows, steps=_STEPS)
    # The kill is to find it, not its end.
    time.sleep(_PATIENCE_S)


def state_of(store: SqlStore) -> str:
    """A hash of all that a store tells."""
    sites = store.sites(SiteQuery(with_past=True))
    ids = sites["site_id"].tolist()
    detections = store.detections(SiteQuery(), with_past=True)
    tables = (
        sites,
        detections.sort_values(["run_id", "detection_id"]),
        store.looks(ids),
        store.periods(ids),
        store.alerts(SiteQuery(with_past=True)),
    )
    told = [table.to_csv(index=False) for table in tables]
    told += [run.model_dump_json() for run in store.runs(with_past=True)]
    told += [review.model_dump_json() for review in store.reviews()]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _moment(hours: int) -> dt.datetime:
    return dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=hours)


def _review(number: int) -> Review:
    return Review(
        review_id=f"review-{number}",
        site_id=f"s-{AREA}-{number % 7:07d}",
        verdict=Verdict.CONFIRMED,
        reason=None,
        who="Ama",
        when=_moment(number),
    )


def prove_store_kills(setup: Setup) -> str:
    """Kill a hundred landings in each kind of store."""
    rows = [_row("SQLite", str(setup.work / "kills.sqlite"), setup.work)]
    programs = postgis_programs()
    if programs is None:
        rows.append("| PostGIS | not installed here | | | | |")
    else:
        with private_cluster(programs) as address:
            rows.append(_row("PostGIS", address, setup.work))
    return "\n".join(
        [
            "| store | landings killed | nothing of it there | all of it there | "
            "anything else, or unsound | reviews lost |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _row(kind: str, address: str, work: Path) -> str:
    reference = str(work / f"kills-reference-{kind}.sqlite")
    kills = kill_landings(address, reference, rounds=_KILLS, sites=300, seed=7)
    wrong = kills.neither + kills.unsound
    return (
        f"| {kind} | {kills.rounds} | {kills.before} | {kills.after} | {wrong} "
        f"| {kills.lost_reviews} |"
    )
