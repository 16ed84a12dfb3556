"""The large demo: eight quarters of a fictional country, landed in a store, against the truth."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sluice import __version__
from sluice.app.demo import take_folder
from sluice.app.exports.write import export_sites
from sluice.app.following.country import (
    OPTICAL,
    RADAR,
    compare_country,
    land_country,
    register_layers,
    scan_country,
)
from sluice.app.following.stores import open_store
from sluice.app.planning import usable_cores
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.layout import QUICKLOOK
from sluice.app.reports.country_text import comparison_text
from sluice.base.files import write_whole
from sluice.base.periods import Period
from sluice.base.store import SiteQuery
from sluice.phantom.country import build_country
from sluice.phantom.country_files import CountryFiles, write_country
from sluice.phantom.follow_records import CountryComparison

STORE, OUTCOME, SITES = "country.sqlite", "comparison.json", "sites.gpkg"
KEPT = ("red", "green", "blue", "nir", "swir16")
"""Bands of the images that stay, for pictures and for what covers the ground."""
SEED = 41

Stage = Callable[[str, int, int], None]
"""Told what is being done, and how many of how many steps of it are."""


class CountryOutcome(BaseModel):
    """What following the country came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    store: Path
    map: Path
    """The last quarter's picture."""
    sites: Path
    """For QGIS."""
    quarters: tuple[Period, ...]
    comparison: CountryComparison

    @property
    def text(self) -> str:
        """For a person."""
        store, site = self.store, self._first_site()
        tries = [
            f"sluice sites list --store {store}",
            f"sluice sites show {site} --store {store}" if site else "",
            f"sluice alerts list --with-rejected --store {store}",
            f"sluice report {site} --store {store} --out {self.folder / 'report'}" if site else "",
        ]
        return "\n".join(
            [
                comparison_text(self.comparison, self.quarters),
                "",
                f"Store:           {store}",
                f"Map:             {self.map}",
                f"Sites for QGIS:  {self.sites}",
                f"Images, layers and truth: {self.folder / 'country'}",
                "",
                "Try next:",
                *(f"  {command}" for command in tries if command),
            ]
        )

    def _first_site(self) -> str | None:
        """The site of the mine that grew most."""
        found = [mine for mine in self.comparison.mines if mine.sites]
        return max(found, key=lambda mine: mine.largest_ha).sites[0] if found else None


def run_country_demo(
    out: Path, *, seed: int | None = None, overwrite: bool = False, stage: Stage | None = None
) -> CountryOutcome:
    """Draw a country, scan its quarters with Sentinel-2 and Sentinel-1, land them, and compare.

    A demo that was cut off goes on when it is called again.

    Args:
        out: Gets `country/` (images, layers, truth), `optical/` and `radar/` (the scans), the
            store, and the comparison.
        seed: Of the country; None takes the demo's own.
        overwrite: Replace an earlier demo.
        stage: Told of each step.

    Raises:
        ConfigError: `out` holds something else, or another country, or cannot be written.
        RunFailed: A scan could not be finished.
    """
    seed = SEED if seed is None else seed
    marks = {"sluice_version": __version__, "country_seed": seed}
    with telling_disk_errors(out):
        take_folder(out, finished=out / OUTCOME, marks=marks, overwrite=overwrite)
        if overwrite:
            _clear(out)
    tell: Stage = stage or (lambda *_: None)
    tell("Drawing the country", 0, 1)
    country = build_country(seed)
    files = CountryFiles(out / "country")
    if not files.catalogue.is_file():
        with telling_disk_errors(out):
            write_country(
                country,
                files.folder,
                bands=KEPT,
                workers=min(4, usable_cores()),
                progress=lambda done, total: tell("Drawing images", done, total),
            )
    scans = [_scan(files, country.quarters, out, look, tell) for look in (OPTICAL, RADAR)]
    with contextlib.closing(open_store(str(out / STORE), create=True)) as store:
        register_layers(store, files)
        land_country(
            store, files, scans, done=lambda done, total: tell("Landing in the store", done, total)
        )
        tell("Comparing with the truth", 0, 1)
        comparison = compare_country(store, files, country.quarters)
        sites = store.sites(SiteQuery(area=None))
        with telling_disk_errors(out):
            export_sites(sites, out / SITES)
    with telling_disk_errors(out), write_whole(out / OUTCOME) as part:
        part.write_text(comparison.model_dump_json(indent=2) + "\n", encoding="utf-8")
    last = max(scans[0])
    return CountryOutcome(
        folder=out,
        store=out / STORE,
        map=scans[0][last] / QUICKLOOK,
        sites=out / SITES,
        quarters=country.quarters,
        comparison=comparison,
    )


def _scan(
    files: CountryFiles, quarters: tuple[Period, ...], out: Path, look: str, tell: Stage
) -> dict[Period, Path]:
    """Folders of one sensor's scans."""
    words = "Scanning Sentinel-2" if look == OPTICAL else "Scanning Sentinel-1"
    keep = KEPT if look == OPTICAL else ("none",)

    def told(done: int, total: int) -> None:
        tell(words, done, total)

    told(0, len(quarters))
    return scan_country(files, quarters, out / look, look=look, keep=keep, done=told)


def _clear(out: Path) -> None:
    """Take away what an earlier demo left, and nothing else."""
    for name in ("country", OPTICAL, RADAR):
        shutil.rmtree(out / name, ignore_errors=True)
    for path in (out / OUTCOME, out / SITES, *out.glob(f"{STORE}*")):
        path.unlink(missing_ok=True)
