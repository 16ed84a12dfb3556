"""What a command needs to know, as data; the only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sluice.base.errors import ConfigError
from sluice.base.methods import CloudMask, Method
from sluice.base.periods import Period, parse_span

if TYPE_CHECKING:
    from sluice.imagery.remote import RemoteAccess

DEFAULT_PRIOR = 0.001
"""One window in a thousand holds a mine: about the order found over whole basins."""
DEFAULT_CACHE_GB = 5.0
DEFAULT_STORE = "sluice.sqlite"

# Where the command line calls a field otherwise.
_OPTIONS = {
    "stride_m": "--stride",
    "min_footprint_ha": "--min-area",
    "cloud_margin_px": "--cloud-margin",
    "first": "--from",
    "last": "--to",
    "method": "--reduce",
    "gsd_m": "--pixel",
    "layers": "--layers",
    "cache_gb": "--cache",
    "tool": "--for",
    "picture_px": "--picture",
    "radius_m": "--radius",
    "keep": "--keep-bands",
    "delta_m": "--delta",
    "largest_km2": "--largest-area",
    "stale_s": "--lost-after",
    "apart_m": "--apart",
}
_Config = TypeVar("_Config", bound=BaseModel)


class ResultsConfig(BaseModel):
    """What commands that make one result or several, one for each area, have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    out: Path
    area: str | None = None
    """`west,south,east,north`, a vector file, or a folder of them."""
    source: str | None = None
    """A catalogue: a preset's name, an address, a file or a folder."""
    every: str = "none"
    """See `base.periods.EVERY_MONTHS`."""
    workers: int | None = Field(default=None, ge=1, le=256)
    """Tiles at a time; None takes one for each core, up to 8."""
    cache_gb: float = Field(default=DEFAULT_CACHE_GB, ge=0)
    """Most that is kept of what was downloaded; 0 keeps nothing."""
    overwrite: bool = False
    """Replace a finished run in `out`."""

    @property
    def period(self) -> Period | None:
        """The whole span of time asked for; None where it does not matter."""
        return None

    @property
    def request(self) -> dict[str, Any]:
        """What the result depends on, as the record of a run tells it: no secret."""
        from sluice.imagery.remote import public_address  # noqa: PLC0415 - as in `access_for`

        how = {"out", "overwrite", "workers", "processes", "tile_px", "cache_gb"}
        # Where a result goes changes nothing in it, and an address may hold a password.
        how |= {"store", "area_name"}
        asked = self.model_dump(mode="json", exclude=how | {"failure_budget"})
        if self.source is not None:
            asked["source"] = public_address(self.source)
        return {"command": self.command, **asked}

    @property
    def command(self) -> str:
        """What is made."""
        raise NotImplementedError


class ImageryConfig(ResultsConfig):
    """Where images come from, and how they become one."""

    images: tuple[Path, ...] = ()
    """Multi-band GeoTIFFs, or folders of single-band files; together one period. In place of
    `source`."""
    sensor: str | None = None
    bands: tuple[str, ...] | None = None
    """Names of a file's bands, in file order."""
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = Field(default=None, allow_inf_nan=True)
    collection: str | None = None
    """Of a STAC API; None takes the preset's for the sensor."""
    first: str | None = None
    """Year, month or day."""
    last: str | None = None
    max_cloud: float | None = Field(default=None, ge=0, le=100)
    """Percent of a scene, as its catalogue says; cloudier ones are not looked at."""
    method: Method | None = None
    """None takes the model's own, and the median where there is none."""
    min_looks: int = Field(default=1, ge=1, le=100)
    """Clear looks that a pixel needs to count as observed."""
    guard: bool = True
    """Give bright ground back that the cloud layer calls cloud on most dates."""
    speckle: bool = True
    """Smooth the speckle of radar images."""
    cloud_mask: CloudMask = "layer"
    """Where clouds are told from."""
    cloud_margin_px: int = Field(default=2, ge=0, le=50)
    tile_px: int | None = Field(default=None, ge=64, le=16384)
    """None takes what memory allows, up to 1,024."""
    failure_budget: float = Field(default=0.1, ge=0, lt=1)

    @property
    def period(self) -> Period | None:
        """The whole span of time asked for; None where images are named one by one."""
        if self.first is None or self.last is None:
            return None
        return parse_span(self.first, self.last)

    @property
    def _is_kept(self) -> bool:
        """Whether the result goes into a store: then even images named one by one have a period,
        and an area may be named that the store knows."""
        return False

    @model_validator(mode="after")
    def _one_road(self) -> Self:
        catalogue = {
            "--area": self.area,
            "--from": self.first,
            "--to": self.last,
        }
        if self.source is None:
            if not self.images:
                raise ConfigError(
                    "no image given; name a GeoTIFF or a folder of band files, or a catalogue: "
                    "--source earth-search --area … --from 2024-01 --to 2024-12"
                )
            stray = [name for name in ("--from", "--to") if catalogue[name] is not None]
            stray = [] if self._is_kept else stray
            stray += ["--every"] if self.every != "none" else []
            stray += ["--max-cloud"] if self.max_cloud is not None else []
            stray += ["--collection"] if self.collection is not None else []
            if stray:
                raise ConfigError(
                    f"{', '.join(stray)}: belongs to a catalogue; images named one by one are one "
                    "period: leave it out, or give --source"
                )
            return self
        if self.bands is not None:
            raise ConfigError(
                f"--bands: names the bands of files named one by one; --source {self.source} "
                "tells them itself: leave it out"
            )
        if self.images:
            raise ConfigError(
                f"both images ({self.images[0]}) and --source {self.source} are given; choose one"
            )
        missing = [name for name, value in catalogue.items() if value is None]
        if self._is_kept and "--area" in missing:
            missing.remove("--area")  # The store may know it.
        if missing:
            raise ConfigError(
                f"--source {self.source} needs {' and '.join(missing)}; for example "
                "--area area.gpkg --from 2024-01 --to 2024-12"
            )
        return self


