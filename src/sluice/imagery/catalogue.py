"""What a search for scenes gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shapely.geometry.base import BaseGeometry

from sluice.base.periods import Period
from sluice.base.records import LeftOut
from sluice.imagery.scenes import SceneFiles


@dataclass(frozen=True)
class Found:
    """Scenes over an area in a period."""

    files: tuple[SceneFiles, ...]
    """Oldest first."""
    left_out: tuple[LeftOut, ...] = ()
    """Scenes that are there and cannot be used, and why."""


class Catalogue(Protocol):
    """Where scenes are looked up."""

    def find(self, area: BaseGeometry, period: Period, bands: Sequence[str]) -> Found:
        """Look scenes up; reads no pixels.

        Args:
            area: In longitude and latitude; within -180 to 180 degrees.
            period: When they were taken.
            bands: Common names of the bands that will be read.

        Raises:
            AuthError, RateLimited, SourceUnavailable: The source refused, or gave no answer.
            ConfigError: The source has no such imagery.
        """
        ...
