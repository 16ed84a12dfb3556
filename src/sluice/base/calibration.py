"""From a score to a probability, with the prior kept apart."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Calibration(BaseModel):
    """What a score is worth as evidence: a monotone table of log-likelihood ratios.

    The probability of a mine on a map depends on how common mines are there; the evidence of a
    score does not. So a model keeps ``log(P(score | mine) / P(score | no mine))`` at some
    scores, interpolated linearly between them and constant beyond, and whoever scans brings
    the prior.

    Source:
        Dawid 1982, doi:10.1080/01621459.1982.10477856; Brümmer & du Preez 2006,
        doi:10.1016/j.csl.2005.08.001.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: tuple[float, ...] = Field(min_length=2)
    """Increasing scores."""
    log_likelihood_ratio: tuple[float, ...] = Field(min_length=2)
    """Natural logarithm, never decreasing, one for each score."""
    training_prior: float = Field(gt=0, lt=1)
    """Share of mines among the labels it was fitted on; kept for the record, not used."""
    fitted_on: str
    """In words: which data, never a test split."""

    @model_validator(mode="after")
    def _monotone(self) -> Calibration:
        if len(self.scores) != len(self.log_likelihood_ratio):
            raise ValueError("scores and log_likelihood_ratio differ in length")
        if any(b <= a for a, b in itertools.pairwise(self.scores)):
            raise ValueError("scores must increase")
        if any(b < a for a, b in itertools.pairwise(self.log_likelihood_ratio)):
            raise ValueError("log_likelihood_ratio must not decrease")
        return self

    def probability(self, score: npt.NDArray[np.float32], prior: float) -> npt.NDArray[np.float32]:
        """Posterior probability of a mine.

        Args:
            score: Any shape, NaN = not observed.
            prior: Share of windows that hold a mine where one looks, 0 < prior < 1.

        Returns:
            Same shape, float32, NaN kept.
        """
        llr = np.interp(score.astype(np.float64), self.scores, self.log_likelihood_ratio)
        logit = llr + np.log(prior / (1 - prior))
        out: npt.NDArray[np.float32] = (1 / (1 + np.exp(-logit))).astype(np.float32)
        out[np.isnan(score)] = np.nan
        return out
