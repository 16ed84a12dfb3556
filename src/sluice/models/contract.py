"""What of a manifest must fit the weights, written into the weights themselves.

Input and output of the weights tell how many bands and classes there are, not which. With the
contract inside, a manifest whose bands or classes were put in another order is found out.
Thresholds, calibration, levels and texts are no part of it and stay free to edit.
"""

from __future__ import annotations

import json
from typing import Any

import onnx

from sluice.base.errors import ManifestMismatch
from sluice.models.manifest import Manifest

CONTRACT_KEY = "sluice.contract"
"""In the ONNX model's `metadata_props`."""
_FIELDS = (
    "judges",
    "inputs",
    "classes",
    "indices",
    "window_px",
    "context_px",
    "patch_px",
    "dense_stride_px",
    "gsd_m",
)


def bind_weights(weights: bytes, manifest: Manifest) -> bytes:
    """Weights with the manifest's contract inside.

    Args:
        weights: A serialised ONNX model without a contract.
        manifest: That they belong to.

    Returns:
        The same model; its graph is not touched.
    """
    text = json.dumps(_contract(manifest), sort_keys=True, separators=(",", ":"))
    entry = onnx.StringStringEntryProto(key=CONTRACT_KEY, value=text)
    # One message after the other is both of them together.
    return weights + bytes(onnx.ModelProto(metadata_props=[entry]).SerializeToString())


def check_contract(model: onnx.ModelProto, manifest: Manifest, *, href: str) -> None:
    """Hold a manifest against the contract inside its weights; of older ones there is none.

    Raises:
        ManifestMismatch: It says something else, or the contract is no such text.
    """
    texts = [each.value for each in model.metadata_props if each.key == CONTRACT_KEY]
    if not texts:
        return
    try:
        written = dict(json.loads(texts[-1]))
    except (ValueError, TypeError, RecursionError) as err:
        raise ManifestMismatch(
            f"{href}: the contract inside cannot be read ({err}); fetch the model again", href=href
        ) from err
    found = _contract(manifest)
    for field in _FIELDS:
        if field in written and written[field] != found[field]:
            where, expected, given = _first_difference(field, written[field], found[field])
            raise ManifestMismatch(
                f"{href}: was written for {where} {_spell(expected)}, the manifest says "
                f"{_spell(given)}; put the manifest back, or write the model again",
                href=href,
            )


def _contract(manifest: Manifest) -> dict[str, object]:
    # What stands at its default is left out, so that fields of later versions change nothing.
    said = manifest.model_dump(mode="json", include=set(_FIELDS), exclude_defaults=True)
    return {field: said.get(field) for field in _FIELDS}


def _first_difference(field: str, written: Any, found: Any) -> tuple[str, Any, Any]:
    """Of lists of one length, such as inputs, the first that differs."""
    if isinstance(written, list) and isinstance(found, list) and len(written) == len(found):
        for k, (one, other) in enumerate(zip(written, found, strict=True)):
            if one != other:
                return f"{field}[{k}]", one, other
    return field, written, found


def _spell(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
