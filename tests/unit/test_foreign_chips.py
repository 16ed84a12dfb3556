"""Published sets of chips: SmallMinesDS and VitSegh24's layout."""

import warnings

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning

from sluice.base.errors import (
    AssetReadError,
    BandNotFound,
    ConfigError,
    DataError,
    ItemNotFound,
)
from sluice.labels.dataset import DatasetAbout, DatasetWriter
from sluice.labels.smallminesds import BANDS, import_smallminesds
from sluice.labels.vitsegh import FILE_BANDS, SPLITS_FILE, export_vitsegh, import_vitsegh

CRS = "EPSG:32630"
SIDE = 24
L2A = (
    *("red", "green", "blue", "nir", "rededge071", "rededge075"),
    *("rededge078", "nir08", "swir16", "swir22", "coastal", "nir09"),
)


def tiff(path, bands, px=10.0, crs=CRS, left=600_000, **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = np.atleast_3d(bands) if bands.ndim == 3 else bands[None]
    place = {"crs": crs, "transform": Affine(px, 0, left, 0, -px, 700_000)} if crs else {}
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **shape, **place, **profile) as file:
            file.write(bands)


def patch(folder, number, year, *, shift=0, power=False, mask=None, crs=CRS):
    rng = np.random.default_rng(number)
    image = np.empty((13, 16, 16), np.float32)
    image[:10] = rng.integers(60, 3000, (10, 16, 16)) + shift
    db = rng.uniform(-22, -8, (2, 16, 16))
    image[10:12] = 10 ** (db / 10) if power else db
    image[12] = rng.uniform(50, 500, (16, 16))
    image[:10, 0, 0] = 0
    if mask is None:
        mask = np.zeros((16, 16), np.uint8)
        mask[4:8, 4:8] = number % 2
    tiff(folder / str(year) / "IMAGE" / f"IMG_{number:04}_{year}.tif", image, crs=crs)
    tiff(folder / str(year) / "MASK" / f"MASK_{number:04}_{year}.tif", mask, crs=crs)
    return image, db


def test_a_patch_of_both_years_is_one_group(tmp_path):
    image, db = patch(tmp_path / "s", 7, 2016)
    patch(tmp_path / "s", 7, 2022, shift=1000)
    patch(tmp_path / "s", 8, 2022, shift=1000, power=True)
    found = import_smallminesds(tmp_path / "s", tmp_path / "d")
    table = found.dataset.table
    assert table["chip_id"].tolist() == ["patch-0007-2016", "patch-0007-2022", "patch-0008-2022"]
    assert table["group"].tolist() == ["patch-0007", "patch-0007", "patch-0008"]
    assert table["label"].tolist() == [1, 1, 0]
    assert table["start"].dt.strftime("%F").tolist()[0] == "2016-01-01"
    assert found.dataset.about.bands == BANDS
    # The 1000 is told year by year, and so is the unit of backscatter.
    first, second, third = found.dataset.images(np.arange(3))
    assert np.isnan(first[:10, 0, 0]).all()
    assert np.allclose(first[:10, 1:], image[:10, 1:] / 10_000, atol=6e-5)
    assert np.allclose(second[:10], first[:10], atol=6e-5, equal_nan=True)
    assert np.allclose(first[10:12], db, atol=0.006)
    assert third[10:12].max() < -7
    assert np.allclose(first[12], image[12], atol=0.126)
    assert len(found.notes) == 2
    mask = found.dataset.masks(np.array([0]))[0]
    assert mask.sum() == 16
    assert mask[4:8, 4:8].all()


def test_some_bands_and_no_place(tmp_path):
    patch(tmp_path / "s", 1, 2016, crs=None)
    found = import_smallminesds(tmp_path / "s" / "2016", tmp_path / "d", bands=("vv", "red"))
    assert found.dataset.images(np.array([0])).shape == (1, 2, 16, 16)
    assert found.dataset.table["lon"].isna().all()
    assert found.dataset.images(np.array([0]))[0, 0].max() < 0


def test_what_has_no_counterpart_is_counted(tmp_path):
    for number in (1, 2, 3):
        patch(tmp_path / "s", number, 2016)
    (tmp_path / "s/2016/MASK/MASK_0001_2016.tif").unlink()
    (tmp_path / "s/2016/IMAGE/IMG_0002_2016.tif").unlink()
    found = import_smallminesds(tmp_path / "s", tmp_path / "d")
    assert found.left_out == {"images without a mask": 1, "masks without an image": 1}


