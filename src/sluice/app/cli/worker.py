"""`sluice worker`: runs the analyses that people ask a service for."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options

SOURCE = typer.Option("earth-search", "--source", help="Catalogue to search, as for `sluice scan`.")
KEEP = typer.Option(
    None,
    "--keep-bands",
    help="Bands of the image to keep beside each map, as for `sluice scan`; those that the model "
    "reads if left out. red,green,blue,nir,swir16 tell land cover.",
)


def worker(
    store: str | None = options.STORE,
    out: Path | None = typer.Option(
        None,
        "--out",
        help="Folder for what analyses leave; beside the store, `…-jobs`, if left out.",
    ),
    once: bool = typer.Option(False, "--once", help="End when no analysis waits."),
    source: str = SOURCE,
    model: str = options.MODEL,
    keep: str | None = KEEP,
    workers: int | None = options.WORKERS,
    stale_s: float = typer.Option(
        60.0,
        "--lost-after",
        help="Seconds of silence after which another worker is lost; one of this computer that "
        "has ended is noticed at once.",
        min=1,
    ),
    keep_days: float = typer.Option(
        90.0, "--keep-days", help="Days that analyses which ended are listed.", min=1
    ),
    with_parent: bool = typer.Option(
        False, "--with-parent", hidden=True, help="End when standard input is closed."
    ),
) -> None:
    """Run the analyses that wait in a store, one after the other, until Ctrl-C.

    Several workers may share a store, on several computers that see the same folders.
    """
    import threading

    from sluice.app.analysis import Stop, WorkerSettings, default_jobs_folder, work
    from sluice.app.cli.options import split_list
    from sluice.app.cli.signals import stopping
    from sluice.app.config import make_config, store_address

    check_kept(keep)
    address = store_address(store)
    settings = make_config(
        WorkerSettings,
        store=address,
        out=(out or default_jobs_folder(address)).absolute(),
        source=source,
        model=model,
        keep=split_list(keep),
        workers=workers,
        stale_s=stale_s,
        keep_days=keep_days,
        beat_s=min(2.0, stale_s / 4),
    )
    stop = threading.Event()
    with stopping(Stop, stop, with_parent=with_parent):
        ended = work(settings, once=once, say=_say, stop=stop)
    if once:
        typer.echo(f"{ended} {'analysis' if ended == 1 else 'analyses'} ended.")


def check_kept(text: str | None) -> None:
    """Refuse bands that no sensor has, before any analysis could fail for them.

    Raises:
        ConfigError: One is none, or none is named.
    """
    names = options.split_list(text)
    if names is not None:
        from sluice.app.keeping import bands_named

        bands_named(names)


def _say(line: str) -> None:
    typer.echo(line, err=True)
