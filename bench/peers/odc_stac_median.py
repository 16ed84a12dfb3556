"""The peer of composites: odc-stac, Dask and `xarray.median` on the same files.

`python -m bench.peers.odc_stac_median ITEMS BANDS` prints what it took as one line of JSON. It
masks by SCL without growing clouds, and keeps the median in memory: less work than Sluice does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import dask
import odc.stac
import pystac

from bench.child import peak_bytes
from bench.machine import core_count

NOT_CLEAR = (0, 1, 3, 8, 9, 10)
CHUNK_PX = 1024


def main() -> None:
    """Load, mask, reduce, and print the figures."""
    items = list(pystac.ItemCollection.from_file(sys.argv[1]))
    bands = sys.argv[2].split(",")
    began = time.perf_counter()
    # As its documentation advises: chunks in space, threads for a job that NumPy does.
    with dask.config.set(scheduler="threads", num_workers=core_count()):
        cube = odc.stac.load(
            items, bands=[*bands, "SCL"], chunks={"x": CHUNK_PX, "y": CHUNK_PX}, groupby="id"
        )
        clear = ~cube["SCL"].isin(NOT_CLEAR)
        images = cube[bands].where(clear & (cube[bands] > 0))
        median = images.median("time", skipna=True).compute()
    figures = {
        "wall_s": time.perf_counter() - began,
        "peak_bytes": peak_bytes(),
        "means": {band: float(median[band].mean()) for band in bands},
        "items": Path(sys.argv[1]).name,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
