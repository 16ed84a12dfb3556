"""The demo: plant mines in a synthetic scene, scan it like any image, compare with the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict

from sluice import __version__
from sluice.app.config import ScanConfig
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.layout import RUN
from sluice.app.products.summary import Summary, summary_text
from sluice.app.workflows import FinishedScan, scan
from sluice.base.errors import ConfigError
from sluice.base.files import open_raster, write_whole
from sluice.phantom.compare import TruthComparison, compare_with_truth, observed_area
from sluice.phantom.scene import PhantomScene, build_scene, demo_scene
from sluice.phantom.write import write_scene
from sluice.scan.run import Progress

SCENE_FOLDER = "scene"
MAP_FOLDER = "map"
MARKER = "demo.json"
"""Says that the folder is a demo's; written before anything else."""


class DemoOutcome(BaseModel):
    """What the demo found of what it planted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scene: Path
    map: Path
    summary: Summary
    truth: TruthComparison

    @property
    def text(self) -> str:
        """For a person."""
        truth = self.truth.to_text().replace("\n", "\n  ")
        return (
            f"{summary_text(self.summary)}\n\n"
            f"Against the mines that were planted in this synthetic scene:\n  {truth}\n\n"
            f"Map:             {self.map / 'quicklook.png'}\n"
            f"Sites for QGIS:  {self.map / 'sites.gpkg'}\n"
            f"Images and truth: {self.scene}"
        )


def run_demo(
    out: Path, *, seed: int | None = None, overwrite: bool = False, progress: Progress | None = None
) -> DemoOutcome:
    """Write a synthetic scene, scan it with the default model, compare.

    A demo that was cut off goes on when it is called again.

    Args:
        out: Gets `scene/` (images and truth) and `map/` (the run).
        seed: Of the landscape; None takes the demo's own.
        overwrite: Replace an earlier demo.
        progress: Told of each tile.

    Raises:
        ConfigError: `out` holds something else, or cannot be written.
        RunFailed: The scan could not be finished.
    """
    scene_folder, map_folder = out / SCENE_FOLDER, out / MAP_FOLDER
    with telling_disk_errors(out):
        marks = {"sluice_version": __version__}
        take_folder(out, finished=out / MAP_FOLDER / RUN, marks=marks, overwrite=overwrite)
    scene = demo_scene() if seed is None else build_scene(seed)
    with telling_disk_errors(out):
        write_scene(scene, scene_folder)
    config = ScanConfig(images=(scene_folder,), out=map_folder, overwrite=overwrite)
    finished = scan(config, progress)
    return DemoOutcome(
        scene=scene_folder,
        map=map_folder,
        summary=finished.summary,
        truth=_compare(scene, finished),
    )


def take_folder(out: Path, *, finished: Path, marks: dict[str, Any], overwrite: bool) -> None:
    """Mark a new folder as a demo's, or see that it is.

    Args:
        out: The folder.
        finished: What a finished demo leaves in it.
        marks: What the marker says; a demo that was begun goes on under the same marks only.
        overwrite: Whether a demo that is there may be replaced.

    Raises:
        ConfigError: It holds a finished demo that is to stay, another demo that was begun, or other
            people's files.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; give --out a folder", href=str(out))
    if (out / MARKER).is_file() and not overwrite:
        if finished.exists():
            raise ConfigError(f"{out}: holds an earlier demo; give --overwrite to replace it")
        begun = json.loads((out / MARKER).read_bytes())
        if _kind_of(begun) != _kind_of(marks):
            raise ConfigError(
                f"{out}: holds another demo that was begun; give the same options to go on with "
                "it, --overwrite to replace it, or --out another folder"
            )
    if out.is_dir() and not (out / MARKER).is_file():
        foreign = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        if foreign:
            raise ConfigError(
                f"{out}: holds files that are not a demo's ({foreign[0]}, {len(foreign)} in "
                "all); give --out a new or an empty folder",
                href=str(out),
            )
    with write_whole(out / MARKER) as part:
        part.write_text(json.dumps(marks) + "\n", encoding="utf-8")


def _kind_of(marks: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in marks.items() if name != "sluice_version"}


def _compare(scene: PhantomScene, finished: FinishedScan) -> TruthComparison:
    detections = gpd.read_parquet(finished.paths.sites_parquet)
    with open_raster(finished.paths.score) as score:
        grid = GeoBox(score.shape, score.transform, score.crs.to_wkt())
        observed = observed_area(np.isfinite(score.read(1)), grid)
    return compare_with_truth(detections, scene.mines, scene.confusers, observed)
