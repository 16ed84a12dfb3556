"""The two engines that run ONNX weights, behind one call, with the precision that was asked for."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import threading
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from sluice.base.errors import ConfigError, WeightsError
from sluice.models.package import INPUT_NAME, ModelPackage

Engine = Literal["auto", "onnxruntime", "openvino"]
Precision = Literal["f32", "bf16"]
ArrayNCHW: TypeAlias = npt.NDArray[np.float32]


class Session(Protocol):
    """Weights, ready to run."""

    def __call__(self, image_nchw: ArrayNCHW) -> npt.NDArray[np.float32]:
        """Run the weights on scaled inputs; the shape of the result is the model's."""
        ...


def choose_engine(engine: str, precision: str) -> Literal["onnxruntime", "openvino"]:
    """Settle on an engine that can do what is asked.

    Args:
        engine: `onnxruntime`, `openvino`, or `auto`: ONNX Runtime for f32, OpenVINO for bf16.
            In f32 OpenVINO takes up to a quarter less time, and some seconds to start; ONNX
            Runtime is in every install, so all get the same numbers.
        precision: `f32` or `bf16`.

    Raises:
        ConfigError: Unknown words, an engine that is not installed, or bf16 where neither the
            engine nor the processor has it.
    """
    if engine not in ("auto", "onnxruntime", "openvino"):
        raise ConfigError(f"engine {engine!r} is not known; use auto, onnxruntime or openvino")
    if precision not in ("f32", "bf16"):
        raise ConfigError(f"precision {precision!r} is not known; use f32 or bf16")
    has_openvino = importlib.util.find_spec("openvino") is not None
    if engine == "openvino" and not has_openvino:
        raise ConfigError(
            "the engine openvino is not installed; "
            "install it with `pip install sluice[fast]`, or use --engine onnxruntime"
        )
    if precision == "bf16":
        _require_bf16(engine, has_openvino=has_openvino)
    if engine == "openvino" or precision == "bf16":
        return "openvino"
    return "onnxruntime"


def _require_bf16(engine: str, *, has_openvino: bool) -> None:
    if engine == "onnxruntime" or not has_openvino:
        raise ConfigError(
            "precision bf16 needs the engine openvino (`pip install sluice[fast]`): "
            "ONNX Runtime computes in f32 on processors; use --engine openvino or --precision f32"
        )
    if "BF16" not in _openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        # Asked for bf16 all the same, OpenVINO rounds as bf16 does but computes more slowly
        # than in f32: the loss without the gain.
        raise ConfigError(
            "precision bf16: this processor has no bf16 arithmetic, and imitating it is slower "
            "and less exact than f32; use --precision f32"
        )


# `lru_cache` lets concurrent first calls each load the weights: memory for nothing.
_loading = threading.Lock()


def open_session(
    package: ModelPackage,
    engine: Literal["onnxruntime", "openvino"],
    precision: Precision,
    threads: int | None,
    calls: int = 1,
) -> Session:
    """Load a package's weights into an engine, once in each process.

    Args:
        package: The hash of its weights is verified again: a worker reads them anew.
        engine: From `choose_engine`.
        precision: Likewise.
        threads: Of the engine for each call; None leaves it all cores.
        calls: Calls that threads of this process make at the same time.

    Raises:
        WeightsError: The engine refuses the weights.
    """
    with _loading:
        return _load_session(package, engine, precision, threads, calls)


@functools.lru_cache(maxsize=4)
def _load_session(
    package: ModelPackage,
    engine: Literal["onnxruntime", "openvino"],
    precision: Precision,
    threads: int | None,
    calls: int,
) -> Session:
    weights = package.read_weights()
    if engine == "openvino":
        return _OpenVinoSession(weights, precision, threads, calls, href=str(package.weights_path))
    return _OnnxRuntimeSession(weights, threads, href=str(package.weights_path))


def engine_version(engine: Literal["onnxruntime", "openvino"]) -> str:
    """The installed version, for the record of a run."""
    return importlib.metadata.version(engine)


# ONNX Runtime's errors share no base but Exception.
_ONNX_ERRORS = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.NotImplemented,
    errors.RuntimeException,
)


class _OnnxRuntimeSession:
    def __init__(self, weights: bytes, threads: int | None, *, href: str) -> None:
        options = ort.SessionOptions()
        # Threads that wait by spinning take the cores from those that read the next tile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        try:
            # From bytes: there is no folder then from which weights could name other files.
            self._session = ort.InferenceSession(
                weights, options, providers=["CPUExecutionProvider"]
            )
        except _ONNX_ERRORS as err:
            raise _refused("ONNX Runtime", href, err) from err
        self._href = href

    def __call__(self, image_nchw: ArrayNCHW) -> npt.NDArray[np.float32]:
        try:
            score: npt.NDArray[np.float32] = self._session.run(None, {INPUT_NAME: image_nchw})[0]
        except _ONNX_ERRORS as err:
            raise _refused("ONNX Runtime", self._href, err) from err
        return score


class _OpenVinoSession:
    def __init__(
        self, weights: bytes, precision: Precision, threads: int | None, calls: int, *, href: str
    ) -> None:
        # Left alone, OpenVINO takes bf16 wherever the processor has it.
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "EXECUTION_MODE_HINT": "ACCURACY" if precision == "f32" else "PERFORMANCE",
            "NUM_STREAMS": calls,
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads * calls
        core = _openvino_core()
        try:
            self._compiled = core.compile_model(core.read_model(weights), "CPU", options)
        except RuntimeError as err:
            raise _refused("OpenVINO", href, err) from err
        self._href = href
        # A request holds its own buffers: each thread has one.
        self._own = threading.local()

    def __call__(self, image_nchw: ArrayNCHW) -> npt.NDArray[np.float32]:
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        try:
            result = self._own.request.infer([image_nchw], share_inputs=True, share_outputs=False)
        except RuntimeError as err:
            raise _refused("OpenVINO", self._href, err) from err
        score: npt.NDArray[np.float32] = result[0]
        return score


@functools.cache
def _openvino_core() -> Any:
    # An extra that may be absent; heavy besides.
    openvino = importlib.import_module("openvino")
    # Its first exchange with NumPy sets up a table while others may take the interpreter's lock:
    # two threads that begin together would wait for each other for ever. So it is made here.
    _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return openvino.Core()


def _refused(engine: str, href: str, err: Exception) -> WeightsError:
    reason = " ".join(str(err).split())[:200]
    return WeightsError(
        f"{href}: {engine} cannot run these weights ({reason}); try the other engine", href=href
    )
