"""Exports of labelling tools: what was drawn comes back, in pixels and on the map."""

import contextlib
import json

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox

from sluice.base.errors import (
    AssetReadError,
    ConfigError,
    DataError,
    ItemNotFound,
    NoValidData,
    SluiceError,
)
from sluice.labels.brush import decode_brush
from sluice.labels.exports import read_label_studio, read_labelbox
from sluice.labels.pictures import PicturePlace, place_labels, read_places

WIDTH, HEIGHT = 200, 100


def encode(words, runs, word_bits=8, length_bits=(3, 4, 8, 16)):
    """The code by its description: a string of bits, cut into bytes.

    Args:
        words: Numbers below 2 ** word_bits.
        runs: (length, kind of length, whether alike) of each run.
    """
    text = f"{len(words):032b}{word_bits - 1:05b}"
    text += "".join(f"{bits - 1:04b}" for bits in length_bits)
    at = 0
    for length, kind, alike in runs:
        text += f"{int(alike)}{kind:02b}{length - 1:0{length_bits[kind]}b}"
        for word in words[at : at + 1] if alike else words[at : at + length]:
            text += f"{word:0{word_bits}b}"
        at += length
    assert at == len(words)
    text += "0" * (-len(text) % 8)
    return [int(text[k : k + 8], 2) for k in range(0, len(text), 8)]


def runs_of(words, rng, length_bits):
    """Cut words into runs at random, alike where they are."""
    runs, at = [], 0
    while at < len(words):
        kind = int(rng.integers(4))
        longest = min(2 ** length_bits[kind], len(words) - at)
        same = 1
        while same < longest and words[at + same] == words[at]:
            same += 1
        if same > 1 or rng.random() < 0.5:
            runs.append((same, kind, True))
        else:
            same = int(rng.integers(1, longest + 1))
            runs.append((same, kind, False))
        at += same
    return runs


@settings(max_examples=60)
@given(
    painted=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)),
    seed=st.integers(0, 2**32 - 1),
    word_bits=st.integers(1, 16),
    length_bits=st.tuples(*[st.integers(1, 16)] * 4),
)
def test_a_brush_stroke_is_decoded_however_it_was_coded(painted, seed, word_bits, length_bits):
    rng = np.random.default_rng(seed)
    height, width = painted.shape
    words = rng.integers(0, 2**word_bits, (height, width, 4))
    words[:, :, 3] = np.where(painted, rng.integers(1, 2**word_bits, painted.shape), 0)
    flat = words.ravel().tolist()
    code = encode(flat, runs_of(flat, rng, length_bits), word_bits, length_bits)
    assert np.array_equal(decode_brush(code, width, height), painted)


def test_a_brush_stroke_written_out_bit_by_bit():
    # Two pixels, the second painted: 8 words of 8 bits; 4 zeros, then 255 four times.
    bits = (
        "00000000000000000000000000001000"  # 8 words
        "00111"  # of 7 + 1 bits
        "0010001101111111"  # lengths of 3, 4, 8 and 16 bits
        "1" "00" "011" "00000000"  # a run of the first kind, 3 + 1 words alike: 0
        "0" "01" "0001" "11111111" "11111111"  # the second kind, 1 + 1 words on their own
        "1" "00" "001" "11111111"  # 1 + 1 words alike
        "00"
    )  # fmt: skip
    code = [int(bits[k : k + 8].ljust(8, "0"), 2) for k in range(0, len(bits), 8)]
    assert decode_brush(code, 2, 1).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ([], "cut off"),
        ([0, 0, 0, 8, 57], "cut off"),
        (["a"], "no byte"),
        ([300], "no bytes"),
        ([255] * 40, "4294967295 words, its picture 8"),
        (encode([0] * 8, [(8, 0, True)])[:-1], "cut off"),
        ([0, 0, 0, 8, *encode([0] * 16, [(16, 1, True)])[4:]], "beyond"),
    ],
)
def test_a_damaged_stroke_is_refused(code, part):
    with pytest.raises(DataError, match=part):
        decode_brush(code, 2, 1)


def result(kind, value, label="mine", **more):
    value = {**value, kind: [label]} if label else value
    return {
        "id": more.pop("id", "r1"),
        "type": kind,
        "value": value,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        **more,
    }


