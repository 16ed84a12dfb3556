"""Real images without truth: do they go through, and what is marked?"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning

from proof.markdown import to_table
from proof.parity import SPAIN
from proof.setup import Setup
from sluice.app.config import ScanConfig
from sluice.app.workflows import scan
from sluice.base.files import open_raster, write_whole
from sluice.base.grid import utm_crs

_DN = 0.0001
_PARA = "s2s1-para-multidate/sent2"
_PARA_PLACE = "-55.20_-4.39"
_PARA_YEAR = "2019"
_GHANA_BANDS = ("blue", "green", "red", "nir", "-", "-", "-", "-")


@dataclass(frozen=True)
class _Case:
    name: str
    """Also of the picture."""
    what: str
    images: tuple[Path, ...]
    model: str
    bands: tuple[str, ...] | None = None


def prove_real_input(setup: Setup) -> str:
    """Scan, keep the pictures, and write the table."""
    setup.pictures.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in _cases(setup):
        config = ScanConfig(
            images=case.images,
            out=setup.work / "real" / case.name,
            model=case.model,
            scale=_DN,
            offset=0.0,
            bands=case.bands,
        )
        finished = scan(config)
        shutil.copyfile(finished.paths.quicklook, setup.pictures / f"{case.name}.png")
        summary = finished.summary
        rows.append(
            [
                case.what,
                f"`{summary.model}`",
                f"{summary.area_ha:,.0f}",
                f"{summary.not_observed_percent:.1f} %",
                f"{summary.sites}",
                f"{summary.footprint_ha:,.0f}",
                f"`{setup.pictures.name}/{case.name}.png`",
            ]
        )
    heads = ["image", "model", "ha", "not observed", "sites", "ha marked", "picture"]
    return to_table(heads, rows)


def _cases(setup: Setup) -> Iterator[_Case]:
    default, data = setup.model, setup.data
    yield _Case(
        "fort-mcmurray",
        "Fort McMurray, Canada: L2A folder with SCL, EPSG:4326; industrial open pits",
        (data / "s2-fortmcmurray-l2a",),
        default,
    )
    spain = (data / SPAIN,)
    yield _Case(
        "spain", "Spain: L1C, 13 bands of counts, EPSG:4326; no mines known", spain, default
    )
    for preset, package in setup.published().items():
        yield _Case(f"spain-{preset}", "the same", spain, str(package.folder))
    dates = tuple(place_para(data / _PARA, setup.work / "para"))
    yield _Case(
        "para", f"Para, Brazil: {len(dates)} dates of {_PARA_YEAR}, QA60 empty", dates, default
    )
    for name in ("galamsey_001", "forest_001"):
        image = (data / "s2s1-ghana" / f"{name}.tif",)
        yield _Case(name, f"Ghana, 1.3 km: the file is called {name}", image, default, _GHANA_BANDS)


def place_para(folder: Path, out: Path) -> list[Path]:
    """Write georeferenced copies of one place's dates: files by band, a folder for each date.

    The files have no CRS and no transform. Their names give a centre, and the pixels are 10 m;
    that north is up in UTM is taken for granted.

    Returns:
        The folders, oldest first.
    """
    lon, lat = map(float, _PARA_PLACE.split("_"))
    crs = utm_crs(lon, lat)
    x, y = Transformer.from_crs("EPSG:4326", str(crs), always_xy=True).transform(lon, lat)
    dates = set()
    for path in sorted(folder.glob(f"Sentinel2_*_{_PARA_PLACE}_{_PARA_YEAR}_*.tiff")):
        band, date = path.stem.split("_")[1], path.stem[-10:].replace("_", "-")
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            source = open_raster(path)
        with source:
            counts, dtype = source.read(1), source.dtypes[0]
        height, width = counts.shape
        corner = Affine(10, 0, x - 5 * width, 0, -10, y + 5 * height)
        profile = {"driver": "GTiff", "count": 1, "dtype": dtype, "crs": str(crs)}
        target = out / date / f"{band}_{date}.tif"
        with (
            write_whole(target) as part,
            rasterio.open(
                part, "w", height=height, width=width, transform=corner, **profile
            ) as copy,
        ):
            copy.write(counts, 1)
        dates.add(target.parent)
    return sorted(dates)
