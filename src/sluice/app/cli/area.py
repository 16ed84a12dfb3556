"""`sluice area`: how much mine there is, from points that a person labels."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options

app = typer.Typer(
    help="Estimate the area of mines, and the map's accuracy, from points that a person labels."
)


@app.command("plan")
def plan(
    map: Path = typer.Argument(
        help="A result folder of `sluice scan`, or a raster of classes (with --mine-values)."
    ),
    out: Path = typer.Option(
        ..., "--out", help="GeoPackage to label; GeoJSON, CSV and the plan take its name."
    ),
    points: int | None = typer.Option(
        None, "--points", min=1, help="Points in all; 400 if nothing else is said."
    ),
    target_se: str | None = typer.Option(
        None,
        "--target-se",
        help="As many points as this standard error of the mine area takes: 20ha, or 10%.",
    ),
    allocation: str = typer.Option(
        "neyman",
        "--allocation",
        help="neyman (narrowest interval of the area), proportional to area, or equal.",
    ),
    min_points: int | None = typer.Option(
        None, "--min-points", help="Points in each stratum at least; 50 if there are enough."
    ),
    expect: str | None = typer.Option(
        None, "--expect", help="Guessed share of mine by stratum: workings=0.7,other=0.001."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="The same seed draws the same points."),
    near: float | None = typer.Option(
        None,
        "--near",
        help="Metres around mapped mines that are a stratum of their own; half a window, or five "
        "pixels of a raster, if left out.",
    ),
    suspect_score: float | None = typer.Option(
        None,
        "--suspect-score",
        help="Ground with this score or more is in that stratum too; half the model's threshold "
        "if left out.",
    ),
    area: str | None = typer.Option(
        None,
        "--area",
        help="Only there: west,south,east,north in degrees, or a file; the scan's own if left out.",
    ),
    mine_values: str | None = typer.Option(
        None, "--mine-values", help="Numbers that mean mine, of a raster: 1,2."
    ),
    kml: bool = typer.Option(False, "--kml", help="Write the places for Google Earth as well."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a sample, and its labels."),
    json: bool = typer.Option(False, "--json", help="Print the plan as JSON."),
) -> None:
    """Draw points in strata of a map, to be labelled without seeing the map."""
    from sluice.app.sampling.drawing import PlanOptions, plan_sample, sample_files
    from sluice.app.sampling.options import parse_allocation, parse_expected, parse_values
    from sluice.app.sampling.strata import read_strata
    from sluice.app.sampling.text import plan_text

    options = PlanOptions(
        points=points,
        target_se=target_se,
        allocation=parse_allocation(allocation),
        min_points=min_points,
        expected=parse_expected(expect),
        seed=seed,
        overwrite=overwrite,
        kml=kml,
    )
    maps = read_strata(
        map,
        mine_values=parse_values(mine_values),
        near_m=near,
        suspect_score=suspect_score,
        area=area,
    )
    drawn = plan_sample(maps, out, options)
    files = sample_files(out, kml=kml)
    typer.echo(drawn.model_dump_json(indent=1) if json else plan_text(drawn, files[0], files))


@app.command("estimate")
def estimate(
    sample: Path = typer.Argument(help="The labelled sample: GeoPackage, GeoJSON or CSV."),
    plan: Path | None = typer.Option(
        None, "--plan", help="Of the sample; the file beside it if left out."
    ),
    map: Path | None = typer.Option(
        None, "--map", help="What was sampled: check that it is still the same."
    ),
    truth: Path | None = typer.Option(
        None,
        "--truth",
        help="Take the answers from outlines of all mines, and not from the sample.",
    ),
    truth_layer: str | None = options.TRUTH_LAYER,
    unfinished: bool = typer.Option(
        False, "--unfinished", help="Go on where points have no label yet, for a first figure."
    ),
    out: Path | None = typer.Option(
        None,
        "--out",
        help="Where the table goes, without ending (.json and .csv); SAMPLE-estimate if left out.",
    ),
    json: bool = typer.Option(False, "--json", help="For machines."),
) -> None:
    """Turn labels into the area of mines and the map's accuracy, with intervals."""
    from sluice.app.sampling.estimating import estimate_sample, write_report
    from sluice.app.sampling.text import report_text

    report = estimate_sample(
        sample,
        plan=plan,
        maps=map,
        truth=truth,
        truth_layer=truth_layer,
        unfinished=unfinished,
    )
    stem = out if out is not None else sample.with_name(f"{sample.stem}-estimate")
    files = write_report(report, stem)
    if json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        typer.echo(f"{report_text(report)}\n\nTable: {files[1]}\nAll figures: {files[0]}")
