"""What the published Amazon Mining Watch models expect: their files do not say it themselves.

Sources: the inference code and configurations of earthrise-media/mining-detector. Order and
scaling were confirmed against scores that Keras gave, but for `amw-2021-28px`: no scores of it
are published, and it is taken to be like the others of its year.
"""

from __future__ import annotations

from dataclasses import dataclass

from sluice.base.errors import ConfigError
from sluice.models.manifest import Level, ScaledInput, Thresholds

# Mean and standard deviation of the training set of 2021, in units of 1e-4 reflectance.
_STATISTICS_2021 = {
    "coastal": (1405.8951, 291.9438),
    "blue": (1175.9235, 398.5558),
    "green": (1172.4902, 504.557),
    "red": (1091.9574, 748.6153),
    "rededge071": (1321.1304, 651.8549),
    "rededge075": (2181.5363, 730.9811),
    "rededge078": (2670.2361, 913.6062),
    "nir": (2491.2354, 893.9428),
    "nir08": (2948.3846, 1055.297),
    "nir09": (420.1552, 225.2153),
    "swir16": (2028.0025, 970.1915),
    "swir22": (1076.2417, 752.8637),
}
# B8A stands before B8 here.
_BANDS_2026 = (
    "coastal",
    "blue",
    "green",
    "red",
    "rededge071",
    "rededge075",
    "rededge078",
    "nir08",
    "nir",
    "nir09",
    "cirrus",
    "swir16",
    "swir22",
)
_BANDS_2024 = tuple(band for band in _BANDS_2026 if band != "cirrus")
_L1C = (
    Level(sensor="s2-l1c", verified=True, note="trained on median composites of top-of-atmosphere"),
)


@dataclass(frozen=True)
class Preset:
    """The contract of one published model."""

    id: str
    title: str
    summary: str
    architecture: str
    inputs: tuple[ScaledInput, ...]
    window_px: int
    stride_m: float
    thresholds: Thresholds
    thresholds_from: str
    """Where the thresholds come from, in words."""
    levels: tuple[Level, ...] = _L1C
    gsd_m: float = 10.0
    licence: str = "MIT"
    attribution: str = (
        "Earth Genome and Earthrise Media, Amazon Mining Watch "
        "(https://github.com/earthrise-media/mining-detector)"
    )


def _scaled_2021(bands: tuple[str, ...]) -> tuple[ScaledInput, ...]:
    # A missing pixel becomes the training mean, which is 0 after scaling.
    return tuple(
        ScaledInput(band=band, subtract=mean / 1e4, divide=deviation / 1e4, fill=0.0)
        for band, (mean, deviation) in ((band, _STATISTICS_2021[band]) for band in bands)
    )


def _scaled_2024(bands: tuple[str, ...]) -> tuple[ScaledInput, ...]:
    return tuple(
        # Filled with what is common over land, since 0 would be blacker than any water.
        ScaledInput(band=band, low=0.0, high=1.0, fill=_STATISTICS_2021[band][0] / 1e4)
        if band in _STATISTICS_2021
        else ScaledInput(band=band, low=0.0, high=1.0)
        for band in bands
    )


_THRESHOLDS_2021 = Thresholds(t_main=0.8, t_iso=0.8)
_FROM_2021 = "0.8, at which the model was published; it had no rule for isolated windows"
_THRESHOLDS_2026 = Thresholds(t_main=0.43, t_iso=0.75)
_FROM_2026 = "the single-period thresholds published for the ensemble of 2026"

_ALL = (
    Preset(
        id="amw-2021-28px",
        title="Amazon Mining Watch 2021, 28 px",
        summary="Gold mines of the Amazon in 280 m windows of 12-band Sentinel-2 L1C.",
        architecture="CNN, 2 convolutions, 3 dense layers",
        inputs=_scaled_2021(tuple(_STATISTICS_2021)),
        window_px=28,
        stride_m=140,
        thresholds=_THRESHOLDS_2021,
        thresholds_from=_FROM_2021,
    ),
    Preset(
        id="amw-2021",
        title="Amazon Mining Watch 2021",
        summary="Gold mines of the Amazon in 440 m windows of 12-band Sentinel-2 L1C.",
        architecture="CNN, 2 convolutions, 4 dense layers",
        inputs=_scaled_2021(tuple(_STATISTICS_2021)),
        window_px=44,
        stride_m=140,
        thresholds=_THRESHOLDS_2021,
        thresholds_from=_FROM_2021,
    ),
    Preset(
        id="amw-2021-rgb",
        title="Amazon Mining Watch 2021, RGB",
        summary="Gold mines of the Amazon in 440 m windows of red, green, blue Sentinel-2 L1C.",
        architecture="CNN, 2 convolutions, 4 dense layers",
        inputs=_scaled_2021(("red", "green", "blue")),
        window_px=44,
        stride_m=140,
        thresholds=_THRESHOLDS_2021,
        thresholds_from=_FROM_2021,
    ),
    Preset(
        id="amw-2024",
        title="Amazon Mining Watch 2024, ensemble of six",
        summary="Gold mines of the Amazon in 480 m windows of 12-band Sentinel-2 L1C.",
        architecture="mean of 6 CNNs, each 9 convolutions, 4 dense layers",
        inputs=_scaled_2024(_BANDS_2024),
        window_px=48,
        stride_m=240,
        thresholds=_THRESHOLDS_2026,
        thresholds_from=_FROM_2026,
    ),
    Preset(
        id="amw-2026",
        title="Amazon Mining Watch 2026, one CNN of the ensemble",
        summary="Gold mines of the Amazon in 480 m windows of 13-band Sentinel-2 L1C.",
        architecture="CNN, 9 convolutions, 4 dense layers",
        inputs=_scaled_2024(_BANDS_2026),
        window_px=48,
        stride_m=240,
        thresholds=_THRESHOLDS_2026,
        thresholds_from=_FROM_2026,
    ),
)
PRESETS: dict[str, Preset] = {preset.id: preset for preset in _ALL}


def find_preset(preset_id: str) -> Preset:
    """Look a preset up.

    Raises:
        ConfigError: No such preset; the message lists those there are.
    """
    try:
        return PRESETS[preset_id]
    except KeyError:
        known = ", ".join(PRESETS)
        raise ConfigError(f"preset {preset_id!r} is not known; use one of {known}") from None
