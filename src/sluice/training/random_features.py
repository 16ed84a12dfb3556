"""Random convolutional features: an image told by how it answers to many fixed patches.

A patch is laid over every place of the image; where the response exceeds the bias, in either
sign, it counts, and the mean over the image is the feature. Nothing here is fitted to labels, so
the same features serve any question that a linear model then asks.

Source:
    Rolf et al. 2021, doi:10.1038/s41467-021-24638-z (MOSAIKS); Coates & Ng 2012,
    doi:10.1007/978-3-642-35289-8_30 (whitened patches).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import ConfigError, DataError, NoValidData, ShapeMismatch

ImagesNBHW: TypeAlias = npt.NDArray[np.float32]
Features: TypeAlias = npt.NDArray[np.float32]
"""(N, 2K), never negative."""
ImageReader: TypeAlias = Callable[[IntArray], ImagesNBHW]
"""Positions to (n, B, H, W) reflectance, NaN = not observed; an array's `__getitem__` is one."""
PatchKind: TypeAlias = Literal["random", "empirical"]

Limits: TypeAlias = tuple[tuple[float, float], ...]
"""Lowest and highest value of each band; infinite where it is not cut."""

BIAS = -1.0
PATCH_SIDES = (4, 6)
ZCA_EPS = 1e-3
_PATCHES_AT_ONCE = 32
# Chips in memory at once, and chips that patches are drawn from at most.
_AT_ONCE = 256
_CHIPS_FOR_PATCHES = 2000
# Patches that the covariance is estimated from, for each of its dimensions.
_PATCHES_PER_DIMENSION = 20


@dataclass(frozen=True)
class BandScaling:
    """Brings each band to mean 0 and deviation 1 over the training pixels."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    limits: Limits | None = None
    """Values are cut to this before; None: as they are. Training images whose brightness was
    cut when they were made must say so, or brighter ground would mean something else in a scan."""

    def apply(self, images: ImagesNBHW) -> ImagesNBHW:
        """Scale images, and put the mean where any band was not observed.

        Args:
            images: (N, B, H, W) reflectance, NaN = not observed.

        Returns:
            Same shape, float32, no NaN.
        """
        shape = (1, -1, 1, 1)
        cut = images
        if self.limits is not None:
            low, high = np.array(self.limits, np.float32).T.reshape(2, *shape)
            cut = np.clip(images, low, high)
        mean, deviation = (
            np.array(values, np.float32).reshape(shape) for values in (self.mean, self.deviation)
        )
        scaled = (cut - mean) / deviation
        scaled[~_valid(images)[:, np.newaxis].repeat(images.shape[1], axis=1)] = 0.0
        return np.asarray(scaled, np.float32)


@dataclass(frozen=True)
class RandomFilters:
    """The patches."""

    kernels: tuple[npt.NDArray[np.float32], ...]
    """For each side k: (K, B, k, k), to be laid over scaled images."""
    bias: float = BIAS

    @property
    def n_features(self) -> int:
        """Numbers that tell an image: two for each patch."""
        return 2 * sum(len(kernels) for kernels in self.kernels)

    @property
    def n_bands(self) -> int:
        """Bands of the images."""
        return int(self.kernels[0].shape[1])


def fit_scaling(images: ImageReader, index: IntArray, limits: Limits | None = None) -> BandScaling:
    """Mean and deviation of each band over the observed pixels of some images.

    Args:
        images: Gives images by position.
        index: Which; training images only.
        limits: See `BandScaling`.

    Raises:
        NoValidData: Nothing was observed.
        DataError: A band has one value everywhere.
    """
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for start in range(0, len(index), _AT_ONCE):
        part = images(index[start : start + _AT_ONCE])
        seen = part.swapaxes(0, 1)[:, _valid(part)].astype(np.float64)
        if limits is not None:
            low, high = np.array(limits).T[:, :, None]
            seen = np.clip(seen, low, high)
        count += seen.shape[1]
        total = total + seen.sum(axis=1)
        squares = squares + (seen**2).sum(axis=1)
    if count == 0:
        raise NoValidData(
            "no pixel of the training images was observed in all bands; choose others"
        )
    mean = total / count
    variance = squares / count - mean**2
    # What is left of a constant after rounding is no contrast.
    flat = np.flatnonzero(variance <= 1e-12 * np.maximum(mean**2, 1e-12))
    if flat.size:
        raise DataError(
            f"band {flat[0] + 1} of {mean.size} is {mean[flat[0]]:.4g} in all training images; "
            "leave it out, or check how the images were read"
        )
    return BandScaling(tuple(map(float, mean)), tuple(map(float, np.sqrt(variance))), limits=limits)


def draw_random_filters(
    n_patches: int, n_bands: int, *, sides: Sequence[int] = PATCH_SIDES, seed: int = 0
) -> RandomFilters:
    """Patches of independent normal numbers.

    Args:
        n_patches: K, shared out evenly to the sides.
        n_bands: Bands of the images.
        sides: Of the patches, in pixels.
        seed: The same seed gives the same patches.

    Raises:
        ConfigError: Fewer patches than sides, or a side below 1.
    """
    rng = np.random.default_rng(seed)
    return RandomFilters(
        tuple(
            rng.standard_normal((count, n_bands, side, side)).astype(np.float32)
            for count, side in _shares(n_patches, sides)
        )
    )


def draw_empirical_filters(
    images: ImageReader,
    index: IntArray,
    scaling: BandScaling,
    n_patches: int,
    *,
    sides: Sequence[int] = PATCH_SIDES,
    seed: int = 0,
    eps: float = ZCA_EPS,
) -> RandomFilters:
    """Patches cut out of training images at random places, whitened.

    The whitening of a side is estimated from many more patches than are kept.

    Args:
        images: Gives images by position, not scaled.
        index: Which to cut from; training images only.
        scaling: Of the bands.
        n_patches: K, shared out evenly to the sides.
        sides: Of the patches, in pixels.
        seed: Of the draw.
        eps: Added to the eigenvalues of the covariance.

    Raises:
        ConfigError: Fewer patches than sides, or a side below 1 or beyond the images.
        NoValidData: No patch was observed whole.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(index)[:_CHIPS_FOR_PATCHES]
    kernels = []
    for count, side in _shares(n_patches, sides):
        patches = _cut_patches(images, chosen, scaling, count, side, rng=rng)
        mean, matrix = zca_whitening(patches.reshape(len(patches), -1).astype(np.float64), eps)
        white = (patches[:count].reshape(count, -1) - mean) @ matrix
        kernels.append(white.reshape(count, *patches.shape[1:]).astype(np.float32))
    return RandomFilters(tuple(kernels))