def task(*results, picture="ghana-0-0", **annotation):
    made = {"result": list(results), "was_cancelled": False, "completed_by": 7, **annotation}
    return {"id": 1, "data": {"picture": picture, "colour": "x.png"}, "annotations": [made]}


def studio(tmp_path, *tasks):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return read_label_studio(path)


TRIANGLE = result("polygonlabels", {"points": [[10, 20], [50, 20], [10, 80]]})


def test_shapes_of_label_studio_are_in_pixels(tmp_path):
    painted = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    painted[20:30, 40:70] = 255
    flat = painted.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *ends, len(flat)])
    rle = encode(flat.tolist(), [(int(n), 3, True) for n in lengths])
    turned = {"x": 50, "y": 50, "width": 10, "height": 40, "rotation": 90}
    found = studio(
        tmp_path,
        task(
            TRIANGLE,
            result("rectanglelabels", {"x": 10, "y": 10, "width": 20, "height": 30}, "river"),
            result("rectanglelabels", turned),
            result("ellipselabels", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20}),
            result("brushlabels", {"format": "rle", "rle": rle}),
            result("keypointlabels", {"x": 25, "y": 75, "width": 1}),
            result("choices", {"choices": ["something"]}, None),
        ),
    )[0]
    assert (found.picture, found.size, found.verdict) == ("ghana-0-0", (200, 100), "labelled")
    assert (found.choices, found.annotator) == (("something",), "7")
    shapes = [region.shape for region in found.regions]
    expected = [
        shapely.Polygon([(20, 20), (100, 20), (20, 80)]),
        shapely.box(20, 10, 60, 40),
        # A quarter turn to the right about its upper left corner.
        shapely.box(60, 50, 100, 70),
        shapely.Point(100, 50).buffer(20, quad_segs=16),
        shapely.box(40, 20, 70, 30),
        shapely.Point(50, 75),
    ]
    for shape, wanted in zip(shapes, expected, strict=True):
        assert shape.symmetric_difference(wanted).area < 0.01
        assert shape.geom_type == wanted.geom_type
    assert [region.class_name for region in found.regions][:2] == ["mine", "river"]


def test_a_region_and_its_label_may_be_two_results(tmp_path):
    region = result("polygon", {"points": [[0, 0], [10, 0], [0, 10]]}, None, id="a")
    label = result("labels", {"points": [[0, 0], [10, 0], [0, 10]]}, "river", id="a")
    found = studio(tmp_path, task(region, label))[0]
    assert [one.class_name for one in found.regions] == ["river"]
    assert dict(found.left_out) == {}


def test_what_has_no_use_is_counted(tmp_path):
    naked = result("polygon", {"points": [[0, 0], [10, 0], [0, 10]]}, None, id="a")
    text = result("textarea", {"text": ["hm"]}, None)
    found = studio(tmp_path, task(naked, text))[0]
    assert found.regions == ()
    assert dict(found.left_out) == {"without a class": 1, "of kind textarea": 1}


def test_verdicts_are_kept_apart(tmp_path):
    waiting = {"id": 5, "data": {"image": "/data/upload/3/1a2b3c4d-ghana-1-1-colour.png"}}
    found = studio(
        tmp_path,
        task(TRIANGLE, was_cancelled=True),
        task(TRIANGLE, reviews=[{"accepted": True}, {"accepted": False}]),
        task(),
        waiting,
    )
    assert [one.verdict for one in found] == ["skipped", "rejected", "labelled", "waiting"]
    assert found[0].regions == ()
    assert found[3].picture == "ghana-1-1"


def test_of_several_annotations_truth_counts_and_else_the_latest(tmp_path):
    several = task(TRIANGLE, updated_at="2024-01-01")
    later = {**several["annotations"][0], "updated_at": "2024-02-01", "completed_by": 8}
    several["annotations"].append(later)
    cancelled = {**later, "updated_at": "2024-03-01", "was_cancelled": True}
    several["annotations"].append(cancelled)
    found = studio(tmp_path, several)[0]
    assert (found.annotator, sum(found.left_out.values())) == ("8", 1)
    several["annotations"][0]["ground_truth"] = True
    assert studio(tmp_path, several)[0].annotator == "7"


