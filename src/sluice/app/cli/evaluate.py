"""`sluice evaluate`: how good a model is, on labels that it never saw."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(help="Judge a model on labelled data.")


@app.callback()
def _group() -> None:
    """Keep `chips` a subcommand, as others will stand beside it."""


@app.command("chips")
def chips(
    folder: Path = typer.Argument(help="Holds chips.csv and grids/."),
    model: str = typer.Option("default", "--model", help="A model's name, or its folder."),
    split: str | None = typer.Option(None, "--split", help="Only the chips of this split."),
    scores: Path | None = typer.Option(None, "--scores", help="Write each chip's score here, CSV."),
    json: bool = typer.Option(False, "--json", help="For machines."),
) -> None:
    """Score labelled chips and print figures with intervals."""
    from sluice.app.judging import evaluate_chips
    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.report import render_report
    from sluice.labels.chips import write_scores

    report, table = evaluate_chips(folder, model, split)
    if scores is not None:
        with telling_disk_errors(scores.parent):
            write_scores(table, scores)
    typer.echo(report.model_dump_json(indent=2) if json else render_report(report))
