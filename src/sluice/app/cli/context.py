"""`sluice context add | list | show | remove`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sluice.base.store import Store

app = typer.Typer(
    help="Layers of context: roads, settlements, concessions, protected areas and the like, by "
    "which detections are flagged."
)

_STORE: Any = typer.Option(
    None,
    "--store",
    help="File of a store, or postgresql:// address; SLUICE_STORE, else sluice.sqlite, if left "
    "out.",
)
_JSON: Any = typer.Option(False, "--json", help="For machines.")
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
        None, "--layer", help="Of a file with several; the first with shapes if left out."
    ),
    licence: str = typer.Option("", "--licence", help="To keep beside the layer."),
    store: str | None = _STORE,
    json: bool = _JSON,
) -> None:
    """Register a layer, or replace the one of this name.

    What it says of sites that are in the store already is told anew when a run next lands.
    """
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
        replaced = name in {layer.name for layer in opened.layers()}
        far = far_from_areas(read.features, opened.areas())
        opened.put_layer(read.layer, read.features)
    notes = [*read.notes, *([far] if far else [])]
    if json:
        _print_json({**read.layer.model_dump(mode="json"), "notes": notes})
        return
    done = "Replaced" if replaced else "Registered"
    typer.echo(f"{done} {name}: {_facts(read.layer)}, within {where_it_lies(read.features)}.")
    for note in notes:
        typer.echo(f"Note: {note}.")


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
def remove(name: str = _NAME, store: str | None = _STORE) -> None:
    """Forget a layer. Sites keep what it said of them until a run next lands."""
    with _opened(store) as opened:
        opened.remove_layer(name)
    typer.echo(f"Removed {name}.")


def _facts(layer: Any) -> str:
    if layer.kind == "slope":
        return "slope, a raster"
    count = "1 feature" if layer.features == 1 else f"{layer.features:,} features"
    buffer = f", buffer {layer.buffer_m:g} m" if layer.buffer_m else ""
    return f"{layer.kind.value}, {count}{buffer}"


def _opened(address: str | None, *, create: bool = False) -> Any:
    """The store, closed after use."""
    import contextlib

    from sluice.app.config import store_address
    from sluice.app.following.stores import open_store

    opened: Store = open_store(store_address(address), create=create)
    return contextlib.closing(opened)


def _print_json(content: Any) -> None:
    import json

    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
