"""What the figures depend on besides the program."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from pathlib import Path

import psutil
import rasterio

from sluice import __version__
from sluice.base.errors import ConfigError
from sluice.models.runtime import choose_engine

LIBRARIES = ("numpy", "onnxruntime", "openvino", "rasterio", "geopandas")


def describe_machine() -> dict[str, str]:
    """Name and value of each thing to know, in the order to print."""
    memory_gb = psutil.virtual_memory().total / 1e9
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "processor": f"{cpu_model()}, {core_count()} cores, bf16: {bf16_in_words()}",
        "memory": f"{memory_gb:.0f} GB; other load when it began: {load()}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "software": f"sluice {__version__}, {_versions()}, GDAL {rasterio.__gdal_version__}",
        "settings": "a whole scan divides the cores among its tiles, other rows give them all to "
        "one engine; f32 unless a row says otherwise",
    }


def core_count() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def bf16_in_words() -> str:
    """`yes`, or why there is none."""
    try:
        choose_engine("auto", "bf16")
    except ConfigError as err:
        return f"no ({str(err).partition(';')[0].partition(',')[0]})"
    return "yes"


def load() -> str:
    """What else was running: timings on a busy machine mean little."""
    if not hasattr(os, "getloadavg"):
        return f"{psutil.cpu_percent(interval=1):.0f} % of the processor"
    return f"{os.getloadavg()[0]:.1f} processes over the last minute"


def _versions() -> str:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)
