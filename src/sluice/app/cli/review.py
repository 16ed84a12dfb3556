"""`sluice review`: what a person says of a site."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options


def review(
    site_id: str = options.SITE,
    verdict: str = typer.Argument(help="confirmed, rejected or unsure."),
    reason: str | None = typer.Option(
        None,
        "--reason",
        help="What it is instead: sandbar, river, oxbow, fish_pond, farm_pond, farmland, "
        "settlement, road, landslide, bare_rock, industrial, cloud or other.",
    ),
    who: str | None = typer.Option(None, "--who", help="Your name; of this computer if left out."),
    note: str = typer.Option("", "--note", help="Anything that should be kept with it."),
    outline: Path | None = typer.Option(
        None,
        "--outline",
        help="File with the outline that you drew: kept as a label, see `sluice labels "
        "export-reviews`.",
    ),
    store: str | None = options.STORE,
) -> None:
    """Confirm or reject a site. Verdicts are added, never changed: the last one counts."""
    from sluice.app.cli.places import opened, word
    from sluice.app.following.reviewing import add_review, added_text, read_outline
    from sluice.base.places import Reason, Verdict

    asked = word(verdict, Verdict, "verdict")
    why = None if reason is None else word(reason, Reason, "--reason")
    drawn = None if outline is None else read_outline(outline)
    with opened(store) as opened_store:
        made = add_review(opened_store, site_id, asked, why, who=who, note=note, outline=drawn)
    typer.echo(added_text(made, site_id))
