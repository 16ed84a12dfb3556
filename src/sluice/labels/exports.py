"""Exports of labelling tools: Label Studio's JSON and Labelbox's NDJSON.

Sources:
    labelstud.io/guide/task_format and the tags' sample results (PolygonLabels, RectangleLabels,
    EllipseLabels, BrushLabels, KeyPointLabels, Choices): coordinates are percent of the picture.
    Labelbox "export v2" of images: coordinates are pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import rasterio.features
import shapely
import shapely.affinity
import shapely.errors
from affine import Affine
from shapely.geometry import shape as as_shape
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray
from sluice.base.errors import AssetReadError, DataError, ItemNotFound, NoValidData
from sluice.labels.brush import decode_brush
from sluice.labels.pictures import CANNOT_TELL, PictureLabels, Region, Verdict

PICTURE_KEY = "picture"
"""Of a task's data: the id of the picture, so that the tool may call its file what it likes."""
_LARGEST_PX = 65_536
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_SUFFIXES = re.compile(r"(-(colour|ndwi))?\.(png|jpe?g|tiff?)$", re.IGNORECASE)
_ELLIPSE_CORNERS = 64
_MISFITS = (KeyError, TypeError, ValueError, OverflowError, shapely.errors.ShapelyError)


def read_label_studio(path: Path | str) -> list[PictureLabels]:
    """Read an export of Label Studio, format JSON.

    Of several annotations of a task the one marked as ground truth counts, else the latest that
    was not skipped; the others are counted as left out.

    Args:
        path: The `.json` file.

    Returns:
        One for each task, in the file's order. A task without annotation is `waiting`; one whose
        annotations were all cancelled is `skipped`; one that a reviewer rejected last is
        `rejected`.

    Raises:
        ItemNotFound, AssetReadError: No such file, or no JSON.
        DataError: Not in that format, or a result that cannot be true.
        NoValidData: No tasks.
    """
    where = str(path)
    tasks = _load_json(Path(path))
    if isinstance(tasks, dict) and "annotations" in tasks:
        tasks = [tasks]
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{where}: is no export of tasks; export as JSON", href=where)
    if not tasks:
        raise NoValidData(f"{where}: holds no tasks; label some and export again", href=where)
    with_names = [(f"{where}: task {task.get('id', k + 1)}", task) for k, task in enumerate(tasks)]
    return [_told(name, _studio_task, task, name) for name, task in with_names]


def read_labelbox(path: Path | str, *, project: str | None = None) -> list[PictureLabels]:
    """Read an export of Labelbox, NDJSON, a data row in each line.

    Of several labels of a data row the first, which Labelbox calls the best, counts.

    Args:
        path: The `.ndjson` file; a JSON list of the same is taken as well.
        project: Its id or name, where data rows belong to several.

    Returns:
        One for each data row, in the file's order.

    Raises:
        ItemNotFound, AssetReadError: No such file, or no JSON.
        DataError: Not in that format, masks that are only addresses, or several projects.
        NoValidData: No data rows.
    """
    where = str(path)
    rows = list(_load_ndjson(Path(path)))
    if not rows:
        raise NoValidData(f"{where}: holds no data rows; label some and export again", href=where)
    with_names = [(f"{where}: line {k + 1}", row) for k, row in enumerate(rows)]
    return [_told(name, _box_row, row, name, project) for name, row in with_names]


# Label Studio


