"""What the tests of the scan share."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def scan_fakes() -> Iterator[ModuleType]:
    """`scan_fakes.py`, imported by a name under which spawned processes find it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("scan_fakes")
        sys.modules.pop("scan_fakes")
