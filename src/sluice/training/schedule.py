"""How fast to learn at which step: warm-up, then a half cosine or steps down at plateaus."""

from __future__ import annotations

import math

from pydantic import BaseModel

from sluice.training.options import FitOptions


class Plateau(BaseModel):
    """What plateau steps depend on; part of a checkpoint."""

    best: float = -math.inf
    waited: int = 0
    """Epochs since the best one, or since the last step down."""
    steps_down: int = 0


def learning_rate(options: FitOptions, step: int, total_steps: int, plateau: Plateau) -> float:
    """The rate of a step.

    Args:
        options: Of the fit.
        step: From 0.
        total_steps: Of all epochs together.
        plateau: As it stood when the epoch began.

    Returns:
        Positive. It rises linearly over `warmup_steps`, to the full rate at the last of them.
    """
    warmup = min(options.warmup_steps, max(total_steps - 1, 0))
    if step < warmup:
        return options.learning_rate * (step + 1) / (warmup + 1)
    if options.schedule == "plateau":
        return options.learning_rate * options.plateau_factor**plateau.steps_down
    share = (step - warmup) / max(total_steps - warmup, 1)
    return options.learning_rate * (1 + math.cos(math.pi * share)) / 2


def look_at_plateau(plateau: Plateau, figure: float, options: FitOptions) -> Plateau:
    """The plateau after another epoch.

    Args:
        plateau: Before it.
        figure: Its validation figure, higher is better.
        options: Of the fit.
    """
    if figure > plateau.best:
        return Plateau(best=figure, steps_down=plateau.steps_down)
    if plateau.waited + 1 > options.plateau_patience:
        return Plateau(best=plateau.best, steps_down=plateau.steps_down + 1)
    return plateau.model_copy(update={"waited": plateau.waited + 1})
