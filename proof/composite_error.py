"""How far a composite is from the cloud-free ground, as looks add up: on phantom series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
import pandas as pd
from rasterio import features

from proof.markdown import spell, to_table
from proof.setup import Setup
from sluice.composite.clear import classify_sky, sort_sky
from sluice.composite.guard import give_back_stable_ground
from sluice.composite.reduce import median_of_clear, medoid_of_clear, percentile_of_clear
from sluice.evaluation.bootstrap import Estimate
from sluice.phantom.series import PhantomSeries, build_series, spread_dates

SEEDS = (201, 202, 203, 204, 205)
LOOKS = (2, 4, 6, 8, 12, 20)
"""Median over the scene of truly clear looks: dates are added until it is reached."""
BANDS = ("blue", "green", "red", "nir", "swir16")
SIZE_PX = 360
EVERY_DAYS = 5
MOST_DATES = 150
BRIGHT = 0.15
"""Mean reflectance of blue, green and red from which ground counts as bright."""
METHODS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "median": median_of_clear,
    "medoid": medoid_of_clear,
    "25th percentile": partial(percentile_of_clear, percent=25.0),
}
MASKS = ("true", "flawed", "guarded")
_MASK_TITLES = {
    "true": "true mask",
    "flawed": "flawed SCL",
    "guarded": "flawed SCL and guard",
}
_START = date(2023, 1, 1)


@dataclass(frozen=True)
class Stack:
    """A series read in full, and what is true of it."""

    seen_tbhw: np.ndarray
    """Surface reflectance with clouds."""
    truth_tbhw: np.ndarray
    """The same without."""
    true_clear_thw: np.ndarray
    scl_thw: np.ndarray
    """As delivered, with its flaw."""
    mine_hw: np.ndarray
    """Within a mine's outline on the last date."""

    def first(self, dates: int) -> Stack:
        """The same of the first dates alone."""
        return Stack(
            self.seen_tbhw[:dates],
            self.truth_tbhw[:dates],
            self.true_clear_thw[:dates],
            self.scl_thw[:dates],
            self.mine_hw,
        )

    def clear(self, mask: str) -> np.ndarray:
        """(T, H, W), True where one of `MASKS` sees ground."""
        if mask == "true":
            return self.true_clear_thw
        # Not widened: the phantom's classification marks the clouds' rims already.
        skies = [sort_sky(classify_sky("scl", scl.astype(np.float32))) for scl in self.scl_thw]
        clear = np.stack([sky.clear for sky in skies])
        if mask == "guarded":
            brightness = self.seen_tbhw[:, :3].mean(axis=1)
            brightness[np.stack([sky.shadow for sky in skies])] = np.nan
            clear |= give_back_stable_ground([brightness], np.stack([sky.cloud for sky in skies]))
        return clear


def prove_composite_error(setup: Setup) -> str:
    """Measure, and write the tables."""
    del setup  # needs no model and no data
    return composite_error_table(*measure_series(SEEDS))