def test_sets_that_are_not_smallminesds(tmp_path):
    with pytest.raises(ItemNotFound, match="no such folder"):
        import_smallminesds(tmp_path / "s", tmp_path / "d")
    (tmp_path / "s").mkdir()
    with pytest.raises(ItemNotFound, match="no IMG_XXXX_YYYY"):
        import_smallminesds(tmp_path / "s", tmp_path / "d")
    patch(tmp_path / "s", 1, 2016, mask=np.full((16, 16), 3, np.uint8))
    with pytest.raises(DataError, match="holds 3; a mask of two classes"):
        import_smallminesds(tmp_path / "s", tmp_path / "d")
    with pytest.raises(DataError, match="has 13 bands, 2 are named"):
        import_smallminesds(tmp_path / "s", tmp_path / "e", file_bands=("red", "nir"))
    with pytest.raises(BandNotFound, match="ndvi is missing"):
        import_smallminesds(tmp_path / "s", tmp_path / "e", bands=("ndvi",))
    (tmp_path / "s/2016/IMAGE/IMG_0001_2016.tif").write_text("<VRTDataset/>")
    with pytest.raises(AssetReadError):
        import_smallminesds(tmp_path / "s", tmp_path / "e")
    image = tmp_path / "s/2016/IMAGE/IMG_0001_2016.tif"
    (tmp_path / "s/again").mkdir()
    image.rename(tmp_path / "s/again/IMG_0001_2016.tif")
    patch(tmp_path / "s", 1, 2016)
    with pytest.raises(DataError, match="is there twice"):
        import_smallminesds(tmp_path / "s", tmp_path / "e")


def test_pixels_that_do_not_tell_the_offset(tmp_path):
    patch(tmp_path / "s", 1, 2016, shift=2000)
    with pytest.raises(ConfigError, match="give --offset"):
        import_smallminesds(tmp_path / "s", tmp_path / "d")
    stated = import_smallminesds(tmp_path / "s", tmp_path / "d", offset=-0.2)
    assert 0 < np.nanmin(stated.dataset.images(np.array([0]))[0, :10]) < 0.02


def test_masks_with_other_marks(tmp_path):
    mask = np.zeros((16, 16), np.int16)
    mask[0], mask[1], mask[2] = -1, 255, 9
    patch(tmp_path / "s", 1, 2016, mask=mask)
    found = import_smallminesds(tmp_path / "s", tmp_path / "d", mine_value=9)
    back = found.dataset.masks(np.array([0]))[0]
    assert (back[:2] == 255).all()
    assert (back[2] == 1).all()
    assert (back[3:] == 0).all()


# VitSegh24


def write_tile(images, masks, seed=0, shift=0):
    rng = np.random.default_rng(seed)
    bands = {}
    for name in FILE_BANDS:
        factor = {"B01": 6, "B09": 6}.get(name, 1 if name in FILE_BANDS[:4] else 2)
        side = SIDE // factor
        bands[name] = (rng.integers(100, 3000, (side, side)) + shift).astype(np.uint16)
        tiff(images / f"{name}.tif", bands[name], 10.0 * factor)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[2:5, 7:9] = 1
    tiff(masks / "mask.tif", mask, nodata=0)
    return bands, mask


def test_their_table_tells_images_masks_and_splits(tmp_path):
    root = tmp_path / "v"
    bands, mask = write_tile(root / "image_directory_2023_1", root / "mask_directory_2023_1")
    write_tile(root / "image_directory_2023_2", root / "mask_directory_2023_2", 1)
    (root / SPLITS_FILE).write_text(
        "split,data_path,mask_path\n"
        "train,image_directory_2023_1,mask_directory_2023_1\n"
        "validation,image_directory_2023_2,mask_directory_2023_2\n"
    )
    found = import_vitsegh(root, tmp_path / "d").dataset
    assert found.about.bands == L2A
    assert found.table["chip_id"].tolist() == ["2023_1", "2023_2"]
    assert found.table["split"].tolist() == ["train", "val"]
    image = found.images(np.array([0]))[0]
    assert np.allclose(image[0], bands["B04"] / 10_000, atol=6e-5)
    # Bilinear keeps the mean, but for the rim.
    coarse = image[10].reshape(SIDE // 6, 6, SIDE // 6, 6).mean(axis=(1, 3))
    assert abs(coarse.mean() - bands["B01"].mean() / 10_000) < 0.02
    assert np.array_equal(found.masks(np.array([0]))[0], mask)
    assert found.table["lon"].notna().all()


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("image_directory_20230813_1", "mask_directory_20230813_1"),
        ("tiles/0_1", "tiles/0_1"),
        ("ghana-3/image-20230813", "ghana-3/masks"),
    ],
)
def test_layouts_without_a_table(tmp_path, images, masks):
    root = tmp_path / "v"
    write_tile(root / images, root / masks, shift=1000)
    found = import_vitsegh(root, tmp_path / "d", default_split="train")
    assert len(found.dataset.table) == 1
    assert found.dataset.table["split"].tolist() == ["train"]
    assert "-0.1 (told" in found.notes[0]
    assert np.nanmin(found.dataset.images(np.array([0]))) < 0.05


def test_images_of_one_mask_are_one_group(tmp_path):
    root = tmp_path / "v" / "ghana-3"
    write_tile(root / "image-2022", root / "masks")
    write_tile(root / "image-2023", root / "masks", 1)
    table = import_vitsegh(tmp_path / "v", tmp_path / "d").dataset.table
    assert table["chip_id"].tolist() == ["ghana-3-image-2022", "ghana-3-image-2023"]
    assert len(set(table["group"])) == 1


