"""Sentinel-2 products in SAFE format."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from sluice.base.errors import AssetReadError, ConfigError
from sluice.imagery.local import open_local
from sluice.imagery.safe import read_safe_metadata

WriteTif = Callable[..., Path]

L2A = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/x.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2024-01-01T10:34:21.024Z</PRODUCT_START_TIME>
      <PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>05.10</PROCESSING_BASELINE>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
      <Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
      <QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
      <BOA_ADD_OFFSET_VALUES_LIST>
        <BOA_ADD_OFFSET band_id="1">-1000</BOA_ADD_OFFSET>
        <BOA_ADD_OFFSET band_id="3">-1000</BOA_ADD_OFFSET>
        <BOA_ADD_OFFSET band_id="8">-900</BOA_ADD_OFFSET>
      </BOA_ADD_OFFSET_VALUES_LIST>
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-2A_User_Product>
"""
L1C_OLD = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-1C_User_Product xmlns:n1="https://psd-12.sentinel2.eo.esa.int/PSD/x.xsd">
  <PRODUCT_START_TIME>2019-05-22T10:34:21.024Z</PRODUCT_START_TIME>
  <PROCESSING_LEVEL>Level-1C</PROCESSING_LEVEL>
  <PROCESSING_BASELINE>02.07</PROCESSING_BASELINE>
  <QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>
</n1:Level-1C_User_Product>
"""
NAME = "S2B_MSIL2A_20240101T103421_N0510_R108_T30NXM_20240102T120000.SAFE"
COUNTS = np.random.default_rng(1).integers(1001, 4000, (64, 64), dtype=np.uint16)


@pytest.fixture
def product(tmp_path: Path, write_tif: WriteTif) -> Path:
    """A product cut small, in the layout and with the names of a whole one."""
    root = tmp_path / NAME
    granule = root / "GRANULE" / "L2A_T30NXM_A044444_20240101T103421"
    stem = "T30NXM_20240101T103421"
    lossless = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
    coarse = Affine(20, 0, 600000, 0, -20, 700000)
    counts = COUNTS.copy()
    counts[:4] = 0
    for band in ("B02", "B04"):
        write_tif(granule / "IMG_DATA" / "R10m" / f"{stem}_{band}_10m.jp2", counts, **lossless)
    for band in ("B04", "B8A", "SCL"):
        array = np.full((32, 32), 2000 if band != "SCL" else 4, dtype=np.uint16)
        path = granule / "IMG_DATA" / "R20m" / f"{stem}_{band}_20m.jp2"
        write_tif(path, array, transform=coarse, **lossless)
    write_tif(
        granule / "IMG_DATA" / "R10m" / f"{stem}_TCI_10m.jp2",
        np.full((3, 64, 64), 99, dtype=np.uint8),
        **lossless,
    )
    (root / "MTD_MSIL2A.xml").write_text(L2A, encoding="utf-8")
    return root


def test_a_product_tells_everything_itself(product: Path) -> None:
    images = open_local([product])
    (scene,) = images.scenes
    assert scene.id == NAME.removesuffix(".SAFE")
    assert (scene.sensor, scene.acquired) == ("s2-l2a", dt.date(2024, 1, 1))
    assert (scene.processing_baseline, scene.sky_layer) == ("05.10", "scl")
    assert (scene.scale, scene.offset) == (1e-4, -0.1)
    assert scene.radiometry_from == "MTD_MSIL2A.xml"
    assert sorted(scene.bands) == ["blue", "nir08", "red"]
    grid = images.source_grids(scene)[0]
    found = images.read(scene, ["red", "nir08"], grid)
    assert np.isnan(found.data_bhw[0, :4]).all()
    np.testing.assert_allclose(found.data_bhw[0, 4:], COUNTS[4:] * 1e-4 - 0.1, atol=1e-6)
    np.testing.assert_allclose(found.data_bhw[1], 0.2 - 0.09, atol=1e-6)


def test_an_image_folder_of_the_product_finds_its_metadata(product: Path) -> None:
    (folder,) = product.glob("GRANULE/*/IMG_DATA/R10m")
    (scene,) = open_local([folder]).scenes
    assert sorted(scene.bands) == ["blue", "red"]
    assert (scene.offset, scene.acquired) == (-0.1, dt.date(2024, 1, 1))


def test_tags_that_contradict_the_metadata_are_refused(product: Path, write_tif: WriteTif) -> None:
    (red,) = product.glob("GRANULE/*/IMG_DATA/R10m/*_B04_10m.jp2")
    red.unlink()
    write_tif(red.with_suffix(".tif"), COUNTS, scale=1e-4, offset=0.0)
    with pytest.raises(ConfigError, match=r"tagged scale 0.0001, offset 0, and MTD.* -0.1"):
        open_local([product])
    write_tif(red.with_suffix(".tif"), COUNTS, scale=1e-4, offset=-0.1)
    assert open_local([product]).scenes[0].offset == -0.1


def test_before_baseline_4_there_is_no_offset(tmp_path: Path) -> None:
    path = tmp_path / "MTD_MSIL1C.xml"
    path.write_text(L1C_OLD, encoding="utf-8")
    found = read_safe_metadata(path)
    assert (found.sensor.id, found.processing_baseline) == ("s2-l1c", "02.07")
    assert (found.scale, found.offsets, found.nodata) == (1e-4, {}, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (L2A[:400], "not well-formed XML"),
        (L2A.replace("PROCESSING_BASELINE", "BASELINE"), "PROCESSING_BASELINE"),
        (L2A.replace(">10000<", ">0<"), "not the metadata"),
        (L2A.replace('band_id="8"', 'band_id="77"'), "not the metadata"),
        (
            L2A.replace(
                "<n1:Level-2A",
                '<!DOCTYPE a [<!ENTITY b "1"><!ENTITY c "&b;&b;">]>\n<n1:Level-2A',
                1,
            ),
            "document type declaration",
        ),
        ("", "not well-formed XML"),
    ],
)
def test_damaged_or_hostile_metadata_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "MTD_MSIL2A.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AssetReadError, match=says):
        read_safe_metadata(path)
