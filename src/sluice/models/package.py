"""Model packages: a folder with `manifest.json`, `weights.onnx` and `MODEL_CARD.md`."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from sluice.base.errors import ConfigError, ManifestMismatch, ModelError, WeightsError
from sluice.base.files import write_whole
from sluice.models.contract import bind_weights, check_contract
from sluice.models.manifest import MANIFEST_FILE, Manifest, is_legal_name, read_manifest

EXTRAS_KEY = "files"
"""In `Manifest.training`: further files of the package, name to SHA-256."""
_EXTRA_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}\.(safetensors|csv|png|json)")
INPUT_NAME = "image"
"""The weights' only input, (N, C, H, W) float32."""


@dataclass(frozen=True)
class ModelPackage:
    """A model on disk, checked when it was loaded."""

    manifest: Manifest = field(compare=False)
    folder: Path
    sha256: str
    """Identifies the model in a run: manifest and weights."""

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    @property
    def weights_path(self) -> Path:
        """The ONNX file."""
        return self.folder / self.manifest.weights.file

    @property
    def card_path(self) -> Path:
        """The model card."""
        return self.folder / self.manifest.card

    @property
    def extras(self) -> frozenset[str]:
        """Names of its further files.

        Raises:
            ManifestMismatch: The manifest names what cannot be one.
        """
        return frozenset(_extras(self.manifest))

    def read_weights(self) -> bytes:
        """The ONNX file's bytes, whose hash is the manifest's.

        Raises:
            WeightsError: Missing, or changed since the manifest was written.
        """
        try:
            weights = self.weights_path.read_bytes()
        except OSError as err:
            raise WeightsError(
                f"{self.weights_path}: cannot be read ({err.strerror}); "
                "fetch or write the model package again",
                href=str(self.weights_path),
            ) from err
        found, expected = weights_sha256(weights), self.manifest.weights.sha256
        if found != expected:
            raise WeightsError(
                f"{self.weights_path}: SHA-256 is {found[:12]}…, the manifest says "
                f"{expected[:12]}…; the file is damaged or was exchanged: fetch it again",
                href=str(self.weights_path),
            )
        return weights

    def read_extra(self, name: str) -> bytes:
        """A further file of the package, such as `weights.safetensors`, checked.

        Raises:
            WeightsError: The package has none of that name, or it is missing or changed.
        """
        path = self.folder / name
        expected = _extras(self.manifest).get(name)
        if expected is None:
            raise WeightsError(
                f"{self.folder}: this model has no {name}; use one that was trained with it",
                href=str(self.folder),
            )
        try:
            content = path.read_bytes()
        except OSError as err:
            raise WeightsError(
                f"{path}: cannot be read ({err.strerror}); fetch or write the model package again",
                href=str(path),
            ) from err
        if weights_sha256(content) != expected:
            raise WeightsError(
                f"{path}: SHA-256 is not what the manifest says; the file is damaged or was "
                "exchanged: fetch it again",
                href=str(path),
            )
        return content


def builtin_folder() -> Path:
    """The folder of the models that come with Sluice."""
    return Path(str(resources.files("sluice.models"))) / "builtin"


@dataclass(frozen=True)
class DamagedPackage:
    """A folder that should be a model and cannot be loaded."""

    name: str
    folder: Path
    reason: str


def list_packages(models_dir: Path | None) -> list[ModelPackage | DamagedPackage]:
    """All packages by name, those that come with Sluice first, damaged ones with the reason."""
    folders = [builtin_folder()] + ([models_dir] if models_dir is not None else [])
    return [
        _load_or_tell(manifest.parent)
        for folder in folders
        for manifest in sorted(folder.glob(f"[!.]*/{MANIFEST_FILE}"))
    ]


def _load_or_tell(folder: Path) -> ModelPackage | DamagedPackage:
    try:
        return _load_folder(folder)
    except ModelError as err:
        return DamagedPackage(folder.name, folder.absolute(), " ".join(str(err).split()))


