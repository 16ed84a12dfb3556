"""`sluice report`: what is known of a site or an area, to be printed and handed on."""

from __future__ import annotations

from pathlib import Path

import typer


def report(
    target: str = typer.Argument(help="Id of a site, or name of an area."),
    out: Path = typer.Option(..., "--out", help="Folder for the report and its manifest."),
    store: str | None = typer.Option(
        None,
        "--store",
        help="File of a store, or postgresql:// address; SLUICE_STORE, else sluice.sqlite, if "
        "left out.",
    ),
    lang: str = typer.Option("en", "--lang", help="en, fr, es or pt; several with commas: fr,en."),
    format: str = typer.Option("pdf,html", "--format", help="pdf, html, or both."),
    redact: str | None = typer.Option(
        None, "--redact", help="Show places only as cells of this size: 5km."
    ),
    delay: str | None = typer.Option(
        None, "--delay", help="With --redact: tell nothing younger than this: 6months."
    ),
    check_files: bool = typer.Option(
        True,
        "--check-files/--no-check-files",
        help="Compute the SHA-256 of the runs' files anew, to tell whether any was altered.",
    ),
    json: bool = typer.Option(False, "--json", help="For machines."),
) -> None:
    """Write an evidence report of a site or an area: PDF, page and manifest with hashes."""
    import json as json_module

    from sluice.app.config import store_address
    from sluice.app.exports.options import read_redaction
    from sluice.app.following.reporting import report as write
    from sluice.app.following.stores import open_store

    redaction = read_redaction(redact, delay)
    with open_store(store_address(store)) as opened:
        files = write(
            opened,
            target,
            out,
            languages=_parts(lang),
            formats=_parts(format),
            check_files=check_files,
            redaction=redaction,
        )
    if json:
        told = {
            "documents": [str(path) for path in files.documents],
            "manifests": [str(path) for path in files.manifests],
        }
        typer.echo(json_module.dumps(told, indent=2))
        return
    for path in (*files.documents, *files.manifests):
        typer.echo(str(path))


def _parts(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
