"""Everything that Sluice raises on purpose.

    SluiceError
    ├─ ConfigError        what the user asked for cannot be done as asked
    ├─ SourceError        an image or catalogue could not be used
    │  ├─ ItemNotFound    nothing there, or nothing over the area
    │  ├─ AssetReadError  there, but unreadable
    │  ├─ AuthError
    │  ├─ RateLimited
    │  └─ SourceUnavailable  no answer, or broken off: may work later
    ├─ DataError          readable, but not what the step needs
    │  ├─ BandNotFound
    │  ├─ ShapeMismatch
    │  ├─ GridMismatch
    │  └─ NoValidData
    ├─ ModelError
    │  ├─ ManifestMismatch
    │  └─ WeightsError
    ├─ StoreError
    │  ├─ SchemaVersion
    │  └─ Conflict
    └─ RunFailed          a run began and could not be brought to its end

A message says what was wrong, what was got and what to do. Context rides as attributes
(`item_id`, `href`, `tile_id`). Third-party errors are translated once, in the module that
calls the library, with ``from err``.
"""

from __future__ import annotations

from collections.abc import Iterable


class SluiceError(Exception):
    """Root of all errors raised on purpose.

    Args:
        message: One line: what was wrong, what was got, what to do.
        item_id: Scene or item concerned.
        href: File or address concerned.
        tile_id: Tile concerned.
    """

    def __init__(
        self,
        message: str,
        *,
        item_id: str | None = None,
        href: str | None = None,
        tile_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.item_id = item_id
        self.href = href
        self.tile_id = tile_id


class ConfigError(SluiceError):
    """The user's request contradicts itself or names something that is not there."""


class SourceError(SluiceError):
    """An image or a catalogue could not be used."""


class ItemNotFound(SourceError):
    """No such image, or none over the area."""


class AssetReadError(SourceError):
    """The file is there and cannot be read."""


class AuthError(SourceError):
    """The source wants credentials, or refused them."""


class RateLimited(SourceError):
    """The source asks to slow down."""


class SourceUnavailable(SourceError):
    """The source did not answer in time, broke off, or says that it cannot at present."""


def is_retryable(err: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    return isinstance(err, RateLimited | SourceUnavailable)


class DataError(SluiceError):
    """Readable data that a step cannot use."""


_NAME_BANDS = "Name the bands with --bands, in file order, or use an image that has them"


class BandNotFound(DataError):
    """A band that is needed is missing."""

    @classmethod
    def from_missing_and_available(
        cls,
        missing: Iterable[str],
        available: Iterable[str],
        *,
        wanted_by: str,
        href: str | None = None,
        advice: str = _NAME_BANDS,
    ) -> BandNotFound:
        """Build the message that names both sides and says what to do."""
        lacking, present = ", ".join(missing), ", ".join(available) or "none with a known name"
        return cls(
            f"{href or 'the image'}: band {lacking} is missing, needed by {wanted_by}; "
            f"found: {present}. {advice}",
            href=href,
        )


class ShapeMismatch(DataError):
    """Arrays that belong together differ in shape."""


class GridMismatch(DataError):
    """Rasters or areas that belong together lie on different grids, or do not meet."""


class NoValidData(DataError):
    """Nothing but nodata where data is needed."""


class ModelError(SluiceError):
    """A model package cannot be used."""


class ManifestMismatch(ModelError):
    """Manifest and weights, or manifest and request, contradict each other."""


class WeightsError(ModelError):
    """Weights are missing, damaged, or of an architecture that cannot be expressed."""


class StoreError(SluiceError):
    """The store cannot do what was asked."""


class SchemaVersion(StoreError):
    """The store was written by another version."""


class Conflict(StoreError):
    """Somebody else wrote first."""


class StoreBusy(Conflict):
    """Somebody else writes for too long: nothing was written, and the same can be tried again."""


class TooManyLabels(Conflict):
    """One person has as many labels of one source as one may have: nothing was written."""


class RunFailed(SluiceError):
    """A run began and could not be finished: too many tiles failed, or the disk is full."""
