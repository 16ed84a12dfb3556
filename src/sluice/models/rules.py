"""Models that nobody trained: a radar threshold, and spectral rules as the floor.

They are written as weights like any other, so that a scan, its records and its figures need no
second road for them. `python -m sluice.models.rules` writes the packages that come with Sluice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.parser

from sluice.models.manifest import Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import ModelPackage, builtin_folder, weights_sha256, write_package

DROP_DB = 1.65
"""A fall of the least backscatter by more than this between two periods is new water.

Source: Forkuor, Ullmann and Griesbeck 2020, doi:10.3390/rs12060911.
"""
_HEADER = '<ir_version: 8, opset_import: ["" : 17]>'

# Logistic instead of a step, 0.5 at the threshold: so that the map tells how clear a case is.
_RADAR_DROP = f"""{_HEADER}
radar_drop (float[n, 4, y, x] image) => (float[n, 2, y, x] probability)
<float[2, 4, 1, 1] difference = {{-1, 0, 1, 0,  0, -1, 0, 1}},
 float[1] least = {{{DROP_DB}}}, float[1] steepness = {{2}}, float[1] one = {{1}}>
{{
   fell = Conv <kernel_shape = [1, 1]> (image, difference)
   both = ReduceMin <axes = [1], keepdims = 1> (fell)
   above = Sub (both, least)
   logit = Mul (above, steepness)
   pit = Sigmoid (logit)
   other = Sub (one, pit)
   probability = Concat <axis = 1> (other, pit)
}}"""

# Bare ground: NDVI below 0.3 and BSI above 0. Muddy water: MNDWI and NDTI above 0. The four
# indices are four ratios of sums of bands, in the order blue, green, red, nir, swir16.
_SPECTRAL_RULE = f"""{_HEADER}
spectral_rule (float[n, 5, y, x] image) => (float[n, 2, y, x] probability)
<float[4, 5, 1, 1] upper = {{ 0, 0, 1, -1, 0,  -1, 0, 1, -1, 1,  0, 1, 0, 0, -1,  0, -1, 1, 0, 0}},
 float[4, 5, 1, 1] lower = {{ 0, 0, 1, 1, 0,  1, 0, 1, 1, 1,  0, 1, 0, 0, 1,  0, 1, 1, 0, 0}},
 float[1] least = {{0.0001}}, float[1, 4, 1, 1] at = {{-0.3, 0, 0, 0}},
 float[1, 4, 1, 1] steepness = {{20, 20, 20, 20}}, int64[2] pair = {{2, 2}}, float[1] one = {{1}}>
{{
   above = Conv <kernel_shape = [1, 1]> (image, upper)
   below = Conv <kernel_shape = [1, 1]> (image, lower)
   safe = Max (below, least)
   index = Div (above, safe)
   beyond = Sub (index, at)
   logit = Mul (beyond, steepness)
   fulfilled = Sigmoid (logit)
   bare, muddy = Split <axis = 1> (fulfilled, pair)
   soil = ReduceMin <axes = [1], keepdims = 1> (bare)
   water = ReduceMin <axes = [1], keepdims = 1> (muddy)
   mine = Max (soil, water)
   other = Sub (one, mine)
   probability = Concat <axis = 1> (other, mine)
}}"""

# The mean over the window of how far red exceeds green, which it does over bare soil and muddy
# water and does not over plants and clear water.
_REDNESS_RULE = f"""{_HEADER}
redness_rule (float[n, 2, y, x] image) => (float[n, 1, h, w] score)
<float[1, 2, 1, 1] upper = {{-1, 1}}, float[1, 2, 1, 1] lower = {{1, 1}},
 float[1] least = {{0.0001}}, float[1] steepness = {{20}}>
{{
   above = Conv <kernel_shape = [1, 1]> (image, upper)
   below = Conv <kernel_shape = [1, 1]> (image, lower)
   safe = Max (below, least)
   index = Div (above, safe)
   logit = Mul (index, steepness)
   red = Sigmoid (logit)
   score = AveragePool <kernel_shape = [48, 48], strides = [8, 8]> (red)
}}"""

_CARD = """# {title}

{summary}

Nobody trained it: {how}

Source: {source}.
"""
_OPTICAL = tuple(
    Level(sensor=sensor, verified=False, note="the rule uses ratios of bands, on any level alike")
    for sensor in ("s2-l2a", "s2-l1c")
)
_RED_GREEN = tuple(
    Level(sensor=sensor, verified=False, note="as for Sentinel-2; not tried")
    for sensor in ("planet-4b", "planet-8b", "nicfi")
)


@dataclass(frozen=True)
class Rule:
    """A model that is a formula."""

    name: str
    title: str
    summary: str
    how: str
    """The rule in words, for the card."""
    source: str
    graph: str
    """In ONNX's text form."""
    contract: dict[str, Any]
    """Fields of its manifest that only it has."""


