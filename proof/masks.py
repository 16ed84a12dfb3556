"""Masks and the guard against truth: one labelled scene, and made-up series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from proof.markdown import to_table
from proof.setup import Setup
from sluice.base.arrays import ArrayHW, ArrayTBHW, BoolHW, BoolTHW
from sluice.composite.clear import grow, sort_sky
from sluice.composite.guard import GuardRule, give_back_stable_ground
from sluice.composite.reduce import median_of_clear
from sluice.composite.spectral_cloud import BANDS, classify_by_spectrum

_LABELLED = "s2-cloudmask/sentinel2.npz"
_SHADOW, _CLOUD = 0, 4
"""Classes of the labelled scene; 1 is water, 2 snow, 3 land."""
_BRIGHTEST = 95
"""Percentile of the visible brightness of what is no cloud, from which on ground is bright."""
_AWAY_PX = 8
_GROWTHS = (0, 1, 2, 4)
_BRIGHT = 0.12
_TIMES = (6, 12, 20, 40)
_PIXELS = 4000


def prove_masks(setup: Setup) -> str:
    """The labelled scene, then the guard on made-up series."""
    return "\n\n".join([_prove_spectral(setup), _prove_guard()])


def guard_figures(
    stack_tbhw: ArrayTBHW,
    flagged_thw: BoolTHW,
    truth_clear_thw: BoolTHW,
    *,
    shadow_thw: BoolTHW | None = None,
    truth_bhw: npt.NDArray[np.float32] | None = None,
    rule: GuardRule | None = None,
) -> dict[str, float]:
    """What the guard gains and costs, where the truth is known.

    Args:
        stack_tbhw: (T, B, H, W) reflectance of the visible bands, in order of time, NaN = absent.
        flagged_thw: (T, H, W), where the mask under test says cloud, growth included.
        truth_clear_thw: (T, H, W), where the ground is truly seen: no cloud and no shadow.
        shadow_thw: (T, H, W), where the mask says shadow: never clear, never given back.
        truth_bhw: (B, H, W), the ground without clouds; adds the composites' errors.
        rule: The guard's.

    Returns:
        Shares from 0 to 1, each `_without` and `_with` the guard: `cloud_recall` (of looks that
        are not truly clear, those masked), `ground_lost` (of truly clear looks, those masked),
        `bright_ground_lost` (the same where the truly clear looks' median brightness is at least
        0.12), `bright_pixels_without_look`; with `truth_bhw` also `error` and `bright_error`, the
        median's mean absolute difference from it.
    """
    brightness = stack_tbhw.mean(axis=1)
    observed = np.isfinite(brightness)
    shadow = np.zeros_like(flagged_thw) if shadow_thw is None else shadow_thw
    usable = np.where(shadow, np.float32(np.nan), brightness)
    given_back = give_back_stable_ground([usable], flagged_thw & ~shadow, rule)
    level, _ = median_of_clear(brightness[:, None], truth_clear_thw)
    bright = level[0] >= _BRIGHT
    figures = {}
    without = observed & ~flagged_thw & ~shadow
    for name, clear in (("without", without), ("with", without | given_back)):
        masked = observed & ~clear
        is_ground = observed & truth_clear_thw
        figures |= {
            f"cloud_recall_{name}": _share(masked, observed & ~truth_clear_thw),
            f"ground_lost_{name}": _share(masked, is_ground),
            f"bright_ground_lost_{name}": _share(masked, is_ground & bright),
            f"bright_pixels_without_look_{name}": _share(~clear.any(axis=0), bright),
        }
        if truth_bhw is not None:
            median, _ = median_of_clear(stack_tbhw, clear)
            error = np.abs(median - truth_bhw)
            figures[f"error_{name}"] = mean_of_seen(error)
            figures[f"bright_error_{name}"] = mean_of_seen(error[:, bright])
    return figures


def mean_of_seen(values: npt.NDArray[np.float32]) -> float:
    """The mean of what is not NaN; NaN where there is nothing."""
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if seen.size else float("nan")


def _share(of: BoolTHW | BoolHW, among: BoolTHW | BoolHW) -> float:
    return float((of & among).sum() / among.sum()) if among.any() else float("nan")


def _prove_spectral(setup: Setup) -> str:
    with np.load(setup.data / _LABELLED, allow_pickle=False) as held:
        bands = dict(zip(BANDS, np.moveaxis(held["img"], 2, 0), strict=True))
        truth = held["msk"][..., 0]
    cloud = truth == _CLOUD
    ground = ~cloud & (truth != _SHADOW)
    brightness = (bands["blue"] + bands["green"] + bands["red"]) / 3
    bright = ground & (brightness >= np.percentile(brightness[~cloud], _BRIGHTEST))
    away = bright & ~grow(cloud, _AWAY_PX)
    rows = []
    for growth in _GROWTHS:
        found = sort_sky(classify_by_spectrum(bands), grow_px=growth).cloud
        rows.append([str(growth), *_spell_mask(found, cloud, ground, bright, away)])
    table = to_table(
        [
            "growth, px",
            "cloud found",
            "of what is masked, cloud",
            "ground lost",
            "bright ground lost",
            f"the same, more than {_AWAY_PX} px from cloud",
        ],
        rows,
    )
    return (
        "The spectral cloud test on the one labelled scene (512 x 512 px, L1C; bright ground: the "
        f"brightest {100 - _BRIGHTEST} % of what is no cloud). Its thresholds are the published "
        "ones. The scene has no cloud layer of a catalogue, so those cannot be measured on it.\n\n"
        + table
    )


def _spell_mask(
    found: BoolHW, cloud: BoolHW, ground: BoolHW, bright: BoolHW, away: BoolHW
) -> list[str]:
    shares = (
        _share(found, cloud),
        _share(cloud, found),
        _share(found, ground),
        _share(found, bright),
        _share(found, away),
    )
    return [f"{share:.3f}" for share in shares]


@dataclass(frozen=True)
class _Case:
    """A kind of place, and how a mask errs there."""

    what: str
    level: float
    """Visible reflectance of the ground."""
    cloudiness: float
    depth: float
    """Median optical depth of its clouds, which scatter by a factor of e."""
    flagged_ground: float
    """Share of the clear looks that the mask calls cloud."""
    swing: float = 0.0
    """By which the ground's level goes up and down with the season, as a share of it."""
    before: float | None = None
    """Level in the first quarter of the period, where it was another."""


