"""`sluice evaluate masks`: figures of a model whose answers are known, on masks that are known."""

import json
import re

import numpy as np
import onnx.parser
import pytest
from typer.testing import CliRunner

from scenes import PIXELS, PLAIN
from sluice.app.cli.main import app
from sluice.app.judging_masks import judge_masks
from sluice.app.reports import mask_report
from sluice.base.errors import ConfigError, DataError, ManifestMismatch
from sluice.labels.dataset import DatasetAbout, DatasetWriter
from sluice.models.manifest import Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import weights_sha256, write_package

CLASSES = ("other", "active", "left")


def write_known(folder, threshold=0.4, classes=CLASSES, bands=("red", "nir")):
    """Two bands are the probabilities of two classes; the rest is the first class's."""
    graph = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 2, y, x] image) => (float[n, 3, y, x] p)
    <float[1] one = {1}>
    { both = ReduceSum <keepdims = 1> (image, axes) other = Sub (one, both)
      p = Concat <axis = 1> (other, image) }"""
    graph = graph.replace("<float[1] one = {1}>", "<float[1] one = {1}, int64[1] axes = {1}>")
    weights = onnx.parser.parse_model(graph).SerializeToString()
    manifest = Manifest(
        **PLAIN,
        name=folder.name,
        inputs=tuple(ScaledInput(band=band) for band in bands),
        levels=(Level(sensor="s2-l2a", verified=False),),
        judges="pixels",
        window_px=1,
        patch_px=16,
        classes=classes,
        max_invalid_share=0.9,
        stride_m=10,
        thresholds=Thresholds(t_main=threshold, t_iso=threshold),
        weights=Weights(sha256=weights_sha256(weights)),
    )
    return str(write_package(folder, manifest, weights, "").folder)


@pytest.fixture
def model(tmp_path):
    return write_known(tmp_path / "known")


def write(folder, classes=CLASSES, chips=40, order=None):
    """Left half active, of which the model sees three quarters; right half left, called active."""
    writer = DatasetWriter(folder, DatasetAbout(name="d", bands=("red", "nir"), gsd_m=10))
    writer.about = writer.about.model_copy(update={"classes": classes})
    for k in range(chips):
        image = np.zeros((2, 16, 16), np.float32)
        image[0, :12, :8] = 0.7
        image[0, :8, 8:], image[1, 8:, 8:] = 0.5, 0.45
        image[:, 15, 15] = np.nan
        mask = np.ones((16, 16), np.uint8)
        mask[:, 8:] = len(classes) - 1
        if order is not None:
            mask = np.array(order, np.uint8)[mask]
        mask[0, 0] = 255
        writer.add(f"c{k}", image, None, mask, split="test" if k % 2 else "train")
    return writer.finish().folder


def judge(folder, model, split=None):
    return judge_masks(folder, [model], split).models[0]


def test_each_class_has_its_own_figures(tmp_path, model):
    report = judge(write(tmp_path / "set"), model).report
    figures = {c.name: c.figures for c in report.classes}
    active_seen, active_true, active_drawn = 12 * 8 - 1, 128 - 1, 12 * 8 - 1 + 64
    assert figures["active"].iou.value == pytest.approx(
        active_seen / (active_true + active_drawn - active_seen)
    )
    assert figures["active"].recall.value == pytest.approx(active_seen / active_true)
    # One pixel of this class was not observed, and counts for nothing.
    assert figures["left"].recall.value == pytest.approx(63 / 127)
    assert figures["left"].precision.value == 1
    assert figures["active"].iou.low == pytest.approx(figures["active"].iou.high)
    assert report.chips == 40


def test_classes_in_another_order_are_found_by_name(tmp_path, model):
    # The same ground truth, numbered otherwise.
    names = ("left", "active", "other")
    told = judge(write(tmp_path / "turned", names, order=(2, 1, 0)), model)
    plain = judge(write(tmp_path / "plain"), model)
    assert told.report == plain.report
    assert told.note is None


def test_other_names_are_refused(tmp_path, model):
    folder = write(tmp_path / "set", ("other", "active", "gone"))
    with pytest.raises(ManifestMismatch, match=r"other, active, gone.*tells other, active, left"):
        judge(folder, model)


def test_two_classes_of_other_names_are_taken_in_their_order(tmp_path):
    """Of two classes the second is what is sought; a name in both places is no other name."""
    weights = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 1, y, x] image) => (float[n, 2, y, x] p) <float[1] one = {1}>
        { other = Sub (one, image) p = Concat <axis = 1> (other, image) }"""
    ).SerializeToString()
    manifest = Manifest(
        **PIXELS,
        name="two",
        inputs=(ScaledInput(band="red"),),
        classes=("other", "pit"),
        weights=Weights(sha256=weights_sha256(weights)),
    )
    model = str(write_package(tmp_path / "two", manifest, weights, "").folder)
    for k, names in enumerate((("other", "pit"), ("nothing", "hole"), ("pit", "other"))):
        order = (1, 0) if names[0] == "pit" else None
        folder = write(tmp_path / f"set{k}", names, chips=4, order=order)
        judged = judge(folder, model)
        # All is pit; the model gives 0.7, 0.5 and 0 to parts of it. Two pixels do not count.
        figures = {c.class_id: c.figures for c in judged.report.classes}
        assert figures[1].iou.value == pytest.approx((12 * 8 - 1 + 8 * 8) / 254)
        assert (judged.note is not None) == (names == ("nothing", "hole"))
    with pytest.raises(ManifestMismatch, match="pit, mine"):
        judge(write(tmp_path / "swapped", ("pit", "mine")), model)


