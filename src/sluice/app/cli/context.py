"""`sluice context add | list | show | apply | remove`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sluice.app.cli import options
from sluice.app.cli.places import opened as _opened

if TYPE_CHECKING:
    from sluice.app.following.applying import Applied
    from sluice.base.store import Store

app = typer.Typer(
    help="Layers of context: roads, settlements, concessions, protected areas and the like, by "
    "which detections are flagged."
)

_STORE, _JSON = options.STORE, options.JSON
_LATER: Any = typer.Option(
    False,
    "--later",
    help="Leave what is in the store as it is, until `sluice context apply` or the next landing.",
)
_NAME: Any = typer.Argument(help="A layer's name.")


@app.command("add")
def add(
    name: str = typer.Argument(help="What to call the layer, for example roads."),
    file: Path = typer.Argument(
        help="GeoPackage, GeoJSON, Shapefile, FlatGeobuf, KML or GeoParquet, in any CRS; of "
        "slopes, the elevation.tif of sluice elevation."
    ),
    kind: str | None = typer.Option(
        None,
        "--kind",
        help="settlements, roads, concessions, protected, indigenous, rivers, districts, "
        "airstrips, expert (places ruled out) or slope; the name, if it is one of these.",
    ),
    buffer: str = typer.Option(
        "0 m", "--buffer", help="How far beyond its shapes it reaches: 30m, 1.5km."
    ),
    name_column: str | None = typer.Option(
        None, "--name-column", help="Column with each feature's name."
    ),
    id_column: str | None = typer.Option(
        None, "--id-column", help="Column with each feature's number, as of a permit."
    ),
    start_column: str | None = typer.Option(
        None, "--start-column", help="Column with the first day of being valid."
    ),
    end_column: str | None = typer.Option(
        None, "--end-column", help="Column with the last day of being valid."
    ),
    file_layer: str | None = typer.Option(
        None, "--layer", help="Of a file with several; not needed for the folders of a KML."
    ),
    licence: str = typer.Option("", "--licence", help="To keep beside the layer."),
    later: bool = _LATER,
    store: str | None = _STORE,
    json: bool = _JSON,
) -> None:
    """Register a layer, or replace the one of this name, and judge the areas around it anew."""
    from sluice.app.following.applying import areas_near
    from sluice.app.following.layer_files import LayerColumns, read_layer
    from sluice.app.following.layers import far_from_areas, where_it_lies

    columns = LayerColumns(name_column, id_column, start_column, end_column)
    read = read_layer(
        file,
        name=name,
        kind=kind,
        buffer=buffer,
        columns=columns,
        file_layer=file_layer,
        licence=licence,
    )
    with _opened(store, create=True) as opened:
        was = [opened.layer_features(name)] if _is_there(opened, name) else []
        far = far_from_areas(read.features, opened.areas())
        opened.put_layer(read.layer, read.features)
        notes = [*read.notes, *([far] if far else [])]
        if not json:
            done = "Replaced" if was else "Registered"
            lies = where_it_lies(read.features)
            typer.echo(f"{done} {name}: {_facts(read.layer)}, within {lies}.")
            for note in notes:
                typer.echo(f"Note: {note}" + ("" if note.endswith("?") else "."))
        near = areas_near(opened, [read.features, *was], buffer_m=read.layer.buffer_m)
        applied = _apply(opened, near, later=later, quiet=json)
    if json:
        told = [one.model_dump(mode="json") for one in applied]
        _print_json({**read.layer.model_dump(mode="json"), "notes": notes, "applied": told})


@app.command("apply")
def apply_all(
    area_name: str | None = typer.Option(
        None, "--area-name", "--area", help="One area; all of them if left out."
    ),
    store: str | None = _STORE,
    json: bool = _JSON,
) -> None:
    """Judge sites, alerts and detections by the layers as they are now, as a landing would."""
    with _opened(store) as opened:
        names = [area_name] if area_name is not None else opened.areas()["name"].tolist()
        applied = _apply(opened, names, quiet=json)
    if json:
        _print_json([one.model_dump(mode="json") for one in applied])
    elif not applied:
        typer.echo("No area is followed yet.")


@app.command("list")
def list_layers(store: str | None = _STORE, json: bool = _JSON) -> None:
    """List the registered layers."""
    with _opened(store) as opened:
        layers = opened.layers()
    if json:
        _print_json([layer.model_dump(mode="json") for layer in layers])
        return
    for layer in layers:
        typer.echo(f"{layer.name:20} {_facts(layer)}, from {layer.source}")
    if not layers:
        typer.echo("No layer is registered; add one: sluice context add roads FILE --buffer 30m")


@app.command("show")
def show(name: str = _NAME, store: str | None = _STORE, json: bool = _JSON) -> None:
    """Show what a layer holds: where it lies, its names and dates."""
    from sluice.app.following.layers import layer_summary, summary_text

    with _opened(store) as opened:
        features = opened.layer_features(name)
        layer = next(layer for layer in opened.layers() if layer.name == name)
    if json:
        _print_json({**layer.model_dump(mode="json"), **layer_summary(features)})
        return
    typer.echo(f"{name}: {_facts(layer)}")
    typer.echo(summary_text(layer, features))


@app.command("remove")
def remove(name: str = _NAME, later: bool = _LATER, store: str | None = _STORE) -> None:
    """Forget a layer, and judge the areas around it anew."""
    from sluice.app.following.applying import areas_near

    with _opened(store) as opened:
        was = opened.layer_features(name)
        buffer_m = next(layer.buffer_m for layer in opened.layers() if layer.name == name)
        opened.remove_layer(name)
        typer.echo(f"Removed {name}.")
        _apply(opened, areas_near(opened, [was], buffer_m=buffer_m), later=later)


def _is_there(opened: Store, name: str) -> bool:
    return name in {layer.name for layer in opened.layers()}


def _apply(
    opened: Store, names: list[str], *, later: bool = False, quiet: bool = False
) -> list[Applied]:
    """Judge areas anew, one after the other, and tell of each."""
    from sluice.app.following.applying import apply_layers

    if later:
        if names and not quiet:
            typer.echo(
                f"What is said in {', '.join(names)} changes with `sluice context apply`, or when "
                "a run next lands."
            )
        return []
    applied = []
    for name in names:
        applied.append(apply_layers(opened, name))
        if not quiet:
            typer.echo(applied[-1].text)
    return applied


def _facts(layer: Any) -> str:
    if layer.kind == "slope":
        return "slope, a raster"
    count = "1 feature" if layer.features == 1 else f"{layer.features:,} features"
    buffer = f", buffer {layer.buffer_m:g} m" if layer.buffer_m else ""
    return f"{layer.kind.value}, {count}{buffer}"


def _print_json(content: Any) -> None:
    import json

    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