def test_what_is_written_in_their_layout_is_read_back(tmp_path):
    about = DatasetAbout(name="own", bands=L2A, gsd_m=10)
    writer = DatasetWriter(tmp_path / "own", about)
    grid = GeoBox((SIDE, SIDE), Affine(10, 0, 600_000, 0, -10, 700_000), CRS)
    rng = np.random.default_rng(3)
    smooth = np.linspace(0.05, 0.3, SIDE, dtype=np.float32)
    for k, split in enumerate(["train", "validation", ""]):
        image = np.tile(smooth * (k + 1) / 3, (12, SIDE, 1)).astype(np.float32)
        image[:, :6, :6] = np.nan
        mask = rng.integers(0, 2, (SIDE, SIDE)).astype(np.uint8)
        writer.add(f"chip-{k}", image, grid, mask, split=split)
    own = writer.finish()
    counts = export_vitsegh(own, tmp_path / "v")
    assert counts == {"train": 2, "val": 1}
    sides = {}
    for name in ("B04", "B11", "B09"):
        with rasterio.open(tmp_path / "v" / "image_directory_chip-0" / f"{name}.tif") as file:
            sides[name] = (file.shape, file.dtypes[0], file.transform.a, tuple(file.bounds))
    bounds = (600_000, 700_000 - SIDE * 10, 600_000 + SIDE * 10, 700_000)
    assert sides["B04"] == ((24, 24), "uint16", 10, bounds)
    assert sides["B11"] == ((12, 12), "uint16", 20, bounds)
    assert sides["B09"] == ((4, 4), "uint16", 60, bounds)
    back = import_vitsegh(tmp_path / "v", tmp_path / "back", offset=0).dataset
    assert pd.read_csv(tmp_path / "v" / SPLITS_FILE)["split"].tolist() == ["train", "val", "train"]
    assert back.table["lon"].round(6).tolist() == own.table["lon"].round(6).tolist()
    for k in range(3):
        at = np.array([k])
        ours, theirs = own.images(at)[0], back.images(at)[0]
        assert np.array_equal(np.isnan(ours[:4]), np.isnan(theirs[:4]))
        assert np.nanmax(np.abs(ours[:4] - theirs[:4])) < 1e-4
        # A ramp stays a ramp when it is made coarser and finer again, but for the rim.
        middle = np.s_[:, 10:-4, 10:-4]
        assert np.nanmax(np.abs(ours[middle] - theirs[middle])) < 2e-3
        assert np.array_equal(own.masks(at), back.masks(at))


def test_data_sets_that_do_not_fit_their_layout(tmp_path):
    def make(name, bands, side, value=0):
        writer = DatasetWriter(tmp_path / name, DatasetAbout(name=name, bands=bands, gsd_m=10))
        mask = np.full((side, side), value, np.uint8)
        writer.add("a", np.full((len(bands), side, side), 0.1, np.float32), None, mask)
        return writer.finish()

    with pytest.raises(BandNotFound, match="nir"):
        export_vitsegh(make("rgb", ("red", "green", "blue"), 24), tmp_path / "v")
    with pytest.raises(ConfigError, match="multiple of 6"):
        export_vitsegh(make("odd", L2A, 16), tmp_path / "v")
    unknown = make("unknown", L2A, 24, 255)
    with pytest.raises(ConfigError, match="unlabelled-as-other"):
        export_vitsegh(unknown, tmp_path / "v")
    assert export_vitsegh(unknown, tmp_path / "w", unlabelled_as_other=True) == {"train": 1}
    with pytest.raises(ConfigError, match="not empty"):
        export_vitsegh(unknown, tmp_path / "w")


def test_folders_that_are_not_theirs(tmp_path):
    root = tmp_path / "v"
    with pytest.raises(ItemNotFound, match="no such folder"):
        import_vitsegh(root, tmp_path / "d")
    root.mkdir()
    with pytest.raises(ItemNotFound, match=r"no dataset_splits\.csv"):
        import_vitsegh(root, tmp_path / "d")
    table = root / SPLITS_FILE
    table.write_text("split,data_path\ntrain,a\n")
    with pytest.raises(DataError, match="mask_path is missing"):
        import_vitsegh(root, tmp_path / "d")
    table.write_text("split,data_path,mask_path\ntrain,../secret,../secret\n")
    with pytest.raises(DataError, match="outside the set"):
        import_vitsegh(root, tmp_path / "d")
    table.write_text("split,data_path,mask_path\ntrain,a,b\n")
    with pytest.raises(ItemNotFound, match="is missing; restore it"):
        import_vitsegh(root, tmp_path / "d")
    write_tile(root / "a", root / "b")
    tiff(root / "a" / "B04.tif", np.full((7, 7), 500, np.uint16))
    with pytest.raises(DataError, match="different ground"):
        import_vitsegh(root, tmp_path / "d", offset=0)
