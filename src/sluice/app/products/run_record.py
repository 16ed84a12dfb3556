"""`run.json`: what a run read, used and did."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from sluice.base.errors import DataError, ItemNotFound
from sluice.base.files import write_whole
from sluice.base.records import Run


def write_run(run: Run, path: Path) -> None:
    """Write the record whole or not at all; the same run gives the same bytes.

    Raises:
        OSError: It cannot be written.
    """
    # Fields keep the record's own order; NaN would not be JSON, so it is refused.
    text = json.dumps(run.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    with write_whole(path) as part:
        part.write_bytes(f"{text}\n".encode())


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
