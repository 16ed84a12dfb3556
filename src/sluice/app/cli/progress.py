"""A progress bar with time left, on stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sluice.base.records import TileOutcome, TileStatus
from sluice.scan.run import Progress as TileProgress

_SPEED_OVER_S = 900
"""Tiles may take minutes, where a line is slow: over half a minute, as is usual, no two would end,
and no time left be told."""


class _TimeLeft(TimeRemainingColumn):
    """Nothing where all that is counted is done: what comes after is not in the estimate."""

    def render(self, task: Task) -> Text:
        """The time that a task still takes, as `left 0:12:34`."""
        if task.total is None or task.completed >= task.total:
            return Text()
        return Text("left ") + super().render(task)


@contextlib.contextmanager
def tile_progress(*, shown: bool) -> Iterator[TileProgress]:
    """A bar over the tiles of a scan; silent where nobody would see it.

    Args:
        shown: Whether to show it at all; where stderr is no terminal it never is.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles"),
        TimeElapsedColumn(),
        _TimeLeft(),
        console=console,
        speed_estimate_period=_SPEED_OVER_S,
        disable=not (shown and console.is_terminal),
        transient=True,
    )
    with bar:
        task = bar.add_task("Scanning", total=None)
        failed = 0

        def tell(outcome: TileOutcome, *, done: int, total: int, resumed: bool) -> None:
            nonlocal failed
            failed += outcome.status is TileStatus.FAILED
            # Sites, maps and tables come after the last tile.
            doing = "Scanning" if done < total else "Writing the map"
            text = doing if not failed else f"{doing} ({failed} failed)"
            if resumed:
                # Tiles kept from an earlier call take no time, and would spoil the estimate.
                bar.reset(task, total=total, completed=done, description=text)
            else:
                bar.update(task, total=total, completed=done, description=text)

        yield tell


@contextlib.contextmanager
def stage_progress(*, shown: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage of a long command; a line for each where stderr is no terminal.

    Args:
        shown: Whether to tell anything.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _TimeLeft(),
        console=console,
        speed_estimate_period=_SPEED_OVER_S,
        disable=not (shown and console.is_terminal),
    )
    with bar:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for earlier in tasks.values():
                    bar.stop_task(earlier)
                tasks[stage] = bar.add_task(stage, total=total)
                if shown and not console.is_terminal:
                    console.print(f"{stage} …", highlight=False)
            bar.update(tasks[stage], completed=done, total=total)

        yield tell