class ScanConfig(ImageryConfig):
    """One scan, or one for each area and period."""

    model: str = "default"
    prior: float = Field(default=DEFAULT_PRIOR, gt=0, lt=1)
    """Share of windows expected to hold a mine."""
    stride_m: float | None = Field(default=None, gt=0)
    """Distance between windows; None takes the manifest's."""
    min_footprint_ha: float = Field(default=2.0, ge=0)
    """Smallest mapping unit."""
    engine: Literal["auto", "onnxruntime", "openvino"] = "auto"
    precision: Literal["f32", "bf16"] = "f32"
    processes: bool = False
    """Work on tiles in processes of their own instead of threads."""
    outlines: str | None = None
    """Model that outlines the workings within sites, `none` for no outlines; None takes the one
    that comes with Sluice where the images allow it."""
    any_level: bool = False
    """Scan imagery that the model's manifest does not name; kept in the record of the run."""
    keep: tuple[str, ...] | None = None
    """Bands of the image to keep beside the map, `none` for none; None keeps those that the model
    reads where the result goes into a store."""
    store: str | None = None
    """Where the result is to land; None leaves it in its folder."""
    area_name: str | None = None
    """What the area is called in the store; None takes the name of the area's file."""
    strict: bool = False
    """Take out settlements, roads, concessions and green ground, as the store's layers say."""

    @property
    def command(self) -> str:
        """See `ResultsConfig`."""
        return "scan"

    @property
    def _is_kept(self) -> bool:
        return self.store is not None

    @model_validator(mode="after")
    def _one_home(self) -> Self:
        if self.store is None:
            stray = [
                name
                for name, given in (("--area-name", self.area_name), ("--strict", self.strict))
                if given
            ]
            if stray:
                raise ConfigError(f"{stray[0]} needs a store; give --store")
        return self


class CompositeConfig(ImageryConfig):
    """One composite, or one for each area and period."""

    layers: tuple[str, ...] = ("blue", "green", "red", "nir")
    """Bands and indices to write, by STAC common names and the names of indices."""
    gsd_m: float = Field(default=10.0, ge=1, le=1000)
    """Pixel side in metres."""

    @field_validator("layers")
    @classmethod
    def _some(cls, layers: tuple[str, ...]) -> tuple[str, ...]:
        if not layers:
            raise ConfigError("--layers is empty; name bands and indices: red,green,blue,ndvi")
        return layers

    @property
    def command(self) -> str:
        """See `ResultsConfig`."""
        return "composite"


class ElevationConfig(ResultsConfig):
    """Heights and slopes of one area, or one for each."""

    area: str
    source: str = "copernicus"
    """The public bucket of Copernicus GLO-30, or the address or folder of its cells."""
    gsd_m: float = Field(default=30.0, ge=1, le=10_000)
    """Pixel side in metres."""

    @property
    def command(self) -> str:
        """See `ResultsConfig`."""
        return "elevation"


def make_config(kind: type[_Config], **values: Any) -> _Config:
    """Build a command's configuration.

    Raises:
        ConfigError: A value is out of its range, or two contradict each other; the message
            names the first.
    """
    try:
        return kind(**values)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        field = str(first["loc"][0])
        option = _OPTIONS.get(field, "--" + field.replace("_", "-"))
        raise ConfigError(f"{option} {first['input']}: {_as_advice(first['msg'])}") from err


