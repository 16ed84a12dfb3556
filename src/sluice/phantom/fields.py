"""Random fields and curves that the landscape is drawn from."""

from __future__ import annotations

import functools

import numpy as np
from scipy import fft

from sluice.base.arrays import ArrayHW, FloatArray


def correlated_noise(
    shape: tuple[int, int], rng: np.random.Generator, *, scale_px: float, slope: float = 3.0
) -> ArrayHW:
    """Stationary Gaussian noise by spectral synthesis.

    The power spectrum is flat below the frequency 1 / (2 pi scale_px) and falls with
    `slope` above it: about 2 is rough like canopy or soil, 6 is smooth like a lawn's edge.

    Args:
        shape: (H, W).
        rng: Source of chance.
        scale_px: Correlation length in pixels.
        slope: Fall of the power spectrum with frequency, in powers.

    Returns:
        (H, W) float32, mean 0, standard deviation 1.

    Source:
        Saupe 1988, "Algorithms for random fractals", doi:10.1007/978-1-4612-3784-6_2.
    """
    # Synthesis is periodic: the margin keeps opposite edges of the scene independent.
    margin = int(min(3 * scale_px, max(shape))) + 1
    padded = tuple(fft.next_fast_len(side + margin, real=True) for side in shape)
    spectrum = fft.rfft2(rng.standard_normal(padded, dtype=np.float32))
    spectrum *= _amplitude(padded, scale_px, slope)
    noise = fft.irfft2(spectrum, s=padded)[: shape[0], : shape[1]]
    noise = (noise - noise.mean()) / max(float(noise.std()), 1e-12)
    return np.asarray(noise, dtype=np.float32)


@functools.lru_cache(maxsize=8)
def _amplitude(shape: tuple[int, ...], scale_px: float, slope: float) -> ArrayHW:
    """Of each frequency; kept, as a series draws the same noise for date after date."""
    frequency_sq = fft.fftfreq(shape[0])[:, None] ** 2 + fft.rfftfreq(shape[1])[None, :] ** 2
    amplitude = (1 + frequency_sq * (2 * np.pi * scale_px) ** 2) ** (-slope / 4)
    return np.asarray(amplitude, dtype=np.float32)


def meander(
    rng: np.random.Generator,
    *,
    length_px: float,
    wavelength_px: float,
    swing_rad: float,
    step_px: float = 1.0,
) -> tuple[FloatArray, FloatArray]:
    """A river's centreline: the sine-generated curve, with bends that differ.

    Args:
        rng: Source of chance.
        length_px: Length along the curve.
        wavelength_px: Mean length of one pair of bends along the curve.
        swing_rad: Mean of the largest angle to the valley's direction; above 1.6 bends
            come close to cutting each other off.
        step_px: Distance between points.

    Returns:
        (N, 2) points (x, y) in pixels that start at 0, 0 and run down the x axis, and (N,)
        curvature in 1 / px, positive where the curve turns towards +y.

    Source:
        Langbein & Leopold 1966, USGS Professional Paper 422-H.
    """
    count = int(np.ceil(length_px / step_px)) + 1
    knots = max(2, int(np.ceil(length_px / wavelength_px)) + 2)
    position = np.linspace(0, knots - 1, count)
    rate = np.interp(position, np.arange(knots), rng.uniform(0.7, 1.4, knots))
    swing = swing_rad * np.interp(position, np.arange(knots), rng.uniform(0.5, 1.3, knots))
    phase = np.cumsum(rate) * 2 * np.pi * step_px / wavelength_px + rng.uniform(0, 2 * np.pi)
    wander = np.interp(position, np.arange(knots), rng.normal(0, 0.15, knots))
    angle = swing * np.sin(phase) + wander
    steps = np.column_stack([np.cos(angle), np.sin(angle)]) * step_px
    points = np.vstack([np.zeros(2), np.cumsum(steps, axis=0)[:-1]])
    return points, np.gradient(angle, step_px)


def through(points_xy: FloatArray, start_xy: FloatArray, end_xy: FloatArray) -> FloatArray:
    """Turn, stretch and move a curve so that its ends fall on two points.

    Args:
        points_xy: (N, 2).
        start_xy: Where the first point shall lie.
        end_xy: Where the last point shall lie.

    Returns:
        (N, 2).
    """
    # As complex numbers, turning and stretching are one multiplication.
    curve = points_xy[:, 0] + 1j * points_xy[:, 1]
    start, end = complex(*start_xy), complex(*end_xy)
    moved = start + (curve - curve[0]) * (end - start) / (curve[-1] - curve[0])
    return np.column_stack([moved.real, moved.imag])
