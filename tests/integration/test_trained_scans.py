"""What `sluice train` leaves is taken by `sluice scan`: from chips to sites, small."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")
pytest.importorskip("monai", reason="U-Nets need monai: make test EXTRAS=dev,train")
pytest.importorskip("transformers", reason="SegFormers need transformers")
pytest.importorskip("matplotlib", reason="curves need matplotlib")

from scenes import Patch, utm_geobox, write_dated_folder  # noqa: E402
from sluice.app.config import ScanConfig  # noqa: E402
from sluice.app.workflows import scan  # noqa: E402
from sluice.models.package import ModelPackage  # noqa: E402
from sluice.training.naming import Naming  # noqa: E402
from sluice.training.options import (  # noqa: E402
    CnnOptions,
    DataOptions,
    SegFormerOptions,
    UNetOptions,
)
from sluice.training.pixel_model import TrainedPixelModel, train_pixel_model  # noqa: E402
from sluice.training.window_model import TrainedWindowModel, train_window_model  # noqa: E402
from training_cases import FOREST, POND, write_masked_chips  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (200, 260)
GEOBOX = utm_geobox(SHAPE)
PONDS = (Patch(30, 40, 50, 60), Patch(120, 170, 55, 50))
BANDS = ("red", "green", "blue", "nir")
NAMING = Naming("own", "CC0-1.0", "nobody")
STEPS = {"batch": 4, "warmup_steps": 4}
PIXELS = {**STEPS, "positive_share": 0.5, "loss": "dice"}


@dataclass(frozen=True)
class Family:
    """How it is trained in seconds."""

    train: Callable[..., TrainedPixelModel | TrainedWindowModel]
    options: DataOptions
    chips: dict[str, object]


FAMILIES = {
    "unet": Family(
        train_pixel_model,
        UNetOptions(**PIXELS, epochs=6, learning_rate=0.01, width=4, dropout=0, indices=("ndwi",)),
        {"splits": True},
    ),
    "segformer": Family(
        train_pixel_model,
        SegFormerOptions(**PIXELS, epochs=4, learning_rate=1e-3, decoder_width=32, dropout=0),
        {"splits": True},
    ),
    "cnn": Family(
        train_window_model,
        CnnOptions(
            **{**STEPS, "batch": 8},
            epochs=2,
            learning_rate=5e-3,
            members=1,
            folds=2,
            architecture="amw-2021",
        ),
        {"chips": 48, "side": 50},
    ),
}


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    rng = np.random.default_rng(2)
    bands = {}
    for name in BANDS:
        plain = np.full(SHAPE, FOREST[name])
        for pond in PONDS:
            plain[pond.slices] = POND[name]
        bands[name] = plain + rng.normal(0, 0.02 * FOREST[name] + 0.005, SHAPE)
    folder = tmp_path_factory.mktemp("image") / "scene"
    return write_dated_folder(folder, bands, GEOBOX, date="20240110")


def train(name: str, folder: Path) -> ModelPackage:
    family = FAMILIES[name]
    write_masked_chips(folder / "chips", bands=BANDS, **family.chips)
    return family.train(folder / "chips", folder / "out", family.options, NAMING).package


def bounds(patch: Patch) -> tuple[float, float, float, float]:
    """West, south, east, north in metres."""
    (left, top), (right, bottom) = (
        GEOBOX.affine * corner
        for corner in (
            (patch.col, patch.row),
            (patch.col + patch.width, patch.row + patch.height),
        )
    )
    return left, bottom, right, top


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trained_model_maps_the_ponds_of_a_scene(name, image, tmp_path):
    package = train(name, tmp_path)
    finished = scan(
        ScanConfig(images=(image,), out=tmp_path / "map", model=str(package.folder), prior=0.3)
    )
    sites = gpd.read_parquet(finished.paths.sites_parquet).to_crs(GEOBOX.crs)
    ponds = gpd.GeoSeries([shapely.box(*bounds(pond)) for pond in PONDS], crs=sites.crs)
    met = np.array([sites.intersects(pond).to_numpy() for pond in ponds])
    assert met.sum(axis=0).tolist() == [1] * len(sites), "nothing but ponds"
    assert met.any(axis=1).all(), "every pond"
    if package.manifest.judges == "pixels":
        both, either = (
            getattr(sites.union_all(), how)(ponds.union_all()).area
            for how in ("intersection", "union")
        )
        assert both / either > 0.8
    assert finished.summary.model == "own"
