"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

from scenes import write_toy_model

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pixels, labels and models; tests skip where it is absent."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("SLUICE_SHARED_DATA", default))
    if not (folder / "README.md").is_file():
        pytest.skip(f"real data not found at {folder}; set SLUICE_SHARED_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the model in `scenes`, in a folder of models of its own."""
    return write_toy_model(tmp_path_factory.mktemp("models")).folder
