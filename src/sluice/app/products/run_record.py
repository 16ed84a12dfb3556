"""`run.json`: what a run read, used and did."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from odc.geo.geobox import GeoBox
from pydantic import ValidationError

from sluice.app.products.layout import FAILED_RUN
from sluice.base.errors import DataError, ItemNotFound, SluiceError
from sluice.base.files import write_whole
from sluice.base.records import ImageryRun, LeftOut, Run, Scene, TileOutcome


def write_run(run: ImageryRun, path: Path) -> None:
    """Write the record whole or not at all; the same run gives the same bytes.

    Raises:
        OSError: It cannot be written.
    """
    # Fields keep the record's own order; NaN would not be JSON, so it is refused.
    text = json.dumps(run.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    with write_whole(path) as part:
        part.write_bytes(f"{text}\n".encode())


def write_failed_run(record: ImageryRun, err: SluiceError, folder: Path) -> None:
    """Write `run-failed.json`, if the disk has room for it: else the error itself must do."""
    failed = record.model_copy(update={"status": "failed", "summary": {"error": str(err)}})
    with contextlib.suppress(OSError):
        write_run(failed, folder / FAILED_RUN)


def name_run(started: dt.datetime) -> str:
    """Id of a run: when it began, and a word of chance, as many may begin in one second."""
    return f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def grid_record(geobox: GeoBox) -> dict[str, object]:
    """A grid as the record tells it."""
    return {
        "crs": str(geobox.crs),
        "transform": list(geobox.affine)[:6],
        "shape": list(geobox.shape.yx),
    }


def left_out_of(
    scenes: Sequence[Scene], refused: Sequence[LeftOut], outcomes: Sequence[TileOutcome]
) -> tuple[LeftOut, ...]:
    """Scenes that were refused beforehand, and those that some tiles had to do without."""
    hrefs = {scene.id: scene.href for scene in scenes}
    missed: dict[str, LeftOut] = {}
    for outcome in outcomes:
        for name, reason in outcome.left_out.items():
            before = missed.get(name)
            missed[name] = LeftOut(
                scene_id=name,
                href=hrefs.get(name, ""),
                reason=before.reason if before else reason,
                tiles=before.tiles + 1 if before else 1,
            )
    return (*refused, *missed.values())


def read_run(path: Path) -> Run:
    """Read a record back.

    Raises:
        ItemNotFound: No such file.
        DataError: Not a record that this version knows.
    """
    if not path.is_file():
        raise ItemNotFound(f"{path}: no such file; give a folder that a scan wrote", href=str(path))
    try:
        return Run.model_validate_json(path.read_bytes())
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(
            f"{path}: not a run of this version ({where}: {first['msg']}); scan again",
            href=str(path),
        ) from err