def zca_whitening(vectors: FloatArray, eps: float) -> tuple[FloatArray, FloatArray]:
    """The symmetric map that takes away what the components have in common.

    Args:
        vectors: (N, D).
        eps: Added to the eigenvalues of the covariance, so that noise is not blown up.

    Returns:
        The mean (D,) and the matrix (D, D): ``(vectors - mean) @ matrix`` has a covariance of
        eigenvalues v / (v + eps), hence nearly the identity.

    Source:
        Bell & Sejnowski 1997, doi:10.1016/S0042-6989(97)00121-1.
    """
    mean = vectors.mean(axis=0)
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(vectors, rowvar=False)))
    matrix: FloatArray = (axes / np.sqrt(np.maximum(values, 0) + eps)) @ axes.T
    return mean, matrix


def featurise(scaled: ImagesNBHW, filters: RandomFilters) -> Features:
    """Features of images: for each patch p, the means of relu(p*x + b) and of relu(-p*x + b).

    Args:
        scaled: (N, B, H, W) from `BandScaling.apply`.
        filters: The patches; p*x is their correlation with the image, without padding.

    Returns:
        (N, 2K): for each side in turn, the K of it in positive sign, then in negative.

    Raises:
        ShapeMismatch: Other bands than the patches have, or an image smaller than a patch.
    """
    _check_shape(scaled, filters)
    columns = []
    for kernels in filters.kernels:
        means = np.empty((len(scaled), 2 * len(kernels)), np.float32)
        for image, out in zip(scaled, means, strict=True):
            _rectified_means(image, kernels, np.float32(filters.bias), out)
        columns.append(means)
    return np.concatenate(columns, axis=1)