def _as_advice(message: str) -> str:
    """`Input should be less than 1` says what was wrong; the rest is what to do."""
    return message.replace("Input should be", "give a value that is", 1)


def models_folder() -> Path:
    """Where imported and trained models are kept: `SLUICE_MODELS`, or the user's data folder."""
    chosen = os.environ.get("SLUICE_MODELS")
    return Path(chosen) if chosen else Path(typer.get_app_dir("sluice")) / "models"


def cache_folder() -> Path:
    """Where downloaded pixels are kept: `SLUICE_CACHE`, or the user's data folder."""
    chosen = os.environ.get("SLUICE_CACHE")
    return Path(chosen) if chosen else Path(typer.get_app_dir("sluice")) / "cache"


def omnicloudmask_folder() -> Path:
    """Where OmniCloudMask's weights are: `SLUICE_OMNICLOUDMASK`, or the user's data folder."""
    chosen = os.environ.get("SLUICE_OMNICLOUDMASK")
    return Path(chosen) if chosen else Path(typer.get_app_dir("sluice")) / "omnicloudmask"


def store_address(option: str | None) -> str:
    """The store that a command works on: `--store`, `SLUICE_STORE`, or a file in this folder."""
    return option or os.environ.get("SLUICE_STORE") or DEFAULT_STORE


def language_of(option: str | None) -> str:
    """The language to speak: `--language`, `SLUICE_LANGUAGE`, else that of the user's system.

    Of the system, the first that Sluice speaks in `LANGUAGE` (several with colons), else what
    `LC_ALL`, `LC_MESSAGES` or `LANG` says; English where it speaks another one.
    """
    from sluice.app.messages import DEFAULT_LANGUAGE, LANGUAGES  # noqa: PLC0415 - babel is slow

    env = os.environ
    chosen = option or env.get("SLUICE_LANGUAGE")
    if chosen:
        return chosen.strip().lower()
    locale = env.get("LC_ALL") or env.get("LC_MESSAGES") or env.get("LANG") or ""
    # As gettext: `LANGUAGE` counts for nothing where no language is set at all.
    plain = locale.partition(".")[0].upper() in {"", "C", "POSIX"}
    wanted = [*([] if plain else env.get("LANGUAGE", "").split(":")), locale]
    codes = (one.lower().replace("-", "_").partition("_")[0].partition(".")[0] for one in wanted)
    return next((code for code in codes if code in LANGUAGES), DEFAULT_LANGUAGE)


def access_for(source: str, cache_gb: float) -> RemoteAccess:
    """How the files of a source are fetched: patience, cache, and credentials from the environment.

    `CDSE_S3_ACCESS_KEY` and `CDSE_S3_SECRET_KEY` open Copernicus Data Space, `AWS_ACCESS_KEY_ID`
    and `AWS_SECRET_ACCESS_KEY` buckets of Amazon whose reader pays (with
    `AWS_REQUEST_PAYER=requester`); `SLUICE_BEARER_TOKEN` is shown to `SLUICE_BEARER_HOSTS`.
    Files of the Planetary Computer are signed by their host, whatever source named them.

    Args:
        source: As given to `--source`.
        cache_gb: Limit of the cache; 0 keeps nothing.

    Raises:
        ConfigError: Half of a pair is there.
    """
    # GDAL is behind it, and `--help` needs none.
    from sluice.imagery.remote import RemoteAccess  # noqa: PLC0415

    common: dict[str, Any] = {
        "cache_folder": cache_folder() if cache_gb > 0 else None,
        "cache_bytes": int(cache_gb * 1e9),
    }
    env = os.environ
    if source == "cdse" or "dataspace.copernicus." in source:
        return RemoteAccess(
            s3_endpoint="https://eodata.dataspace.copernicus.eu",
            s3_region="default",
            s3_key=env.get("CDSE_S3_ACCESS_KEY"),
            s3_secret=env.get("CDSE_S3_SECRET_KEY"),
            **common,
        )
    pays = env.get("AWS_REQUEST_PAYER") == "requester"
    token = env.get("SLUICE_BEARER_TOKEN")
    hosts = (host.strip().lower() for host in env.get("SLUICE_BEARER_HOSTS", "").split(","))
    return RemoteAccess(
        s3_key=env.get("AWS_ACCESS_KEY_ID") if pays else None,
        s3_secret=env.get("AWS_SECRET_ACCESS_KEY") if pays else None,
        s3_session=env.get("AWS_SESSION_TOKEN") if pays else None,
        # Where Sentinel-2's bucket of L1C is.
        s3_region=env.get("AWS_REGION", "eu-central-1"),
        requester_pays=pays,
        bearer_token=token,
        bearer_hosts=tuple(filter(None, hosts)),
        **common,
    )
