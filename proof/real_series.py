"""Real series without truth: what masks and the guard do there, in pictures and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from proof.markdown import to_table
from proof.masks import mean_of_seen
from proof.setup import Setup
from sluice.base.arrays import ArrayBHW, ArrayTBHW, BoolTHW
from sluice.base.files import open_raster, write_whole
from sluice.composite.clear import classify_sky, sort_sky
from sluice.composite.guard import give_back_stable_ground
from sluice.composite.reduce import counted_looks, reduce_stack

_TANZANIA = "s2s1-timeseries/2021_TZA_COPERNICUS-GEOGLAM_POLY_1101950"
_TANZANIA_BANDS = ("B11", "B8A", "B05")
_TANZANIA_BRIGHTEST = (0.5, 0.5, 0.3)
_PARA = "s2s1-para-multidate/sent2"
_PARA_PLACE = "-55.20_-4.39"
_PARA_BANDS = ("B4", "B3", "B2")
_DN = 0.0001
_GROW_PX = 2
_FEWEST_DATES = 6
_TITLE_PX = 14
_INK, _ABSENT = (235, 235, 235), (150, 0, 90)
_Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Series:
    """Looks at one place, in order of time."""

    stack_tbhw: ArrayTBHW
    days: tuple[date, ...]
    flagged_thw: BoolTHW
    """Cloud, by the images' own layer, with growth."""
    shadow_thw: BoolTHW
    clear_thw: BoolTHW
    brightness_thw: ArrayTBHW
    """(T, H, W), for the guard; NaN in shadow."""

    def part(self, chosen: Sequence[int]) -> Series:
        """Some of the looks."""
        keep = list(chosen)
        return Series(
            self.stack_tbhw[keep],
            tuple(self.days[i] for i in keep),
            self.flagged_thw[keep],
            self.shadow_thw[keep],
            self.clear_thw[keep],
            self.brightness_thw[keep],
        )


def prove_real_series(setup: Setup) -> str:
    """Composites of Tanzania and Para, with pictures beside the others."""
    setup.pictures.mkdir(parents=True, exist_ok=True)
    return "\n\n".join([_prove_tanzania(setup), _prove_para(setup)])


def _prove_tanzania(setup: Setup) -> str:
    series = read_tanzania(setup.data)
    parts = {"all": list(range(len(series.days)))}
    for place, day in enumerate(series.days):
        parts.setdefault(f"{day.year} Q{(day.month + 2) // 3}", []).append(place)
    rows, tested, panels = [], [], []
    for name, chosen in parts.items():
        if len(chosen) < _FEWEST_DATES:
            continue
        part = series.part(chosen)
        figures, composites = compare_masks(part)
        rows.append([name, str(len(chosen)), *_spell(figures)])
        tested.append([name, str(len(chosen)), *_spell(spoil_brightest(part))])
        panels.append(
            {
                f"{name}: {what}": paint(image, _TANZANIA_BRIGHTEST)
                for what, image in composites.items()
            }
        )
    save_panels(setup.pictures / "series-tanzania.png", panels, scale=6)
    return (
        f"Tanzania, {len(series.days)} dates, 32 x 32 px of 20 m, SCL with {_GROW_PX} px of "
        "growth. Picture: `series-tanzania.png` (SWIR, NIR, red edge).\n\n"
        + to_table(
            [
                "period",
                "looks",
                "flagged cloud",
                "shadow",
                "px without look",
                "given back, of flagged",
                "px without look, guarded",
                "red edge: no mask",
                "mask",
                "mask + guard",
            ],
            rows,
        )
        + "\n\nThe same series with a mask that is made to err: it calls the brightest tenth of "
        "the pixels cloud on all dates. Ground and cloud are what SCL says; error: of the red "
        "edge's median in those pixels, from that of the looks that SCL calls clear.\n\n"
        + to_table(
            [
                "period",
                "looks",
                "ground given back",
                "cloud given back",
                "px without look, guarded",
                "error of what is given back",
                "error with no mask",
            ],
            tested,
        )
    )


