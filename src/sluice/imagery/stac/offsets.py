"""Sentinel-2's offset: what is claimed, checked against the darkest pixels, applied once.

From processing baseline 04.00 on counts hold 1000 more than before, unless a catalogue took it
off again; `claims` says who claims what. Whether it is there can often be seen. On nearly all of
the Earth something is dark: forest, water, shadow. Counts of such ground lie

    without the 1000    at 50 to 400            with it    at 1050 to 1400

Nothing with the 1000 in it reaches far below 1000: that would be a reflectance far below zero.
So counts well below 1000 prove that it is not there. Counts from 1000 to 1400 show that it is,
if two bands agree: bare soil and sand are that bright in one band without it, yet their red is
twice their blue. Of top-of-atmosphere images the cirrus band alone tells better than both: water
vapour swallows that light, so everything below high clouds is black in it, desert and snow too.

What is compared is the 1st percentile (`_DARK_PERCENT`) of a small overview:

    below 700               the 1000 is not in the counts
    all within 900-1400     it is
    else                    no evidence

Measured on real images: 190 dates of two places in Belgium (L2A before 04.00, as they are and
with 1000 added) and one in Canada are all told right; of an L1C image of Spain the 1st percentile
is 8 in cirrus, 556 in red and 902 in blue, which is why blue is not looked at there.

Reasons for these numbers, and what they withstand:

    clouds everywhere, sand, snow    bright in blue or red, mostly above 1400: no evidence
    thin cloud over everything       may look like the 1000; little of such a scene is used
    water just above 1000, shadows   within 900-1400, as they should be
    reflectances just below zero     atmospheric correction goes some 0.01 to 0.02 too far over
                                     forest and shadow, to counts of 800: above 700, no evidence
    sharp overviews of JPEG 2000     overshoot beside bright edges by an eighth of the step: only
                                     a few pixels, fewer than 1 in 100
    averaged overviews               mix no data (0) into counts at the edge of the swath: two
                                     pixels along it are left away
    clipped counts                   where the 1000 was taken off, dark counts may have become 0,
                                     which reads as no data; forest and soil remain

The decision, by claim and evidence:

    claim                 not there          no evidence         there
    there, sure           refuse             apply               apply
    there, unsure         none to apply      refuse              apply
    not there, sure       none to apply      none to apply       refuse
    not there, unsure     none to apply      refuse              apply
    nobody says           refuse             refuse              refuse

A sure claim that the pixels contradict means that something is not understood, so the scene is
left out. An unsure one, where sources disagree or are known to be wrong, is what the pixels are
asked for; where they are silent too, the scene is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import Enum

import numpy as np
from scipy import ndimage

from sluice.base.arrays import ArrayHW
from sluice.base.errors import AuthError, DataError, SourceError
from sluice.base.records import LeftOut
from sluice.imagery.assets import Asset
from sluice.imagery.catalogue import Found
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac.claims import SHIFT_COUNTS, UnsettledFiles

ReadOverview = Callable[[Asset, int], ArrayHW]
"""Counts as stored of a whole band, at most so many pixels a side; no data is 0 or NaN."""

OVERVIEW_PX = 512
_DARK_PERCENT = 1
_FEWEST_PIXELS = 400
_WELL_BELOW = 700
_FLOOR = (900, 1400)
_EDGE_PX = 2
_ADVICE = "give --scale 0.0001 and --offset 0 or -0.1 if you know"


class Evidence(Enum):
    """What the darkest pixels show of the 1000."""

    THERE = "the 1000 is in the counts"
    NOT_THERE = "the 1000 is not in the counts"
    NONE = "no evidence"


def dark_bands(files: SceneFiles) -> tuple[str, ...]:
    """The bands to look at: cirrus of top-of-atmosphere images, else blue and red."""
    pairs = [("blue", "red"), ("red", "swir22"), ("blue",), ("red",)]
    if files.scene.sensor == "s2-l1c":
        # The blue of the sky itself lies at 1000.
        pairs = [("cirrus",), ("red", "swir22"), ("red",)]
    return next((pair for pair in pairs if all(band in files.bands for band in pair)), ())


def darkest(counts_hw: ArrayHW) -> float | None:
    """The 1st percentile of counts away from no data, None where too few are left.

    Args:
        counts_hw: As stored, (H, W); 0 and NaN are no data.
    """
    valid = np.isfinite(counts_hw) & (counts_hw > 0)
    if not valid.all():
        valid = ndimage.binary_erosion(
            valid, structure=np.ones((3, 3), dtype=bool), iterations=_EDGE_PX, border_value=1
        )
    counts = counts_hw[valid]
    if counts.size < _FEWEST_PIXELS:
        return None
    return float(np.percentile(counts, _DARK_PERCENT))


def evidence_of(overviews: Mapping[str, ArrayHW]) -> Evidence:
    """What overviews show; see the module's table.

    Args:
        overviews: Counts as stored of the `dark_bands`, by common name.
    """
    levels = {band: darkest(counts_hw) for band, counts_hw in overviews.items()}
    known = [level for level in levels.values() if level is not None]
    if any(level < _WELL_BELOW for level in known):
        return Evidence.NOT_THERE
    enough = len(known) == len(levels) and (len(known) > 1 or "cirrus" in levels)
    if enough and all(_FLOOR[0] <= level <= _FLOOR[1] for level in known):
        return Evidence.THERE
    return Evidence.NONE


def settle_offset(files: SceneFiles, overviews: Mapping[str, ArrayHW]) -> SceneFiles | LeftOut:
    """Decide a scene's offset by claim and evidence.

    Args:
        files: As from an item; anything but `UnsettledFiles` is returned as it is.
        overviews: Counts as stored of its `dark_bands`, as far as they could be had.

    Returns:
        The files with the offset set and `Scene.radiometry_from` telling why, or why not.
    """
    if not isinstance(files, UnsettledFiles):
        return files
    claim, evidence = files.claim, evidence_of(overviews)
    there = evidence is Evidence.THERE
    reason = _reason_against(files, evidence, overviews)
    if reason is not None:
        return _left_out(files, reason)
    if evidence is Evidence.NONE:
        shifted, source = bool(claim.shifted), f"{claim.source}; no dark pixel to check it by"
    elif there == claim.shifted:
        shifted, source = there, f"{claim.source}, agrees with the darkest pixels"
    else:
        shifted, source = there, f"darkest pixels, against {claim.source}"
    return _settled(files, shifted=shifted, source=source)


def settle_offsets(files: Sequence[SceneFiles], read: ReadOverview, *, workers: int = 8) -> Found:
    """Read a small overview of each Sentinel-2 scene and settle its offset.

    Args:
        files: Scenes found; those without a claim pass unread.
        read: Reads counts as stored.
        workers: Reads at a time.

    Returns:
        Settled scenes in their order, and those that cannot be read or decided.

    Raises:
        AuthError: The source let none of them be read.
    """
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        settled = list(pool.map(lambda one: _read_and_settle(one, read), files))
    refusals = [one for one in settled if isinstance(one, AuthError)]
    if refusals and len(refusals) == len(settled):
        raise refusals[0]
    found, left_out = [], []
    for one, outcome in zip(files, settled, strict=True):
        if isinstance(outcome, SceneFiles):
            found.append(outcome)
        else:
            out = outcome if isinstance(outcome, LeftOut) else _left_out(one, str(outcome))
            left_out.append(out)
    return Found(tuple(found), tuple(left_out))


def _read_and_settle(files: SceneFiles, read: ReadOverview) -> SceneFiles | LeftOut | AuthError:
    if not isinstance(files, UnsettledFiles):
        return files
    overviews = {}
    # Nobody's claim needs no pixels to be refused.
    for band in dark_bands(files) if files.claim.shifted is not None else ():
        try:
            overviews[band] = read(files.bands[band], OVERVIEW_PX)
        except AuthError as err:
            return err
        except (SourceError, DataError) as err:
            return _left_out(files, f"its band {band} cannot be read: {err}")
    return settle_offset(files, overviews)


def _reason_against(
    files: UnsettledFiles, evidence: Evidence, overviews: Mapping[str, ArrayHW]
) -> str | None:
    """Why a scene is refused, by the module's last table; None where it is not."""
    claim = files.claim
    if claim.shifted is None:
        return (
            "neither the item nor a processing baseline says whether 1000 was added to its counts "
            f"(as in Sentinel-2 since January 2022); {_ADVICE}"
        )
    if evidence is Evidence.NONE and not claim.is_sure:
        return (
            f"whether 1000 was added to its counts is not certain by {claim.source}, and it has "
            f"no dark pixel that would tell; {_ADVICE}"
        )
    contradicted = evidence is not Evidence.NONE and (evidence is Evidence.THERE) != claim.shifted
    if contradicted and claim.is_sure:
        claimed = "is in its counts" if claim.shifted else "is not in its counts"
        return (
            f"by {claim.source} the 1000 of baseline 04.00 {claimed}, and its darkest pixels show "
            f"the opposite ({_levels(overviews)}); {_ADVICE}, or use another collection"
        )
    return None


def _settled(files: UnsettledFiles, *, shifted: bool, source: str) -> SceneFiles:
    scale = files.scene.scale
    offset = -SHIFT_COUNTS * scale if shifted else 0.0
    scene = files.scene.model_copy(update={"offset": offset, "radiometry_from": source})
    bands = {name: replace(asset, offset=offset) for name, asset in files.bands.items()}
    return SceneFiles(scene, bands, files.sky)


def _levels(overviews: Mapping[str, ArrayHW]) -> str:
    levels = ((band, darkest(counts_hw)) for band, counts_hw in overviews.items())
    return ", ".join(f"{band} {level:.0f}" for band, level in levels if level is not None)


def _left_out(files: SceneFiles, reason: str) -> LeftOut:
    return LeftOut(scene_id=files.scene.id, href=files.scene.href, reason=reason)
