"""The table: rows, Markdown, and its place in a document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BEGIN = "<!-- bench: begin, written by `python -m bench --write` -->"
END = "<!-- bench: end -->"


@dataclass(frozen=True)
class Row:
    """One measurement."""

    what: str
    figure: str
    target: str = ""
    """In words; empty where none was set."""
    beside: str = ""
    """What belongs to the figure: how it was taken, what else was seen."""


def to_markdown(rows: Iterable[Row], machine: dict[str, str]) -> str:
    """The machine as a list, then the table."""
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    lines += ["", "| what | measured | target | beside it |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.figure} | {row.target} | {row.beside} |" for row in rows]
    return "\n".join(lines)


def write_between_markers(path: Path, markdown: str) -> None:
    """Put the table in the place of the last one.

    Raises:
        ValueError: The document has no markers, or they are not in order.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: has no lines {BEGIN!r} and {END!r}; put them back")
    path.write_text(f"{before}{BEGIN}\n{markdown}\n{END}{after}", encoding="utf-8", newline="\n")
