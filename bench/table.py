"""The table: rows by part, Markdown, and its place in a document.

Parts that were measured together stand under one description of the machine, so that a part that
was measured again by itself says when and where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN = "<!-- bench: begin, written by `python -m bench --write` -->"
END = "<!-- bench: end -->"
_RUN, _HEADING = "Measured together: ", "| part | what | measured | target | beside it |"


@dataclass(frozen=True)
class Row:
    """One measurement."""

    what: str
    figure: str
    target: str = ""
    """In words; empty where none was set."""
    beside: str = ""
    """What belongs to the figure: how it was taken, what else was seen."""


@dataclass(frozen=True)
class Part:
    """What one part of the measurements found."""

    name: str
    """As `--only` takes it."""
    machine: tuple[str, ...]
    """Date, processor and the rest, a line each."""
    lines: tuple[str, ...]
    """Of the table."""


def make_part(name: str, rows: Iterable[Row], machine: Mapping[str, str]) -> Part:
    """A part that was just measured."""
    lines = (f"| {name} | {r.what} | {r.figure} | {r.target} | {r.beside} |" for r in rows)
    return Part(name, tuple(f"- {key}: {value}" for key, value in machine.items()), tuple(lines))


def to_markdown(parts: Sequence[Part]) -> str:
    """The machine of each run as a list, then one table."""
    lines = []
    for machine in dict.fromkeys(part.machine for part in parts):
        together = ", ".join(part.name for part in parts if part.machine == machine)
        lines += [f"{_RUN}{together}", "", *machine, ""]
    lines += [_HEADING, "|---|---|---|---|---|"]
    lines += [line for part in parts for line in part.lines]
    return "\n".join(lines)


def read_markdown(text: str) -> list[Part]:
    """The parts of a text that `to_markdown` made, in its order.

    Raises:
        ValueError: A row is of no part whose machine is told.
    """
    machines: dict[str, list[str]] = {}
    told: list[str] = []
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith(_RUN):
            told = []
            machines |= dict.fromkeys(line.removeprefix(_RUN).split(", "), told)
        elif line.startswith("- "):
            told.append(line)
        elif line.startswith("| ") and line != _HEADING:
            rows.setdefault(line[2:].partition(" | ")[0], []).append(line)
    unknown = next((name for name in rows if name not in machines), None)
    if unknown is not None:
        raise ValueError(f"the table has rows of {unknown!r}, and says of no run that measured it")
    return [Part(name, tuple(machines[name]), tuple(lines)) for name, lines in rows.items()]


def write_between_markers(path: Path, parts: Sequence[Part], order: Sequence[str]) -> None:
    """Put parts in the place of the same ones in a document; its other parts stay.

    Args:
        path: The document.
        parts: That were measured.
        order: Names of all parts, as they are to stand. What is no longer among them goes.

    Raises:
        ValueError: The document has no markers, or they are not in order, or what stands between
            them is no such table.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    former, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: has no lines {BEGIN!r} and {END!r}; put them back")
    known = {part.name: part for part in [*read_markdown(former), *parts]}
    table = to_markdown([known[name] for name in order if name in known])
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8", newline="\n")