def _rectified_means(
    image: npt.NDArray[np.float32],
    kernels: npt.NDArray[np.float32],
    bias: np.float32,
    out: npt.NDArray[np.float32],
) -> None:
    """Fill `out` (2K,) from an image (B, H, W), a few patches at a time within the cache."""
    count, side = len(kernels), kernels.shape[-1]
    views = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(1, 2))
    places = views.transpose(0, 3, 4, 1, 2).reshape(kernels[0].size, -1)
    equally = np.full(places.shape[1], 1 / places.shape[1], np.float32)
    for start in range(0, count, _PATCHES_AT_ONCE):
        part = slice(start, start + _PATCHES_AT_ONCE)
        response = kernels[part].reshape(-1, len(places)) @ places
        above = response + bias
        np.maximum(above, 0, out=above)
        np.subtract(bias, response, out=response)
        np.maximum(response, 0, out=response)
        out[:count][part] = above @ equally
        out[count:][part] = response @ equally


def featurise_all(
    images: ImageReader, index: IntArray, scaling: BandScaling, filters: RandomFilters
) -> Features:
    """`featurise` for images that need not fit into memory together.

    Args:
        images: Gives images by position, not scaled.
        index: Which, in the order of the result.
        scaling: Of the bands.
        filters: The patches.

    Raises:
        ShapeMismatch: As `featurise`.
    """
    parts = [
        featurise(scaling.apply(images(index[start : start + _AT_ONCE])), filters)
        for start in range(0, len(index), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, filters.n_features), np.float32)


def invalid_shares(images: ImageReader, index: IntArray) -> FloatArray:
    """Share of each image's pixels that some band lacks; (len(index),)."""
    parts = [
        1 - _valid(images(index[start : start + _AT_ONCE])).mean(axis=(1, 2))
        for start in range(0, len(index), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _valid(images: ImagesNBHW) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(images).all(axis=1))


def _shares(n_patches: int, sides: Sequence[int]) -> list[tuple[int, int]]:
    """(count, side) for each side; what cannot be shared evenly goes to the first ones."""
    if not sides or min(sides) < 1 or n_patches < len(sides):
        raise ConfigError(
            f"{n_patches} patches of sides {', '.join(map(str, sides)) or 'none'} cannot be "
            "drawn; ask for at least one patch of each side, and sides of 1 px or more"
        )
    each, rest = divmod(n_patches, len(sides))
    return [(each + (i < rest), side) for i, side in enumerate(sides)]


def _cut_patches(
    images: ImageReader,
    chosen: IntArray,
    scaling: BandScaling,
    count: int,
    side: int,
    *,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """At least `count` patches observed whole, in random order, (n, B, side, side), scaled."""
    wanted = max(count, _PATCHES_PER_DIMENSION * len(scaling.mean) * side**2)
    each = -(-wanted // len(chosen))
    found: list[npt.NDArray[Any]] = []
    for start in range(0, len(chosen), _AT_ONCE):
        part = images(chosen[start : start + _AT_ONCE])
        height, width = part.shape[2:]
        if side > min(height, width):
            raise ConfigError(
                f"patches of {side} px do not fit into images of {height} x {width} px; "
                "use smaller ones"
            )
        whole = np.lib.stride_tricks.sliding_window_view(_valid(part), (side, side), axis=(1, 2))
        places = np.flatnonzero(whole.all(axis=(3, 4)))
        if places.size == 0:
            continue
        drawn = rng.choice(places, size=each * len(part))
        chip, top, left = np.unravel_index(drawn, whole.shape[:3])
        views = np.lib.stride_tricks.sliding_window_view(
            scaling.apply(part), (side, side), axis=(2, 3)
        )
        found.append(views[chip, :, top, left])
    if not found:
        raise NoValidData(
            f"no patch of {side} px was observed whole; take smaller patches, or images with "
            "fewer gaps"
        )
    patches = np.concatenate(found)
    return patches[rng.permutation(len(patches))]


def _check_shape(scaled: ImagesNBHW, filters: RandomFilters) -> None:
    largest = max(kernels.shape[-1] for kernels in filters.kernels)
    if scaled.ndim != 4 or scaled.shape[1] != filters.n_bands or min(scaled.shape[2:]) < largest:
        raise ShapeMismatch(
            f"images (N, {filters.n_bands}, H, W) of {largest} px or more are needed, "
            f"got {scaled.shape}"
        )
