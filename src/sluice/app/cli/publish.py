"""`sluice publish`: the map as a folder, for any web space."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from sluice.app.cli import options


def publish(
    out_dir: Path = typer.Argument(metavar="DIR", help="Folder to write."),
    store: str | None = options.STORE,
    area: list[str] = typer.Option(
        [], "--area", "--area-name", help="Only this area of the store; may be repeated."
    ),
    verified_only: bool = typer.Option(
        False, "--verified-only", help="Only sites that a person has confirmed."
    ),
    redact: str | None = options.REDACT,
    delay: str | None = options.DELAY,
    key: str | None = options.REDACT_KEY,
    language: str | None = typer.Option(
        None,
        "--language",
        help="The page begins in en, fr, es or pt; in that of whoever looks, if left out.",
    ),
    pictures: int = typer.Option(
        500, "--pictures", min=0, help="Most sites of an area with pictures, the most urgent first."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a published map."),
) -> None:
    """Write the map as a folder that any web space can host, without a server of its own.

    It shows sites, alerts, histories, statistics and pictures before and after; nobody can log in,
    review or ask for an analysis. Rejected sites, registered layers, reviewers and their notes stay
    out. To look at it here: python -m http.server -d DIR
    """
    from sluice.app.cli.extras import needing_serve
    from sluice.app.cli.progress import stage_progress
    from sluice.app.cli.signals import terminating
    from sluice.app.config import store_address
    from sluice.app.exports.options import read_redaction
    from sluice.app.messages import messages

    with needing_serve():
        from sluice.app.publishing.publish import Publishing, published_text
        from sluice.app.publishing.publish import publish as write

    if language is not None:
        messages(language)
    asked = Publishing(
        areas=tuple(area) or None,
        redaction=read_redaction(redact, delay, key=key),
        verified_only=verified_only,
        language=language,
        pictured=pictures,
    )
    with terminating(), stage_progress(shown=True) as tell:
        written = write(
            store_address(store), out_dir, asked, overwrite=overwrite, done=partial(tell, "Sites")
        )
    typer.echo(published_text(written))
