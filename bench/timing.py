"""Fair timing of things that share a machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

Timed = Callable[[], float]
"""Does the work once and returns its seconds."""


def alternate(contestants: Mapping[str, Timed], rounds: int) -> dict[str, float]:
    """Median seconds of each, all by turns, so that what disturbs one disturbs the others too.

    Args:
        contestants: Each warmed up by its caller, or by a first call that is not counted.
        rounds: How often each is timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for timed in contestants.values():
        timed()
    for _ in range(rounds):
        for name, timed in contestants.items():
            seconds[name].append(timed())
    return {name: statistics.median(taken) for name, taken in seconds.items()}
