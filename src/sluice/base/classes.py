"""What a pixel or cell is called, where a model tells several classes of what is sought apart."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayHW

ClassesHW: TypeAlias = npt.NDArray[np.uint8]
"""Numbers of classes, in the order of the model's; the first, 0, is what is not sought."""

NOT_OBSERVED = 255
"""In place of a class: nothing can be said, or nobody labelled it."""
MOST_CLASSES = 255


def name_classes(scores: ArrayHW, likeliest: ClassesHW, threshold: float) -> ClassesHW:
    """Decide on classes: what is sought begins at the threshold, as it does for sites.

    Args:
        scores: Of all sought classes together, any shape, NaN = not observed.
        likeliest: Of the sought classes the most probable, by number from 1; same shape.
        threshold: The model's `t_main`.

    Returns:
        Same shape: 0 below the threshold, else `likeliest`; `NOT_OBSERVED` where a score is NaN.
    """
    # A comparison with NaN is False.
    classes: ClassesHW = np.where(scores >= threshold, likeliest, np.uint8(0))
    classes[np.isnan(scores)] = NOT_OBSERVED
    return classes
