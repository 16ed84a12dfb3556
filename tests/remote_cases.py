"""What the tests of files at addresses share: the pixels, and ways to reach them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np

from fault_server import FaultServer
from sluice.base.grid import PixelWindow
from sluice.imagery.assets import Asset, list_assets
from sluice.imagery.remote import RemoteAccess

T = TypeVar("T")

SHAPE = (1300, 1100)
# Noise, so that blocks are large and a read takes several requests.
COUNTS = np.random.default_rng(7).integers(1, 10_000, SHAPE, dtype=np.uint16)
COUNTS[:40, :60] = 0
WINDOW = PixelWindow(400, 300, 600, 500)
EXPECTED = COUNTS[WINDOW.slices].astype(np.float32)
ONE_BLOCK = PixelWindow(600, 600, 100, 100)
QUICK = RemoteAccess(timeout_s=10, transfer_s=10, attempts=3, backoff_s=0)
"""Without waits; a busy machine may take seconds all the same."""
HASTY = {"timeout_s": 0.5, "transfer_s": 0.3}
"""Of `RemoteAccess`, where a server hangs that is to be given up."""


def asset_at(server: FaultServer, access: RemoteAccess | None, name: str = "red.tif") -> Asset:
    """As a catalogue describes it, without opening the file."""
    (local,) = list_assets(server.folder / name)
    return replace(local, href=f"{server.url}/{name}", access=access, description="")


def in_new_thread(work: Callable[[], T]) -> T:
    """Run where no file is open yet, as in another process."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
