"""What is not installed is named, with the command that installs it."""

import pytest

from sluice.app.cli.extras import needing_serve
from sluice.base.errors import ConfigError


def test_a_missing_part_of_the_service_is_named() -> None:
    with (
        pytest.raises(ConfigError, match=r"fastapi is missing; .*sluice\[serve\]"),
        needing_serve(),
    ):
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")


def test_a_module_of_our_own_that_is_missing_is_a_fault_and_is_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError), needing_serve():
        raise ModuleNotFoundError("No module named 'sluice.nowhere'", name="sluice.nowhere")
