"""A small model that can be worked out by hand, and images with bare patches in known places.

The model judges a square of 48 x 48 pixels of 10 m by its mean redness (red minus green): a
square without bare ground scores 0.006, one half bare scores 0.5, one wholly bare 0.994. So the
line of 0.5, which is the model's threshold, runs along the straight edges of a large patch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx.parser
import pyproj
import rasterio
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from onnx import TensorProto, helper, numpy_helper

from sluice.base.calibration import Calibration
from sluice.base.records import ModelInput
from sluice.models.manifest import Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import ModelPackage, write_package

FOREST = {"blue": 0.03, "green": 0.06, "red": 0.04, "nir": 0.30}
BARE = {"blue": 0.10, "green": 0.15, "red": 0.30, "nir": 0.40}
_HALF_BARE = 0.065
_STEEPNESS = 60.0
_FILES = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08"}
SCL_VEGETATION, SCL_CLOUD = 4, 9


def as_stored(values: np.ndarray) -> np.ndarray:
    """Takes a cloud layer's values for its classes; 0 where there is none."""
    return np.nan_to_num(values).astype(np.uint8)


def toy_score(bare_share: float) -> float:
    """What the model gives a window of forest of which a share is bare."""
    redness = -0.02 + 0.17 * bare_share
    return float(1 / (1 + np.exp(-_STEEPNESS * (redness - _HALF_BARE))))


def write_toy_model(
    folder: Path, name: str = "toy", *, ballast: int = 0, earlier_period: bool = False
) -> ModelPackage:
    """Write the model's package.

    Args:
        folder: Of models; the package goes into a folder of its name.
        name: The model's.
        ballast: Channels of a convolution whose result is multiplied by zero: it costs time.
        earlier_period: The model takes green from the period before.
    """
    weights = _toy_weights(ballast)
    green = ModelInput(band="green", period=-1 if earlier_period else 0)
    manifest = Manifest(
        name=name,
        title="Redness of a square",
        summary="Marks squares that are more than half bare.",
        licence="Apache-2.0",
        attribution="Sluice",
        architecture="mean",
        framework="none",
        pretrained=False,
        inputs=(ScaledInput(band="red"), ScaledInput(**green.model_dump())),
        levels=(Level(sensor="s2-l2a", verified=False), Level(sensor="s2-l1c", verified=False)),
        gsd_m=10,
        window_px=48,
        dense_stride_px=8,
        stride_m=80,
        output="At least half of the square is bare.",
        thresholds=Thresholds(t_main=0.5, t_iso=0.9, k=3, isolation_distance_m=1000),
        calibration=Calibration(
            scores=(0.0, 0.5, 1.0),
            log_likelihood_ratio=(-6.0, 0.0, 6.0),
            training_prior=0.2,
            fitted_on="made up",
        ),
        weights=Weights(sha256=hashlib.sha256(weights).hexdigest()),
    )
    return write_package(folder / name, manifest, weights, "# Toy\n")


def _toy_weights(ballast: int) -> bytes:
    constants = {
        "redness": np.array([1, -1], "f4").reshape(1, 2, 1, 1),
        "half": np.array(_HALF_BARE, "f4"),
        "steepness": np.array(_STEEPNESS, "f4"),
    }
    nodes = [
        helper.make_node("Conv", ["image", "redness"], ["red"]),
        helper.make_node("AveragePool", ["red"], ["mean"], kernel_shape=[48, 48], strides=[8, 8]),
        helper.make_node("Sub", ["mean", "half"], ["above"]),
        helper.make_node("Mul", ["above", "steepness"], ["logit"]),
    ]
    last = "logit"
    if ballast:
        rng = np.random.default_rng(0)
        constants["idle"] = rng.normal(size=(ballast, 2, 5, 5)).astype("f4")
        constants["none"] = np.zeros(1, "f4")
        nodes += [
            helper.make_node("Conv", ["image", "idle"], ["busy"]),
            helper.make_node("GlobalAveragePool", ["busy"], ["pooled"]),
            helper.make_node("ReduceMean", ["pooled"], ["one"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["one", "none"], ["zero"]),
            helper.make_node("Add", ["logit", "zero"], ["same"]),
        ]
        last = "same"
    nodes.append(helper.make_node("Sigmoid", [last], ["score"]))
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 2, "y", "x"])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


PLAIN = {
    "title": "",
    "summary": "",
    "licence": "Apache-2.0",
    "attribution": "",
    "architecture": "",
    "framework": "",
    "pretrained": False,
    "gsd_m": 10,
    "output": "",
}
"""Fields of a manifest of which a test has nothing to say."""
PIXELS = PLAIN | {
    "levels": (Level(sensor="s2-l2a", verified=False),),
    "judges": "pixels",
    "window_px": 1,
    "patch_px": 64,
    "patch_overlap_px": 16,
    "max_invalid_share": 0.9,
    "stride_m": 10,
    "thresholds": Thresholds(t_main=0.5, t_iso=0.5),
}
"""Of a model that judges pixels, in patches of 64 px."""

