"""Versions that were tested together: to be had anywhere, and of nobody's own build."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.]*")
"""`name==1.2.3`: no address, option, path or marker, and no local part such as `+cpu`."""
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]*://|\bgit@|\bfile:|\s@\s|index-url|find-links", re.IGNORECASE
)
_LOCAL = re.compile(r"[=<>~!]=?\s*[0-9][0-9A-Za-z.!]*\+[0-9A-Za-z]")


def requirements() -> list[str]:
    """All that `pyproject.toml` asks for, of building, running and each extra."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = content["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    return [*content["build-system"]["requires"], *project["dependencies"], *extras]


def test_every_constraint_is_a_name_and_a_version() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not _PIN.fullmatch(line)] == []
    names = [line.partition("==")[0].lower().replace("_", "-") for line in lines]
    assert len(set(names)) == len(names)


def test_no_requirement_names_an_address_or_a_local_build() -> None:
    wanted = requirements()
    assert len(wanted) > 40
    assert [one for one in wanted if _ADDRESS.search(one) or _LOCAL.search(one)] == []
    # Nor does a tool's section name an index.
    assert not _ADDRESS.search((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize(
    "bad",
    [
        "torch==2.13.0+cpu",
        "torch @ https://example.org/torch.whl",
        *(f"--{option} ../wheels" for option in ("index-url", "find-links")),
        "-e git+ssh://git@example.org/a.git",
        "numpy @ file:///home/me/numpy",
    ],
)
def test_an_address_or_a_local_build_would_be_seen(bad: str) -> None:
    assert not _PIN.fullmatch(bad)
    assert _ADDRESS.search(bad) or _LOCAL.search(bad)


def test_a_range_of_versions_is_no_pin() -> None:
    assert not _PIN.fullmatch("numpy>=2")
