"""`sluice labels grid | split | check | card`."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import label_formats, options
from sluice.app.cli.errors import stoppable

app = typer.Typer(
    cls=stoppable("grid"),
    help="Labels: draw, import, make chips with masks, divide and check them.",
)
app.add_typer(label_formats.app)


@app.command("grid")
def grid(
    images: list[Path] = options.IMAGES,
    out: Path = options.OUT,
    area: str = options.AREA_NEEDED,
    labels: Path = typer.Option(
        ...,
        "--labels",
        help="Polygons, with the columns class, start, end and source if they have any; negative "
        "is true where the class is what was mistaken for a mine. What of the area they leave out "
        "is taken to be free of mines.",
    ),
    classes: str | None = typer.Option(
        None, "--classes", help="Names of the masks' values from 0: other,mine."
    ),
    layers: str = typer.Option(
        "blue,green,red,nir",
        "--layers",
        help="Bands of the chips: B04, red, swir16, vv; vv@-1 is of the period before.",
    ),
    chip_px: int = typer.Option(256, "--chip-px", help="Side of a chip in pixels."),
    gsd_m: float = options.PIXEL,
    delta_m: float | None = typer.Option(
        None, "--delta", help="Metres from chip to chip; the side of one if left out."
    ),
    centred: bool = typer.Option(
        False,
        "--centred",
        help="One chip around the middle of each polygon, as for points, not all that meet it.",
    ),
    negatives: float = typer.Option(
        1.0, "--negatives", help="Random chips without labels for each with some; 0 takes none."
    ),
    typed: list[str] = typer.Option(
        [], "--typed", help="Chips of what is mistaken for mines: riverbank=rivers.gpkg:200."
    ),
    apart_m: float = typer.Option(
        1000.0, "--apart", help="Least metres from a chip without labels to the nearest label."
    ),
    max_blank: float = typer.Option(
        0.2, "--max-blank", help="Largest share of a chip that may be not observed."
    ),
    other_dates: str = typer.Option(
        "unlabelled",
        "--other-dates",
        help="Ground labelled at another time than the images': unlabelled (255), or drop.",
    ),
    seed: int = typer.Option(0, "--seed", help="Of the draw of negatives."),
    name: str | None = typer.Option(None, "--name", help="What to call the data set."),
    licence: str = typer.Option("", "--licence", help="SPDX licence of labels and images."),
    attribution: str = typer.Option("", "--attribution", help="Whom to name for them."),
    first: str | None = options.FROM,
    last: str | None = options.TO,
    every: str = options.EVERY,
    source: str | None = options.SOURCE,
    collection: str | None = options.COLLECTION,
    sensor: str | None = options.SENSOR,
    max_cloud: float | None = options.MAX_CLOUD,
    method: str = options.REDUCE,
    min_looks: int = options.MIN_LOOKS,
    guard: bool = options.GUARD,
    speckle: bool = options.SPECKLE,
    cloud_mask: str = options.CLOUD_MASK,
    cloud_margin_px: int = options.CLOUD_MARGIN,
    bands: str | None = options.BANDS,
    scale: float | None = options.SCALE,
    offset: float | None = options.OFFSET,
    nodata: float | None = options.NODATA,
    workers: int | None = options.WORKERS,
    cache_gb: float = options.CACHE,
    overwrite: bool = options.OVERWRITE,
    json: bool = options.JSON,
    quiet: bool = options.QUIET,
) -> None:
    """Cut an area into chips with masks, from polygons and imagery.

    All cells of a grid that meet labels, and a share of those that do not. Give images from
    disk, or --source, --from and --to. What was stopped goes on when called again.
    """
    asked = options.config_values(locals())
    from sluice.app.cli.progress import tile_progress
    from sluice.app.config import make_config
    from sluice.app.labelling.config import LabelGridConfig
    from sluice.app.labelling.grid import make_label_grid
    from sluice.app.labelling.summary import summary_text

    asked["typed"] = tuple(typed)
    config = make_config(LabelGridConfig, **asked)
    silent = json or quiet

    def tell(line: str) -> None:
        if not silent:
            typer.echo(line, err=True)

    with tile_progress(shown=not silent) as progress:
        finished = make_label_grid(config, progress, tell)
    if json:
        typer.echo(finished.summary.model_dump_json(indent=2))
    else:
        typer.echo(f"{summary_text(finished.summary)}\n\nData set: {finished.folder}")


@app.command("split")
def split(
    folder: Path = options.DATASET,
    by: str = typer.Option(
        "blocks",
        "--by",
        help="What is kept together: blocks of ground, group, source, or a column such as country.",
    ),
    side_km: float = typer.Option(25.0, "--side", help="Of a block, in kilometres."),
    apart_m: float | None = typer.Option(
        None,
        "--apart",
        help="Chips nearer than this to the north or the east are kept together; a chip's side.",
    ),
    shares: str | None = typer.Option(
        None, "--shares", help="train=0.6,val=0.2,test=0.2 if left out."
    ),
    calibration: bool = typer.Option(
        False, "--calibration", help="With a split for calibration: 50/15/15/20."
    ),
    test_region: str | None = typer.Option(
        None, "--test-region", help="The test is all chips in this area, and nothing else is."
    ),
    margin_m: float = typer.Option(
        5000.0, "--margin", help="Chips within so many metres of the test region serve for nothing."
    ),
    places: str | None = typer.Option(
        None, "--places", help="Polygons that give the column of --by: countries.gpkg:name."
    ),
    seed: int = typer.Option(0, "--seed", help="Of the order of groups."),
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Replace splits that are there, held-out ones too."
    ),
    json: bool = options.JSON,
) -> None:
    """Divide chips into train, validation and test, so that no ground is in two of them."""
    from sluice.app.labelling.dividing import DivideConfig, divide, division_text
    from sluice.app.products.landing import telling_disk_errors

    config = DivideConfig(
        folder=folder,
        by=by,
        side_km=side_km,
        apart_m=apart_m,
        shares=shares,
        calibration=calibration,
        test_region=test_region,
        margin_m=margin_m,
        places=places,
        seed=seed,
        overwrite=overwrite,
    )
    with telling_disk_errors(folder):
        division = divide(config)
    typer.echo(division.model_dump_json(indent=2) if json else division_text(division))


@app.command("check")
def check(
    path: Path = typer.Argument(help="A data set, a folder of chip sheets, or a file of polygons."),
    area: str | None = typer.Option(
        None,
        "--area",
        help="Of a file of polygons: where they should lie, west,south,east,north or a file.",
    ),
    json: bool = options.JSON,
) -> None:
    """Look for leaks, damage and accidental hints. Ends with 1 where there is a leak or damage."""
    from sluice.app.area import read_area
    from sluice.base.errors import ConfigError
    from sluice.labels.check import check_dataset
    from sluice.labels.check_polygons import check_polygons
    from sluice.labels.findings import report_text

    if area is not None and not path.is_file():
        raise ConfigError("--area: has a meaning for files of polygons only; leave it out")
    meant = None if area is None else read_area(area)
    report = check_polygons(path, meant) if path.is_file() else check_dataset(path)
    typer.echo(report.model_dump_json(indent=2) if json else report_text(report))
    if not report.fit_for_training:
        raise typer.Exit(1)


@app.command("card")
def card(
    folder: Path = options.DATASET,
    out: Path | None = typer.Option(
        None, "--out", help="Write it here; beside the data set if left out."
    ),
) -> None:
    """Write DATASET_CARD.md: what is in a data set, where and when, and under which licence."""
    from sluice.app.labelling.summary import notes_of
    from sluice.app.products.landing import telling_disk_errors
    from sluice.labels.card import write_card
    from sluice.labels.dataset import read_dataset

    dataset = read_dataset(folder)
    with telling_disk_errors(out.parent if out else folder):
        path = write_card(dataset, out, notes=notes_of(folder))
    typer.echo(f"Card: {path}")


@app.command("masks")
def masks(
    folder: Path = options.DATASET,
    out: Path = options.OUT,
    model: str = typer.Option(
        "default", "--model", help="Detector of local features that tells where a mine is."
    ),
    split: str | None = options.SPLIT,
    leave_out: Path | None = typer.Option(
        None, "--leave-out", help="CSV with chip_id: leave these and their groups out."
    ),
    negatives: float | None = typer.Option(
        None, "--negatives", help="Chips without a mine for each with one; all if left out."
    ),
) -> None:
    """From chips labelled as wholes to chips with masks of where the mine is likely to be."""
    from sluice.app.labelling.patch_masks import make_patch_masks
    from sluice.app.products.landing import telling_disk_errors

    with telling_disk_errors(out):
        dataset = make_patch_masks(
            folder, out, model=model, split=split, leave_out=leave_out, negatives=negatives
        )
    typer.echo(f"{len(dataset.table):,} chips with masks: {dataset.folder}")