CLASSES = ("other", "active", "left behind")
_CLASS_GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 2, y, x] image) => (float[n, 3, y, x] p)
<float[1] rise = {200}, float[1] one = {1}, int64[2] both = {1, 1},
 float[1, 2, 1, 1] limits = {0.15, 0.35}>
{ above = Sub (image, limits) logit = Mul (above, rise) beyond = Sigmoid (logit)
  bare, bright = Split <axis = 1> (beyond, both) active = Mul (bare, bright)
  left = Sub (bare, active) other = Sub (one, bare) p = Concat <axis = 1> (other, active, left) }"""


def write_class_model(folder: Path, *, bind: bool = False, **fields: object) -> ModelPackage:
    """Write a model of three classes of pixels, in patches of 64 px.

    Bare is where red exceeds 0.15: active where near infrared exceeds 0.35, else left behind.
    """
    weights = onnx.parser.parse_model(_CLASS_GRAPH).SerializeToString()
    values = PIXELS | {
        "name": "classes",
        "inputs": (ScaledInput(band="red"), ScaledInput(band="nir")),
        "classes": CLASSES,
        "weights": Weights(sha256=hashlib.sha256(weights).hexdigest()),
    }
    manifest = Manifest(**(values | fields))
    return write_package(folder / "classes", manifest, weights, "", bind=bind)


@dataclass(frozen=True)
class Patch:
    """A rectangle of bare ground, in pixels."""

    row: int
    col: int
    height: int
    width: int

    @property
    def centre(self) -> tuple[float, float]:
        """(row, column)."""
        return self.row + self.height / 2, self.col + self.width / 2

    @property
    def slices(self) -> tuple[slice, slice]:
        """To cut it out of an array."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)


def utm_geobox(
    shape: tuple[int, int],
    *,
    left: float = 600_000,
    top: float = 700_000,
    pixel_m: float = 10,
    crs: str = "EPSG:32630",
) -> GeoBox:
    """A grid in Ghana."""
    return GeoBox(shape, Affine(pixel_m, 0, left, 0, -pixel_m, top), CRS(crs))


def lonlat(geobox: GeoBox, row: float, col: float) -> tuple[float, float]:
    """Where a place of a grid is on Earth."""
    a = geobox.affine
    to_lonlat = pyproj.Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(a.c + a.a * col, a.f + a.e * row)
    return float(lon), float(lat)


def forest_with(
    patches: Iterable[Patch], shape: tuple[int, int], *, colours: Iterable[str] = tuple(FOREST)
) -> dict[str, np.ndarray]:
    """Reflectance by band, with a little texture that leaves the mean as it is."""
    rows, cols = np.indices(shape)
    texture = np.where((rows + cols) % 2, 0.004, -0.004).astype(np.float32)
    bands = {}
    for colour in colours:
        image = np.full(shape, FOREST[colour], np.float32)
        for patch in patches:
            image[patch.slices] = BARE[colour]
        bands[colour] = image + texture
    return bands


def write_image(
    path: Path,
    bands: Mapping[str, np.ndarray],
    geobox: GeoBox | None,
    *,
    described: bool = True,
    scaled: bool = True,
    **creation: object,
) -> Path:
    """Write reflectance as a GeoTIFF of counts to 10000, NaN as 0, which means no data.

    Args:
        path: The file.
        bands: By common name, in file order.
        geobox: Its grid, None for an image that does not say where it lies.
        described: Write the bands' names into the file.
        scaled: Write the scale into the file.
        creation: Options of GDAL's GeoTIFF driver.
    """
    counts = np.stack([np.nan_to_num(band * 1e4).round() for band in bands.values()])
    place = {} if geobox is None else {"crs": str(geobox.crs), "transform": geobox.affine}
    profile = {"driver": "GTiff", "dtype": "uint16", "nodata": 0, "tiled": True, **place}
    count, height, width = counts.shape
    with rasterio.open(
        path, "w", count=count, height=height, width=width, **(profile | creation)
    ) as target:
        target.write(counts.astype(np.uint16))
        if described:
            target.descriptions = tuple(bands)
        if scaled:
            target.scales = (0.0001,) * count
    return path


def write_dated_folder(
    folder: Path,
    bands: Mapping[str, np.ndarray],
    geobox: GeoBox,
    *,
    date: str,
    cloud: Iterable[Patch] = (),
) -> Path:
    """Write a Sentinel-2 L2A folder of single-band files, with a scene classification.

    Ground under cloud is white in every band, so that a mask that is not used shows.
    """
    folder.mkdir(parents=True)
    scl = np.full(geobox.shape.yx, SCL_VEGETATION, np.uint8)
    bands = {name: band.copy() for name, band in bands.items()}
    for patch in cloud:
        scl[patch.slices] = SCL_CLOUD
        for band in bands.values():
            band[patch.slices] = 0.9
    for name, band in bands.items():
        write_image(folder / f"T30_{date}_{_FILES[name]}.tif", {name: band}, geobox)
    with rasterio.open(
        folder / f"T30_{date}_SCL.tif",
        "w",
        driver="GTiff",
        dtype="uint8",
        count=1,
        height=scl.shape[0],
        width=scl.shape[1],
        crs=str(geobox.crs),
        transform=geobox.affine,
    ) as target:
        target.write(scl, 1)
    return folder
