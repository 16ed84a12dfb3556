"""Memory is bounded by the tile, whatever the size of the image."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from scenes import BARE, utm_geobox

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="reads the peak from /proc"
)

# The peak of this program alone: what getrusage says includes the process that started it.
PROGRAM = """
import sys
from sluice.app.cli.main import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print([line.split()[1] for line in status if line.startswith("VmHWM")][0], file=sys.stderr)
"""


def write_mostly_empty(path: Path, side: int) -> Path:
    """An image of which a strip holds data: reading costs the same memory, scoring no time."""
    geobox = utm_geobox((side, side))
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint16",
        nodata=0,
        count=2,
        height=side,
        width=side,
        crs=str(geobox.crs),
        transform=geobox.affine,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        sparse_ok=True,
        interleave="band",
    ) as target:
        target.descriptions = ("red", "green")
        target.scales = (0.0001, 0.0001)
        for band, name in enumerate(target.descriptions, start=1):
            strip = np.full((600, 600), BARE[name] * 1e4, np.uint16)
            target.write(strip, band, window=Window(0, 0, 600, 600))
    return path


def peak_mb(image: Path, model: Path, out: Path) -> float:
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            "scan",
            image,
            "--model",
            model,
            "--out",
            out,
            "--workers",
            "2",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=True,
    )
    return int(ended.stderr) / 1024


@pytest.mark.slow
def test_four_times_the_pixels_take_little_more_memory(toy_model, tmp_path) -> None:
    """From 36 to 144 million pixels, the inputs grow by 864 MB as the model takes them.

    What may grow: GDAL's cache of blocks, from 144 MB to its limit of 256 MB; and four bytes for
    each of the windows that are added, some times over. So a bound of 350 MB is broken if
    the image, or one band of it, were held whole.
    """
    small, large = (
        peak_mb(
            write_mostly_empty(tmp_path / f"{side}.tif", side), toy_model, tmp_path / f"o{side}"
        )
        for side in (6_000, 12_000)
    )
    print(f"peak: {small:.0f} and {large:.0f} MB")
    assert large - small < 350
