"""Data sets of labelled chips: what is written is read back, and what is wrong is refused."""

import json

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox

from sluice.base.errors import ConfigError, DataError, ItemNotFound, NoValidData, ShapeMismatch
from sluice.labels.dataset import DatasetAbout, DatasetWriter, read_dataset

ABOUT = DatasetAbout(name="toy", bands=("red", "vv@-1"), gsd_m=10)
GRID = GeoBox((6, 5), Affine(10, 0, 600_000, 0, -10, 9_300_000), "EPSG:32721")


def write(folder, chips=2, **facts):
    writer = DatasetWriter(folder, ABOUT)
    rng = np.random.default_rng(1)
    for k in range(chips):
        image = np.stack([rng.uniform(0, 1, (6, 5)), rng.uniform(-25, 0, (6, 5))])
        image[:, 0, 0] = np.nan
        mask = np.full((6, 5), k % 2, np.uint8)
        mask[5] = 255
        writer.add(f"chip-{k}", image.astype(np.float32), GRID, mask, source="riverbank", **facts)
    return writer.finish()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    image=hnp.arrays(np.float32, (2, 6, 5), elements=st.floats(-3, 3, width=32)),
    mask=hnp.arrays(np.uint8, (6, 5), elements=st.sampled_from([0, 1, 255])),
)
def test_pixels_come_back_as_they_were_written(tmp_path_factory, image, mask):
    image[:, 2, 3] = np.nan
    writer = DatasetWriter(tmp_path_factory.mktemp("set") / "d", ABOUT)
    writer.add("a", image, GRID, mask)
    dataset = writer.finish()
    steps = np.array([0.0001, 0.01])[:, None, None]
    found = dataset.images(np.array([0]))[0]
    assert np.array_equal(np.isnan(found), np.isnan(image))
    assert np.nanmax(np.abs(found - image) / steps) <= 0.51
    assert np.array_equal(dataset.masks(np.array([0]))[0], mask)
    assert dataset.table["label"].item() == int((mask == 1).any())


def test_facts_of_chips_are_kept_and_the_rest_has_defaults(tmp_path):
    dataset = write(tmp_path / "d", split="train", start="2024-01-01", group="g")
    row = dataset.table.iloc[1]
    assert (row["kind"], row["split"], row["group"], row["label"]) == ("riverbank", "train", "g", 1)
    assert row["start"].year == 2024
    assert np.isnat(row["end"].to_datetime64())
    assert np.allclose([row["lon"], row["lat"]], [-56.0957, -6.3323], atol=1e-4)
    assert set(write(tmp_path / "e").table["group"]) == {"chip-0", "chip-1"}


def test_chips_without_a_place_are_kept(tmp_path):
    writer = DatasetWriter(tmp_path / "d", ABOUT)
    writer.add("a", np.zeros((2, 4, 4), np.float32), None, np.zeros((4, 4), np.uint8))
    assert np.isnan(writer.finish().table["lon"]).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"image_bhw": np.zeros((2, 6, 4), np.float32)}, ShapeMismatch, "expected"),
        ({"image_bhw": np.zeros((3, 6, 5), np.float32)}, ShapeMismatch, "expected"),
        ({"chip_id": "chip-0"}, DataError, "once"),
        ({"chip_id": "../x"}, DataError, "letters"),
        ({"mask_hw": np.full((6, 5), 2, np.uint8)}, DataError, "class 2"),
        ({"colour": "red"}, DataError, "colour is no column"),
    ],
)
def test_a_chip_that_does_not_fit_is_refused(tmp_path, change, error, words):
    writer = DatasetWriter(tmp_path / "d", ABOUT)
    fine = {
        "chip_id": "chip-0",
        "image_bhw": np.zeros((2, 6, 5), np.float32),
        "geobox": GRID,
        "mask_hw": np.zeros((6, 5), np.uint8),
    }
    writer.add(**fine)
    with pytest.raises(error, match=words):
        writer.add(**{**fine, "chip_id": "chip-1", **change})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("images/chip-0.tif", "../../secret.tif", "line 2 has an image outside"),
        ("masks/chip-0.tif", "/etc/x.tif", "line 2 has a mask outside"),
        ("chip-1,", "chip-0,", "line 3 has a chip twice"),
        (",label,", ",lebal,", "column label is missing"),
    ],
)
def test_an_index_that_was_tampered_with_is_refused(tmp_path, old, new, words):
    write(tmp_path / "d")
    index = tmp_path / "d" / "index.csv"
    index.write_text(index.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=words):
        read_dataset(tmp_path / "d")


def test_chips_of_different_sizes_are_refused(tmp_path):
    writer = DatasetWriter(tmp_path / "d", ABOUT)
    for k, side in enumerate((4, 5)):
        empty = np.zeros((2, side, side), np.float32)
        writer.add(f"c{k}", empty, None, np.zeros((side, side), np.uint8))
    with pytest.raises(DataError, match="one size"):
        writer.finish().images(np.array([0, 1]))


def test_what_is_no_data_set_says_so(tmp_path):
    with pytest.raises(ItemNotFound, match="neither"):
        read_dataset(tmp_path)
    with pytest.raises(NoValidData, match="no chip"):
        DatasetWriter(tmp_path / "d", ABOUT).finish()
    write(tmp_path / "e")
    with pytest.raises(ConfigError, match="not empty"):
        DatasetWriter(tmp_path / "e", ABOUT)
    about = tmp_path / "e" / "dataset.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "gsd_m": -1}))
    with pytest.raises(DataError, match="gsd_m"):
        read_dataset(tmp_path / "e")


def test_sheets_of_chips_are_a_data_set_without_masks(shared_data):
    dataset = read_dataset(shared_data / "amw-chips")
    images = dataset.images(np.array([5, 0]))
    assert images.shape == (2, 3, 48, 48)
    assert 0 < np.nanmean(images) < 0.3
    assert dataset.table["chip_id"].is_unique
    with pytest.raises(DataError, match="wholes"):
        dataset.masks(np.array([0]))
