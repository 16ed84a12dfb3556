"""What a threshold is chosen for, and forms of calibration, in words.

Nothing heavy is imported here: the command line tells these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from sluice.base.errors import ConfigError

CalibrationMethod = Literal["beta", "isotonic", "temperature"]
"""See `fit_calibration`."""

_AIM = re.compile(r"f(?P<beta>\d+(?:\.\d+)?)|recall>=(?P<recall>\d*\.?\d+)")


@dataclass(frozen=True)
class BestF:
    """The highest F-beta."""

    beta: float


@dataclass(frozen=True)
class BestPrecision:
    """The highest precision with enough recall."""

    min_recall: float


def parse_aim(text: str) -> BestF | BestPrecision:
    """Read `f1`, `f0.5` or F of another beta, or `recall>=0.9`.

    Raises:
        ConfigError: It is none of these.
    """
    stated = _AIM.fullmatch(text.replace(" ", "").lower())
    if stated and stated["beta"] and float(stated["beta"]) > 0:
        return BestF(float(stated["beta"]))
    if stated and stated["recall"] and 0 < float(stated["recall"]) <= 1:
        return BestPrecision(float(stated["recall"]))
    raise ConfigError(f"aim {text!r} is not known; use f1, f0.5 or recall>=0.9")
