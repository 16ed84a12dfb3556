"""Tables as Markdown, and their place in a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sluice.evaluation.bootstrap import Estimate


def to_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and figures to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spell(estimate: Estimate | None, digits: int = 3) -> str:
    """`0.947 [0.921-0.968]`, a dash where there is no such figure."""
    if estimate is None or estimate.value is None:
        return "-"
    value = f"{estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{estimate.low:.{digits}f}-{estimate.high:.{digits}f}]"


def write_section(path: Path, name: str, markdown: str) -> None:
    """Put a section's tables in the place of its last ones.

    Raises:
        ValueError: The document has no markers for it, or they are not in order.
    """
    begin = f"<!-- proof {name}: begin, written by `python -m proof --write` -->"
    end = f"<!-- proof {name}: end -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path}: has no lines {begin!r} and {end!r}; put them back")
    text = f"{before}{begin}\n\n{markdown}\n\n{end}{after}"
    path.write_text(text, encoding="utf-8", newline="\n")
