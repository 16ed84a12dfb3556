"""Reads a Keras `.h5` file: its architecture and its weights, and nothing that it could run.

A file from elsewhere is not trusted: links to other files, data kept outside the file, and
sizes beyond reason are refused before anything is read, and no code in it is ever looked at.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from sluice.base.errors import ConfigError, WeightsError

MAX_WEIGHTS = 200_000_000
"""Numbers in one file: far beyond any published model of this kind."""
_MAX_DEPTH = 12
_MAX_MEMBERS = 10_000

LayerConfig: TypeAlias = dict[str, Any]
"""One layer as Keras writes it: `class_name`, `config`, and `inbound_nodes` in a graph."""
Float32: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class KerasFile:
    """What a `.h5` file says."""

    architecture: LayerConfig
    """`class_name` is `Sequential`, `Functional` or `Model`."""
    weights: dict[str, dict[str, Float32]]
    """By path of layer names (`block/conv2d`), then by `kernel`, `bias`, `gamma`, …"""
    keras_version: str


def read_keras_file(path: Path) -> KerasFile:
    """Read a whole-model `.h5` file as Keras 2 writes it.

    Raises:
        ConfigError: No such file.
        WeightsError: Not HDF5, truncated, without an architecture, or unsafe.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; check the path", href=str(path))
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path)
    except (OSError, RuntimeError, KeyError) as err:
        reason = " ".join(str(err).split())[:120]
        raise WeightsError(
            f"{path}: not a whole Keras .h5 file ({reason}); download it again", href=str(path)
        ) from err


def _read(file: h5py.File, path: Path) -> KerasFile:
    config = file.attrs.get("model_config")
    root = _group(file, "model_weights", path)
    if config is None or root is None:
        raise WeightsError(
            f"{path}: holds no Keras model (architecture and weights); "
            "save the whole model, not its weights alone",
            href=str(path),
        )
    try:
        architecture = json.loads(config)
    except (ValueError, TypeError, RecursionError) as err:
        raise WeightsError(f"{path}: its architecture is not JSON ({err})", href=str(path)) from err
    if not isinstance(architecture, dict):
        raise WeightsError(f"{path}: its architecture is not a model", href=str(path))
    collector = _Collector(path)
    for layer in root:
        group = _group(root, layer, path)
        if group is not None:
            collector.collect(group, layer)
    version = _text(file.attrs.get("keras_version", "unknown"))
    return KerasFile(architecture, collector.weights, version)


class _Collector:
    """Gathers the arrays of a file, within bounds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights: dict[str, dict[str, Float32]] = {}
        self._members = 0
        self._numbers = 0

    def collect(self, group: h5py.Group, layer: str, depth: int = 0) -> None:
        """Gather the arrays below one top layer.

        Keras repeats the layer's name inside (`conv/conv/kernel:0`), or names the layers of a
        nested model there (`block/conv/kernel:0`): the last name before the array is the layer.
        """
        for name in group:
            # Hard links may form loops, so both are bounded.
            self._members += 1
            if depth > _MAX_DEPTH or self._members > _MAX_MEMBERS:
                raise _unsafe(self.path, f"{group.name} is nested too deeply or without end")
            member = _member(group, name, self.path)
            if isinstance(member, h5py.Group):
                self.collect(member, layer, depth + 1)
                continue
            owner = str(group.name).rsplit("/", 1)[-1]
            key = layer if owner == layer else f"{layer}/{owner}"
            kind = name.split(":", maxsplit=1)[0]
            if kind in self.weights.setdefault(key, {}):
                raise _unsafe(self.path, f"{key} has two arrays named {kind}")
            self.weights[key][kind] = self._read_array(member)

    def _read_array(self, dataset: h5py.Dataset) -> Float32:
        if dataset.is_virtual or dataset.external:
            raise _unsafe(self.path, f"{dataset.name} keeps its data in another file")
        if dataset.dtype.kind != "f":
            raise _unsafe(self.path, f"{dataset.name} holds {dataset.dtype}, no floating point")
        self._numbers += dataset.size
        if self._numbers > MAX_WEIGHTS:
            raise _unsafe(self.path, f"it holds more than {MAX_WEIGHTS:,} weights")
        values = np.asarray(dataset[()], np.float32)
        if not np.isfinite(values).all():
            raise WeightsError(
                f"{self.path}: {dataset.name} holds values that are not numbers; download it again",
                href=str(self.path),
            )
        return values


def _group(parent: h5py.Group, name: str, path: Path) -> h5py.Group | None:
    if name not in parent:
        return None
    member = _member(parent, name, path)
    return member if isinstance(member, h5py.Group) else None


def _member(parent: h5py.Group, name: str, path: Path) -> h5py.Group | h5py.Dataset:
    # Asked for the link before following it: an external one would open another file.
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise _unsafe(path, f"{parent.name}/{name} is a link")
    member = parent[name]
    if not isinstance(member, (h5py.Group, h5py.Dataset)):
        raise _unsafe(path, f"{member.name} is neither a group nor an array")
    return member


def _unsafe(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path}: refused, because {reason}; Keras writes no such file", href=str(path)
    )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
