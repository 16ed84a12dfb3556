"""From what a command asks for to the scenes of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.app.area import widened_box
from sluice.app.config import ImageryConfig, access_for, omnicloudmask_folder
from sluice.app.finding import Findings, describe_findings, findings_text, measure_line
from sluice.app.jobs import Job
from sluice.app.loading import refuse_missing_bands
from sluice.app.skies import DETECTORS, bands_to_find_clouds, with_found_clouds
from sluice.base.errors import ConfigError, NoValidData
from sluice.base.periods import Period
from sluice.base.records import LeftOut, Scene
from sluice.base.sensors import find_sensor
from sluice.imagery.assets import read_overview
from sluice.imagery.catalogue import Catalogue, Found
from sluice.imagery.google import GoogleBucket
from sluice.imagery.image_folders import open_folder
from sluice.imagery.local import open_local
from sluice.imagery.pairing import lend_sky
from sluice.imagery.radiometry import Stated
from sluice.imagery.scenes import SceneFiles, SceneImages
from sluice.imagery.stac.catalogues import open_catalogue
from sluice.imagery.stac.offsets import settle_offsets

Tell = Callable[[str], None]
"""Takes a line for the person who waits."""

_PLANET = "planet"
"""PlanetScope of four or eight bands, as its files say."""
_USUAL_SENSOR = {"google": "s2-l1c"}
"""Where it is not surface reflectance."""
_LENDS_SKY = {"google": "earth-search"}
"""Whose surface-reflectance products lend a source's top-of-atmosphere images their cloud layer,
where the source has none itself; free and without a key."""


@dataclass(frozen=True)
class Gathered:
    """The scenes of a job."""

    periods: dict[int, SceneImages]
    """0 is the period under judgement, -1 the one before."""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def images(self) -> SceneImages:
        """Of the period under judgement."""
        return self.periods[0]

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """Of all periods."""
        return tuple(scene for images in self.periods.values() for scene in images.scenes)


class Gatherer:
    """The images of a command: catalogues are opened and searched once for all its jobs.

    Args:
        config: Where images come from.
        sensor: What to search for, see `choose_sensor`.
        tell: Told what was found.
        margin_m: What is read around an area.

    Raises:
        ConfigError, WeightsError: What is to find clouds is not installed.
    """

    def __init__(
        self, config: ImageryConfig, sensor: str, tell: Tell | None = None, *, margin_m: float = 0
    ) -> None:
        self.config = config
        if config.cloud_mask in DETECTORS:
            if sensor == "s1":
                raise ConfigError(
                    f"--cloud-mask {config.cloud_mask}: radar sees through cloud; leave it out"
                )
            DETECTORS[config.cloud_mask].check(omnicloudmask_folder())
        self._sky_bands = bands_to_find_clouds(config.cloud_mask)
        self.margin_m = margin_m
        self.sensor = sensor
        self.tell: Tell = tell or (lambda _: None)
        self._opened: dict[str, Catalogue] = {}
        self._found: dict[tuple[str, Period], Found] = {}
        self._line: list[float | None] = []
        self._named: Gathered | None = None

    def describe(
        self, job: Job, bands: Sequence[str], geobox: GeoBox, *, with_earlier: bool = False
    ) -> Findings:
        """Search for a job's scenes and tell what there is; reads next to nothing.

        Args:
            job: Gives area and period.
            bands: Common names of the bands to read.
            geobox: Grid of the result.
            with_earlier: Whether the period before is read as well.

        Raises:
            ConfigError: Images are named one by one, or there is no period before.
            SourceError: The catalogue gave no answer.
        """
        found = self._search(job, bands, with_earlier=with_earlier)
        files = [scene for scenes in found.values() for scene in scenes.files]
        if not self._line and files:
            self._line.append(measure_line(files))
        findings = describe_findings(
            job.name,
            files,
            [left_out for scenes in found.values() for left_out in scenes.left_out],
            bands=self._with_sky_bands(bands),
            geobox=geobox,
            bytes_per_s=self._line[0] if self._line else None,
        )
        self.tell(findings_text(findings))
        return findings

    def gather(self, job: Job, bands: Sequence[str], *, with_earlier: bool = False) -> Gathered:
        """The scenes of a job; those of a catalogue checked against their darkest pixels.

        Raises:
            NoValidData: Nothing usable was found in a period.
            SluiceError: Images could not be opened, or the catalogue gave no answer.
        """
        if self.config.source is None:
            if self._named is None:
                self._named = self._open_images()
            return self._named
        periods, left_out = {}, []
        for place, scenes in self._search(job, bands, with_earlier=with_earlier).items():
            settled = settle_offsets(scenes.files, read_overview)
            refused = [*scenes.left_out, *settled.left_out]
            if not settled.files:
                raise _nothing_usable(refused)
            periods[place] = SceneImages(settled.files)
            left_out += refused
        if len(periods) > 1:
            periods, apart = _same_directions(periods)
            left_out += apart
        return Gathered(periods, tuple(left_out))

    def _open_images(self) -> Gathered:
        config = self.config
        images = open_local(
            config.images,
            sensor=config.sensor,
            bands=config.bands,
            scale=config.scale,
            offset=config.offset,
            nodata=config.nodata,
        )
        files = self._with_found_clouds(images.files)
        return Gathered({0: SceneImages(files)})

    def _with_sky_bands(self, bands: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*bands, *self._sky_bands]))

    def _with_found_clouds(self, files: Sequence[SceneFiles]) -> tuple[SceneFiles, ...]:
        mask = self.config.cloud_mask
        marked = with_found_clouds(files, mask, omnicloudmask_folder())
        scenes = [one.scene for one in marked if one.scene.sky_layer == mask]
        refuse_missing_bands(scenes, self._sky_bands, wanted_by=f"--cloud-mask {mask}")
        return marked

    def _search(self, job: Job, bands: Sequence[str], *, with_earlier: bool) -> dict[int, Found]:
        if self.config.source is None:
            raise ConfigError("--dry-run says what a catalogue holds; give --source")
        if job.area is None or job.period is None:
            raise ConfigError("a search needs an area and a period; give --area, --from and --to")
        found = {0: self._find(job, job.period, bands)}
        if with_earlier:
            if job.earlier is None:
                raise ConfigError(
                    f"{job.period.name} is to be compared with the period before it; begin --from "
                    "one period earlier, with --every"
                )
            found[-1] = self._find(job, job.earlier, bands)
        return found

    def _find(self, job: Job, period: Period, bands: Sequence[str]) -> Found:
        key = (job.place, period)
        if key not in self._found and job.area is not None:
            source = self.config.source or ""
            area = widened_box(job.area, self.margin_m) if self.margin_m else job.area
            wanted = self._with_sky_bands(bands)
            found = self._catalogue(source, self.sensor).find(area, period, wanted)
            if self._sky_bands:
                found = Found(self._with_found_clouds(found.files), found.left_out)
            elif self.sensor == "s2-l1c" and any(files.sky is None for files in found.files):
                found = self._with_lent_sky(found, area, period)
            self._found[key] = found
        return self._found[key]

    def _with_lent_sky(self, found: Found, area: BaseGeometry, period: Period) -> Found:
        """Top-of-atmosphere scenes with the cloud layer of their surface-reflectance twins."""
        source = self.config.source or ""
        lender = _LENDS_SKY.get(source, source)
        try:
            twins = self._catalogue(lender, "s2-l2a").find(area, period, ())
        except ConfigError:
            # It has no surface reflectance; the summary says for how many images no layer was.
            return found
        return Found(tuple(lend_sky(found.files, twins.files)), found.left_out)

    def _catalogue(self, source: str, sensor: str) -> Catalogue:
        key = f"{source} {sensor}"
        if key not in self._opened:
            self._opened[key] = self._open(source, sensor)
        return self._opened[key]

    def _refuse_unused(self, source: str, *fields: str) -> None:
        """Refuse options that a source has no use for: nothing that is asked for is dropped."""
        given = [name for name in fields if getattr(self.config, name) is not None]
        if given and source == self.config.source:
            options = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ConfigError(f"{options}: has no meaning for --source {source}; leave it out")

    def _open(self, source: str, sensor: str) -> Catalogue:
        config = self.config
        access = access_for(source, config.cache_gb)
        if source == "google":
            if sensor != "s2-l1c":
                raise ConfigError(
                    f"--source google has Sentinel-2 L1C, and no {sensor}; use --sensor s2-l1c, "
                    "or another source"
                )
            self._refuse_unused(source, "collection", "max_cloud", "scale", "offset", "nodata")
            return GoogleBucket(access)
        path = Path(source)
        if path.is_dir() and not (path / "catalog.json").is_file():
            self._refuse_unused(source, "collection", "max_cloud")
            return open_folder(
                path, sensor, scale=config.scale, offset=config.offset, nodata=config.nodata
            )
        if path.is_dir():
            source = str(path / "catalog.json")
        own = sensor == self.sensor
        return open_catalogue(
            source,
            sensor,
            collection=config.collection if own else None,
            access=access,
            max_cloud=config.max_cloud,
            stated=Stated(config.scale, config.offset, config.nodata) if own else None,
        )


def choose_sensor(config: ImageryConfig, usable: Sequence[str]) -> str:
    """The sensor to search for.

    Args:
        config: Names it, or its source.
        usable: Sensors that the model takes, the best first; empty where any will do.

    Raises:
        ConfigError: No such sensor.
    """
    if config.sensor is not None:
        if config.sensor != _PLANET:
            find_sensor(config.sensor)
        return config.sensor
    usual = _USUAL_SENSOR.get(config.source or "", "s2-l2a")
    return usual if not usable or usual in usable else usable[0]


def _same_directions(
    periods: dict[int, SceneImages],
) -> tuple[dict[int, SceneImages], list[LeftOut]]:
    """Leave out radar of an orbit direction that a period lacks: its slopes would be change."""
    directions = [
        {scene.orbit_state for scene in images.scenes if scene.sensor == "s1"}
        for images in periods.values()
    ]
    common = set.intersection(*directions)
    if not any(directions) or all(found == common for found in directions):
        return periods, []
    if not common:
        raise NoValidData(
            "the radar images of the periods are of different orbit directions, which cannot be "
            "compared; use longer periods"
        )
    kept, left_out = {}, []
    for place, images in periods.items():
        kept[place] = SceneImages(tuple(f for f in images.files if f.scene.orbit_state in common))
        left_out += [
            LeftOut(
                scene_id=scene.id,
                href=scene.href,
                reason=f"{scene.orbit_state}, and the period compared with has none such",
            )
            for scene in images.scenes
            if scene.orbit_state not in common
        ]
    return kept, left_out


def _nothing_usable(left_out: Sequence[LeftOut]) -> NoValidData:
    if not left_out:
        return NoValidData(
            "the catalogue holds no scene of the area in the period; give a longer period, "
            "another --source, or check that the area is given as longitude, latitude"
        )
    return NoValidData(
        f"{len(left_out)} scenes were found and none can be used; first {left_out[0].scene_id}: "
        f"{left_out[0].reason}"
    )
