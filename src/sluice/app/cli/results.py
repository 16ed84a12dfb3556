"""How the results of a command that makes one or several are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from sluice.app.cli.progress import tile_progress
from sluice.app.config import ResultsConfig
from sluice.app.finding import bytes_in_words
from sluice.app.products.layout import OVERVIEW
from sluice.app.products.overview import JobOutcome
from sluice.base.errors import RunFailed
from sluice.scan.run import Progress

Run = Callable[[Any, Progress | None, Callable[[str], None] | None], list[JobOutcome]]
"""Takes a configuration, what is told of each tile, and what is told a line."""


def show_findings(
    find: Callable[[Any], Sequence[Any]],
    text: Callable[[Any], str],
    config: ResultsConfig,
    *,
    as_json: bool,
) -> None:
    """Print what a search found.

    Args:
        find: Gives a record for each result, with the `bytes` to download.
        text: Says one in words.
        config: Of the command.
        as_json: Print figures only.
    """
    found = find(config)
    if as_json:
        typer.echo(json.dumps([findings.model_dump(mode="json") for findings in found], indent=2))
        return
    for findings in found:
        typer.echo(text(findings))
    if len(found) > 1:
        total = sum(findings.bytes for findings in found)
        size = f", at most {bytes_in_words(total)} to download" if total else ""
        typer.echo(f"In all: {len(found)} results{size}.")


def show_results(
    run: Run,
    config: ResultsConfig,
    text: Callable[[dict[str, Any], Path], str],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a command and print what it made.

    Args:
        run: Makes the results.
        config: Of the command.
        text: Says the figures of one result in words, given its folder.
        as_json: Print figures only.
        quiet: No progress bar, and no lines before the end.

    Raises:
        RunFailed: A result of several could not be made.
    """
    silent = as_json or quiet
    with tile_progress(shown=not silent) as progress:
        outcomes = run(config, progress, None if silent else _to_stderr)
    several = len(outcomes) > 1
    if as_json:
        figures = [outcome.model_dump(mode="json") for outcome in outcomes]
        typer.echo(json.dumps(figures if several else outcomes[0].summary, indent=2))
    elif not several:
        typer.echo(text(outcomes[0].summary, outcomes[0].folder))
    else:
        for outcome in outcomes:
            typer.echo(_line(outcome))
        typer.echo(f"\nOverview: {config.out / OVERVIEW}")
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise RunFailed(
            f"{len(failed)} of {len(outcomes)} results could not be made; first {failed[0].job}: "
            f"{failed[0].error}"
        )


def _line(outcome: JobOutcome) -> str:
    if outcome.status == "failed":
        return f"{outcome.job}: failed: {outcome.error}"
    figures = outcome.summary
    found = f"{figures['sites']} likely mine sites, " if "sites" in figures else ""
    found += f"{figures['images']} images, " if "images" in figures else ""
    kept = " (made by an earlier call)" if outcome.status == "kept" else ""
    return f"{outcome.job}: {found}{figures['not_observed_percent']:g} % not observed{kept}"


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)