def test_the_command_prints_figures_of_a_split(tmp_path, model):
    folder = write(tmp_path / "set")
    ran = CliRunner().invoke(
        app, ["evaluate", "masks", str(folder), "--model", model, "--split", "test"]
    )
    assert ran.exit_code == 0, ran.output
    assert "20 chips of 20 groups" in ran.output
    assert "active (2,540 px)" in ran.output
    told = CliRunner().invoke(app, ["evaluate", "masks", str(folder), "--model", model, "--json"])
    assert json.loads(told.output)["chips"] == 40


def test_two_models_are_compared_on_the_same_pixels(tmp_path, model):
    """The second one is surer: it does not see the 0.5 and 0.45 of the right half."""
    surer = write_known(tmp_path / "surer", threshold=0.6)
    folder = write(tmp_path / "set")
    judgement = judge_masks(folder, [model, surer])
    (less,) = judgement.comparison.less_reference
    of = {c.name: c.figures for c in less.classes}
    seen = 12 * 8 - 1
    assert of["active"].iou.value == pytest.approx(seen / 127 - seen / (127 + 64))
    assert of["left"].recall.value == of["left"].recall.low == pytest.approx(-63 / 127)
    assert of["active"].recall.value == of["active"].recall.high == 0
    # As in their own reports.
    own = [{c.name: c.figures for c in m.report.classes} for m in judgement.models]
    assert of["active"].f1.value == pytest.approx(
        own[1]["active"].f1.value - own[0]["active"].f1.value
    )
    with pytest.raises(ConfigError, match="known is named twice"):
        judge_masks(folder, [model, model])


def test_another_order_of_classes_compares_by_name(tmp_path, model):
    """The second model's bands are the other classes': it calls active left and left active."""
    other = write_known(tmp_path / "other", classes=("other", "left", "active"))
    (less,) = judge_masks(write(tmp_path / "set"), [model, other]).comparison.less_reference
    of = {c.name: c.figures for c in less.classes}
    assert of["active"].recall.value == pytest.approx((0 - 95) / 127)
    assert of["left"].recall.value == pytest.approx((64 - 63) / 127)


def test_the_page_of_two_models_stands_alone(tmp_path, model):
    surer = write_known(tmp_path / "surer", threshold=0.6)
    folder = write(tmp_path / "set")
    out = tmp_path / "report.html"
    given = ["evaluate", "masks", str(folder), "--model", model, "--model", surer]
    ran = CliRunner().invoke(app, [*given, "--report", str(out)])
    assert ran.exit_code == 0, ran.output
    assert "surer less known" in ran.output
    page = out.read_text(encoding="utf-8")
    assert "surer less known" in page
    # Twelve of each, and three colours.
    assert page.count("<img ") == 2 * 12 + 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    # Left: a quarter of 127 is missed and two pixels do not count; right: 64 are called active.
    assert f"{127 - 95 + 64:,} of 254 pixels wrong" in page
    told = json.loads(CliRunner().invoke(app, [*given, "--json"]).output)
    assert [one["model"] for one in told["reports"]] == ["known", "surer"]
    assert told["comparison"]["reference"] == "known"


def test_pictures_show_the_pixels_that_are_counted(tmp_path, model, monkeypatch):
    """The second model needs a band that is missing in three columns of the right half."""
    about = DatasetAbout(name="d", bands=("red", "nir", "blue"), gsd_m=10, classes=CLASSES)
    writer = DatasetWriter(tmp_path / "set", about)
    rng = np.random.default_rng(0)
    for k in range(3):
        image = rng.uniform(0, 0.5, (3, 16, 16)).astype(np.float32)
        image[2, :, 13:] = np.nan
        mask = rng.integers(0, 3, (16, 16)).astype(np.uint8)
        mask[0] = 255
        writer.add(f"c{k}", image, None, mask)
    other = write_known(tmp_path / "other", bands=("red", "blue"))
    shown = []
    monkeypatch.setattr(mask_report, "_beside", lambda *them: shown.append(them) or them[0])
    judgement = judge_masks(writer.finish().folder, [model, other])
    page = mask_report.mask_report_html(judgement)
    # Below the picture, and for those who do not see it.
    said = re.findall(r"(\d+) of (\d+) pixels wrong", page)[::2]
    told = [tuple(map(int, pair)) for pair in said]
    found = []
    for _, truth, drawn in shown:
        counted = (truth != 255).any(axis=-1)
        assert np.array_equal(counted, (drawn != 255).any(axis=-1))
        found.append((int((truth != drawn).any(axis=-1).sum()), int(counted.sum())))
    assert found == told
    assert [labelled for _, labelled in told] == [15 * 13] * 6


def test_what_does_not_fit_is_refused(tmp_path, model, shared_data):
    folder = write(tmp_path / "two", classes=("other", "mine"))
    with pytest.raises(ManifestMismatch, match="other, mine"):
        judge(folder, model)
    with pytest.raises(ConfigError, match="judges windows"):
        judge(folder, "default")
    with pytest.raises(ConfigError, match="no chip is in split"):
        judge(write(tmp_path / "set"), model, "nowhere")
    with pytest.raises(DataError, match="wholes"):
        judge(shared_data / "amw-chips", "workings", "test_caroni")
