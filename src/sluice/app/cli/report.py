"""`sluice report`: what is known of a site or an area, to be printed and handed on."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options


def report(
    target: str = typer.Argument(help="Id of a site, or name of an area."),
    out: Path = typer.Option(..., "--out", help="Folder for the report and its manifest."),
    store: str | None = options.STORE,
    language: str | None = typer.Option(
        None,
        "--language",
        "--lang",
        help="en, fr, es or pt, several with commas: fr,en; SLUICE_LANGUAGE, or your system's "
        "language, if left out.",
    ),
    format: str = typer.Option("pdf,html", "--format", help="pdf, html, or both."),
    redact: str | None = options.REDACT,
    delay: str | None = options.DELAY,
    key: str | None = options.REDACT_KEY,
    check_files: bool = typer.Option(
        True,
        "--check-files/--no-check-files",
        help="Compute the SHA-256 of the runs' files anew, to tell whether any was altered.",
    ),
    json: bool = options.JSON,
) -> None:
    """Write an evidence report of a site or an area: PDF, page and manifest with hashes."""
    import json as json_module

    from sluice.app.cli.places import opened
    from sluice.app.config import language_of
    from sluice.app.exports.options import read_redaction
    from sluice.app.following.reporting import report as write

    redaction = read_redaction(redact, delay, key=key)
    with opened(store) as opened_store:
        files = write(
            opened_store,
            target,
            out,
            languages=_parts(language_of(language)),
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
