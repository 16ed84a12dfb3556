"""What a package says of itself, checked before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.base.errors import ConfigError
from sluice.models.manifest import is_legal_name


@dataclass(frozen=True)
class Naming:
    """Name and terms of a model.

    Raises:
        ConfigError: The name cannot be a folder everywhere, or a text is empty.
    """

    name: str
    licence: str
    """SPDX expression of the weights, following from the data's."""
    attribution: str
    """Whom to name for the data."""

    def __post_init__(self) -> None:
        if not is_legal_name(self.name):
            raise ConfigError(
                f"{self.name!r} cannot name a model; use up to 64 small letters, digits, '.', "
                "'-', '_'"
            )
        if not self.licence.strip() or not self.attribution.strip():
            raise ConfigError("licence and attribution of a model must not be empty; state both")
