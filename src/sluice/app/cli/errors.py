"""How errors reach a person: one line, and an exit code that says whose fault it was."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from typer.core import TyperGroup

from sluice.base.errors import RunFailed, SluiceError

USER_MISTAKE = 2
FAILED_RUN = 1
INTERRUPTED = 130


def stoppable(*resumable: str) -> type[TyperGroup]:
    """Commands that hand Ctrl-C on to `main`: typer would end without a word, or with "Aborted!".

    Args:
        resumable: Those that go on where they stopped. Groups among the commands say it of
            their own ones.
    """

    class Commands(TyperGroup):
        def invoke(self, ctx: Any) -> Any:
            """Run the command that was named."""
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt as err:
                raise Stopped(resumable=ctx.invoked_subcommand in resumable) from err

    return Commands


class Stopped(Exception):
    """The user pressed Ctrl-C.

    Args:
        resumable: Whether the same command goes on where it stopped.
    """

    def __init__(self, *, resumable: bool) -> None:
        super().__init__()
        self.resumable = resumable


def report_error(err: Exception, *, debug: bool) -> int:
    """Print an error on stderr and return the exit code.

    Args:
        err: A `SluiceError`, `Stopped`, or anything unforeseen.
        debug: Print the traceback as well.
    """
    if debug:
        traceback.print_exception(err)
    if isinstance(err, Stopped):
        go_on = " Run the same command again to go on where it stopped." if err.resumable else ""
        sys.stderr.write(f"Stopped.{go_on}\n")
        return INTERRUPTED
    if isinstance(err, SluiceError):
        line = " ".join(str(err).split())
        sys.stderr.write(f"Error: {line}\n")
        return FAILED_RUN if isinstance(err, RunFailed) else USER_MISTAKE
    sys.stderr.write(
        f"Error: unforeseen {type(err).__name__}: {' '.join(str(err).split())}. This is a fault "
        "in Sluice: please report it, with what --debug prints\n"
    )
    return FAILED_RUN
