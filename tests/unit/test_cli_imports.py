"""What `sluice --help` does not import: help must be there at once, and without any extra."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "fastapi", "dask", "openvino", "onnxruntime", "sklearn", "tensorflow"}
GEOSPATIAL = {"rasterio", "geopandas", "pyogrio", "pyproj", "scipy", "numpy", "onnx", "h5py"}
DRAWING = {"matplotlib", "PIL"}
DATABASES = {"sqlalchemy", "alembic", "psycopg", "pandas", "shapely"}

PROGRAM = """
import json, sys
sys.argv[0] = "sluice"
from sluice.app.cli.main import main
try:
    main()
except SystemExit as ended:
    tops = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps([ended.code or 0, tops]), file=sys.stderr)
"""


def imported_by(*words: str) -> tuple[set[str], str]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, modules = json.loads(ended.stderr.splitlines()[-1])
    assert code == 0
    assert "typer" in modules
    return set(modules), ended.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("scan", "--help"),
        ("demo", "--help"),
        ("models", "--help"),
        ("evaluate", "chips", "--help"),
        ("evaluate", "sites", "--help"),
        ("train", "chip-detector", "--help"),
        ("train", "unet", "--help"),
        ("train", "cnn", "--help"),
        ("train", "random-features", "--help"),
        ("train", "feature-table", "--help"),
        ("map-features", "--help"),
        ("labels", "grid", "--help"),
        ("labels", "check", "--help"),
        ("labels", "import", "--help"),
        ("store", "--help"),
        ("store", "check", "--help"),
    ],
)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    modules, said = imported_by(*words)
    assert not modules & (HEAVY | GEOSPATIAL | DRAWING | DATABASES)
    assert said.startswith(("Usage: sluice", "sluice "))