def _studio_task(task: Mapping[str, Any], where: str) -> PictureLabels:
    if "data" not in task or not isinstance(task["data"], dict):
        raise DataError(f"{where}: has no `data`; export as JSON, not as JSON-MIN or another")
    picture = _picture_of(task["data"], where)
    annotations = task.get("annotations", task.get("completions", []))
    if not isinstance(annotations, list):
        raise DataError(f"{where}: `annotations` is no list; export as JSON")
    if not annotations:
        return PictureLabels(picture, None, "waiting")
    kept = [one for one in annotations if not one.get("was_cancelled")]
    if not kept:
        return PictureLabels(picture, None, "skipped", annotator=_studio_annotator(annotations[-1]))
    truth = [one for one in kept if one.get("ground_truth")] or kept
    chosen = max(truth, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
    left_out = {"of another annotation of the same picture": len(kept) - 1} if kept[1:] else {}
    results = chosen.get("result", [])
    if not isinstance(results, list):
        raise DataError(f"{where}: `result` is no list; export as JSON")
    sizes = {size for one in results if (size := _studio_size(one, where)) is not None}
    if len(sizes) > 1:
        raise DataError(f"{where}: its pictures differ in size ({sizes}); use one size")
    regions, choices = _studio_results(results, where, left_out)
    return PictureLabels(
        picture,
        next(iter(sizes), None),
        _verdict(regions, choices, rejected=_was_rejected(chosen)),
        tuple(regions),
        tuple(choices),
        _studio_annotator(chosen),
        left_out,
    )


def _studio_results(
    results: Sequence[Mapping[str, Any]], where: str, left_out: dict[str, int]
) -> tuple[list[Region], list[str]]:
    # A region and its label may be two results of one id.
    names = {
        one.get("id"): one["value"]["labels"]
        for one in results
        if isinstance(one.get("value"), dict) and one["value"].get("labels")
    }
    regions, choices = list[Region](), list[str]()
    for one in results:
        kind, value = str(one.get("type", "")), one.get("value")
        if not isinstance(value, dict):
            continue
        if kind == "choices":
            choices += [str(choice) for choice in value.get("choices", [])]
            continue
        draw = _STUDIO_SHAPES.get(kind.removesuffix("labels"))
        if draw is None:
            # A label on its own belongs to the region of its id.
            if kind != "labels" or one.get("id") is None:
                left_out[f"of kind {kind}"] = left_out.get(f"of kind {kind}", 0) + 1
            continue
        labels = value.get(kind) or value.get("labels") or names.get(one.get("id"))
        if not labels:
            left_out["without a class"] = left_out.get("without a class", 0) + 1
            continue
        if one.get("image_rotation"):
            raise DataError(
                f"{where}: was labelled on a picture turned by {one['image_rotation']} degrees; "
                "turn it back in Label Studio and export again"
            )
        size = _studio_size(one, where)
        if size is None:
            raise DataError(f"{where}: a {kind} result has no original_width; export as JSON")
        try:
            shape = draw(value, size)
        except _MISFITS as err:
            raise DataError(f"{where}: a {kind} result is not complete ({err!r})") from err
        except DataError as err:
            raise DataError(f"{where}: {err}") from err
        regions.append(Region(str(labels[0]), shape))
    return regions, list(dict.fromkeys(choices))


def _studio_size(one: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    width, height = one.get("original_width"), one.get("original_height")
    if width is None or height is None:
        return None
    if not (isinstance(width, int | float) and isinstance(height, int | float)) or not (
        1 <= width <= _LARGEST_PX and 1 <= height <= _LARGEST_PX
    ):
        raise DataError(f"{where}: a picture of {width} x {height} px cannot be; export again")
    return int(width), int(height)


def _was_rejected(annotation: Mapping[str, Any]) -> bool:
    reviews = annotation.get("reviews") or []
    return bool(reviews) and not reviews[-1].get("accepted", True)


def _studio_annotator(annotation: Mapping[str, Any]) -> str | None:
    who = annotation.get("completed_by")
    # An address is personal and serves nothing here; the number tells annotators apart.
    who = who.get("id") if isinstance(who, dict) else who
    return None if who is None else str(who)


def _percent(points: Any, size: tuple[int, int]) -> Any:
    return _bounded(points).reshape(-1, 2) * np.array(size) / 100


def _studio_polygon(value: Mapping[str, Any], size: tuple[int, int]) -> BaseGeometry:
    return shapely.Polygon(_percent(value["points"], size))


def _studio_rectangle(value: Mapping[str, Any], size: tuple[int, int]) -> BaseGeometry:
    (x, y), (width, height) = _percent(
        [[value["x"], value["y"]], [value["width"], value["height"]]], size
    )
    # About the upper left corner, clockwise as seen: with y downwards the positive turn.
    box = shapely.box(x, y, x + width, y + height)
    turned: BaseGeometry = shapely.affinity.rotate(
        box, float(value.get("rotation") or 0), origin=(x, y)
    )
    return turned


def _studio_ellipse(value: Mapping[str, Any], size: tuple[int, int]) -> BaseGeometry:
    (x, y), (across, down) = _percent(
        [[value["x"], value["y"]], [value["radiusX"], value["radiusY"]]], size
    )
    turns = np.arange(_ELLIPSE_CORNERS) * 2 * np.pi / _ELLIPSE_CORNERS
    ring = np.column_stack([x + across * np.cos(turns), y + down * np.sin(turns)])
    turn = float(value.get("rotation") or 0)
    turned: BaseGeometry = shapely.affinity.rotate(shapely.Polygon(ring), turn, origin=(x, y))
    return turned


def _studio_point(value: Mapping[str, Any], size: tuple[int, int]) -> BaseGeometry:
    return shapely.Point(*_percent([value["x"], value["y"]], size)[0])


def _studio_brush(value: Mapping[str, Any], size: tuple[int, int]) -> BaseGeometry:
    if value.get("format") != "rle":
        raise DataError(f"a brush stroke of format {value.get('format')!r} is not known")
    painted = decode_brush(value["rle"], *size).astype(np.uint8)
    found = rasterio.features.shapes(painted, mask=painted == 1, transform=Affine.identity())
    return shapely.union_all([as_shape(outline) for outline, _ in found])


_STUDIO_SHAPES: dict[str, Callable[[Mapping[str, Any], tuple[int, int]], BaseGeometry]] = {
    "polygon": _studio_polygon,
    "rectangle": _studio_rectangle,
    "ellipse": _studio_ellipse,
    "keypoint": _studio_point,
    "brush": _studio_brush,
}


# Labelbox


def _box_row(row: Mapping[str, Any], where: str, project: str | None) -> PictureLabels:
    data_row = row.get("data_row")
    if not isinstance(data_row, dict):
        raise DataError(f"{where}: has no `data_row`; export as NDJSON (export v2)")
    name = data_row.get("global_key") or data_row.get("external_id") or data_row.get("row_data")
    if not name:
        raise DataError(f"{where}: the data row has no global_key; export with data row details")
    picture = _picture_name(str(name))
    found = _box_project(row, where, project)
    labels = found.get("labels") or []
    status = str((found.get("project_details") or {}).get("workflow_status") or "").lower()
    if not labels:
        return PictureLabels(picture, None, "waiting")
    label = labels[0]
    details = label.get("label_details") or {}
    annotator = details.get("created_by")
    if (label.get("performance_details") or {}).get("skipped"):
        return PictureLabels(picture, None, "skipped")
    annotations = label.get("annotations") or {}
    left_out = {"of another label of the same picture": len(labels) - 1} if labels[1:] else {}
    regions = list(_box_objects(annotations.get("objects") or [], where, left_out))
    choices = list(_box_choices(annotations.get("classifications") or []))
    return PictureLabels(
        picture,
        _box_size(row, where, needed=bool(regions)),
        _verdict(regions, choices, rejected="rework" in status),
        tuple(regions),
        tuple(choices),
        _without_address(annotator),
        left_out,
    )


def _box_project(row: Mapping[str, Any], where: str, project: str | None) -> Mapping[str, Any]:
    projects = row.get("projects") or {}
    if not isinstance(projects, dict):
        raise DataError(f"{where}: `projects` is no object; export as NDJSON (export v2)")
    if project is None and len(projects) > 1:
        names = ", ".join(str(one.get("name", key)) for key, one in projects.items())
        raise DataError(f"{where}: belongs to {len(projects)} projects ({names}); give --project")
    for key, one in projects.items():
        if project in {None, key, one.get("name")}:
            chosen: Mapping[str, Any] = one
            return chosen
    return {}


def _box_size(row: Mapping[str, Any], where: str, *, needed: bool) -> tuple[int, int] | None:
    media = row.get("media_attributes") or {}
    size = media.get("width"), media.get("height")
    if all(isinstance(side, int) and 1 <= side <= _LARGEST_PX for side in size):
        return int(size[0] or 0), int(size[1] or 0)
    if needed:
        raise DataError(f"{where}: has no width and height; export with media attributes")
    return None


def _box_objects(
    objects: Iterable[Mapping[str, Any]], where: str, left_out: dict[str, int]
) -> Iterator[Region]:
    for one in objects:
        kind = str(one.get("annotation_kind", ""))
        name = str(one.get("name") or one.get("value") or "")
        try:
            if kind == "ImagePolygon":
                shape: BaseGeometry = shapely.Polygon([_box_point(p) for p in one["polygon"]])
            elif kind == "ImageBoundingBox":
                box = one["bounding_box"]
                left, top, width, height = _bounded(
                    [box["left"], box["top"], box["width"], box["height"]]
                )
                shape = shapely.box(left, top, left + width, top + height)
            elif kind == "ImagePoint":
                shape = shapely.Point(_box_point(one["point"]))
            elif kind == "ImageSegmentationMask":
                raise DataError(
                    f"{where}: {name} is a mask, of which the export has only an address that "
                    "needs your key; have masks turned into polygons in Labelbox, or label with "
                    "the polygon tool"
                )
            else:
                left_out[f"of kind {kind}"] = left_out.get(f"of kind {kind}", 0) + 1
                continue
        except _MISFITS as err:
            raise DataError(f"{where}: an {kind} is not complete ({err!r})") from err
        if not name:
            left_out["without a class"] = left_out.get("without a class", 0) + 1
            continue
        yield Region(name, shape)


def _box_point(point: Mapping[str, Any]) -> tuple[float, float]:
    x, y = _bounded([point["x"], point["y"]])
    return float(x), float(y)


def _bounded(numbers: Any) -> FloatArray:
    """Numbers that may be coordinates on a picture, or a little beyond it.

    Raises:
        ValueError: They are not.
    """
    found = np.asarray(numbers, np.float64)
    if not (np.abs(found) <= _LARGEST_PX).all():
        raise ValueError("a coordinate is nowhere near the picture")
    return found


def _box_choices(classifications: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for one in classifications:
        answers = [one.get("radio_answer"), *(one.get("checklist_answers") or [])]
        yield from (str(answer["name"]) for answer in answers if answer and answer.get("name"))


def _without_address(who: object) -> str | None:
    """Who labelled, without the domain: an e-mail address is personal."""
    return None if not who else str(who).partition("@")[0]


# Both


def _told(where: str, read: Callable[..., PictureLabels], *given: Any) -> PictureLabels:
    """Read one task or row, whose parts may be of any type: what does not fit is a wrong format."""
    try:
        return read(*given)
    except (AttributeError, IndexError, *_MISFITS) as err:
        raise DataError(f"{where}: is not as the tool writes it ({err!r}); export again") from err


def _verdict(regions: Sequence[Region], choices: Sequence[str], *, rejected: bool) -> Verdict:
    if rejected:
        return "rejected"
    # Who cannot tell, and draws nothing, says nothing about the ground.
    return "skipped" if CANNOT_TELL in choices and not regions else "labelled"


def _picture_of(data: Mapping[str, Any], where: str) -> str:
    if data.get(PICTURE_KEY):
        return str(data[PICTURE_KEY])
    for value in data.values():
        if isinstance(value, str) and _SUFFIXES.search(unquote(value).partition("?X-")[0]):
            return _picture_name(value)
    raise DataError(f"{where}: its data names no picture; give tasks {PICTURE_KEY!r}")


def _picture_name(address: str) -> str:
    """The id in an address or file name: `/data/upload/1/3f2a9c01-ghana-0-256-ndwi.png`."""
    name = re.split(r"[/\\=]", unquote(address).partition("?X-")[0])[-1]
    return _SUFFIXES.sub("", _UPLOAD_PREFIX.sub("", name))


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise ItemNotFound(f"{path}: no such file; check the path", href=str(path))
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise AssetReadError(f"{path}: cannot be read ({err})", href=str(path)) from err


def _load_json(path: Path) -> Any:
    text = _read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        raise AssetReadError(f"{path}: not JSON ({err}); export again", href=str(path)) from err


def _load_ndjson(path: Path) -> Iterator[Mapping[str, Any]]:
    text = _read_text(path)
    try:
        rows = json.loads(text) if text.lstrip().startswith("[") else None
        if rows is None:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as err:
        raise AssetReadError(f"{path}: not NDJSON ({err}); export again", href=str(path)) from err
    for k, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {k + 1} is no data row; export as NDJSON (export v2)")
        yield row
