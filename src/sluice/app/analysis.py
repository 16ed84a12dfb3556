"""A worker: takes analyses from a store's queue, scans, and lands what it finds.

Each job has a folder of its own, where finished tiles stay until it ends: a worker that takes over
goes on from them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely
from pydantic import BaseModel, ConfigDict, Field
from shapely.geometry.base import BaseGeometry

from sluice.app.area_parts import map_parts
from sluice.app.config import ScanConfig, make_config
from sluice.app.following.landing import add_named_area
from sluice.app.following.landing_runs import scan_into_store
from sluice.app.following.stores import is_postgres, open_store, store_path
from sluice.app.job_upkeep import KEEP_DAYS, remove_old_jobs
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.layout import RUN, WORK_FOLDER
from sluice.app.products.overview import JobOutcome
from sluice.app.products.summary import LANDED
from sluice.app.worker_names import is_gone, own_name
from sluice.base.errors import ConfigError, SchemaVersion, SluiceError, StoreError
from sluice.base.files import write_whole
from sluice.base.jobs import STALE_S, AnalysisJob, JobState, Order, Pulse, Stage
from sluice.base.periods import Period, split_period
from sluice.base.records import TileOutcome
from sluice.store.jobs import SqlJobs
from sluice.store.sql_store import SqlStore

DEFAULT_SOURCE = "earth-search"
_LONGEST_WAIT_S = 60.0
_TIDY_S = 3600.0
_SCAN, _AREA = "scan", "area.geojson"
Say = Callable[[str], None]
"""Takes a line for the log."""


class WorkerSettings(BaseModel):
    """What whoever runs a worker decides, and nobody who asks for an analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    out: Path
    """Where the folders of jobs are made."""
    source: str = DEFAULT_SOURCE
    """Catalogue that is searched."""
    model: str = "default"
    keep: tuple[str, ...] | None = None
    """Bands of images to keep, see `ScanConfig`."""
    workers: int | None = Field(default=None, ge=1, le=256)
    """Tiles at a time."""
    tile_px: int | None = Field(default=None, ge=64, le=16384)
    """Small tiles lose less where a worker is lost, and let a job be cancelled sooner."""
    beat_s: float = Field(default=2.0, gt=0)
    """How often it says that it is alive."""
    stale_s: float = Field(default=STALE_S, gt=0)
    """After how long another one is taken for lost."""
    keep_days: float = Field(default=KEEP_DAYS, gt=0)
    """How long analyses that ended are listed."""
    look_s: float = Field(default=2.0, gt=0)
    """How often it looks for jobs where there are none."""


class Stop(BaseException):
    """The worker is to end; its job waits for another one."""


class _Cancelled(Exception):
    """Whoever asked for the job does not want it any more."""


class _Lost(Exception):
    """Another worker has the job: this one was silent for too long."""


def default_jobs_folder(store: str) -> Path:
    """Where the folders of jobs are made unless somebody says: beside a store that is a file."""
    if is_postgres(store):
        return Path("sluice-jobs")
    path = store_path(store)
    return path.with_name(f"{path.stem}-jobs")


def work(
    settings: WorkerSettings, *, once: bool = False, say: Say = print, stop: threading.Event
) -> int:
    """Run jobs until told to stop.

    A store that cannot be reached is asked again, ever more rarely.

    Args:
        settings: Of the worker.
        once: End when no job waits.
        say: Told of jobs that begin and end.
        stop: Set to end it between jobs; `Stop`, raised by a signal's handler, ends one in work.

    Returns:
        How many jobs it ended.

    Raises:
        ConfigError, SchemaVersion: There is no store, or it is of another version.
        StoreError: The store cannot be reached, and `once` is given.
    """
    name, tidied = own_name(), -1e9
    ended, wait_s = 0, settings.look_s
    with contextlib.closing(open_store(settings.store)) as store:
        while not stop.is_set():
            try:
                if time.monotonic() - tidied > _TIDY_S:
                    remove_old_jobs(store, settings.out, settings.keep_days)
                    tidied = time.monotonic()
                found = run_next(store, settings, name, say)
            except SchemaVersion:
                raise
            except StoreError as err:
                if once:
                    raise
                say(f"{err}; asked again in {wait_s:.0f} s")
                found, wait_s = None, min(_LONGEST_WAIT_S, wait_s * 2)
            else:
                wait_s = settings.look_s
            if found is not None:
                ended += 1
            elif once:
                break
            else:
                stop.wait(wait_s)
    return ended


