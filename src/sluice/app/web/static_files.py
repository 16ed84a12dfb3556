"""The map's own files: one page, and assets whose names hold their content's hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from sluice.app.web.settings import Settings

INDEX = "index.html"
_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sluice</title>
<h1>Sluice is running, without its map</h1>
<p>The map is built from the folder <code>web</code> of the source: run
<code>make map</code> there once, then reload this page. A wheel has it inside.</p>
<p>The interface for programs works: <a href="api/openapi.json">its description</a>,
<a href="ogc">OGC API Features</a>, <a href="stac">STAC catalogue</a>.</p>
</html>
"""


class _Files(StaticFiles):
    """The folder may come later: the map is built while the service runs."""

    async def check_config(self) -> None:
        """See `StaticFiles`."""
        if self.directory is None or not Path(self.directory).is_dir():
            raise HTTPException(404, "there is no such address here")


class _Assets(_Files):
    """Named by their content's hash: whoever has one need not ask again."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Add how long it is good."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def mount_map(app: FastAPI, settings: Settings) -> None:
    """Serve the map at `/`, or say how to get it."""
    folder = settings.map_folder

    @app.get("/", include_in_schema=False)
    def index(_: Request) -> Response:
        page = folder / INDEX
        if not page.is_file():
            return HTMLResponse(_NOT_BUILT)
        return FileResponse(page, headers={"Cache-Control": "no-cache"})

    @app.get("/{file}", include_in_schema=False)
    def beside(file: str) -> Response:
        """What lies beside the page: an icon, a manifest."""
        path = folder / file
        if file.startswith(".") or Path(file).name != file or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    app.mount("/assets", _Assets(directory=folder / "assets", check_dir=False), name="assets")
    for other in _folders(folder):
        app.mount(f"/{other.name}", _Files(directory=other), name=f"map {other.name}")


def _folders(folder: Path) -> list[Path]:
    """Further folders of the map: fonts and the like."""
    if not folder.is_dir():
        return []
    return [one for one in sorted(folder.iterdir()) if one.is_dir() and one.name != "assets"]
