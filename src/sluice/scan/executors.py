"""Ways to get the tiles of a scan done: in turn, in several threads, or in several processes."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Protocol, TypeVar

from odc.geo.geobox import GeoBox

from sluice.base.errors import ConfigError, RunFailed
from sluice.base.protocols import Predictor, TileLoader
from sluice.scan.predict import TileScores, predict_tile, read_tile, score_or_fail
from sluice.scan.tiles import TileTask

# On Windows, Ctrl-C does not end a wait that has no time limit.
_WAKE_S = 0.5
# The most handles that Windows waits for at once, less those that the pool needs itself.
_MOST_PROCESSES_ON_WINDOWS = 61

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class TileExecutor(Protocol):
    """Does tiles in any order and yields each result when it is there.

    A tile's own failure is a result; what concerns all tiles is raised, see `predict_tile`.
    Closing the iterator drops the tiles that have not begun.
    """

    def __call__(
        self, tasks: Sequence[TileTask], geobox: GeoBox, loader: TileLoader, predictor: Predictor
    ) -> Generator[TileScores, None, None]:
        """Run `predict_tile` on each task."""
        ...


def run_serially(
    tasks: Sequence[TileTask], geobox: GeoBox, loader: TileLoader, predictor: Predictor
) -> Generator[TileScores, None, None]:
    """One tile after the other, in order; the next is read while one is scored.

    Memory: the pixels of two tiles, and what the model takes.
    """
    if not tasks:
        return
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
    try:
        ahead = reader.submit(read_tile, tasks[0], geobox, loader)
        for task, following in zip(tasks, [*tasks[1:], None], strict=True):
            # Waiting before asking for the next keeps it at two tiles in memory.
            wait([ahead])
            current = ahead
            if following is not None:
                ahead = reader.submit(read_tile, following, geobox, loader)
            yield score_or_fail(task, current.result, predictor)
    finally:
        reader.shutdown(wait=True, cancel_futures=True)


def run_in_threads(
    tasks: Sequence[TileTask],
    geobox: GeoBox,
    loader: TileLoader,
    predictor: Predictor,
    *,
    workers: int,
) -> Generator[TileScores, None, None]:
    """Several tiles at a time in threads of this process, in the order they are done.

    Readers and engines work outside Python's lock, so that reading, scoring and the arithmetic
    between them overlap. Give the predictor one engine thread for each call where there are tiles
    enough: an engine that divides one small tile among many threads mostly waits.

    Memory: `workers` times the pixels of a tile and what the model takes; one copy of the model.

    Args:
        tasks: The tiles.
        geobox: Grid of the whole image.
        loader: Reads the model's inputs; called from several threads.
        predictor: Scores windows; called from several threads.
        workers: Threads, at least 1.
    """
    if workers < 1:
        raise ConfigError(f"{workers} worker threads were asked for; use 1 or more")
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="tile")
    try:
        yield from as_done(
            lambda task: pool.submit(predict_tile, task, geobox, loader, predictor), tasks, workers
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def as_done(
    submit: Callable[[_Task], Future[_Result]], tasks: Sequence[_Task], workers: int
) -> Generator[_Result, None, None]:
    """Results as they come, with one more task waiting than there are workers.

    So none is idle, and little is lost when the caller stops. Ctrl-C begins no more tiles, yields
    those under way, whose results would be lost otherwise, and is then raised.
    """
    queue = iter(tasks)
    running = {submit(task) for task in itertools.islice(queue, workers + 1)}
    try:
        while running:
            done, running = wait(running, timeout=_WAKE_S, return_when=FIRST_COMPLETED)
            running |= {submit(task) for task in itertools.islice(queue, len(done))}
            for future in done:
                yield future.result()
    except KeyboardInterrupt:
        yield from _under_way(running)
        raise


def _under_way(running: set[Future[_Result]]) -> Generator[_Result, None, None]:
    begun = {future for future in running if not future.cancel()}
    while begun:
        done, begun = wait(begun, timeout=_WAKE_S, return_when=FIRST_COMPLETED)
        for future in done:
            if future.exception() is None:
                yield future.result()


def run_in_processes(
    tasks: Sequence[TileTask],
    geobox: GeoBox,
    loader: TileLoader,
    predictor: Predictor,
    *,
    workers: int,
) -> Generator[TileScores, None, None]:
    """Several tiles at a time, each in a process of its own, in the order they are done.

    Processes are spawned, so this works alike on Linux, macOS and Windows; loader and predictor
    must pickle, and travel to each process once. Ctrl-C reaches the parent only: it drops what
    has not begun and waits for the tiles under way.

    Memory: `workers` times the pixels of a tile and what the model takes.

    Args:
        tasks: The tiles.
        geobox: Grid of the whole image.
        loader: Reads the model's inputs.
        predictor: Scores windows.
        workers: Processes, at least 1; Windows allows no more than 61.

    Raises:
        ConfigError: Loader or predictor cannot be sent to a process.
        RunFailed: A process died.
    """
    if workers < 1:
        raise ConfigError(f"{workers} worker processes were asked for; use 1 or more")
    # Once here rather than by the pool, where what does not pickle shows as a broken process.
    try:
        luggage = pickle.dumps((geobox, loader, predictor))
    except (pickle.PicklingError, TypeError, AttributeError) as err:
        raise ConfigError(f"this model or source runs in one process only ({err})") from err
    if sys.platform == "win32":
        workers = min(workers, _MOST_PROCESSES_ON_WINDOWS)
    pool = ProcessPoolExecutor(
        max_workers=min(workers, max(1, len(tasks))),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(luggage,),
    )
    try:
        yield from as_done(partial(_submit, pool), tasks, workers)
    except BrokenProcessPool as err:
        raise RunFailed(
            "a worker process ended unexpectedly, most often for lack of memory; "
            "use fewer workers (--workers 1)"
        ) from err
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, task: TileTask) -> Future[TileScores]:
    """Submit a task. The pool may start a process for it, and a Ctrl-C while that one still starts
    would end it with a traceback: where a signal can be held back, a process inherits that."""
    if not hasattr(signal, "pthread_sigmask"):
        return pool.submit(_predict_here, task)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_predict_here, task)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_luggage: tuple[GeoBox, TileLoader, Predictor] | None = None


def _start_worker(luggage: bytes) -> None:
    global _luggage  # noqa: PLW0603 - a process's own copy, set once before its first task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _luggage = pickle.loads(luggage)  # noqa: S301 - from the parent process, not from a file


def _predict_here(task: TileTask) -> TileScores:
    if _luggage is None:
        raise RunFailed("a worker process was started without its model")
    return predict_tile(task, *_luggage)
