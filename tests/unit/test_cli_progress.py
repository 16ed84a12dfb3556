"""What somebody sees who waits at a terminal, and who sends it into a file."""

import io
import re
import sys
import time
from collections.abc import Callable

import pytest

from sluice.app.cli.progress import stage_progress, tile_progress
from sluice.base.records import TileOutcome, TileStatus

DONE = TileOutcome(tile_id="t", status=TileStatus.DONE, windows=9, observed=9)
FAILED = TileOutcome(tile_id="t", status=TileStatus.FAILED, windows=9, observed=0)


class Screen:
    """A terminal that is none, and a clock that stands still until it is set."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.now = 0.0

    def shows(self, wanted: str) -> str:
        """Wait for a line that says so; the bar is drawn ten times a second."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.stream.getvalue())
            found = [line for line in re.split(r"[\r\n]+", plain) if re.search(wanted, line)]
            if found:
                return found[-1]
            time.sleep(0.02)
        pytest.fail(f"{wanted!r} was not shown: {plain!r}")


@pytest.fixture
def screen(monkeypatch) -> Callable[..., Screen]:
    def make(*, terminal: bool) -> Screen:
        made = Screen()
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(sys, "stderr", made.stream)
        monkeypatch.setattr("rich.console.monotonic", lambda: made.now)
        return made

    return make


def test_a_terminal_shows_how_many_tiles_are_done_and_the_time_left(screen) -> None:
    shown = screen(terminal=True)
    with tile_progress(shown=True) as tell:
        for done in (1, 2):
            shown.now += 10
            tell(DONE, done=done, total=5, resumed=False)
        # Ten seconds for a tile, and three to go.
        line = shown.shows("2/5 tiles")
        assert line.startswith("Scanning")
        assert re.search(r"2/5 tiles 0:00:20 left 0:00:30", line)
        shown.now += 10
        tell(FAILED, done=3, total=5, resumed=False)
        assert "Scanning (1 failed)" in shown.shows("3/5 tiles")


def test_no_time_left_is_told_while_the_map_is_written(screen) -> None:
    """All tiles are done, and nobody knows how long sites and files will take."""
    shown = screen(terminal=True)
    with tile_progress(shown=True) as tell:
        for done in (1, 2):
            shown.now += 10
            tell(DONE, done=done, total=2, resumed=False)
        line = shown.shows("2/2 tiles")
        assert line.startswith("Writing the map")
        assert "left" not in line
        assert "0:00:20" in line  # that have passed


def test_tiles_kept_from_before_do_not_hurry_the_estimate(screen) -> None:
    shown = screen(terminal=True)
    with tile_progress(shown=True) as tell:
        shown.now = 1.0
        tell(DONE, done=6, total=9, resumed=True)
        for done in (7, 8):
            shown.now += 60
            tell(DONE, done=done, total=9, resumed=False)
        assert "left 0:01:00" in shown.shows("8/9 tiles")


@pytest.mark.parametrize("wanted", [True, False])
def test_a_file_gets_no_bar(screen, wanted) -> None:
    shown = screen(terminal=False)
    with tile_progress(shown=wanted) as tell:
        tell(DONE, done=1, total=2, resumed=False)
    assert shown.stream.getvalue().strip() == ""


def test_stages_have_a_bar_each_or_a_line_in_a_file(screen) -> None:
    shown = screen(terminal=True)
    with stage_progress(shown=True) as tell:
        for done in (1, 2):
            shown.now += 10
            tell("Linking", done, 4)
        assert "left 0:00:20" in shown.shows("Linking .* 2/4")
        tell("Linking", 4, 4)
        tell("Writing", 0, 3)
        shown.shows("Writing .* 0/3")
        assert "left" not in shown.shows("Linking .* 4/4")
    plain = screen(terminal=False)
    with stage_progress(shown=True) as tell:
        for done in (1, 2):
            tell("Linking", done, 2)
    assert plain.stream.getvalue().split("\n")[0] == "Linking …"
    assert plain.stream.getvalue().count("Linking") == 1