def load_package(name_or_path: str | Path, models_dir: Path | None) -> ModelPackage:
    """Load and check a model package.

    Args:
        name_or_path: A model's name, or the path of a package folder. What holds a slash is a
            path. The models that come with Sluice keep their names.
        models_dir: Where the user's packages lie.

    Raises:
        ConfigError: No such model.
        ManifestMismatch: The manifest cannot be read or contradicts the weights.
        WeightsError: The weights are missing, damaged or not self-contained ONNX.
    """
    if isinstance(name_or_path, Path) or "/" in name_or_path or "\\" in name_or_path:
        folder = Path(name_or_path)
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such model folder; check the path", href=str(folder))
        return _load_folder(folder)
    if not is_legal_name(name_or_path):
        raise ConfigError(
            f"{name_or_path!r} cannot name a model; "
            "`sluice models list` shows the names, ./folder means a path"
        )
    for place in (builtin_folder(), models_dir):
        if place is not None and (place / name_or_path / MANIFEST_FILE).is_file():
            return _load_folder(place / name_or_path)
    known = ", ".join(sorted(_names(models_dir))) or "none"
    raise ConfigError(
        f"model {name_or_path!r} is not here; found: {known}. "
        "Name one of them, give a package folder as ./folder, or import one"
    )


def check_new_name(name: str, models_dir: Path) -> None:
    """Refuse a name that a model of the user's cannot be given.

    Raises:
        ConfigError: It is no legal name, or a model bears it.
    """
    if not is_legal_name(name):
        raise ConfigError(
            f"{name!r} cannot name a model; use up to 64 small letters, digits, '.', '-', '_'"
        )
    if (builtin_folder() / name).exists():
        raise ConfigError(f"{name!r} is a model that comes with Sluice; choose another name")
    if (models_dir / name).exists():
        raise _is_there(models_dir / name)


def _is_there(folder: Path) -> ConfigError:
    return ConfigError(
        f"{folder}: is there already; choose another name or remove it", href=str(folder)
    )


def write_package(
    folder: Path,
    manifest: Manifest,
    weights: bytes,
    card: str,
    *,
    replace: bool = False,
    bind: bool = False,
    extras: Mapping[str, bytes] | None = None,
) -> ModelPackage:
    """Write a package whole or not at all.

    Args:
        folder: Its last part is the manifest's name.
        manifest: Its `weights.sha256` is that of `weights`.
        weights: A serialised ONNX model.
        card: Text of the model card, Markdown.
        replace: Put it in the place of one that is there.
        bind: Write into the weights which contract they belong to, see `bind_weights`; their
            hash changes, and the manifest with it. For weights that were just made.
        extras: Further files by name, such as `weights.safetensors`; `manifest.training` names
            each with its SHA-256 under `files`.

    Raises:
        ConfigError: The folder exists and is not to be replaced.
        ManifestMismatch: The manifest has another name or hash, does not fit the weights, or
            names other further files.
        WeightsError: Not a self-contained ONNX model.
        OSError: The folder cannot be written.
    """
    if folder.name != manifest.name:
        raise ManifestMismatch(
            f"the manifest names the model {manifest.name!r}, its folder is {folder.name!r}; "
            "give both the same name"
        )
    found = weights_sha256(weights)
    if found != manifest.weights.sha256:
        raise ManifestMismatch(
            f"{manifest.name}: the manifest announces weights {manifest.weights.sha256[:12]}…, "
            f"got {found[:12]}…; write the manifest for these weights"
        )
    check_weights(weights, manifest, href=manifest.name)
    if bind:
        weights = bind_weights(weights, manifest)
        bound = manifest.weights.model_copy(update={"sha256": weights_sha256(weights)})
        manifest = manifest.model_copy(update={"weights": bound})
    extras = extras or {}
    if _extras(manifest) != {name: weights_sha256(data) for name, data in extras.items()}:
        raise ManifestMismatch(
            f"{manifest.name}: the manifest names the further files "
            f"{', '.join(_extras(manifest)) or 'none'}, given are {', '.join(extras) or 'none'}; "
            "name each with its SHA-256"
        )
    if folder.exists() and not replace:
        raise _is_there(folder)
    there = _put_aside(folder) if folder.exists() else contextlib.nullcontext()
    with there, write_whole(folder) as part:
        part.mkdir()
        # Bytes, so that Windows does not change line ends.
        (part / MANIFEST_FILE).write_bytes(manifest.to_json().encode())
        (part / manifest.weights.file).write_bytes(weights)
        (part / manifest.card).write_bytes(card.encode())
        for name, data in extras.items():
            (part / name).write_bytes(data)
    return _load_folder(folder)


