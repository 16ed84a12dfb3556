"""Names under which the map saves what the service sends, as Starlette writes them."""

from pathlib import Path
from typing import Any

import pytest

from map_code import asker

pytest.importorskip("fastapi")

from starlette.responses import FileResponse


@pytest.fixture(scope="module")
def of_map() -> Any:
    return asker("base/file_name.ts", "fileName", "fileName(value) ?? null")


def test_names_are_those_that_the_service_gave(of_map, tmp_path: Path) -> None:
    names = ["sluice-s-1.pdf", "Sao Felix.pdf", "São Félix do Xingu.pdf", "100 % d'or; été.pdf"]
    path = tmp_path / "any"
    path.touch()
    told = [FileResponse(path, filename=name).headers["content-disposition"] for name in names]
    assert any("utf-8''" in one for one in told)
    assert of_map(told) == names


def test_other_headers_have_their_names_or_none(of_map) -> None:
    told = {
        "": None,
        "attachment": None,
        'attachment; filename="sluice-district.csv"': "sluice-district.csv",
        "attachment; filename=\"plain.pdf\"; filename*=UTF-8'en'%C3%A9.pdf": "é.pdf",
        "attachment; filename=\"plain.pdf\"; filename*=utf-8''%E9": "plain.pdf",
    }
    assert of_map(list(told)) == list(told.values())
