import numpy as np
import pytest
import rasterio

from sluice.base.calibration import Calibration
from sluice.base.errors import RunFailed
from sluice.base.files import open_raster
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.scan import mosaic
from sluice.scan.blend import BlendedScores, blend


@pytest.fixture
def blended(scan_fakes) -> BlendedScores:
    lattice = WindowLattice((1300, 900), 2, 1)
    scores = np.random.default_rng(0).random(lattice.size, dtype=np.float32)
    scores[100:200, 50:80] = np.nan
    return blend(ScoredWindows(lattice, scores, scan_fakes.utm_geobox((1300, 900))))


def test_the_score_map_is_a_cog_that_holds_the_scores(blended, tmp_path) -> None:
    path = tmp_path / "score.tif"
    mosaic.write_score_map(path, blended, {"model": "default"})
    with open_raster(path) as found:
        np.testing.assert_array_equal(found.read(1), blended.scores)
        assert np.isnan(found.nodata)
        assert found.dtypes == ("float32",)
        assert found.descriptions == ("score",)
        assert found.tags()["model"] == "default"
        assert found.crs.to_epsg() == 32630
        assert tuple(found.transform) == tuple(blended.geobox.affine)
        assert found.overviews(1)[:2] == [2, 4]
        assert found.compression.name == "deflate"
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert [p.name for p in tmp_path.iterdir()] == ["score.tif"]


def test_the_probability_map_is_bayes_rule_on_the_scores(blended, tmp_path) -> None:
    calibration = Calibration(
        scores=(0.0, 1.0),
        log_likelihood_ratio=(-3.0, 5.0),
        training_prior=0.2,
        fitted_on="nothing",
    )
    path = tmp_path / "probability.tif"
    mosaic.write_probability_map(path, blended, calibration, 0.01, {})
    with open_raster(path) as found:
        probability = found.read(1)
        assert found.tags()["prior"] == "0.01"
        assert found.descriptions == ("probability",)
    odds = np.exp(-3 + 8 * blended.scores.astype(float)) * 0.01 / 0.99
    np.testing.assert_allclose(probability, odds / (1 + odds), rtol=1e-5)
    assert np.isnan(probability).sum() == np.isnan(blended.scores).sum() > 0


def test_a_failure_leaves_nothing_behind(blended, tmp_path, monkeypatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise rasterio.errors.RasterioIOError("No space left on device")

    monkeypatch.setattr(rasterio.shutil, "copy", no_space)
    with pytest.raises(RunFailed, match="No space left"):
        mosaic.write_score_map(tmp_path / "score.tif", blended, {})
    assert list(tmp_path.iterdir()) == []