@pytest.mark.parametrize(
    ("tasks", "error", "part"),
    [
        ([], NoValidData, "no tasks"),
        ([1], DataError, "no export of tasks"),
        ([{"id": 1, "image": "a.png"}], DataError, "task 1: has no `data`"),
        ([{"id": 1, "data": {"text": "hello"}}], DataError, "names no picture"),
        ([task(result("polygonlabels", {"points": [[0, 0], [1, "b"]]}))], DataError, "complete"),
        ([task(result("polygonlabels", {"points": [[0, 0]]}))], DataError, "not complete"),
        ([task(result("rectanglelabels", {"x": 1}))], DataError, "not complete"),
        ([task({**TRIANGLE, "image_rotation": 90})], DataError, "turned by 90"),
        ([task({**TRIANGLE, "original_width": 0})], DataError, "cannot be"),
        ([task({**TRIANGLE, "original_width": None})], DataError, "no original_width"),
        ([task(TRIANGLE, {**TRIANGLE, "original_width": 9})], DataError, "differ in size"),
        (
            [task(result("brushlabels", {"format": "rle", "rle": [0, 0]}))],
            DataError,
            "task 1: a brush stroke is cut off",
        ),
        ([task(result("brushlabels", {"format": "png", "rle": []}))], DataError, "'png'"),
    ],
)
def test_exports_of_label_studio_that_do_not_serve(tmp_path, tasks, error, part):
    with pytest.raises(error, match=part):
        studio(tmp_path, *tasks)