_CASES = (
    _Case("bright pond or sandbar, called cloud", 0.15, 0.4, 4.0, 0.9),
    _Case("bare ground, called cloud", 0.25, 0.4, 4.0, 0.9),
    _Case("the same, level swings by 10 %", 0.25, 0.4, 4.0, 0.9, swing=0.1),
    _Case("the same, rainy", 0.25, 0.7, 4.0, 0.9),
    _Case("the same, a mine dug in the first quarter", 0.25, 0.4, 4.0, 0.9, before=0.04),
    _Case("forest, mask right", 0.04, 0.7, 4.0, 0.0),
    _Case("forest under haze, mask right", 0.04, 0.7, 0.7, 0.0),
    _Case("fields, rainy, mask right", 0.12, 0.8, 4.0, 0.05),
    _Case("bare ground under haze, mask right", 0.25, 0.8, 0.7, 0.05),
)


def _prove_guard() -> str:
    rows = []
    for case in _CASES:
        for times in _TIMES:
            stack, flagged, clear, truth = _make_series(case, times)
            figures = guard_figures(stack, flagged, clear, truth_bhw=truth)
            rows.append(
                [
                    case.what,
                    str(times),
                    *(
                        f"{figures[f'{name}_without']:.3f} > {figures[f'{name}_with']:.3f}"
                        for name in ("cloud_recall", "ground_lost", "error")
                    ),
                ]
            )
    return (
        f"The guard on made-up series ({_PIXELS:,} pixels each, without > with it). Clouds by a "
        "two-stream model, ground that scatters by 0.005 + 5 %; the mask misses one cloud in "
        "twenty. Error: of the median of the clear looks, in reflectance.\n\n"
        + to_table(["place", "looks", "cloud masked", "ground lost", "error"], rows)
    )


def _make_series(
    case: _Case, times: int
) -> tuple[ArrayTBHW, BoolTHW, BoolTHW, npt.NDArray[np.float32]]:
    """Stack (T, 1, 1, N), the mask's flags, what is truly clear, and the ground (1, 1, N)."""
    rng = np.random.default_rng([times, round(case.level * 100)])
    shape = (times, 1, _PIXELS)
    season = np.sin(2 * np.pi * (np.arange(times)[:, None, None] / times + rng.random(shape[1:])))
    level = case.level * (1 + case.swing * season)
    if case.before is not None:
        level[: times // 4] = case.before
    ground = level * rng.normal(1, 0.05, shape) + rng.normal(0, 0.005, shape)
    clear = rng.random(shape) >= case.cloudiness
    depth = rng.lognormal(np.log(case.depth), 1, shape)
    # Lacis and Hansen's albedo of a cloud (1974), and what passes to and fro beneath it.
    cloud = 0.13 * depth / (1 + 0.13 * depth)
    covered = cloud + (1 - cloud) ** 2 * ground / (1 - cloud * ground)
    seen: ArrayHW = np.where(clear, ground, covered).astype(np.float32)
    flagged = rng.random(shape) < np.where(clear, case.flagged_ground, 0.95)
    truth = np.full((1, 1, _PIXELS), case.level, np.float32)
    return seen[:, None], flagged, clear, truth
