"""What an error tells to whoever asks, and what only the log keeps."""

import datetime as dt
import logging

import pytest

from sluice.app.web.errors import refusal, without_folders
from sluice.app.web.job_views import job_told
from sluice.base.errors import ConfigError, StoreBusy
from sluice.base.jobs import AnalysisJob


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("/srv/mines/s.sqlite: is locked", "s.sqlite: is locked"),
        ("no file /srv/a/b.tif, nor /srv/a/c.tif", "no file b.tif, nor c.tif"),
        ("cannot read (open of '/srv/a/b.tif' failed)", "cannot read (open of 'b.tif' failed)"),
        ("file:///srv/a/b.tif: damaged", "file://b.tif: damaged"),
        (r"C:\mines\ours\s.sqlite: is locked", "s.sqlite: is locked"),
        (r"\\server\share\s.sqlite: is locked", "s.sqlite: is locked"),
        ('socket "/var/run/postgresql/.s.PGSQL.5432"', 'socket ".s.PGSQL.5432"'),
        # Not of the server.
        ("there is none; /api/openapi.json lists them", None),
        ("/api/areas lists those there are", None),
        ("titles.gpkg: is damaged", None),
        ("shapes/titles.gpkg: is damaged", None),
        ("disk I/O error, 5 km/h and/or 2024-01-01/2024-03-31", None),
        ("https://example.org/a/b.json: no answer", None),
        ("s3://bucket/a/b.tif: no answer", None),
        ("area 'north / south': is in the store", None),
    ],
)
def test_folders_of_the_server_are_left_out(message: str, told: str | None) -> None:
    assert without_folders(message) == (message if told is None else told)


def test_a_path_with_spaces_is_known_by_what_the_error_is_about(caplog) -> None:
    caplog.set_level(logging.INFO, "sluice.web")
    path = "/srv/our mines/s.sqlite"
    err = StoreBusy(f"{path}: somebody else writes", href=path)
    assert refusal(err) == (503, "store_busy", "s.sqlite: somebody else writes")
    assert path in caplog.text
    address = "postgresql://sluice@db.internal:5432/mines"
    err = StoreBusy(f"{address}: somebody else writes", href=address)
    assert refusal(err)[2] == "mines: somebody else writes"
    refusal(ConfigError("/srv/a/b.tif: is rotated"))
    assert "/srv/a/b.tif" in caplog.text


def test_why_an_analysis_failed_names_no_folder_either() -> None:
    job = AnalysisJob(
        job_id="j",
        area="ours",
        outline=None,
        first=dt.date(2024, 1, 1),
        last=dt.date(2024, 3, 31),
        every="none",
        by="Ama",
        created=dt.datetime(2024, 7, 1, tzinfo=dt.UTC),
        message="/srv/jobs/j/scan/composite.tif: cannot be read",
    )
    assert job_told(job, {})["message"] == "composite.tif: cannot be read"
    assert job_told(job.model_copy(update={"message": None}), {})["message"] is None