@pytest.mark.parametrize("read", [read_label_studio, read_labelbox])
def test_files_that_are_no_export(tmp_path, read):
    path = tmp_path / "a.json"
    with pytest.raises(ItemNotFound):
        read(path)
    for content in (b"", b"<xml/>", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises((AssetReadError, NoValidData)):
            read(path)


def data_row(*objects, status="DONE", classifications=(), **label):
    made = {
        "label_details": {"created_by": "ama@example.org"},
        "annotations": {"objects": list(objects), "classifications": list(classifications)},
        **label,
    }
    return {
        "data_row": {"id": "c1", "global_key": "ghana-0-0", "row_data": "https://x/y.png"},
        "media_attributes": {"width": WIDTH, "height": HEIGHT},
        "projects": {
            "p1": {
                "name": "mines",
                "labels": [made],
                "project_details": {"workflow_status": status},
            }
        },
    }


def labelbox(tmp_path, *rows, **options):
    path = tmp_path / "export.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_labelbox(path, **options)


BOX = {
    "name": "mine",
    "annotation_kind": "ImageBoundingBox",
    "bounding_box": {"top": 20, "left": 10, "height": 30, "width": 40},
}


def test_shapes_of_labelbox(tmp_path):
    corners = [{"x": 5, "y": 6}, {"x": 30, "y": 4}, {"x": 20, "y": 40}]
    choice = {"name": "seen", "radio_answer": {"name": "cloud"}}
    found = labelbox(
        tmp_path,
        data_row(
            BOX,
            {"name": "river", "annotation_kind": "ImagePolygon", "polygon": corners},
            {"name": "mine", "annotation_kind": "ImagePoint", "point": {"x": 1, "y": 2}},
            {"name": "road", "annotation_kind": "ImagePolyline", "line": corners},
            classifications=[choice],
        ),
    )[0]
    assert [region.shape for region in found.regions] == [
        shapely.box(10, 20, 50, 50),
        shapely.Polygon([(5, 6), (30, 4), (20, 40)]),
        shapely.Point(1, 2),
    ]
    assert (found.size, found.choices, found.annotator) == ((200, 100), ("cloud",), "ama")
    assert dict(found.left_out) == {"of kind ImagePolyline": 1}


def test_verdicts_of_labelbox(tmp_path):
    waiting = data_row(BOX)
    waiting["projects"]["p1"]["labels"] = []
    found = labelbox(
        tmp_path,
        waiting,
        data_row(BOX, performance_details={"skipped": True}),
        data_row(BOX, status="IN_REWORK"),
        data_row(),
    )
    assert [one.verdict for one in found] == ["waiting", "skipped", "rejected", "labelled"]


def test_masks_and_projects_of_labelbox_that_are_not_told(tmp_path):
    mask = {"annotation_kind": "ImageSegmentationMask", "name": "mine", "mask": {"url": "https://"}}
    with pytest.raises(DataError, match="is a mask, of which the export has only an address"):
        labelbox(tmp_path, data_row(mask))
    row = data_row(BOX)
    row["projects"]["p2"] = {"name": "roads", "labels": []}
    with pytest.raises(DataError, match=r"2 projects \(mines, roads\)"):
        labelbox(tmp_path, row)
    assert labelbox(tmp_path, row, project="roads")[0].verdict == "waiting"
    assert labelbox(tmp_path, row, project="p1")[0].verdict == "labelled"
    with pytest.raises(DataError, match="an ImagePolygon is not complete"):
        labelbox(tmp_path, data_row({"name": "a", "annotation_kind": "ImagePolygon"}))
    with pytest.raises(DataError, match="line 1: has no `data_row`"):
        labelbox(tmp_path, {"a": 1})


GRID = GeoBox((HEIGHT, WIDTH), Affine(5, 0, 600_000, 0, -5, 700_000), "EPSG:32630")
PLACE = PicturePlace.of("ghana-0-0", GRID, start="2024-01-01", end="2024-01-31")


def test_regions_come_to_their_place(tmp_path):
    found = studio(tmp_path, task(TRIANGLE))
    placed = place_labels(found, {PLACE.picture: PLACE}, where="e.json", source="ghana")
    row = placed.labels.table.iloc[0]
    assert (row["class"], row["source"], row["picture"]) == ("mine", "ghana", "ghana-0-0")
    assert str(row["end"].date()) == "2024-01-31"
    back = placed.labels.table.to_crs("EPSG:32630").geometry[0]
    wanted = shapely.Polygon([(600_100, 699_900), (600_500, 699_900), (600_100, 699_600)])
    assert back.symmetric_difference(wanted).area < 0.1
    outline = placed.pictures.to_crs("EPSG:32630").geometry[0]
    assert outline.symmetric_difference(shapely.box(*GRID.boundingbox.bbox)).area < 1


def test_only_what_was_labelled_becomes_labels_but_all_pictures_are_told(tmp_path):
    places = {name: PLACE.model_copy(update={"picture": name}) for name in "abcd"}
    found = studio(
        tmp_path,
        task(TRIANGLE, picture="a"),
        task(TRIANGLE, picture="b", was_cancelled=True),
        task(TRIANGLE, picture="c", reviews=[{"accepted": False}]),
        task(result("choices", {"choices": ["nothing"]}, None), picture="d"),
    )
    placed = place_labels(found, places, where="e.json", source="s")
    assert placed.labels.table["picture"].tolist() == ["a"]
    assert placed.pictures["verdict"].tolist() == ["labelled", "skipped", "rejected", "labelled"]
    assert placed.pictures["choices"].tolist() == ["", "", "", "nothing"]
    nothing = place_labels(found[3:], places, where="e.json", source="s")
    assert nothing.labels.table.empty
    assert {"class", "start", "end", "source", "geometry"} <= set(nothing.labels.table.columns)


def test_points_want_a_radius(tmp_path):
    found = studio(tmp_path, task(result("keypointlabels", {"x": 50, "y": 50})))
    with pytest.raises(ConfigError, match="1 labels are points"):
        place_labels(found, {PLACE.picture: PLACE}, where="e", source="s")
    placed = place_labels(found, {PLACE.picture: PLACE}, where="e", source="s", radius_m=50)
    shape = placed.labels.table.geometry[0]
    area = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shape)[0])
    assert area == pytest.approx(np.pi * 2500, rel=1e-3)


def test_a_scaled_picture_fits_and_a_cropped_one_does_not(tmp_path):
    half = {**TRIANGLE, "original_width": 100, "original_height": 50}
    whole = [
        place_labels(studio(tmp_path, task(one)), {PLACE.picture: PLACE}, where="e", source="s")
        for one in (TRIANGLE, half)
    ]
    first, second = (one.labels.table.geometry[0] for one in whole)
    assert first.symmetric_difference(second).area < 1e-12
    cropped = studio(tmp_path, task({**TRIANGLE, "original_height": 60}))
    with pytest.raises(DataError, match="was cropped"):
        place_labels(cropped, {PLACE.picture: PLACE}, where="e", source="s")
    with pytest.raises(DataError, match="'ghana-0-0' is none of the 1"):
        place_labels(cropped, {"other": PLACE}, where="e", source="s")


