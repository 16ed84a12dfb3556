"""`sluice serve` under load: vector tiles, pages of features, tiles of images, the first screen."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import shapely
from proof.store_rows import BOX, make_rows
from rasterio.enums import Resampling

from bench.http_load import Load, ask_all, ask_at_rate, fixed_answers
from bench.images import write_image
from bench.table import Row
from sluice.app.following.stores import open_store
from sluice.app.products import cog, layout
from sluice.base.places import Area

AREA = "everywhere"
WEB = Path(__file__).resolve().parents[1] / "web"
_CONNECTIONS, _MOST_CONNECTIONS = 16, 60
"""Of a load that asks as soon as it may, and of one at moments of its own."""
_MOST_ASKED = 40_000
_AGAIN = 1 / 3
"""Of the screens and boxes, those that somebody asked for before."""
_ZOOMS = np.array([5, 6, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 14])
_DEMO_SITES = 60
_PER_SECOND, _IMAGES_PER_SECOND, _P95_MS, _FIRST_MS, _SCRIPT_KB = 300, 40, 100, 2000, 600


@dataclass(frozen=True)
class _Server:
    port: int
    process: psutil.Process
    asked: set[str] = field(default_factory=set)
    """Addresses."""

    def noting(self, paths: Iterator[str]) -> Iterator[str]:
        """Addresses as they are asked for."""
        for path in paths:
            self.asked.add(path)
            yield path

    @property
    def processes(self) -> list[psutil.Process]:
        """Its own, and one that makes answers beside it, which may begin meanwhile."""
        return [self.process, *self.process.children()]

    @property
    def processor_s(self) -> float:
        times = [one.cpu_times() for one in self.processes]
        return float(sum(one.user + one.system for one in times))


def measure_service(
    work: Path, pattern_bhw: np.ndarray, *, sites: int, seconds: float
) -> list[Row]:
    """Serve a store of so many sites in a process of its own, and ask from this one.

    Args:
        work: Folder for the store.
        pattern_bhw: What the image shows, see `make_pattern`.
        sites: In the store.
        seconds: Of each load.
    """
    image = _image(work, pattern_bhw)
    large = _store(work / "service.sqlite", sites, image)
    rows = [_ceiling(seconds)]
    with _serving(large) as server:
        # The first tile waits until all sites are in memory.
        ask_all(server.port, ["/tiles/sites/6/31/30.pbf"], connections=1, seconds=600)
        draw = np.random.default_rng(11)
        boxes = _boxes(draw)
        ask_all(server.port, [next(boxes)], connections=1, seconds=60)
        # What it begins to make then, it makes once for each landing.
        time.sleep(seconds)
        kinds = {"vector tiles": _screens(draw), "pages of 100 features": boxes}
        for kind, paths in kinds.items():
            what = f"service, {sites:,} sites: {kind}"
            rows.append(_row(what, _load(server, paths, seconds), _PER_SECOND))
            at_rate = _load(server, paths, seconds, per_second=_PER_SECOND)
            rows.append(_row(f"{what}, at {_PER_SECOND}/s", at_rate, _PER_SECOND))
        images = _load(server, _image_screens(server.port, draw), seconds)
        rows.append(_row("service: image tiles", images, _IMAGES_PER_SECOND))
    demo = _store(work / "demo.sqlite", _DEMO_SITES, image)
    with _serving(demo) as small, _serving(large) as server:
        return rows + _first_screen(work, {_DEMO_SITES: small, sites: server})


def measure_large_service(work: Path, *, sites: int, seconds: float) -> list[Row]:
    """Serve vector tiles of a store of very many sites.

    Args:
        work: Folder for the store.
        sites: In the store.
        seconds: Of the load.
    """
    folder = work / "large-run"
    folder.mkdir()
    store = _store(work / "large.sqlite", sites, folder)
    with _serving(store) as server:
        began = time.monotonic()
        ask_all(server.port, ["/tiles/sites/6/31/30.pbf"], connections=1, seconds=600)
        first_s = time.monotonic() - began
        tiles = _load(server, _screens(np.random.default_rng(11)), seconds)
        row = _row(f"service, {sites:,} sites: vector tiles", tiles, None)
        gb = [one.memory_info().rss / 1e9 for one in server.processes]
        told = f"{gb[0]:.1f} GB of the service" + (f", {gb[1]:.1f} of the second" * (len(gb) > 1))
        first = f"service, {sites:,} sites: the first tile"
        return [Row(first, f"{first_s:.0f} s", "", f"all sites are read; later {told}"), row]


def _store(path: Path, sites: int, image: Path) -> Path:
    rows = make_rows(AREA, 0, sites)
    (image / layout.RUN).write_text(json.dumps({"run_id": rows.run.run_id}))
    with open_store(str(path), create=True) as store:
        store.add_area(Area(name=AREA, created=rows.run.landed), shapely.box(*BOX))
        with store.landing(AREA) as landing:
            landing.put_run(rows.run.model_copy(update={"folder": str(image)}), None)
            landing.put_detections(rows.detections)
            landing.put_sites(rows.sites)
            landing.put_alerts(rows.sites["site_id"].tolist(), rows.alerts)
    return path


def _image(work: Path, pattern_bhw: np.ndarray) -> Path:
    """The folder of a run with an image of 30 km."""
    folder = work / "service-run"
    folder.mkdir()
    plain = work / "service-plain.tif"
    write_image(plain, pattern_bhw, 3000)
    cog.add_overviews(plain, Resampling.average)
    cog.compress(plain, folder / layout.COMPOSITE)
    plain.unlink()
    return folder


@contextlib.contextmanager
def _serving(store: Path) -> Iterator[_Server]:
    command = [sys.executable, "-c", "from sluice.app.cli.main import main; main()", "serve"]
    given = ["--store", str(store), "--port", "0", "--no-open", "--no-worker"]
    with subprocess.Popen(  # noqa: S603 - a command of ours
        [*command, *given],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as served:
        try:
            line = served.stdout.readline() if served.stdout else ""
            if "http" not in line:
                raise RuntimeError(f"sluice serve did not begin: {line}")
            port = int(line[line.index("http") :].split()[0].rstrip("/").rpartition(":")[2])
            yield _Server(port, psutil.Process(served.pid))
        finally:
            served.terminate()
            served.wait(30)


@dataclass(frozen=True)
class _Measured:
    load: Load
    processor_ms: float
    """Of the service, for each request."""
    fresh: float
    """Share of the requests whose address nobody had asked for."""


def _load(
    server: _Server, paths: Iterator[str], seconds: float, *, per_second: float | None = None
) -> _Measured:
    """As many requests as some connections get answered, or so many a second."""
    known = set(server.asked)
    before = server.processor_s
    if per_second is None:
        load = ask_all(server.port, server.noting(paths), connections=_CONNECTIONS, seconds=seconds)
    else:
        load = ask_at_rate(
            server.port,
            server.noting(paths),
            per_second=per_second,
            connections=_MOST_CONNECTIONS,
            seconds=seconds,
        )
    count = len(load.took_ms)
    bad = {code: times for code, times in load.codes.items() if code not in {200, 204}}
    if bad:
        raise RuntimeError(f"the service refused: {bad}")
    processor_ms = 1000 * (server.processor_s - before) / count
    return _Measured(load, processor_ms, len(server.asked - known) / count)


def _row(what: str, measured: _Measured, target: int | None) -> Row:
    load = measured.load
    wanted = "" if target is None else f"{target}/s"
    return Row(
        what,
        f"{load.per_second:.0f}/s, 95 % within {load.percentile_ms(95):.0f} ms",
        wanted + (f", 95 % within {_P95_MS} ms" if target == _PER_SECOND else ""),
        f"median {load.percentile_ms(50):.0f} ms, longest {load.took_ms.max():.0f} ms; "
        f"{len(load.took_ms):,} requests, "
        f"{100 * measured.fresh:.0f} % of them for the first time; "
        f"{load.received_bytes / len(load.took_ms) / 1000:.0f} kB each; the service took "
        f"{measured.processor_ms:.1f} ms of processor time each",
    )


def _ceiling(seconds: float) -> Row:
    with fixed_answers() as port:
        load = ask_all(port, ["/"] * _MOST_ASKED, connections=_CONNECTIONS, seconds=seconds / 4)
    return Row(
        "service: the client's own ceiling",
        f"{load.per_second:.0f}/s",
        "",
        "answers of 20 kB that cost nothing, from a thread of the client's own process",
    )


def _tile(lon: float, lat: float, z: int) -> tuple[int, int]:
    sine = math.sin(math.radians(lat))
    y = 0.5 - math.log((1 + sine) / (1 - sine)) / (4 * math.pi)
    return int((lon / 360 + 0.5) * 2**z), int(y * 2**z)


def _screens(draw: np.random.Generator) -> Iterator[str]:
    """Tiles of screens of three by two, somewhere in the area, at the zooms that people use."""
    before: list[list[str]] = []
    while True:
        if before and draw.random() < _AGAIN:
            yield from before[draw.integers(len(before))]
            continue
        z = int(draw.choice(_ZOOMS))
        x, y = _tile(draw.uniform(BOX[0], BOX[2]), draw.uniform(BOX[1], BOX[3]), z)
        screen = [f"/tiles/sites/{z}/{x + i}/{y + j}.pbf" for j in range(2) for i in range(3)]
        before.append(screen)
        yield from screen


def _boxes(draw: np.random.Generator) -> Iterator[str]:
    """Pages of boxes from a village to the whole area, a third with filters; some are followed to
    the next page."""
    width, height = BOX[2] - BOX[0], BOX[3] - BOX[1]
    before: list[str] = []
    while True:
        if before and draw.random() < _AGAIN:
            yield before[draw.integers(len(before))]
            continue
        share = 10 ** draw.uniform(-1.5, 0)
        west = BOX[0] + draw.random() * width * (1 - share)
        south = BOX[1] + draw.random() * height * (1 - share)
        box = f"{west:.5f},{south:.5f},{west + width * share:.5f},{south + height * share:.5f}"
        path = f"/ogc/collections/sites/items?bbox={box}"
        if draw.random() < _AGAIN:
            path += "&filter=status%3D%27growing%27%20AND%20area_ha%3E%3D3"
        before.append(path)
        yield path
        if draw.random() < _AGAIN:
            yield path + "&offset=100"


def _image_screens(port: int, draw: np.random.Generator) -> Iterator[str]:
    """Tiles of screens of four by three on the image, at all its zooms."""
    address = f"http://127.0.0.1:{port}/api/imagery/{AREA}-000"
    with urllib.request.urlopen(address) as answer:
        facts = json.load(answer)
    west, south, east, north = facts["bounds"]
    before: list[list[str]] = []
    while True:
        if before and draw.random() < _AGAIN:
            yield from before[draw.integers(len(before))]
            continue
        z = int(draw.integers(facts["minzoom"], facts["maxzoom"] + 3))
        x, y = _tile(draw.uniform(west, east), draw.uniform(south, north), z)
        start = f"/imagery/{AREA}-000/image/{z}"
        screen = [f"{start}/{x + i}/{y + j}.png" for j in range(3) for i in range(4)]
        before.append(screen)
        yield from screen


def _first_screen(work: Path, servers: dict[int, _Server]) -> list[Row]:
    """What a browser without a cache takes until the map can be used."""
    why, node = _browser()
    if why:
        return [Row("service: first screen", "not available", f"{_FIRST_MS} ms", why)]
    rows = []
    for sites, server in servers.items():
        told = _play(node, server.port, work)
        script_kb = told["script_bytes"] / 1000
        rows.append(
            Row(
                f"service, {sites:,} sites: first screen usable",
                f"{told['ready_ms']:.0f} ms",
                f"{_FIRST_MS} ms" if sites == _DEMO_SITES else "",
                f"all drawn after {told['drawn_ms']:.0f} ms; median of {told['rounds']} times, "
                "each without a cache, in Chromium without a graphics processor",
            )
        )
    rows.append(
        Row("service: JavaScript of it, gzip", f"{script_kb:.0f} kB", f"{_SCRIPT_KB} kB", "")
    )
    return rows


def _browser() -> tuple[str, list[str]]:
    """Why there is none, or how node is called."""
    chromium = os.environ.get("SLUICE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        return "there is no Chromium", []
    spec = importlib.util.spec_from_file_location("build_map", WEB / "build_map.py")
    if spec is None or spec.loader is None:
        return "the map's sources are not here", []
    build_map = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build_map)
    try:
        node, _ = build_map.node_and_npm()
    except build_map.MapNotBuilt as err:
        return str(err), []
    if not (WEB / "node_modules" / "playwright-core").is_dir() or not build_map.is_built():
        return "the map is not built from these sources; `make map` builds it", []
    return "", [*node, str(WEB.parent / "tests" / "browser" / "play.mjs"), chromium]


def _play(node: Sequence[str], port: int, work: Path) -> dict[str, Any]:
    *command, chromium = node
    given = {"address": f"http://127.0.0.1:{port}/", "chromium": chromium, "pictures": str(work)}
    done = subprocess.run(  # noqa: S603 - a command of ours
        [*command, "speed", json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=WEB,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the map failed in the browser: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