def spoil_brightest(series: Series) -> dict[str, float]:
    """What the guard gives back where a mask is made to err on the brightest tenth."""
    truth, looks = reduce_stack("median", series.stack_tbhw, series.clear_thw)
    level = truth[-1]
    spoilt = (level >= np.nanpercentile(level, 90)) & (looks > 0)
    given_back = give_back_stable_ground(
        [series.brightness_thw], (series.flagged_thw | spoilt) & ~series.shadow_thw
    )
    guarded, guarded_looks = reduce_stack("median", series.stack_tbhw, given_back)
    plain, _ = reduce_stack("median", series.stack_tbhw, np.ones_like(given_back))
    ground, cloud = series.clear_thw[:, spoilt], series.flagged_thw[:, spoilt]
    seen = spoilt & (guarded_looks > 0)
    error = np.abs(guarded[-1] - level)[seen]
    return {
        "ground": float(given_back[:, spoilt][ground].mean()),
        "cloud": float(given_back[:, spoilt][cloud].mean()),
        "unseen": float((guarded_looks[spoilt] == 0).mean()),
        "error": float(error.mean()) if seen.any() else float("nan"),
        "error_plain": float(np.abs(plain[-1] - level)[spoilt].mean()),
    }


def _prove_para(setup: Setup) -> str:
    series = read_para(setup.data)
    figures, composites = compare_masks(series)
    counted = counted_looks(series.stack_tbhw, np.ones_like(series.clear_thw))
    others = {
        f"no mask, {method}": reduce_stack(method, series.stack_tbhw, counted)[0]
        for method in ("p25", "medoid", "minimum")
    }
    brightest = (0.15, 0.15, 0.15)
    dates = {
        str(day): paint(image, brightest)
        for day, image in zip(series.days, series.stack_tbhw, strict=True)
    }
    made = {name: paint(image, brightest) for name, image in (composites | others).items()}
    save_panels(setup.pictures / "series-para.png", [dates, made], scale=1)
    names = ("flagged", "shadow", "unseen_mask", "given_back", "unseen_guard")
    said = ", ".join(f"{name} {figures[name]:.3f}" for name in names)
    return (
        f"Para, {len(series.days)} dates, 256 x 256 px of 10 m, QA60: {said}. Picture: "
        "`series-para.png` (the dates; then composites)."
    )


def compare_masks(series: Series) -> tuple[dict[str, float], dict[str, ArrayBHW]]:
    """Composites with no mask, the mask, and mask and guard; and figures of the difference."""
    given_back = give_back_stable_ground(
        [series.brightness_thw], series.flagged_thw & ~series.shadow_thw
    )
    observed = np.isfinite(series.stack_tbhw).all(axis=1)
    masks = {
        "no mask": observed,
        "mask": series.clear_thw,
        "mask + guard": series.clear_thw | given_back,
    }
    composites, looks = {}, {}
    for name, clear in masks.items():
        composites[name], looks[name] = reduce_stack("median", series.stack_tbhw, clear)
    n_observed, n_flagged = observed.sum(), (series.flagged_thw & observed).sum()
    figures = {
        "flagged": n_flagged / n_observed,
        "shadow": (series.shadow_thw & observed).sum() / n_observed,
        "unseen_mask": (looks["mask"] == 0).mean(),
        "given_back": given_back.sum() / n_flagged if n_flagged else 0.0,
        "unseen_guard": (looks["mask + guard"] == 0).mean(),
    }
    for name, image in composites.items():
        figures[f"bright, {name}"] = mean_of_seen(image[-1])
    return {name: float(value) for name, value in figures.items()}, composites


