"""The published 48 px ensemble: imported into Sluice against Keras `predict`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.peers.make_keras_env import PYTHON, REPOSITORY
from bench.table import Row
from bench.timing import Timed, alternate
from sluice.base.errors import ConfigError
from sluice.imagery.local import open_local
from sluice.models.keras_import import import_keras
from sluice.models.package import ModelPackage
from sluice.models.predictor import WindowPredictor

PRESET = "amw-2024"
MODEL_FILE = "48px*ensemble*.h5"
TARGET = "2x"
WHAT = "imported 48 px ensemble of six CNNs against Keras `predict`"
HOW_TO_MAKE_PEER = "make it with `python bench/peers/make_keras_env.py` (2 GB)"


def shared_data() -> Path:
    """The folder of published models and real images; need not exist."""
    return Path(os.environ.get("SLUICE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


def compare_keras(work: Path, *, stride_px: int, rounds: int) -> list[Row]:
    """Score the same windows of a real image with both, by turns; a row for each precision."""
    file = next((shared_data() / "amw-models").glob(MODEL_FILE), None)
    image = next((shared_data() / "s2s1-spain-water").glob("*_S2Hand.tif"), None)
    if file is None or image is None:
        where = f"amw-models/{MODEL_FILE} or s2s1-spain-water is not in {shared_data()}"
        return [Row(WHAT, "not measured", TARGET, f"{where}; set SLUICE_SHARED_DATA")]
    package = import_keras(file, PRESET, "ensemble", work / "models")
    windows_nbhw = cut_windows(image, package, stride_px)
    rows, ours = [], {}
    for precision in ("f32", "bf16"):
        try:
            ours[precision] = WindowPredictor(package, precision=precision)
        except ConfigError as err:
            rows.append(Row(f"{WHAT}, {precision}", "not available", TARGET, str(err)))
    contestants = {precision: _timed(p, windows_nbhw) for precision, p in ours.items()}
    scores = {
        precision: predictor.score_chips(windows_nbhw, package.manifest.bands)
        for precision, predictor in ours.items()
    }
    with contextlib.ExitStack() as stack:
        peer = None
        if PYTHON.exists():
            peer = stack.enter_context(running_peer(file, _as_keras(windows_nbhw, package), work))
            contestants["keras"] = peer.predict
        seconds = alternate(contestants, rounds)
    speeds = {name: len(windows_nbhw) / s for name, s in seconds.items()}
    return [_row(name, ours[name].engine, speeds, scores, peer) for name in ours] + rows


def _row(
    precision: str,
    engine: str,
    speeds: dict[str, float],
    scores: dict[str, np.ndarray],
    peer: Peer | None,
) -> Row:
    beside = [f"here {speeds[precision]:,.0f} windows/s with {engine}"]
    if peer is None:
        figure = "no peer"
        beside.append(f"Keras is not here: {HOW_TO_MAKE_PEER}")
    else:
        figure = f"{speeds[precision] / speeds['keras']:.2f}x"
        beside.append(f"Keras {speeds['keras']:,.0f}, {peer.versions}, batch {peer.batch_size}")
        beside.append(f"largest difference from Keras {_apart(scores[precision], peer.scores):.1e}")
    if precision != "f32":
        beside.append(f"from f32 {_apart(scores[precision], scores['f32']):.1e}")
    beside.append(f"{len(scores[precision]):,} windows of a real image")
    return Row(f"{WHAT}, {precision}", figure, TARGET, "; ".join(beside))


def cut_windows(image: Path, package: ModelPackage, stride_px: int) -> np.ndarray:
    """All windows of an image: (N, bands, side, side) float32 reflectance."""
    images = open_local([image], sensor="s2-l1c", scale=1e-4, offset=0.0)
    (scene,) = images.scenes
    raster = images.read(scene, package.manifest.bands, images.source_grids(scene)[0])
    side = package.manifest.window_px
    view = np.lib.stride_tricks.sliding_window_view(raster.data_bhw, (side, side), axis=(1, 2))
    chosen = view[:, ::stride_px, ::stride_px]
    return np.ascontiguousarray(
        chosen.transpose(1, 2, 0, 3, 4).reshape(-1, len(raster.bands), side, side)
    )


@dataclass(frozen=True)
class Peer:
    """Keras at work in its own process."""

    process: subprocess.Popen[str]
    scores: np.ndarray
    batch_size: int
    versions: str

    def predict(self) -> float:
        """Predict once; its own seconds."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the peer was started without pipes")
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextlib.contextmanager
def running_peer(model: Path, windows_nhwb: np.ndarray, work: Path) -> Iterator[Peer]:
    """Start Keras, and end it afterwards.

    Raises:
        RuntimeError: It did not start; the message holds its last words.
    """
    np.save(work / "windows.npy", windows_nhwb)
    script = Path(__file__).parent / "peers" / "keras_predict.py"
    command = [PYTHON, script, model, work / "windows.npy", work / "keras_scores.npy"]
    with (work / "keras.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own script, no shell
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    # Leaving the block closes its input, at which the peer ends.
    with process:
        first = process.stdout.readline() if process.stdout else ""
        if not first:
            raise RuntimeError(f"the peer failed: {(work / 'keras.log').read_text()[-2000:]}")
        yield Peer(process, np.load(work / "keras_scores.npy"), **json.loads(first))


def _as_keras(windows_nbhw: np.ndarray, package: ModelPackage) -> np.ndarray:
    """What the weights see, channels last: the manifest's scaling."""
    out = np.empty((*windows_nbhw[:, 0].shape, windows_nbhw.shape[1]), np.float32)
    for k, spec in enumerate(package.manifest.inputs):
        scaled = (windows_nbhw[:, k] - np.float32(spec.subtract)) / np.float32(spec.divide)
        out[..., k] = np.clip(scaled, spec.low, spec.high)
    return out


def _timed(predictor: WindowPredictor, windows_nbhw: np.ndarray) -> Timed:
    def run() -> float:
        began = time.perf_counter()
        predictor.score_chips(windows_nbhw, predictor.package.manifest.bands)
        return time.perf_counter() - began

    return run


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(one - other)))
