"""Stores at the size of a continent: loading, asking, and writing all of it to a file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from proof.postgis_cluster import postgis_programs, private_cluster
from proof.store_rows import BOX, make_rows

from bench.table import Row
from sluice.app.following.exporting import export
from sluice.app.following.stores import open_store
from sluice.app.garbage import collect_seldom
from sluice.base.places import Area, Level, Review, Status, Verdict
from sluice.base.store import SiteQuery
from sluice.store.sql_store import SqlStore

AREA = "everywhere"
_TARGET_MS = 50
_EXPORT_S = 60
_LIMIT = 500
_REVIEWS = 200


def measure_stores(work: Path, *, sites: int, quarters: int, queries: int) -> list[Row]:
    """Both kinds of store, one after the other."""
    # As the commands do first that read so much.
    collect_seldom()
    rows = []
    for kind, place in _places(work).items():
        with place() as address:
            if address is None:
                rows.append(Row(f"store, {kind}", "not available", "", "PostGIS is not installed"))
                continue
            with open_store(address, create=True) as store:
                rows += _load(store, kind, sites, quarters)
                rows += _ask(store, kind, queries, quarters)
                rows += _export(store, kind, sites, quarters, work)
    return rows


def _places(work: Path) -> dict[str, Callable[[], contextlib.AbstractContextManager[str | None]]]:
    @contextlib.contextmanager
    def server() -> Iterator[str | None]:
        programs = postgis_programs()
        if programs is None:
            yield None
            return
        # On disk, as the file is; the server is another user.
        work.chmod(0o711)
        with private_cluster(programs, folder=work) as address:
            yield address

    return {
        "SQLite": lambda: contextlib.nullcontext(str(work / "store.sqlite")),
        "PostGIS": server,
    }


def _load(store: SqlStore, kind: str, sites: int, quarters: int) -> list[Row]:
    store.add_area(Area(name=AREA, created=make_rows(AREA, 0, 1).run.landed), shapely.box(*BOX))
    seconds = {"sites": 0.0, "detections": 0.0, "looks": 0.0, "end": 0.0}
    for number in range(quarters):
        rows = make_rows(AREA, number, sites)
        with store.landing(AREA) as landing:
            landing.put_run(rows.run, None)
            with _timed(seconds, "detections"):
                landing.put_detections(rows.detections)
            with _timed(seconds, "looks"):
                landing.put_looks(rows.looks)
            if number == quarters - 1:
                with _timed(seconds, "sites"):
                    landing.put_sites(rows.sites)
                landing.put_alerts(rows.sites["site_id"].tolist(), rows.alerts)
            elif number == 0:
                landing.put_sites(rows.sites)
            ends = time.perf_counter()
        seconds["end"] += time.perf_counter() - ends
    for number in range(_REVIEWS):
        store.add_review(_review(number, sites))
    count = f"{sites * quarters:,}"
    return [
        Row(
            f"store, {kind}: {count} detections loaded",
            f"{seconds['detections']:.0f} s",
            "",
            f"in {quarters} landings; as many looks {seconds['looks']:.0f} s, {sites:,} sites "
            f"replaced {seconds['sites']:.0f} s, ends of landings {seconds['end']:.0f} s",
        )
    ]


def _review(number: int, sites: int) -> Review:
    return Review(
        review_id=f"r{number}",
        site_id=f"s-{AREA}-{number * (sites // _REVIEWS):07d}",
        verdict=[*Verdict][number % 3],
        reason=None,
        who="Ama",
        when=make_rows(AREA, 0, 1).run.landed,
    )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[what] += time.perf_counter() - began


def _queries(count: int) -> Iterator[SiteQuery]:
    """Boxes from a village to the whole area, with filters from none to such that little fits."""
    draw = np.random.default_rng(5)
    width, height = BOX[2] - BOX[0], BOX[3] - BOX[1]
    filters = [
        SiteQuery(),
        SiteQuery(area=AREA, status=(Status.NEW, Status.GROWING), level=(Level.HIGHEST,)),
        SiteQuery(min_area_ha=5.0, legality=("protected",)),
        SiteQuery(min_priority=60.0, level=(Level.HIGH, Level.HIGHEST)),
        SiteQuery(verdict=(Verdict.CONFIRMED,)),
    ]
    for number in range(count):
        share = 10 ** draw.uniform(-2, 0)
        west = BOX[0] + draw.random() * width * (1 - share)
        south = BOX[1] + draw.random() * height * (1 - share)
        box = (west, south, west + width * share, south + height * share)
        yield replace(filters[number % len(filters)], bbox_lonlat=box, limit=_LIMIT)


def _ask(store: SqlStore, kind: str, count: int, quarters: int) -> list[Row]:
    def plain(query: SiteQuery) -> SiteQuery:
        return SiteQuery(area=query.area, bbox_lonlat=query.bbox_lonlat, limit=query.limit)

    def detections_of_sites(query: SiteQuery) -> object:
        few = replace(query, limit=max(1, _LIMIT // quarters))
        ids = store.site_columns(few, ["site_id"])["site_id"]
        return store.detections(SiteQuery(site_ids=tuple(ids)))

    asked: dict[str, Callable[[SiteQuery], object]] = {
        "sites by box and filters": store.sites,
        "number of sites by box and filters": store.count_sites,
        "detections by box": lambda query: store.detections(plain(query)),
        # Filters are of sites: first these, then their detections.
        "detections by box and filters": detections_of_sites,
        "alerts by box and filters": store.alerts,
    }
    rows = []
    for what, ask in asked.items():
        took_ms = []
        for query in _queries(count):
            began = time.perf_counter()
            ask(query)
            took_ms.append(1000 * (time.perf_counter() - began))
        middle, high = np.percentile(took_ms, [50, 95])
        rows.append(
            Row(
                f"store, {kind}: {what}, 95th percentile",
                f"{high:.0f} ms",
                f"{_TARGET_MS} ms",
                f"median {middle:.0f} ms, longest {max(took_ms):.0f} ms; {count} queries, boxes "
                f"from a hundredth of the sides to all, at most {_LIMIT} rows",
            )
        )
    return rows


def _export(store: SqlStore, kind: str, sites: int, quarters: int, work: Path) -> list[Row]:
    """All sites, and all detections, each as the command writes it."""
    rows = []
    for what, expected in (("sites", sites), ("detections", sites * quarters)):
        path = work / f"{kind}-{what}.parquet"
        began = time.perf_counter()
        written = export(store, SiteQuery(), path, what=(what,)).rows[what]
        took = time.perf_counter() - began
        size_mb = path.stat().st_size / 1e6
        path.unlink()
        if written != expected:
            raise RuntimeError(f"{written} {what} were written, {expected} were put")
        rows.append(
            Row(
                f"store, {kind}: all {expected:,} {what} exported",
                f"{took:.1f} s",
                f"{_EXPORT_S} s",
                f"GeoParquet of {size_mb:,.0f} MB",
            )
        )
    return rows
