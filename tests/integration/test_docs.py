"""The commands in README and docs are run as they stand.

Those in `console network` blocks would leave the machine; they are taken as far as their plan.
"""

import re
import shlex
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from PIL import Image
from typer.testing import CliRunner

from sluice.app import compositing, elevation, workflows
from sluice.app.cli.main import app
from sluice.app.config import ResultsConfig
from sluice.app.finding import Findings
from sluice.app.following.stores import open_store
from sluice.app.jobs import Job, plan_jobs
from sluice.imagery.stac.presets import PRESETS
from sluice.phantom.scene import build_scene

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#]+)")


def commands(document: Path, kind: str = "console") -> list[str]:
    """The `$` lines of a document's blocks of a kind."""
    blocks = re.findall(rf"```{kind}\n(.*?)```", document.read_text(encoding="utf-8"), re.S)
    return [
        line[2:].split("  #")[0].strip()
        for block in blocks
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def write_image(path: Path) -> None:
    """A small scene with named bands, noise and a bright patch, in UTM."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(300, 600, (3, 700, 700)).astype(np.uint16)
    pixels[:, 200:300, 200:300] = 2500
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=3,
        height=700,
        width=700,
        dtype="uint16",
        crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 510_000, 0, -10, 29_000),
    ) as image:
        image.write(pixels)
        image.descriptions = ("red", "green", "blue")
        image.scales = (0.0001,) * 3


def write_chips(folder: Path) -> None:
    """Forty chips in two sheets, each labelled by its brightness."""
    (folder / "grids").mkdir(parents=True)
    rng = np.random.default_rng(0)
    sheet = rng.integers(40, 80, (48, 20 * 48, 3)).astype(np.uint8)
    sheet[:, 10 * 48 :] += 100
    rows = []
    for k, split in enumerate(("test_caroni", "cal")):
        Image.fromarray(sheet).save(folder / "grids" / f"{split}.png")
        rows += [
            (f"{split}.png", i, 0, i, int(i >= 10), "some", 0.75, 20 * k + i, split)
            for i in range(20)
        ]
    names = ["grid", "cell", "row", "col", "label", "source", "clear_threshold", "group", "split"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "chips.csv", index=False)


def write_places(folder: Path) -> None:
    """Somebody's concessions and somebody's detections, on the image."""
    squares = gpd.GeoSeries([shapely.box(511_000, 26_000, 513_000, 28_000)], crs="EPSG:32632")
    layer = gpd.GeoDataFrame({"name": ["One"]}, geometry=squares.to_crs("EPSG:4326"))
    layer.to_file(folder / "CONCESSIONS.gpkg")
    layer.to_file(folder / "THEIRS.geojson")


def sluice_commands(document: Path) -> list[str]:
    return [line for line in commands(document) if not line.startswith("make ")]


@pytest.mark.parametrize(
    "document", list(filter(sluice_commands, DOCUMENTS)), ids=lambda path: path.name
)
def test_commands_run(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    lines = sluice_commands(document)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_MODELS", str(tmp_path / "models"))
    write_image(tmp_path / "IMAGE.tif")
    write_chips(tmp_path / "CHIPS")
    write_places(tmp_path)
    if any(line.startswith("sluice store") for line in lines):
        open_store("sluice.sqlite", create=True).close()
    if any("ensemble" in line for line in lines):
        data = request.getfixturevalue("shared_data")
        (ensemble,) = (data / "amw-models").glob("48px*ensemble*.h5")
        shutil.copy(ensemble, tmp_path)
        (scene,) = (data / "s2s1-spain-water").glob("*_S2Hand.tif")
        shutil.copy(scene, tmp_path / "SENTINEL2_L1C.tif")
    # The whole demo is in test_demo.py; here it is ground for the commands that follow it.
    monkeypatch.setattr("sluice.app.demo.demo_scene", lambda: build_scene(7, size_px=240))
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program in {"sluice", ".venv/bin/sluice"}, line
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{line}\n{result.output}"


NETWORK_COMMANDS = [
    pytest.param(line, id=f"{document.name}-{k}")
    for document in DOCUMENTS
    for k, line in enumerate(commands(document, "console network"))
]


@pytest.mark.parametrize("line", NETWORK_COMMANDS)
def test_network_commands_can_be_planned(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their options are those that `--help` tells, and their values make jobs; nothing is asked."""
    planned: list[Job] = []

    def find(config: ResultsConfig) -> list[Findings]:
        assert config.source in {"google", "copernicus"} or config.source in PRESETS, config.source
        planned.extend(plan_jobs(config))
        return []

    monkeypatch.setattr(workflows, "find", find)
    monkeypatch.setattr(compositing, "find_for_composite", find)
    monkeypatch.setattr(elevation, "find_elevation", find)
    program, command, *arguments = shlex.split(line)
    assert program in {"sluice", ".venv/bin/sluice"}
    told = CliRunner().invoke(app, [command, "--help"]).output
    for option in (argument for argument in arguments if argument.startswith("--")):
        assert re.search(rf"{option}\b", told), option
    result = CliRunner().invoke(app, [command, *arguments, "--dry-run"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert planned


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_make_knows_the_two_commands() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    readme = [line for line in commands(REPOSITORY / "README.md") if line.startswith("make ")]
    assert [line.split()[1] for line in readme] == ["demo", "test"]
    for line in readme:
        assert re.search(rf"^{line.split()[1]}:", makefile, re.M)