def run_next(
    store: SqlStore, settings: WorkerSettings, worker: str, say: Say = print
) -> AnalysisJob | None:
    """Take a job and bring it to its end.

    Args:
        store: With the queue.
        settings: Of the worker.
        worker: Its name.
        say: Told of the beginning and the end.

    Returns:
        The job as it was taken; None where there is none.

    Raises:
        Stop: The worker was told to end; the job waits again.
        StoreError: The store went away; the job is taken over by whoever comes.
    """
    # Of a model in a folder people learn its name, and not where it lies.
    model = Path(settings.model).name
    job = SqlJobs(store.db).claim(worker, model=model, stale_s=settings.stale_s, is_gone=is_gone)
    if job is not None:
        say(f"analysis {job.job_id}: {job.area}, {Period(job.first, job.last).name}, for {job.by}")
        _Work(store, settings, worker, job, say).run()
    return job


@dataclass(frozen=True)
class _Work:
    """One job in the hands of one worker."""

    store: SqlStore
    settings: WorkerSettings
    worker: str
    job: AnalysisJob
    say: Say

    @property
    def jobs(self) -> SqlJobs:
        return SqlJobs(self.store.db)

    @property
    def folder(self) -> Path:
        return self.settings.out / self.job.job_id

    def run(self) -> None:
        """Bring it to its end; see `run_next`."""
        try:
            outcomes = self._scan()
        except _Lost:
            self._log("another worker has taken it")
        except _Cancelled:
            self._end(JobState.CANCELLED, "", self._landed())
        except Stop:
            self.jobs.release(self.job.job_id, self.worker, at_fault=False)
            self._log("waits for another worker")
            raise
        except StoreError as err:
            # Not the job's fault, and what it has done is kept.
            self._log(str(err))
            self.jobs.release(self.job.job_id, self.worker, at_fault=True)
        except SluiceError as err:
            self._end(JobState.FAILED, str(err), self._landed())
        except Exception as err:  # noqa: BLE001 - the last boundary of a job
            # The worker lives on: what is wrong with one job is not with the next.
            what = f"unforeseen {type(err).__name__}: {err}. This is a fault in Sluice: report it"
            self._end(JobState.FAILED, what, self._landed())
        else:
            self._finish(outcomes)

    def _scan(self) -> list[JobOutcome]:
        job, settings = self.job, self.settings
        geometry = _geometry(self.store, job)
        with telling_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if job.outline is not None:
                with write_whole(self.folder / _AREA) as part:
                    part.write_text(json.dumps(_feature(job)), encoding="utf-8")
        config = make_config(
            ScanConfig,
            out=self.folder / _SCAN,
            area=None if job.outline is None else str(self.folder / _AREA),
            area_name=job.area,
            source=settings.source,
            model=settings.model,
            first=job.first.isoformat(),
            last=job.last.isoformat(),
            every=job.every,
            store=settings.store,
            keep=settings.keep,
            workers=settings.workers,
            tile_px=settings.tile_px,
        )
        periods = len(list(split_period(Period(job.first, job.last), job.every)))
        parts = periods * len(map_parts(geometry))
        with _Beating(self, config.out, parts=parts) as beating:
            return scan_into_store(config, beating.on_tile, beating.on_line)

    def _finish(self, outcomes: Sequence[JobOutcome]) -> None:
        """End a job of which at least something may have been made."""
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        run_ids = [o.summary[LANDED]["run_id"] for o in outcomes if LANDED in o.summary]
        message = "; ".join(f"{outcome.job}: {outcome.error}" for outcome in failed[:3])
        state = JobState.FAILED if len(failed) == len(outcomes) else JobState.DONE
        self._end(state, message, run_ids)

    def _end(self, state: JobState, message: str, run_ids: Sequence[str]) -> None:
        message = self._told(message)
        # Before others can learn of the end: what is left then stays.
        _clear(self.folder)
        job_id = self.job.job_id
        if self.jobs.finish(job_id, self.worker, state, message=message, run_ids=run_ids):
            self._log(f"{state}, {len(run_ids)} landed" + (f": {message}" if message else ""))

    def _told(self, message: str) -> str:
        """What went wrong, in one line and without the paths of whoever runs the worker."""
        settings, folder = self.settings, str(self.folder)
        message = message.replace(f"{self.folder / _SCAN}: ", "").replace(folder, self.job.area)
        ours = [settings.store, settings.source, settings.model, str(settings.out)]
        for path in sorted((one for one in ours if Path(one).name != one), key=len, reverse=True):
            if "://" not in path:
                message = message.replace(path, Path(path).name)
        return " ".join(message.split())

    def _landed(self) -> list[str]:
        """Runs that lie in the job's folder."""
        inside = self.folder.resolve()
        runs = [run for run in self.store.runs() if run.folder is not None]
        return [run.run_id for run in runs if inside in Path(str(run.folder)).parents]

    def _log(self, line: str) -> None:
        self.say(f"analysis {self.job.job_id}: {line}")


