"""hatchling, which builds the map first where a wheel is made.

An editable install builds nothing: it stays quick and needs no npm; `make map` follows when the map
is wanted. `SLUICE_MAP=skip` makes a wheel without the map.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling import build as hatch
from hatchling.build import *  # noqa: F403 - its hooks, of which it has more or fewer by version

sys.path.insert(0, str(Path(__file__).parent))
import build_map

_NODE = f"{build_map.NODE_PACKAGE}>=24,<25"


def _wanted() -> bool:
    return os.environ.get("SLUICE_MAP") != "skip" and not build_map.is_built()


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """node as well, where the map is still to be built."""
    needed = list(hatch.get_requires_for_build_wheel(config_settings))
    return [*needed, _NODE] if _wanted() else needed


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """A wheel with the map inside."""
    if _wanted():
        try:
            build_map.build()
        except build_map.MapNotBuilt as err:
            raise SystemExit(f"{err}; SLUICE_MAP=skip installs Sluice without its map") from err
    return hatch.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """The sources, and the map where it is built."""
    return hatch.build_sdist(sdist_directory, config_settings)
