"""What a fit depends on, as short texts: another text means another fit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from sluice import __version__
from sluice.base.arrays import ArrayNBHW, IntArray
from sluice.labels.dataset import MasksNHW


def code_digest() -> str:
    """Of this package's source: what other code would fit is another network."""
    digest = hashlib.sha256(__version__.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class DataDigest:
    """Of chips and labels, as they are read."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._digest = hashlib.sha256(table[["label", "group"]].to_csv().encode())

    def add_rows(self, *parts: IntArray) -> None:
        """Which chips are in which part."""
        for part in parts:
            self._digest.update(len(part).to_bytes(8, "little") + part.tobytes())

    def add_chips(self, images: ArrayNBHW, masks: MasksNHW) -> None:
        """Pixels and labels."""
        self._digest.update(images.tobytes())
        self._digest.update(masks.tobytes())

    def text(self) -> str:
        """Hexadecimal."""
        return self._digest.hexdigest()