_PATCHES: dict[str, Any] = {
    "judges": "pixels",
    "window_px": 2,
    "patch_px": 256,
    "patch_overlap_px": 0,
    "stride_m": 20,
    # A pixel is judged by itself: one in a patch is enough.
    "max_invalid_share": 0.9999,
}

RULES = (
    Rule(
        name="radar-drop",
        title="Radar threshold",
        summary="Marks ground whose radar echo fell since the period before, as where pits fill "
        "with water. Sees through cloud; needs two periods of Sentinel-1.",
        how="the least VV and VH of each period are compared. Where both fell by more than "
        f"{DROP_DB} dB, new water is taken for a pit. Floods, new reservoirs and flooded rice "
        "look the same.",
        source="Forkuor, Ullmann and Griesbeck 2020, doi:10.3390/rs12060911; that both must fall "
        "is ours, against speckle",
        graph=_RADAR_DROP,
        contract={
            **_PATCHES,
            "inputs": tuple(
                ScaledInput(band=band, period=period) for period in (0, -1) for band in ("vv", "vh")
            ),
            "levels": (Level(sensor="s1", verified=False, note="terrain-corrected backscatter"),),
            "reduce": "minimum",
            "classes": ("other", "new water"),
            "output": f"VV and VH fell by more than {DROP_DB} dB since the period before",
            "thresholds": Thresholds(t_main=0.5, t_iso=0.5),
        },
    ),
    Rule(
        name="spectral-rule",
        title="Spectral rule",
        summary="Marks bare ground and muddy water by four spectral indices: the floor that a "
        "trained model must beat. Towns, fields and rivers are marked as well.",
        how="bare ground is NDVI below 0.3 with BSI above 0, muddy water is MNDWI above 0 with "
        "NDTI above 0.",
        source="Tucker 1979 (NDVI), Rikimaru et al. 2002 (BSI), Xu 2006 (MNDWI), Lacaux et al. "
        "2007 (NDTI); the limit of NDVI as in the Ghana service of CERSGIS",
        graph=_SPECTRAL_RULE,
        contract={
            **_PATCHES,
            "inputs": tuple(
                ScaledInput(band=band) for band in ("blue", "green", "red", "nir", "swir16")
            ),
            "levels": _OPTICAL,
            "classes": ("other", "bare ground or muddy water"),
            "indices": ("ndvi", "bsi", "mndwi", "ndti"),
            "output": "the ground is bare, or the water is muddy",
            "thresholds": Thresholds(t_main=0.5, t_iso=0.5),
        },
    ),
    Rule(
        name="redness-rule",
        title="Redness rule",
        summary="Marks 480 m windows of which much is redder than green: the floor for models of "
        "windows, from red and green alone.",
        how="the mean over the window of a logistic function of NDTI, (red - green) / "
        "(red + green). Its threshold is the middle of the scale, and was not fitted.",
        source="Lacaux et al. 2007, doi:10.1016/j.rse.2006.07.012 (NDTI)",
        graph=_REDNESS_RULE,
        contract={
            "inputs": (ScaledInput(band="green"), ScaledInput(band="red")),
            "levels": _OPTICAL + _RED_GREEN,
            "window_px": 48,
            "dense_stride_px": 8,
            "stride_m": 80,
            "indices": ("ndti",),
            "output": "much of the 480 m window is bare ground or muddy water",
            "thresholds": Thresholds(t_main=0.5, t_iso=0.5),
        },
    ),
)


def write_rule(rule: Rule, folder: Path) -> ModelPackage:
    """Write a rule's package.

    Args:
        rule: One of `RULES`.
        folder: Of models; a package of that name is replaced.
    """
    weights = bytes(onnx.parser.parse_model(rule.graph).SerializeToString())
    manifest = Manifest(
        name=rule.name,
        title=rule.title,
        summary=rule.summary,
        licence="Apache-2.0",
        attribution="Sluice",
        architecture="rule",
        framework="none",
        pretrained=False,
        gsd_m=10,
        weights=Weights(sha256=weights_sha256(weights)),
        **rule.contract,
    )
    card = _CARD.format(title=rule.title, summary=rule.summary, how=rule.how, source=rule.source)
    return write_package(folder / rule.name, manifest, weights, card, replace=True)


if __name__ == "__main__":
    for each in RULES:
        write_rule(each, builtin_folder())
