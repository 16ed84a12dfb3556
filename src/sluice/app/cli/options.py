"""Options that several commands take: where images come from, and how they become one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from sluice.app.config import DEFAULT_CACHE_GB

_OF_THE_TERMINAL = {"dry_run", "json", "quiet"}
_LISTS = {"bands", "layers", "keep", "colours", "classes", "file_bands", "exclude_types"}

_AREA_HELP = "West,south,east,north in degrees, a file with polygons, or a folder of such files."

IMAGES: Any = typer.Argument(
    None,
    help="GeoTIFFs with several bands, or folders of single-band files. Several are one period: "
    "where they overlap, the clear looks are reduced to one image.",
)
OUT: Any = typer.Option(..., "--out", help="Folder for the results.")
PIXEL: Any = typer.Option(10.0, "--pixel", help="Pixel side in metres.")
MODEL: Any = typer.Option("default", "--model", help="A model's name, or its folder.")
DATASET: Any = typer.Argument(
    help="A data set: dataset.json and index.csv, or chips.csv and grids/."
)
SPLIT: Any = typer.Option(None, "--split", help="Only the chips of this split.")
TRUTH_LAYER: Any = typer.Option(None, "--truth-layer", help="Layer of TRUTH, where it has several.")
AREA: Any = typer.Option(
    None,
    "--area",
    help=_AREA_HELP,
)
AREA_NEEDED: Any = typer.Option(
    ...,
    "--area",
    help=_AREA_HELP,
)
FROM: Any = typer.Option(None, "--from", help="First year, month or day: 2024, 2024-01.")
TO: Any = typer.Option(None, "--to", help="Last year, month or day, included.")
EVERY: Any = typer.Option(
    "none", "--every", help="One result each month, quarter, 4months, half-year or year; or none."
)
SOURCE: Any = typer.Option(
    None,
    "--source",
    help="Catalogue to search: earth-search, planetary-computer, cdse, google, the address of a "
    "STAC API, a STAC catalogue or stac-geoparquet file, or a folder of Planet orders.",
)
COLLECTION: Any = typer.Option(
    None, "--collection", help="Of the catalogue; its usual one for the sensor if left out."
)
SENSOR: Any = typer.Option(
    None, "--sensor", help="s2-l1c, s2-l2a, s1, planet (or planet-4b, planet-8b), or nicfi."
)
MAX_CLOUD: Any = typer.Option(
    None, "--max-cloud", help="Leave out scenes with more cloud than this, in percent."
)
REDUCE: Any = typer.Option(
    None,
    "--reduce",
    help="median, medoid, minimum, p10, p25, p75 or p90 of the clear looks; the model's own if "
    "left out, else the median.",
)
MIN_LOOKS: Any = typer.Option(
    1, "--min-looks", help="Clear looks that a pixel needs to count as observed."
)
GUARD: Any = typer.Option(
    True,
    "--guard/--no-guard",
    help="Give bright ground back that the cloud layer calls cloud on most dates.",
)
SPECKLE: Any = typer.Option(
    True, "--speckle/--no-speckle", help="Smooth the speckle of radar images."
)
CLOUD_MASK: Any = typer.Option(
    "layer",
    "--cloud-mask",
    help="Clouds from the images' own layer; or found in their bands: omnicloudmask (if installed) "
    "or spectral (a last resort).",
)
CLOUD_MARGIN: Any = typer.Option(
    2, "--cloud-margin", help="Pixels around cloud and shadow that are left out too."
)
BANDS: Any = typer.Option(
    None, "--bands", help="Names of the file's bands in file order, with commas: blue,green,red"
)
SCALE: Any = typer.Option(None, "--scale", help="Reflectance = number x scale + offset.")
OFFSET: Any = typer.Option(None, "--offset", help="See --scale.")
NODATA: Any = typer.Option(None, "--nodata", help="The number that means no data.")
WORKERS: Any = typer.Option(
    None, "--workers", help="Tiles at a time; one for each core if left out."
)
CACHE: Any = typer.Option(
    DEFAULT_CACHE_GB, "--cache", help="Gigabytes of downloads to keep for later; 0 keeps none."
)
STORE: Any = typer.Option(
    None,
    "--store",
    help="A store's file, or its address, postgresql://user:password@host/database; SLUICE_STORE, "
    "or sluice.sqlite here, if left out.",
)
REDACT: Any = typer.Option(
    None, "--redact", help="Show places only as cells of a fixed grid of this size: 5km."
)
DELAY: Any = typer.Option(
    None, "--delay", help="With --redact: tell nothing younger than this: 6months."
)
REDACT_KEY: Any = typer.Option(
    None,
    "--redact-key",
    envvar="SLUICE_REDACT_KEY",
    help="With --redact: secret that gives redacted sites the same ids each time, 16 letters or "
    "more.",
)
AREA_NAME: Any = typer.Option(None, "--area-name", help="What the area is called in the store.")
BBOX: Any = typer.Option(None, "--bbox", help="West,south,east,north in degrees.")
SITE: Any = typer.Argument(help="As `sluice sites list` tells it.")
STATUS: Any = typer.Option(
    None,
    "--status",
    help="new, growing, steady, inactive, recovering; several with commas.",
)
LEVEL: Any = typer.Option(None, "--level", help="low, high, highest; several with commas.")
MIN_AREA: Any = typer.Option(None, "--min-area", help="Hectares.")
MIN_PRIORITY: Any = typer.Option(None, "--min-priority", help="0 to 100.")
VERIFIED: Any = typer.Option(
    False, "--verified-only", help="Only what a person has confirmed: --verdict confirmed."
)
VERDICT: Any = typer.Option(
    None,
    "--verdict",
    help="Of the last review: confirmed, unsure, rejected, none (nobody reviewed it); several with "
    "commas; or all. Rejected sites are left out if this is.",
)
SINCE: Any = typer.Option(None, "--since", help="Seen, or raised, on this day or later.")
MOST_ROWS = 100_000_000
"""More than any store has, and less than what a database cannot count."""
LIMIT: Any = typer.Option(
    50, "--limit", min=1, max=MOST_ROWS, help="Most rows, the most urgent first."
)
LANGUAGE: Any = typer.Option(
    None,
    "--language",
    help="en, fr, es or pt; SLUICE_LANGUAGE, or your system's language, if left out.",
)
DRY_RUN: Any = typer.Option(
    False, "--dry-run", help="Say what there is, how many bytes and how long, and stop."
)
OVERWRITE: Any = typer.Option(False, "--overwrite", help="Replace a finished result.")
JSON: Any = typer.Option(False, "--json", help="Print the outcome as JSON.")
QUIET: Any = typer.Option(False, "--quiet", help="No progress bar.")


def config_values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A command's parameters as fields of its configuration, which have the same names.

    Args:
        parameters: By name; lists of names are texts with commas. What only concerns the
            terminal is left out.
    """
    values = {name: value for name, value in parameters.items() if name not in _OF_THE_TERMINAL}
    if "images" in values:
        values["images"] = tuple(values["images"] or ())
    for name in _LISTS & values.keys():
        values[name] = split_list(values[name])
    return values


def split_list(text: str | None) -> tuple[str, ...] | None:
    """Words with commas between them."""
    return None if text is None else tuple(p.strip() for p in text.split(",") if p.strip())