def test_places_are_read_from_their_folder(tmp_path):
    with pytest.raises(ItemNotFound, match="prepare"):
        read_places(tmp_path)
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "ghana-0-0.json").write_text(PLACE.model_dump_json())
    assert read_places(tmp_path) == read_places(folder) == {"ghana-0-0": PLACE}
    (folder / "again.json").write_text(PLACE.model_dump_json())
    with pytest.raises(DataError, match="twice"):
        read_places(tmp_path)
    for wrong in ({"crs": "nowhere"}, {"transform": [0, 0, 0, 0, 0, 0]}, {"width": 0}):
        text = json.dumps({**PLACE.model_dump(mode="json"), **wrong})
        (folder / "again.json").write_text(text)
        with pytest.raises(DataError, match="does not say where"):
            read_places(tmp_path)


JUNK = [None, True, -1, 5, 1e308, float("nan"), "x", "", [], {}, [[1]], [None], {"a": 1}, ["b", 2]]


def spoil(document, data):
    """Put junk in the place of any one value, however deep."""
    places = []

    def walk(node):
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(document)
    node, key = places[data.draw(st.integers(0, len(places) - 1))]
    node[key] = data.draw(st.sampled_from(JUNK))


@pytest.mark.parametrize("tool", ["studio", "box"])
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_spoilt_export_is_refused_by_name_or_read(tmp_path, tool, data):
    brush = {
        "format": "rle",
        "rle": encode([255] * 4 * 200 * 100, [(65_536, 3, True), (14_464, 3, True)]),
    }
    if tool == "studio":
        shapes = [
            TRIANGLE,
            result("rectanglelabels", {"x": 10, "y": 10, "width": 20, "height": 30, "rotation": 5}),
            result("ellipselabels", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20}),
            result("keypointlabels", {"x": 25, "y": 75}),
            result("brushlabels", brush),
            result("choices", {"choices": ["nothing here"]}, None),
        ]
        document = [task(*shapes, reviews=[{"accepted": True}])]
        read = read_label_studio
    else:
        corners = [{"x": 5, "y": 6}, {"x": 30, "y": 4}, {"x": 20, "y": 40}]
        polygon = {"name": "river", "annotation_kind": "ImagePolygon", "polygon": corners}
        point = {"name": "mine", "annotation_kind": "ImagePoint", "point": {"x": 1, "y": 2}}
        seen = {"name": "seen", "radio_answer": {"name": "cannot tell"}}
        several = {"name": "b", "checklist_answers": [{"name": "c"}]}
        document = [data_row(BOX, polygon, point, classifications=[seen, several])]
        read = read_labelbox
    document = json.loads(json.dumps(document))
    spoil(document, data)
    path = tmp_path / "export.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with contextlib.suppress(SluiceError):
        place_labels(read(path), {PLACE.picture: PLACE}, where="e", source="s", radius_m=50)


def test_what_was_drawn_beyond_the_picture_is_cut_off(tmp_path):
    beyond = result("polygonlabels", {"points": [[-50, -50], [50, -50], [50, 50], [-50, 50]]})
    placed = place_labels(
        studio(tmp_path, task(beyond)), {PLACE.picture: PLACE}, where="e", source="s"
    )
    back = placed.labels.table.to_crs("EPSG:32630").geometry[0]
    wanted = shapely.box(600_000, 700_000 - 250, 600_500, 700_000)
    assert back.symmetric_difference(wanted).area < 1


def test_who_cannot_tell_says_nothing_about_the_ground(tmp_path):
    choice = result("choices", {"choices": ["cannot tell"]}, None)
    assert studio(tmp_path, task(choice))[0].verdict == "skipped"
    assert studio(tmp_path, task(choice, TRIANGLE))[0].verdict == "labelled"
    seen = {"name": "seen", "radio_answer": {"name": "cannot tell"}}
    assert labelbox(tmp_path, data_row(classifications=[seen]))[0].verdict == "skipped"
