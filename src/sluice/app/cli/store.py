"""`sluice store info | check | backup | restore | migrate`."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options

app = typer.Typer(help="Stores: what is in one, whether it is sound, copies, newer versions.")

_STORE = options.STORE


@app.command("info")
def info(
    store: str | None = _STORE,
    json: bool = options.JSON,
) -> None:
    """Show what is in a store."""
    import json as json_module

    from sluice.app.config import store_address
    from sluice.app.following.stores import describe_store

    told = describe_store(store_address(store))
    if json:
        typer.echo(json_module.dumps(told, indent=2))
        return
    typer.echo(f"{told['store']}: {told['kind']}, schema {told['schema']}")
    typer.echo(f"areas: {', '.join(told['areas']) or 'none'}")
    for table, rows in told["rows"].items():
        if rows:
            typer.echo(f"{table.replace('_', ' '):15} {rows:>10,}")
    if told["reviews_end"]["reviews"]:
        typer.echo(f"reviews end with {told['reviews_end']['chain']}")


@app.command("check")
def check(store: str | None = _STORE) -> None:
    """Check that a store is sound: file, references, shapes, boxes, reviews, counts."""
    from sluice.app.config import store_address
    from sluice.app.following.stores import check_store
    from sluice.base.errors import StoreError

    address = store_address(store)
    wrong = []
    for finding in check_store(address):
        typer.echo(f"{finding.what:26} {finding.wrong or 'ok'}")
        if finding.wrong:
            wrong.append(finding.what)
    if wrong:
        raise StoreError(
            f"{len(wrong)} of the checks failed: {', '.join(wrong)}; copy the store as it is, then "
            "restore the last good backup with `sluice store restore`"
        )


@app.command("backup")
def backup(
    file: Path = typer.Argument(help="A new file; it is a store itself."),
    store: str | None = _STORE,
) -> None:
    """Copy a store into a new file, while others go on writing."""
    from sluice.app.config import store_address
    from sluice.app.following.stores import backup_store

    backup_store(store_address(store), file)
    typer.echo(f"Written: {file} ({file.stat().st_size / 1e6:,.1f} MB)")


@app.command("restore")
def restore(
    file: Path = typer.Argument(help="A file that `sluice store backup` wrote."),
    store: str | None = _STORE,
) -> None:
    """Make a store of a backup, where there is none: nothing is ever overwritten."""
    from sluice.app.config import store_address
    from sluice.app.following.stores import restore_store

    restore_store(file, store_address(store))
    typer.echo(f"Restored from {file}")


@app.command("migrate")
def migrate(store: str | None = _STORE) -> None:
    """Bring a store that an older Sluice made to this version; a file is copied before."""
    from sluice.app.config import store_address
    from sluice.app.following.stores import migrate_store

    done = migrate_store(store_address(store))
    if done.before == done.after:
        typer.echo(f"Nothing to do: the schema is version {done.after}")
        return
    kept = f"; as it was: {done.backup}" if done.backup else ""
    typer.echo(f"Schema {done.before} → {done.after}{kept}")
