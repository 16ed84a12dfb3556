"""`sluice serve`: the map, and the interface for programs."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options
from sluice.app.cli.worker import KEEP, SOURCE, check_kept


def serve(
    store: str | None = options.STORE,
    create: bool = typer.Option(
        False, "--create", help="Make the store where there is none, and draw its first area."
    ),
    host: str = typer.Option("127.0.0.1", "--host", help="Where to listen."),
    port: int = typer.Option(8765, "--port", min=0, max=65535, help="0 takes any free one."),
    open_: bool = typer.Option(
        True, "--open/--no-open", help="Open the map in a browser, on this computer only."
    ),
    redact: str | None = typer.Option(
        None, "--redact", help="Show viewers no place more exactly than this grid: 5km."
    ),
    delay: str | None = typer.Option(
        None, "--delay", help="With --redact: hold back from viewers what is younger: 6months."
    ),
    name: list[str] = typer.Option(
        [], "--name", help="Public name under which others reach it: mines.example.org."
    ),
    proxy: list[str] = typer.Option(
        [],
        "--proxy",
        help="Address or network of a proxy in front of it, which says who asks and by which "
        "protocol: 127.0.0.1.",
    ),
    worker: bool = typer.Option(
        True, "--worker/--no-worker", help="Run the analyses that people ask for, too."
    ),
    source: str = SOURCE,
    model: str = options.MODEL,
    keep: str | None = KEEP,
    jobs_out: Path | None = typer.Option(
        None,
        "--jobs-out",
        help="Folder for what analyses leave; beside the store, `…-jobs`, if left out.",
    ),
    second_process: bool = typer.Option(
        True,
        "--second-process/--one-process",
        help="Let a process beside make answers while many people ask; it needs memory of its own.",
    ),
    largest_km2: float = typer.Option(
        10_000, "--largest-area", help="Largest area of an analysis, in square kilometres."
    ),
    jobs_per_person: int = typer.Option(
        3, "--jobs-per-person", help="Analyses of one person that may wait and run at a time."
    ),
) -> None:
    """Serve a store: a map in the browser, and an interface for programs.

    Whoever uses this computer may do everything, until somebody has an account (`sluice users
    add`). It lets other computers in only where somebody has one.
    """
    from sluice.app.cli.extras import needing_serve
    from sluice.app.config import make_config, store_address
    from sluice.app.following.stores import open_store

    with needing_serve():
        from sluice.app.web.running import run_service
        from sluice.app.web.settings import Settings

    check_kept(keep)
    settings = make_config(
        Settings,
        store=store_address(store),
        host=host,
        port=port,
        worker=worker,
        source=source,
        model=model,
        keep=keep,
        jobs_out=jobs_out,
        second_process=second_process,
        largest_km2=largest_km2,
        jobs_per_person=jobs_per_person,
        redact=redact,
        delay=delay,
        names=tuple(name),
        proxies=tuple(proxy),
    )
    if create:
        open_store(settings.store, create=True).close()
    run_service(settings, open_browser=open_, tell=typer.echo)
