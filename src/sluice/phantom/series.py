"""A fictional place over many dates, with truth: clouds come and go, mines grow."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from scipy import special
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayBHW, BoolHW
from sluice.base.atmosphere import to_top_of_atmosphere
from sluice.base.errors import BandNotFound, ConfigError
from sluice.base.raster import Raster
from sluice.base.sensors import SENSORS
from sluice.phantom.canvas import Canvas, Planted
from sluice.phantom.history import MineHistory, draw_histories
from sluice.phantom.mines import MinePlan, plan_mine
from sluice.phantom.scene import (
    NOT_CLEAR,
    at_20_m,
    check_land,
    draw_land,
    scene_grid,
    share_inside,
    to_ground,
    truth_frame,
)
from sluice.phantom.sky import Sky, draw_sky, record_band
from sluice.phantom.spectra import BANDS, WATER
from sluice.phantom.tones import (
    DARKEST,
    call_bright_ground_cloud,
    cirrus_band,
    cloud_brightness,
    season_factor,
)

COMMON_NAMES = tuple(band.common_name for band in SENSORS["s2-l2a"].bands)
"""Bands of a surface scene, in file order."""
TOA_COMMON_NAMES = tuple(band.common_name for band in SENSORS["s2-l1c"].bands)
"""Bands of a top-of-atmosphere scene, in file order."""

_OVERPASS = dt.time(13, 42, 11)
# Chances of one seed that must not depend on each other, nor on which bands are asked for.
_LAND, _MINES, _SKY, _ERRORS, _NOISE, _FLAW, _WATER, _SHARES = range(8)
# Uncertainty of surface reflectance that an atmospheric correction leaves, as one error for
# each date: a path term at 550 nm that falls with wavelength, and a gain. About half of what
# Doxani et al. 2018 (doi:10.3390/rs10020352) found for Sen2Cor, whose figures hold more.
_PATH_ERROR_SD, _GAIN_ERROR_SD = 0.003, 0.015
_PATH_EXPONENT = 1.2
_WATER_TONE_SD = 0.06
# Cloud cover of Sentinel-2 scenes in the humid tropics has two peaks: overcast, and fairly
# clear; the mean is 0.57.
_CLOUD_BETA = (0.8, 0.6)


@dataclass(frozen=True)
class SeriesScene:
    """One date of a series as a satellite delivers it, and the truth about it."""

    index: int
    acquired_at: dt.datetime
    """UTC."""
    raster: Raster
    """Surface reflectance as seen, clouds included, on the 10 m grid; bands of 20 and 60 m
    repeat their value over the pixels they cover."""
    scl_hw: np.ndarray
    """(H, W) uint8, the scene classification as delivered: with its flaw, where asked for."""
    true_scl_hw: np.ndarray
    """(H, W) uint8, true by construction."""
    mines: gpd.GeoDataFrame
    """Columns of `PhantomSeries.mines_at`, and clear_share."""

    @property
    def true_clear_hw(self) -> BoolHW:
        """(H, W), True where neither cloud, cirrus nor shadow lies."""
        return np.asarray(~np.isin(self.true_scl_hw, NOT_CLEAR))

    @property
    def cloud_cover(self) -> float:
        """Percent that `scl_hw` calls cloud or cirrus."""
        return 100 * float(np.isin(self.scl_hw, (8, 9, 10)).mean())


@dataclass(frozen=True)
class PhantomSeries:
    """A landscape and the dates on which it is seen. The place is fictional.

    Dates are drawn when asked for, so memory holds the land and one date.
    """

    seed: int
    acquired_at: tuple[dt.datetime, ...]
    """Of the Sentinel-2 scenes, UTC, in order."""
    cloud_shares: tuple[float, ...]
    """Part of each scene under cumulus, 0-1."""
    scl_flaw: float
    """How strongly the delivered classification takes bright ground for cloud: 0 is not at
    all, 1 about what Sen2Cor does."""
    geobox: GeoBox
    """10 m grid."""
    land_bhw: ArrayBHW
    """(12, H, W) reflectance of the land without mines, in the order of `COMMON_NAMES`."""
    land_scl_hw: np.ndarray
    histories: tuple[MineHistory, ...]
    confusers: gpd.GeoDataFrame
    """Columns kind, area_ha, geometry: what else was planted; it does not change."""

    def __len__(self) -> int:
        return len(self.acquired_at)

    def __iter__(self) -> Iterator[SeriesScene]:
        return (self.scene_at(index) for index in range(len(self)))

    @property
    def dates(self) -> tuple[dt.date, ...]:
        """Of the Sentinel-2 scenes, in order."""
        return tuple(moment.date() for moment in self.acquired_at)

    def rng(self, *key: int) -> np.random.Generator:
        """Chance that depends on the seed and a key alone."""
        return np.random.default_rng([self.seed, *key])

    def scene_at(self, index: int, bands: Sequence[str] = COMMON_NAMES) -> SeriesScene:
        """One date as a surface reflectance product (L2A).

        Args:
            index: Which date.
            bands: Common names. A band's pixels do not depend on which others are asked for.

        Raises:
            BandNotFound: A band that the product does not have.
        """
        codes = _codes(bands, "s2-l2a")
        day = self.dates[index]
        # The flaw looks at the visible bands and nir.
        needed = list(dict.fromkeys([*codes, "B02", "B03", "B04", "B08"]))
        ground, ground_scl = self.ground_at(day, needed)
        sky = self.sky_at(index)
        scl = ground_scl.copy()
        sky.classify(scl)
        true_scl = at_20_m(scl)
        delivered = true_scl
        if self.scl_flaw > 0:
            bright = ground[[needed.index(name) for name in ("B02", "B03", "B04", "B08")]]
            rng = self.rng(_FLAW, index)
            delivered = call_bright_ground_cloud(true_scl, bright, self.scl_flaw, rng)
        seen = ground[: len(codes)]
        sky.cover(seen, codes)
        path, gain = self.rng(_ERRORS, index).normal(size=2)
        for place, code in enumerate(codes):
            wavelength = SENSORS["s2-l2a"].band(code).wavelength_um or 0.55
            error = _PATH_ERROR_SD * path * (wavelength / 0.55) ** -_PATH_EXPONENT
            image = record_band(seen[place], code, self._noise(index, code))
            seen[place] = np.maximum(image * (1 + _GAIN_ERROR_SD * gain) + error, DARKEST)
        clear = ~np.isin(true_scl, NOT_CLEAR)
        outlines = self._outlines_at(day)
        mines = self._mine_frame(day, outlines)
        mines["clear_share"] = [share_inside(clear, outline) for _, outline in outlines]
        raster = Raster(seen, tuple(bands), self.geobox)
        return SeriesScene(index, self.acquired_at[index], raster, delivered, true_scl, mines)

    def toa_at(self, index: int, bands: Sequence[str] = TOA_COMMON_NAMES) -> Raster:
        """One date as a top-of-atmosphere product (L1C), which has no classification.

        Args:
            index: Which date; clouds and ground are those of `scene_at`.
            bands: Common names, `cirrus` among them.

        Raises:
            BandNotFound: A band that the product does not have.
        """
        codes = _codes(bands, "s2-l1c")
        surface = [code for code in codes if code != "B10"]
        ground, _ = self.ground_at(self.dates[index], surface)
        sky = self.sky_at(index)
        sky.cover(ground, surface)
        haze = float(self.rng(_ERRORS, index, 1).uniform(0, 0.6))
        toa = to_top_of_atmosphere(ground, surface, haze=haze) if surface else ground
        out = np.empty((len(codes), *self.geobox.shape.yx), dtype=np.float32)
        for place, code in enumerate(codes):
            light = cirrus_band(sky) if code == "B10" else toa[surface.index(code)]
            image = record_band(light, code, self._noise(index, code, 1))
            out[place] = np.maximum(image, DARKEST)
        return Raster(out, tuple(bands), self.geobox)

    def truth_at(self, day: dt.date, bands: Sequence[str] = COMMON_NAMES) -> Raster:
        """Surface reflectance without cloud, noise or errors of correction.

        Args:
            day: Any day, whether there is a scene of it or not.
            bands: Common names.

        Returns:
            Each band at its own pixel size and sharpness, repeated to 10 m: what a perfect
            instrument of the same optics would have delivered.

        Raises:
            BandNotFound: A band that the product does not have.
        """
        codes = _codes(bands, "s2-l2a")
        ground, _ = self.ground_at(day, codes)
        for place, code in enumerate(codes):
            ground[place] = record_band(ground[place], code, None)
        return Raster(ground, tuple(bands), self.geobox)

    def mines_at(self, day: dt.date) -> gpd.GeoDataFrame:
        """Mines that can be seen on a day, in the grid's CRS.

        Returns:
            Columns mine_id, style, state (`active`, `abandoned`), started, abandoned, area_ha,
            geometry: the outline of what is bare or water. A mine that has not begun, or is
            smaller than a pixel, has no row.
        """
        return self._mine_frame(day, self._outlines_at(day))

    def _outlines_at(self, day: dt.date) -> list[tuple[MineHistory, BaseGeometry]]:
        """Mines that can be seen on a day, and their outlines in pixels."""
        outlines = [(history, history.outline_at(day)) for history in self.histories]
        return [(history, outline) for history, outline in outlines if outline.area >= 1]

    def _mine_frame(
        self, day: dt.date, outlines: list[tuple[MineHistory, BaseGeometry]]
    ) -> gpd.GeoDataFrame:
        rows = [(history, to_ground(outline, self.geobox)) for history, outline in outlines]
        columns: dict[str, object] = {
            "mine_id": [history.mine_id for history, _ in rows],
            "style": [history.plan.style for history, _ in rows],
            "state": [history.state(day) for history, _ in rows],
            "started": [history.started.isoformat() for history, _ in rows],
            "abandoned": [h.abandoned.isoformat() if h.abandoned else None for h, _ in rows],
            "area_ha": [shape.area / 10_000 for _, shape in rows],
        }
        shapes = [shape for _, shape in rows]
        return gpd.GeoDataFrame(columns, geometry=shapes, crs=str(self.geobox.crs))

    def ground_at(self, day: dt.date, codes: Sequence[str]) -> tuple[ArrayBHW, np.ndarray]:
        """The ground itself, before sky and optics.

        Args:
            day: Any day.
            codes: Provider's names of surface bands, `B02`.

        Returns:
            (B, H, W) float32 reflectance at 10 m, and the (H, W) uint8 classification of what
            covers the ground: vegetation, bare or water.
        """
        index = [BANDS.index(code) for code in codes]
        ground = self.land_bhw[index] * season_factor(self.land_bhw, index, day)
        tone = self.rng(_WATER, day.toordinal()).normal(0, _WATER_TONE_SD)
        ground[:, self.land_scl_hw == WATER] *= np.float32(np.exp(tone))
        canvas = Canvas(len(self.land_scl_hw), self.rng(_LAND))
        canvas.reflectance_bhw, canvas.scl_hw = ground, self.land_scl_hw.copy()
        for history in self.histories:
            kind = history.kind_at(day)
            if (kind >= 0).any():
                palette = history.plan.palette.of_bands(index)
                canvas.paint_fine(history.plan.frame, kind, palette)
        return canvas.reflectance_bhw, canvas.scl_hw

    def sky_at(self, index: int) -> Sky:
        """Clouds, shadows and cirrus of one date."""
        rng = self.rng(_SKY, index)
        share = self.cloud_shares[index]
        # The more cloud, the larger its lumps; the higher it floats, the farther its shadow.
        puff_px = 12 + 30 * share + rng.uniform(0, 8)
        height = rng.uniform(0.5, 1.6)
        cirrus = float(rng.choice([0, rng.uniform(0.02, 0.25)], p=[0.6, 0.4]))
        canvas = Canvas(len(self.land_scl_hw), rng)
        offset = round(14 * height), round(20 * height)
        sky = draw_sky(canvas, share, cirrus, puff_px=puff_px, shadow_offset_px=offset)
        return replace(sky, billow_hw=sky.billow_hw * cloud_brightness(canvas))

    def _noise(self, index: int, code: str, level: int = 0) -> np.random.Generator:
        return self.rng(_NOISE, index, level, sum(map(ord, code)))


def build_series(
    seed: int,
    size_px: int = 480,
    dates: Sequence[dt.date] | None = None,
    *,
    mine_count: int = 6,
    largest_ha: float = 60.0,
    farmland_share: float = 0.28,
    cloud_shares: Sequence[float] | None = None,
    scl_flaw: float = 0.0,
    upper_left_m: tuple[float, float] = (600_000.0, 9_300_000.0),
) -> PhantomSeries:
    """Draw a landscape and what happens to it. The same arguments give the same series.

    Args:
        seed: Source of all chance.
        size_px: Side in pixels of 10 m, a multiple of 6, at least 240.
        dates: Days of the Sentinel-2 scenes; without, eight days across 25 January 2022.
        mine_count: Mines to plant; fewer where they do not fit.
        largest_ha: Upper end of their full sizes, which are log-uniform from 1 ha.
        farmland_share: Part of the scene that is farmland, 0-1.
        cloud_shares: Part of each scene under cloud, 0-1; drawn as in the humid tropics
            without, from overcast to clear.
        scl_flaw: See `PhantomSeries.scl_flaw`.
        upper_left_m: Upper left corner in EPSG:32721, multiples of 60.

    Raises:
        ConfigError: A size or share that cannot be drawn, dates out of order, or not one
            cloud share for each date.
    """
    days = spread_dates(dt.date(2021, 11, 5), 8, 20) if dates is None else tuple(dates)
    check_land(size_px, largest_ha, farmland_share)
    if not days or any(later <= day for day, later in itertools.pairwise(days)):
        raise ConfigError("a series needs dates, each later than the one before; sort them")
    if cloud_shares is None:
        cloud_shares = draw_cloud_shares(len(days), np.random.default_rng([seed, _SHARES]))
    if len(cloud_shares) != len(days) or not all(0 <= share <= 1 for share in cloud_shares):
        raise ConfigError(
            f"{len(days)} dates need as many cloud shares from 0 to 1, got {list(cloud_shares)}"
        )
    if scl_flaw < 0:
        raise ConfigError(f"scl_flaw is {scl_flaw}; use 0 for none, 1 for the usual")
    canvas = Canvas(size_px, np.random.default_rng([seed, _LAND]))
    plans: list[MinePlan] = []

    def remember(*arguments: object) -> Planted:
        # Left unpainted: each date paints what there is by then.
        plans.append(plan_mine(*arguments))  # type: ignore[arg-type]
        return plans[-1].planted

    lakes = round(2 * (size_px / 1200) ** 2)
    _, others = draw_land(
        canvas, mine_count, largest_ha, farmland_share, plant=remember, reservoirs=lakes
    )
    geobox = scene_grid(size_px, upper_left_m, CRS("EPSG:32721"))
    unclouded = np.zeros(canvas.shape, dtype=np.uint8)
    confusers = truth_frame(others, "kind", unclouded, geobox, ids=False)
    return PhantomSeries(
        seed=seed,
        acquired_at=tuple(dt.datetime.combine(day, _OVERPASS, dt.UTC) for day in days),
        cloud_shares=tuple(float(share) for share in cloud_shares),
        scl_flaw=scl_flaw,
        geobox=geobox,
        land_bhw=canvas.reflectance_bhw,
        land_scl_hw=canvas.scl_hw,
        histories=draw_histories(plans, days[0], days[-1], np.random.default_rng([seed, _MINES])),
        confusers=confusers.drop(columns="clear_share"),
    )


def spread_dates(first: dt.date, count: int, every_days: int) -> tuple[dt.date, ...]:
    """Days at equal distances."""
    return tuple(first + dt.timedelta(days=every_days * number) for number in range(count))


def draw_cloud_shares(count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Cloud cover of dates in the humid tropics.

    One value is drawn from each of `count` equal parts of the distribution, so that even a
    short series has clear and overcast dates; their order is random.
    """
    chance = (rng.permutation(count) + rng.random(count)) / count
    share = special.betaincinv(*_CLOUD_BETA, chance)
    share = np.where(share > 0.97, 1.0, np.where(share < 0.02, 0.0, share))
    return tuple(float(value) for value in share)


def _codes(bands: Sequence[str], sensor_id: str) -> list[str]:
    """The provider's names of bands."""
    sensor = SENSORS[sensor_id]
    unknown = [name for name in bands if not sensor.has_band(name)]
    if unknown:
        available = [band.common_name for band in sensor.bands]
        raise BandNotFound.from_missing_and_available(unknown, available, wanted_by="this series")
    return [sensor.band(name).name for name in bands]