def weights_sha256(weights: bytes) -> str:
    """Hex SHA-256 for `Weights.sha256`."""
    return hashlib.sha256(weights).hexdigest()


def check_weights(weights: bytes, manifest: Manifest, *, href: str) -> None:
    """Hold an ONNX model against its manifest.

    Raises:
        WeightsError: Not an ONNX model, or its tensors lie in other files.
        ManifestMismatch: Input, output or contract is not what the manifest says.
    """
    try:
        model = onnx.load_model_from_string(weights)
    except DecodeError as err:
        raise WeightsError(f"{href}: not an ONNX model ({err}); write it again", href=href) from err
    inside = (_node_tensors(node) for function in model.functions for node in function.node)
    tensors = itertools.chain(_tensors(model.graph), *inside)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        raise WeightsError(
            f"{href}: the weights point to other files; export them into one file", href=href
        )
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        raise ManifestMismatch(
            f"{href}: the weights have {len(model.graph.input)} inputs and "
            f"{len(model.graph.output)} outputs; Sluice models have one of each",
            href=href,
        )
    pixels = manifest.judges == "pixels"
    side = None if manifest.dense_stride_px or pixels else manifest.sight_px
    expected = (None, len(manifest.inputs), side, side)
    found = _shape(model.graph.input[0])
    if model.graph.input[0].name != INPUT_NAME or found != expected:
        raise ManifestMismatch(
            f"{href}: the manifest needs an input {INPUT_NAME} {_spell(expected)}, "
            f"the weights take {model.graph.input[0].name} {_spell(found)}; "
            "they do not belong together",
            href=href,
        )
    axes: tuple[int | None, ...] = (None, len(manifest.classes) if pixels else 1)
    if manifest.dense_stride_px or pixels:
        axes += (None, None)
    given = _shape(model.graph.output[0])
    if len(given) != len(axes) or given[1] != axes[1]:
        raise ManifestMismatch(
            f"{href}: the weights give {_spell(given)}, the manifest promises {_spell(axes)}; "
            "they do not belong together",
            href=href,
        )
    check_contract(model, manifest, href=href)


def _extras(manifest: Manifest) -> dict[str, str]:
    """Further files that the manifest names, and their SHA-256.

    Raises:
        ManifestMismatch: A name that could leave the folder, or no hash.
    """
    files = manifest.training.get(EXTRAS_KEY, {})
    if not isinstance(files, dict):
        raise ManifestMismatch(f"{manifest.name}: training.{EXTRAS_KEY} is no table of files")
    found = {}
    for name, digest in files.items():
        own = name in {MANIFEST_FILE, manifest.weights.file, manifest.card}
        if own or not _EXTRA_NAME.fullmatch(name) or not isinstance(digest, str):
            raise ManifestMismatch(
                f"{manifest.name}: {name!r} cannot be a further file of a package; correct "
                f"training.{EXTRAS_KEY}"
            )
        found[name] = digest
    return found


@contextlib.contextmanager
def _put_aside(folder: Path) -> Iterator[None]:
    """Move a folder away, since no rename replaces a full one; back if the block fails."""
    aside = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
    old = folder.rename(aside / folder.name)
    try:
        yield
    except BaseException:
        old.rename(folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _load_folder(folder: Path) -> ModelPackage:
    folder = folder.absolute()
    manifest = read_manifest(folder / MANIFEST_FILE)
    if folder.name != manifest.name:
        raise ManifestMismatch(
            f"{folder}: the manifest inside names the model {manifest.name!r}; "
            "give the folder that name",
            href=str(folder),
        )
    # Of the content, not the bytes: line ends and spaces do not make another model.
    content = json.dumps(
        json.loads((folder / MANIFEST_FILE).read_bytes()), sort_keys=True, separators=(",", ":")
    )
    digest = hashlib.sha256(content.encode() + bytes.fromhex(manifest.weights.sha256))
    package = ModelPackage(manifest, folder, digest.hexdigest())
    check_weights(package.read_weights(), manifest, href=str(package.weights_path))
    return package


def _names(models_dir: Path | None) -> Iterator[str]:
    for place in (builtin_folder(), models_dir):
        if place is not None:
            yield from (found.parent.name for found in place.glob(f"[!.]*/{MANIFEST_FILE}"))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else None
        for dim in value.type.tensor_type.shape.dim
    )


def _spell(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