def measure_series(
    seeds: Sequence[int], looks: Sequence[int] = LOOKS, size_px: int = SIZE_PX
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Errors and lost looks of each seed.

    Returns:
        One row for each seed, looks, mask, method, ground and band: bias, rmse, p95, observed.
        And one for each seed, looks and mask: dates, kept (share of the clear looks at bright
        ground that the mask lets pass), let_through (share of the looks at cloud, cirrus and
        shadow that it lets pass).
    """
    errors, passed = [], []
    for seed in seeds:
        stack = read_stack(seed, max(looks), size_px)
        for count in looks:
            part = stack.first(_dates_for(stack.true_clear_thw, count))
            found, shares = _measure(part)
            errors.append(found.assign(seed=seed, looks=count))
            passed.append(shares.assign(seed=seed, looks=count))
    return pd.concat(errors, ignore_index=True), pd.concat(passed, ignore_index=True)


def read_stack(seed: int, looks: int, size_px: int = SIZE_PX) -> Stack:
    """Read dates, one every five days, until the scene's median pixel was clear often enough."""
    series = build_series(seed, size_px, spread_dates(_START, MOST_DATES, EVERY_DAYS), scl_flaw=1.0)
    seen, truth, clear, scl = [], [], [], []
    for index, day in enumerate(series.dates):
        scene = series.scene_at(index, BANDS)
        seen.append(scene.raster.data_bhw)
        truth.append(series.truth_at(day, BANDS).data_bhw)
        clear.append(scene.true_clear_hw)
        scl.append(scene.scl_hw)
        if np.median(np.sum(clear, axis=0)) >= looks:
            break
    else:
        raise ValueError(f"{MOST_DATES} dates give no {looks} clear looks; add dates")
    mine = _mines(series, series.dates[len(seen) - 1])
    return Stack(np.stack(seen), np.stack(truth), np.stack(clear), np.stack(scl), mine)


def _mines(series: PhantomSeries, day: date) -> np.ndarray:
    shapes, size = list(series.mines_at(day).geometry), series.geobox.shape.yx
    if not shapes:
        return np.zeros(size, dtype=np.bool_)
    return np.asarray(features.rasterize(shapes, size, transform=series.geobox.affine) > 0)


def _dates_for(clear_thw: np.ndarray, looks: int) -> int:
    """The least number of first dates that give the median pixel so many clear looks."""
    median = np.median(np.cumsum(clear_thw, axis=0), axis=(1, 2))
    return int(np.argmax(median >= looks)) + 1


def _measure(stack: Stack) -> tuple[pd.DataFrame, pd.DataFrame]:
    truth_bhw = np.median(stack.truth_tbhw, axis=0)
    bright = truth_bhw[:3].mean(axis=0) > BRIGHT
    grounds = {"all": np.ones_like(bright), "bright": bright, "mine": stack.mine_hw}
    errors, passed = [], []
    for mask in MASKS:
        clear = stack.clear(mask)
        truly = stack.true_clear_thw
        passed.append(
            {
                "mask": mask,
                "dates": len(clear),
                "kept": float(clear[:, bright][truly[:, bright]].mean()),
                "let_through": float(clear[~truly].mean()),
            }
        )
        for method, reduce in METHODS.items():
            composite, _ = reduce(stack.seen_tbhw, clear)
            for ground, where in grounds.items():
                for band, name in enumerate(BANDS):
                    figures = error_figures(composite[band][where], truth_bhw[band][where])
                    row = {"mask": mask, "method": method, "ground": ground, "band": name}
                    errors.append({**row, **figures})
    return pd.DataFrame(errors), pd.DataFrame(passed)


def error_figures(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """How far values are from the truth.

    Args:
        found: (N,) reflectance, NaN where not observed.
        true: (N,).

    Returns:
        bias, rmse and p95 (95th percentile of the absolute error) over what was observed, NaN
        where nothing was; and observed, its share.
    """
    seen = np.isfinite(found)
    if not seen.any():
        return {"bias": np.nan, "rmse": np.nan, "p95": np.nan, "observed": 0.0}
    error = found[seen].astype(np.float64) - true[seen]
    return {
        "bias": float(error.mean()),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "p95": float(np.percentile(np.abs(error), 95)),
        "observed": float(seen.mean()),
    }


def over_seeds(values: Sequence[float]) -> Estimate:
    """Mean of one figure over seeds, from the lowest seed's to the highest's.

    NaN, where a seed has no such ground, is left out.
    """
    known = np.array([value for value in values if np.isfinite(value)])
    if len(known) == 0:
        return Estimate(value=None, low=None, high=None)
    low, high = (float(known.min()), float(known.max())) if len(known) > 1 else (None, None)
    return Estimate(value=float(known.mean()), low=low, high=high)


def composite_error_table(errors: pd.DataFrame, passed: pd.DataFrame) -> str:
    """The tables, with a line on how to read each."""
    seeds = sorted(set(errors["seed"]))
    dates = passed[passed["mask"] == "true"].groupby("looks")["dates"].mean()
    spans = ", ".join(f"{looks} looks: {days:.0f}" for looks, days in dates.items())
    return "\n\n".join(
        [
            f"{len(seeds)} phantom series (seeds {', '.join(map(str, seeds))}), a date every "
            f"{EVERY_DAYS} days with the cloud of the humid tropics. Looks: the scene's median "
            f"number of truly clear ones; dates that it takes, on average: {spans}. Truth: the "
            "median over the same dates of the ground without cloud, noise or errors of "
            "correction; mines grow meanwhile. Errors in reflectance, mean over seeds: bias / "
            "RMSE [lowest-highest seed] / 95th percentile of the absolute error.",
            "All ground, true masks:",
            _by_looks(errors, "all", "true"),
            f"Bright ground (visible reflectance above {BRIGHT}) by mask, median. The flawed "
            "classification takes bright ground for cloud on many dates; the guard gives "
            "ground back that stays put.",
            _by_mask(errors),
            "Ground of mines, by mask and method, at 8 looks:",
            _by_method(errors, "mine", 8),
            "What the masks let pass: clear looks at bright ground (should be all), and looks "
            "at cloud, cirrus or shadow (should be none).",
            _passed_table(passed),
        ]
    )


def _cell(rows: pd.DataFrame) -> str:
    if rows["rmse"].notna().sum() == 0:
        return "-"
    bias, p95 = rows["bias"].mean(), rows["p95"].mean()
    return f"{bias:+.4f} / {spell(over_seeds(rows['rmse'].tolist()), 4)} / {p95:.4f}"


def _bands_of(rows: pd.DataFrame) -> list[str]:
    return [_cell(rows[rows["band"] == band]) for band in BANDS]


def _by_looks(errors: pd.DataFrame, ground: str, mask: str) -> str:
    part = errors[(errors["ground"] == ground) & (errors["mask"] == mask)]
    rows = []
    for method in METHODS:
        for looks in sorted(set(part["looks"])):
            one = part[(part["looks"] == looks) & (part["method"] == method)]
            rows.append([method, str(looks), *_bands_of(one)])
    return to_table(["method", "looks", *BANDS], rows)


def _by_mask(errors: pd.DataFrame) -> str:
    part = errors[(errors["ground"] == "bright") & (errors["method"] == "median")]
    rows = []
    for mask in MASKS:
        for looks in sorted(set(part["looks"])):
            one = part[(part["looks"] == looks) & (part["mask"] == mask)]
            lost = over_seeds((100 * (1 - one[one["band"] == "red"]["observed"])).tolist())
            rows.append([_MASK_TITLES[mask], str(looks), spell(lost, 1), *_bands_of(one)])
    return to_table(["mask", "looks", "not observed, %", *BANDS], rows)


def _by_method(errors: pd.DataFrame, ground: str, looks: int) -> str:
    if looks not in set(errors["looks"]):
        looks = max(errors["looks"])
    part = errors[(errors["ground"] == ground) & (errors["looks"] == looks)]
    rows = []
    for mask in MASKS:
        for method in METHODS:
            one = part[(part["mask"] == mask) & (part["method"] == method)]
            rows.append([_MASK_TITLES[mask], method, *_bands_of(one)])
    return to_table(["mask", "method", *BANDS], rows)


def _passed_table(passed: pd.DataFrame) -> str:
    rows = []
    for looks in sorted(set(passed["looks"])):
        cells = [str(looks)]
        for figure in ("kept", "let_through"):
            for mask in MASKS:
                one = passed[(passed["looks"] == looks) & (passed["mask"] == mask)]
                cells.append(spell(over_seeds((100 * one[figure]).tolist()), 1))
        rows.append(cells)
    heads = [f"bright ground kept, %, {_MASK_TITLES[mask]}" for mask in MASKS]
    heads += [f"cloud let through, %, {_MASK_TITLES[mask]}" for mask in MASKS]
    return to_table(["looks", *heads], rows)
