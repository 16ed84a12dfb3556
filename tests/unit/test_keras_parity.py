"""The published Keras models: imported, they give the scores that Keras gave."""

import csv

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from sluice.base.errors import ManifestMismatch
from sluice.base.raster import Raster
from sluice.base.sensors import SENSORS
from sluice.models.keras_import import import_keras
from sluice.models.package import load_package
from sluice.models.predictor import WindowPredictor

FILES = {
    "amw-2021": "44px_v2.8_2021-11-11.h5",
    "amw-2021-rgb": "44px_v2.6_rgb_2021-11-11.h5",
    "amw-2024": "48px_v3.2-3.7ensemble_2024-02-13.h5",
    "amw-2026": "48px_v4.21-CNN100ka_2026-05-08ep179.h5",
}


@pytest.fixture(scope="module")
def imported(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for preset, file in FILES.items():
        import_keras(shared_data / "amw-models" / file, preset, preset, folder)
    return folder


@pytest.fixture(scope="module")
def spain(shared_data):
    path = shared_data / "s2s1-spain-water" / "Spain_7370579_S2Hand.tif"
    with rasterio.open(path) as source:
        reflectance = source.read().astype("f4") / 10_000
    # In degrees on disk; Keras scored its pixels as they are.
    grid = GeoBox((512, 512), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32630")
    return Raster(reflectance, tuple(b.common_name for b in SENSORS["s2-l1c"].bands), grid)


def read_csv(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("preset", "engine"),
    [
        ("amw-2021", "onnxruntime"),
        ("amw-2021", "openvino"),
        ("amw-2021-rgb", "onnxruntime"),
        ("amw-2021-rgb", "openvino"),
        ("amw-2026", "onnxruntime"),
        ("amw-2026", "openvino"),
        # Six times the work, so by the engine that runs without being asked for.
        ("amw-2024", "onnxruntime"),
    ],
)
def test_scores_equal_keras_on_every_row(shared_data, imported, spain, preset, engine):
    table = read_csv(shared_data / "amw-models" / "keras_scores_spain.csv")
    rows = [row for row in table if row["model"] == FILES[preset]]
    at = [(int(row["row"]), int(row["col"])) for row in rows]
    down, right = sorted({r for r, _ in at}), sorted({c for _, c in at})
    assert len(rows) == len(down) * len(right) >= 400
    scores = WindowPredictor(
        load_package(preset, imported), engine=engine, threads=1
    ).score_windows(spain, down, right)
    found = np.array([scores[down.index(r), right.index(c)] for r, c in at])
    expected = np.array([float(row["score"]) for row in rows])
    # The picture is no flat zero, and another order of the bands would show.
    assert expected.max() > 0.8
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_scores_equal_keras_on_chips(shared_data, imported):
    folder = shared_data / "amw-chips"
    expected, places = {}, {}
    # Every twelfth row reaches every sheet of chips, and keeps the test short.
    for row in read_csv(folder / "keras_44px_v2.6_rgb_scores.csv")[::12]:
        expected.setdefault(row["grid"], {})[row["cell"]] = float(row["score"])
    for row in read_csv(folder / "chips.csv"):
        places[row["grid"], row["cell"]] = int(row["row"]) * 48, int(row["col"]) * 48
    predictor = WindowPredictor(load_package("amw-2021-rgb", imported), threads=1)
    worst, count = 0.0, 0
    for grid, cells in expected.items():
        sheet = np.asarray(Image.open(folder / "grids" / grid).convert("RGB"))
        corners = [places[grid, cell] for cell in cells]
        chips = np.stack([sheet[r : r + 48, c : c + 48] for r, c in corners])
        # A byte is clip(DN / 3000) * 255, DN is 10,000 times reflectance.
        reflectance = chips.transpose(0, 3, 1, 2).astype("f4") / 255 * 0.3
        scores = predictor.score_chips(reflectance, ("red", "green", "blue"))
        worst = max(worst, np.abs(scores - list(cells.values())).max())
        count += len(scores)
    assert count == 774
    assert worst < 1e-4


def test_importing_twice_gives_the_same_model(shared_data, imported, tmp_path):
    again = import_keras(
        shared_data / "amw-models" / FILES["amw-2021-rgb"], "amw-2021-rgb", "amw-2021-rgb", tmp_path
    )
    first = load_package("amw-2021-rgb", imported)
    assert again.sha256 == first.sha256
    assert "MIT" in first.card_path.read_text()
    assert first.manifest.training["imported_sha256"] in first.card_path.read_text()


@pytest.mark.parametrize(
    ("file", "preset", "message"),
    [
        ("amw-2021", "amw-2021-rgb", "44 x 44 px and 12 bands, .* for 44 x 44 px and 3 bands"),
        ("amw-2021", "amw-2024", "44 x 44 px and 12 bands, .* for 48 x 48 px and 12 bands"),
        ("amw-2026", "amw-2024", "13 bands, the preset amw-2024 is for 48 x 48 px and 12 bands"),
    ],
)
def test_the_wrong_preset_names_both_sides(shared_data, tmp_path, file, preset, message):
    with pytest.raises(ManifestMismatch, match=message):
        import_keras(shared_data / "amw-models" / FILES[file], preset, "wrong", tmp_path)
    assert not (tmp_path / "wrong").exists()