def _geometry(store: SqlStore, job: AnalysisJob) -> BaseGeometry:
    """The area of a job; where the store does not know it, the first map that lands adds it.

    Raises:
        ConfigError: The store knows another one of this name, or none where it should.
    """
    areas = store.areas()
    found = areas[areas["name"] == job.area]
    if job.outline is None:
        if found.empty:
            raise ConfigError(f"area {job.area!r}: is not in the store any more; draw it again")
        known: BaseGeometry = found.geometry.iloc[0]
        return known
    outline: BaseGeometry = shapely.from_geojson(json.dumps(job.outline))
    if len(found):
        # Somebody may have added another one of this name since it was asked for.
        add_named_area(store, job.area, outline)
    return outline


def _feature(job: AnalysisJob) -> dict[str, object]:
    feature = {"type": "Feature", "properties": {}, "geometry": job.outline}
    return {"type": "FeatureCollection", "features": [feature]}


class _Beating:
    """Says that a worker is alive from a thread, and hands what it hears to the scan."""

    def __init__(self, of: _Work, out: Path, *, parts: int) -> None:
        self._of, self._out = of, out
        self._lock = threading.Lock()
        self._pulse = Pulse(stage=Stage.SEARCHING, parts=parts)
        self._order = Order.GO_ON
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> _Beating:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(StoreError):
            self._beat()  # How far it came.

    def on_tile(self, outcome: TileOutcome, *, done: int, total: int, resumed: bool) -> None:
        """See `scan.run.Progress`."""
        del outcome, resumed
        stage = Stage.LANDING if done == total else Stage.SCANNING
        self._note(stage=stage, done=done, total=total)

    def on_line(self, text: str) -> None:
        """A line of the scan's own: before its first tile, or when a map has landed."""
        del text
        part = min(self._pulse.parts, len(list(self._out.rglob(RUN))))
        self._note(stage=Stage.SEARCHING, done=0, total=0, part=part)

    def _note(self, **values: object) -> None:
        with self._lock:
            self._pulse = self._pulse.model_copy(update=values)
            order = self._order
        if order is Order.CANCEL:
            raise _Cancelled
        if order is Order.LOST:
            raise _Lost

    def _beat(self) -> None:
        with self._lock:
            pulse = self._pulse
        order = self._of.jobs.beat(self._of.job.job_id, self._of.worker, pulse)
        with self._lock:
            self._order = order

    def _run(self) -> None:
        while not self._ended.wait(self._of.settings.beat_s):
            # A store that is gone for a while is the scan's own concern, once it lands.
            with contextlib.suppress(StoreError):
                self._beat()


def _clear(folder: Path) -> None:
    """Take away tiles of what was not finished; what landed stays, for pictures."""
    for work_folder in [path for path in folder.rglob(WORK_FOLDER) if path.is_dir()]:
        shutil.rmtree(work_folder, ignore_errors=True)
    # Of folders only those go that are empty now.
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            with contextlib.suppress(OSError):
                path.rmdir()
    if not (folder / _SCAN).exists():
        (folder / _AREA).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
