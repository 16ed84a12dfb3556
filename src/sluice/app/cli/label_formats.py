"""`sluice labels prepare | import | export`: labelling tools, and the formats of others."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options

app = typer.Typer(help="Labels: prepare labelling, read what others labelled.")


@app.command("prepare")
def prepare(
    images: list[Path] = options.IMAGES,
    out: Path = options.OUT,
    tool: str = typer.Option("label-studio", "--for", help="label-studio or labelbox."),
    chip_px: int = typer.Option(256, "--chip-px", help="Side of the ground shown, in pixels."),
    picture_px: int = typer.Option(
        768, "--picture", help="Side of a picture: pixels are enlarged a whole number of times."
    ),
    gsd_m: float | None = typer.Option(
        None, "--pixel", help="Pixel side in metres; the finest of the images if left out."
    ),
    colours: str = typer.Option(
        "red,green,blue", "--colours", help="Bands shown as red, green, blue; or nir,red,green."
    ),
    classes: str = typer.Option("mine", "--classes", help="Classes to choose from, with commas."),
    address: str | None = typer.Option(
        None, "--address", help="Where the tool finds the pictures: an address of their folder."
    ),
    name: str | None = typer.Option(
        None, "--name", help="Begins the pictures' names; the folder's if left out."
    ),
    least_observed: float = typer.Option(
        0.1, "--least-observed", help="Share of a picture that must be observed."
    ),
    area: str | None = options.AREA,
    first: str | None = options.FROM,
    last: str | None = options.TO,
    source: str | None = options.SOURCE,
    collection: str | None = options.COLLECTION,
    sensor: str | None = options.SENSOR,
    max_cloud: float | None = options.MAX_CLOUD,
    method: str = options.REDUCE,
    cloud_mask: str = options.CLOUD_MASK,
    cloud_margin_px: int = options.CLOUD_MARGIN,
    bands: str | None = options.BANDS,
    scale: float | None = options.SCALE,
    offset: float | None = options.OFFSET,
    nodata: float | None = options.NODATA,
    workers: int | None = options.WORKERS,
    cache_gb: float = options.CACHE,
    json: bool = options.JSON,
    quiet: bool = options.QUIET,
) -> None:
    """Make pictures for people to label, and the files that a labelling tool imports.

    Each picture comes in colour and as a grey NDWI, on which water-filled pits stand out, and
    with a .json that says where on earth it lies: keep the folder until labels are imported.
    """
    asked = options.config_values(locals())
    from sluice.app.config import make_config
    from sluice.app.labelling.tasks import LabellingTasksConfig, prepare_labelling, summary_text

    config = make_config(LabellingTasksConfig, **asked)
    silent = quiet or json
    summary = prepare_labelling(config, None if silent else _to_stderr)
    typer.echo(summary.model_dump_json(indent=2) if json else summary_text(summary, config))


@app.command("import")
def import_labels(
    format: str = typer.Argument(
        help="polygons, points, amw-points, africa-mining-watch, ipis, mosaiks, label-studio, "
        "labelbox, smallminesds or vitsegh."
    ),
    sources: list[Path] = typer.Argument(help="Files; a folder for smallminesds and vitsegh."),
    out: Path = options.OUT,
    area: str | None = options.AREA,
    class_column: str | None = typer.Option(
        None, "--class-column", help="Column of each feature's class."
    ),
    class_name: str | None = typer.Option(None, "--class", help="Class of all; mine if left out."),
    start_column: str | None = typer.Option(
        None, "--start-column", help="Column of the first day a label is true of, or its year."
    ),
    end_column: str | None = typer.Option(
        None, "--end-column", help="Column of the last day; may be the same."
    ),
    layer: str | None = typer.Option(None, "--layer", help="Of a file with several."),
    lon: str | None = typer.Option(None, "--lon", help="Column of longitudes in a CSV."),
    lat: str | None = typer.Option(None, "--lat", help="Column of latitudes in a CSV."),
    crs: str | None = typer.Option(
        None, "--crs", help="Of coordinates or WKT in a CSV; EPSG:4326 if left out."
    ),
    area_column: str | None = typer.Option(
        None, "--area-column", help="Column of hectares: points become discs of that area."
    ),
    radius_m: float | None = typer.Option(
        None, "--radius", help="Metres: points become discs of it."
    ),
    min_inspected: float | None = typer.Option(
        None,
        "--min-inspected",
        help="MOSAIKS: share inspected that a place without a mine needs; 0.2 if left out, 0: any.",
    ),
    min_confidence: float | None = typer.Option(
        None, "--min-confidence", help="MOSAIKS: that a label needs; 3 if left out, 0: any."
    ),
    exclude_types: str | None = typer.Option(
        None,
        "--exclude-types",
        help="MOSAIKS: types to leave out, with commas; commercial if left out, '' for none.",
    ),
    pictures: Path | None = typer.Option(
        None, "--pictures", help="Folder that `sluice labels prepare` made, for exports."
    ),
    project: str | None = typer.Option(
        None, "--project", help="Of a Labelbox export with several."
    ),
    offset: float | None = typer.Option(
        None,
        "--offset",
        help="Chips: reflectance = count / 10000 + offset; told from dark pixels if left out.",
    ),
    mine_value: int | None = typer.Option(
        None, "--mine-value", help="Chips: of mines in the masks; 1 if left out."
    ),
    bands: str | None = typer.Option(None, "--bands", help="SmallMinesDS: bands to keep."),
    file_bands: str | None = typer.Option(
        None, "--file-bands", help="SmallMinesDS: the files' bands, where they are others."
    ),
    radar: str | None = typer.Option(
        None, "--radar", help="SmallMinesDS: db or power; told from the values if left out."
    ),
    json: bool = options.JSON,
) -> None:
    """Read labels of others: vector files, exports of labelling tools, sets of chips.

    Polygons and points become labels.gpkg, which `sluice labels` takes; sets of chips become a
    data set, which `sluice train` takes. Nothing is fetched: give files from disk.
    """
    asked = options.config_values(locals())
    from sluice.app.config import make_config
    from sluice.app.labelling.imports import LabelImportConfig, summary_text
    from sluice.app.labelling.imports import import_labels as run

    config = make_config(LabelImportConfig, **{**asked, "sources": tuple(sources)})
    summary = run(config)
    typer.echo(summary.model_dump_json(indent=2) if json else summary_text(summary, out))


@app.command("export")
def export_labels(
    format: str = typer.Argument(help="vitsegh."),
    dataset: Path = typer.Argument(help="Folder of a data set of chips with masks."),
    out: Path = options.OUT,
    unlabelled_as_other: bool = typer.Option(
        False, "--unlabelled-as-other", help="Write pixels that nobody labelled as no mine."
    ),
) -> None:
    """Write a data set in the layout of another system, for its code to read."""
    from sluice.app.products.landing import telling_disk_errors
    from sluice.base.errors import ConfigError
    from sluice.labels.dataset import read_dataset
    from sluice.labels.vitsegh import export_vitsegh

    if format != "vitsegh":
        raise ConfigError(f"{format}: is no format that can be written; use vitsegh")
    with telling_disk_errors(out):
        counts = export_vitsegh(read_dataset(dataset), out, unlabelled_as_other=unlabelled_as_other)
    splits = ", ".join(f"{count} {split}" for split, count in counts.items())
    typer.echo(f"{sum(counts.values())} chips ({splits}) in {out}")


@app.command("export-reviews")
def export_reviews(
    out: Path = typer.Option(..., "--out", help="Where to: .gpkg or .geojson."),
    store: str | None = options.STORE,
    area_name: str | None = typer.Option(
        None, "--area-name", "--area", help="What the area is called in the store; all if left out."
    ),
    json: bool = options.JSON,
) -> None:
    """Write what people said of sites as labels: mines, and what was mistaken for one.

    Confirmed sites become class mine, rejected ones typed negatives with the reason as class, of
    the dates that the reviewer saw. Sites that nobody is sure of are left out.
    """
    from sluice.app.cli.places import echo_rows, opened
    from sluice.app.labelling.reviews import review_labels, review_labels_text, write_review_labels

    with opened(store, area_name=area_name) as opened_store:
        labels = review_labels(opened_store, area_name)
    write_review_labels(labels, out)
    if json:
        echo_rows([{"file": str(out), "labels": labels.counts, "left_out": labels.left_out}])
    else:
        typer.echo(review_labels_text(labels, out))


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)