def read_tanzania(data: Path) -> Series:
    """136 dates of 20 m bands with SCL; the guard sees the red edge, its only near-visible band."""
    [path] = (data / _TANZANIA).glob("S2_L2A_20m_*.nc")
    with h5py.File(path) as held:
        numbers = np.stack([held[band][:] for band in _TANZANIA_BANDS], axis=1)
        scl = held["SCL"][:].astype(np.float32)
        seconds = held["timestamp"][:]
        units = held["timestamp"].attrs["units"]
    text = units.decode() if isinstance(units, bytes) else str(units)
    start = datetime.fromisoformat(text.removeprefix("seconds since ")).replace(tzinfo=UTC)
    days = tuple((start + timedelta(seconds=int(s))).date() for s in seconds)
    stack = np.where(numbers == 0, np.nan, numbers * np.float32(_DN)).astype(np.float32)
    return _with_sky(stack, days, "scl", np.where(scl == 0, np.nan, scl), stack[:, -1])


def read_para(data: Path) -> Series:
    """Six dates of visible bands with QA60."""
    folder = data / _PARA
    first = sorted(folder.glob(f"Sentinel2_B2_{_PARA_PLACE}_*.tiff"))
    stack, layers, days = [], [], []
    for path in first:
        stack.append(
            [_read_band(path.with_name(path.name.replace("_B2_", f"_{b}_"))) for b in _PARA_BANDS]
        )
        layers.append(_read_band(path.with_name(path.name.replace("_B2_", "_QA60_"))))
        days.append(date(*(int(part) for part in path.stem.split("_")[-3:])))
    reflectance = np.asarray(stack, np.float32) * np.float32(_DN)
    return _with_sky(reflectance, tuple(days), "qa60", np.asarray(layers), reflectance.mean(axis=1))


def _read_band(path: Path) -> npt.NDArray[np.float32]:
    with open_raster(path) as raster:
        band: npt.NDArray[np.float32] = raster.read(1).astype(np.float32)
    return band


def _with_sky(
    stack: ArrayTBHW,
    days: tuple[date, ...],
    layer: str,
    layers_thw: ArrayTBHW,
    brightness: ArrayTBHW,
) -> Series:
    skies = [sort_sky(classify_sky(layer, values), grow_px=_GROW_PX) for values in layers_thw]
    shadow = np.stack([sky.shadow for sky in skies])
    return Series(
        stack,
        days,
        np.stack([sky.cloud for sky in skies]),
        shadow,
        np.stack([sky.clear for sky in skies]),
        np.where(shadow, np.float32(np.nan), brightness),
    )


def paint(image_bhw: ArrayBHW, brightest: Sequence[float]) -> _Picture:
    """Three bands as 8 bit, each from 0 to its own brightest; purple where not observed."""
    scaled = np.clip(image_bhw / np.asarray(brightest)[:, None, None], 0, 1) ** 0.8 * 255
    pixels = np.nan_to_num(scaled).astype(np.uint8).transpose(1, 2, 0)
    pixels[np.isnan(image_bhw).any(axis=0)] = _ABSENT
    return pixels


def save_panels(path: Path, rows: Sequence[Mapping[str, _Picture]], *, scale: int) -> None:
    """One row of captioned pictures under another."""
    height, width = next(iter(rows[0].values())).shape[:2]
    step = (width * scale + 4, height * scale + _TITLE_PX + 4)
    sheet = Image.new("RGB", (max(len(row) for row in rows) * step[0], len(rows) * step[1]))
    for down, row in enumerate(rows):
        for right, (title, pixels) in enumerate(row.items()):
            corner = (right * step[0], down * step[1])
            ImageDraw.Draw(sheet).text((corner[0] + 2, corner[1] + 1), title, fill=_INK)
            panel = Image.fromarray(pixels).resize(
                (width * scale, height * scale), Image.Resampling.NEAREST
            )
            sheet.paste(panel, (corner[0], corner[1] + _TITLE_PX))
    with write_whole(path) as part:
        sheet.save(part, format="PNG")


def _spell(figures: Mapping[str, float]) -> list[str]:
    return [f"{value:.3f}" for value in figures.values()]
