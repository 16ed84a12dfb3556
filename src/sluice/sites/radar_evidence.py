"""What a fall of the radar echo says of a place.

The likelihoods come from a phantom (`sluice.phantom`), whose ground changes only where mines
do, and whose rivers change their roughness but never flood. On real ground floods, reservoirs and
flooded rice make the same drops, so a drop may say less there than here. They are told as such in
every alert that rests on them.
"""

from __future__ import annotations

import numpy as np

from sluice.base.arrays import FloatArray

SHARES = (0.005,)
"""Least share of a place's cells in which `radar-drop` marks a fall of more than 1.65 dB, of each
step of the table."""
DROP_LOG_LR = (1.5,)
"""Natural logarithm of the likelihood ratio of each step, as fitted on four landscapes; more steps
did not differ. `python -m proof --only radar-evidence` measures it, on others too."""
NO_DROP_LOG_LR = 0.0
"""A choice: no drop says nothing. It measured -0.6, as the phantom's active mines all grow; a mine
that goes on as it was makes none."""


def drop_log_lr(share: FloatArray) -> FloatArray:
    """Log likelihood ratio of the share of a place that fell between two periods.

    Args:
        share: (n,) of a place's observed cells, 0-1; NaN = not observed.

    Returns:
        (n,) natural logarithm, never below 0, NaN where not observed.
    """
    steps = np.array([NO_DROP_LOG_LR, *DROP_LOG_LR])
    found = steps[np.searchsorted(SHARES, np.nan_to_num(share), side="right")]
    return np.where(np.isfinite(share), found, np.nan)
