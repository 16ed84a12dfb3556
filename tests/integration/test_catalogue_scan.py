"""An area and a period go in: search over HTTP, read over HTTP, compose, scan."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from types import ModuleType

import numpy as np
import pytest
import rasterio

from fault_server import Fault
from scenes import write_toy_model
from sluice.app import gathering
from sluice.app.compositing import composite, composite_all
from sluice.app.config import CompositeConfig, ScanConfig, make_config
from sluice.app.products.coverage import outline_lonlat
from sluice.app.workflows import find, scan, scan_all
from sluice.base.errors import ConfigError, NoValidData, RunFailed, SourceUnavailable
from sluice.phantom.catalogue import write_catalogue
from sluice.phantom.series import build_series
from stac_server import rustac_program, serve_items

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
SPAN = {"first": "2021-11", "last": "2022-06"}
L2A = "sentinel-2-l2a"


def scan_config(catalogue, model, out, **settings) -> ScanConfig:
    values = {
        "source": catalogue.api,
        "sensor": "s2-l2a",
        "area": catalogue.area,
        "model": str(model),
        "out": out,
        **SPAN,
    }
    return make_config(ScanConfig, **(values | settings))


def composite_config(catalogue, out, **settings) -> CompositeConfig:
    values = {
        "source": catalogue.api,
        "sensor": "s2-l2a",
        "area": catalogue.area,
        "out": out,
        **SPAN,
    }
    return make_config(CompositeConfig, **(values | settings))


def layers(path) -> dict[str, np.ndarray]:
    """Values by name, NaN where absent."""
    with rasterio.open(path) as image:
        counts = image.read().astype(np.float64)
        values = np.where(counts == image.nodata, np.nan, counts * image.scales[0])
        return dict(zip(image.descriptions, values, strict=True))


def record(out) -> dict:
    return json.loads((out / "run.json").read_text())


def test_a_scan_says_what_it_found_and_leaves_a_map(catalogue, toy_model, tmp_path) -> None:
    said: list[str] = []
    finished = scan(scan_config(catalogue, toy_model, tmp_path / "out"), tell=said.append)
    assert "8 scenes of 8 dates, 2021-11-05 to 2022-03-25" in said[0]
    assert "to download" in said[0]
    run = record(tmp_path / "out")
    assert [scene["id"] for scene in run["scenes"]] == catalogue.item_ids(L2A)
    baselines = {
        scene["acquired"] < "2022-01-25": scene["processing_baseline"] for scene in run["scenes"]
    }
    assert baselines == {True: "03.01", False: baselines[False]}
    assert baselines[False] >= "04.00"
    assert {scene["offset"] for scene in run["scenes"]} == {0.0, -0.1}
    assert run["period"] == "2021-11_2022-06"
    assert run["left_out"] == []
    assert finished.summary.not_observed_percent < 1
    assert finished.summary.images_without_cloud_layer == 0


def test_the_same_command_again_reads_nothing_over_the_network(
    catalogue, items, toy_model, tmp_path
) -> None:
    first = scan(scan_config(catalogue, toy_model, tmp_path / "a", source=items))
    asked = len(catalogue.files.requests)
    assert asked > 0
    again = scan(scan_config(catalogue, toy_model, tmp_path / "b", source=items))
    assert len(catalogue.files.requests) == asked
    assert again.summary.sites == first.summary.sites


def test_over_http_and_from_disk_give_the_same_pixels(catalogue, tmp_path) -> None:
    over_http = composite(composite_config(catalogue, tmp_path / "http"))
    source = str(catalogue.folder / "catalog.json")
    from_disk = composite(composite_config(catalogue, tmp_path / "disk", source=source))
    one, other = (layers(result.paths.composite) for result in (over_http, from_disk))
    assert list(one) == ["blue", "green", "red", "nir"]
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_composites_before_and_after_the_shift_of_2022_agree(catalogue, tmp_path) -> None:
    """A step of 1000 counts would be 0.1; the ground drifts by far less."""
    spans = {"before": ("2021-11", "2022-01-24"), "after": ("2022-01-25", "2022-06")}
    images = {}
    for name, (first, last) in spans.items():
        config = composite_config(catalogue, tmp_path / name, first=first, last=last)
        images[name] = layers(composite(config).paths.composite)
    for band in ("blue", "green", "red"):
        change = np.nanmedian(images["after"][band] - images["before"][band])
        assert abs(change) < 0.01


def test_a_composite_shows_the_ground_without_clouds(catalogue, tmp_path) -> None:
    result = composite(composite_config(catalogue, tmp_path / "out"))
    found = layers(result.paths.composite)
    with rasterio.open(result.paths.composite) as image:
        corner = image.transform
    truth = catalogue.series.truth_at(catalogue.series.dates[0], ("blue", "green", "red", "nir"))
    col = round((corner.c - truth.geobox.affine.c) / 10)
    row = round((corner.f - truth.geobox.affine.f) / -10)
    for band in ("blue", "green", "red"):
        height, width = found[band].shape
        error = np.abs(found[band] - truth.band(band)[row : row + height, col : col + width])
        assert np.nanmedian(error) < 0.004
        assert np.nanpercentile(error, 90) < 0.02
    looks = layers(result.paths.looks)
    assert np.nanmin(looks["looks"]) >= 1
    assert np.nanmax(looks["looks"]) <= 8
    days = {(day - type(day)(1970, 1, 1)).days for day in catalogue.series.dates}
    assert set(np.unique(looks["last_look"])) <= days


def test_too_few_looks_are_not_observed(catalogue, tmp_path) -> None:
    one = composite(composite_config(catalogue, tmp_path / "one")).summary
    many = composite(composite_config(catalogue, tmp_path / "many", min_looks=6)).summary
    assert one.not_observed_percent < 1
    assert many.not_observed_percent > one.not_observed_percent + 5


def test_indices_of_the_composite(catalogue, tmp_path) -> None:
    config = composite_config(catalogue, tmp_path / "out", layers=("ndvi", "red", "nir"))
    found = layers(composite(config).paths.composite)
    expected = (found["nir"] - found["red"]) / (found["nir"] + found["red"])
    np.testing.assert_allclose(found["ndvi"], expected, atol=0.01)


def test_each_quarter_has_a_folder_and_a_line(catalogue, toy_model, tmp_path) -> None:
    config = scan_config(catalogue, toy_model, tmp_path / "out", every="quarter", last="2022-08")
    outcomes = scan_all(config)
    assert [outcome.status for outcome in outcomes] == ["complete", "complete", "failed", "failed"]
    assert "no scene" in str(outcomes[2].error)
    with (tmp_path / "out" / "overview.csv").open(encoding="utf-8-sig") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["job"] for line in lines] == [outcome.job for outcome in outcomes]
    assert (tmp_path / "out" / lines[0]["folder"] / "sites.gpkg").is_file()
    assert all("not proof" in line["note"] for line in lines)
    again = scan_all(config)
    assert [outcome.status for outcome in again[:2]] == ["kept", "kept"]


def test_a_dry_run_reads_next_to_nothing_and_leaves_nothing(
    catalogue, items, toy_model, tmp_path
) -> None:
    (findings,) = find(scan_config(catalogue, toy_model, tmp_path / "out", source=items))
    assert findings.scenes == findings.dates == 8
    assert findings.bytes > 100_000
    assert findings.seconds is not None
    assert not (tmp_path / "out").exists()
    assert len(set(catalogue.files.paths())) <= 1


def test_the_estimate_is_above_what_is_read_and_not_far(
    catalogue, items, toy_model, tmp_path
) -> None:
    config = scan_config(catalogue, toy_model, tmp_path / "out", source=items)
    (findings,) = find(config)
    scan(config)
    read = 0
    for request in catalogue.files.requests:
        if request.method == "GET" and request.range is not None:
            first, last = map(int, request.range.removeprefix("bytes=").split("-"))
            path = catalogue.folder / f"sentinel{request.path.partition('/sentinel')[2]}"
            read += min(last + 1, path.stat().st_size) - first
    assert read < findings.bytes < 5 * read


@pytest.mark.parametrize(
    "fault", [Fault(429, times=2, retry_after="1"), Fault(503, times=2), Fault("reset", times=1)]
)
def test_a_fault_that_passes_costs_no_scene(fault, catalogue, items, toy_model, tmp_path) -> None:
    catalogue.files.faults[catalogue.item_ids(L2A)[0]] = fault
    scan(scan_config(catalogue, toy_model, tmp_path / "out", source=items))
    run = record(tmp_path / "out")
    assert run["left_out"] == []
    assert len(run["scenes"]) == 8


@pytest.mark.parametrize("kind", [404, 429, 503, "reset", "cut", "slow"])
def test_a_fault_that_stays_costs_its_scene_and_no_more(
    kind, catalogue, items, toy_model, tmp_path
) -> None:
    bad = catalogue.item_ids(L2A)[3]
    catalogue.files.faults[f"{bad}/B04"] = Fault(kind, delay_s=30)
    finished = scan(scan_config(catalogue, toy_model, tmp_path / "out", source=items))
    run = record(tmp_path / "out")
    assert [left_out["scene_id"] for left_out in run["left_out"]] == [bad]
    assert run["left_out"][0]["reason"]
    assert finished.summary.tiles_failed == 0
    assert finished.summary.images_left_out == 1


def test_a_source_that_is_down_fails_the_run_and_the_next_call_goes_on(
    catalogue, items, toy_model, tmp_path
) -> None:
    config = scan_config(catalogue, toy_model, tmp_path / "out", source=items, tile_px=200)
    catalogue.files.faults["B04"] = Fault(503, late=True)
    with pytest.raises((RunFailed, NoValidData)):
        scan(config)
    catalogue.files.faults.clear()
    assert scan(config).summary.tiles_failed == 0
    assert record(tmp_path / "out")["left_out"] == []


def test_an_api_that_is_down_is_told_in_one_line(catalogue, toy_model, tmp_path) -> None:
    config = scan_config(catalogue, toy_model, tmp_path / "out", source="http://127.0.0.1:9")
    with pytest.raises((SourceUnavailable, ConfigError), match="127\\.0\\.0\\.1:9"):
        scan(config)


def test_radar_keeps_orbits_apart_and_minimum_is_lowest(catalogue, tmp_path) -> None:
    settings = {"sensor": "s1", "layers": ("vv", "vh")}
    median = composite(composite_config(catalogue, tmp_path / "median", **settings))
    lowest = composite(
        composite_config(catalogue, tmp_path / "minimum", method="minimum", **settings)
    )
    orbits = {scene["orbit_state"] for scene in record(tmp_path / "median")["scenes"]}
    assert orbits == {"ascending", "descending"}
    one, other = (layers(result.paths.composite) for result in (median, lowest))
    for name in ("vv", "vh"):
        seen = np.isfinite(one[name]) & np.isfinite(other[name])
        assert seen.mean() > 0.9
        assert (other[name] <= one[name] + 1e-6)[seen].all()
        assert -35 < np.nanmedian(one[name]) < 0


def test_the_drop_of_radar_since_the_period_before(catalogue, tmp_path) -> None:
    settings = {
        "sensor": "s1",
        "method": "minimum",
        "source": str(catalogue.folder / "catalog.json"),
    }
    halves = {"before": ("2021-11", "2022-02"), "after": ("2022-03", "2022-06")}
    lowest = {}
    for name, (first, last) in halves.items():
        config = composite_config(
            catalogue, tmp_path / name, layers=("vv",), first=first, last=last, **settings
        )
        lowest[name] = layers(composite(config).paths.composite)["vv"]
    config = composite_config(
        catalogue, tmp_path / "drop", layers=("vv", "vv_drop"), every="4months", **settings
    )
    # The first period is only compared with.
    found = layers(composite(config).paths.composite)
    both = np.isfinite(lowest["before"]) & np.isfinite(lowest["after"])
    np.testing.assert_allclose(found["vv"][both], lowest["after"][both], atol=0.0051)
    expected = lowest["before"] - lowest["after"]
    np.testing.assert_allclose(found["vv_drop"][both], expected[both], atol=0.0151)
    assert record(tmp_path / "drop")["period"] == "2022-03_2022-06"
    first_days = {scene["acquired"] < "2022-03" for scene in record(tmp_path / "drop")["scenes"]}
    assert first_days == {True, False}


def test_a_drop_needs_periods(catalogue, tmp_path) -> None:
    with pytest.raises(ConfigError, match="--every"):
        composite(composite_config(catalogue, tmp_path / "a", sensor="s1", layers=("vv_drop",)))
    with pytest.raises(ConfigError, match="compares periods"):
        composite(make_config(CompositeConfig, images=("a.tif",), out="b", layers=("vh_drop",)))


def test_top_of_atmosphere_takes_the_cloud_layer_of_its_twin(
    catalogue, toy_model, tmp_path
) -> None:
    config = scan_config(catalogue, toy_model, tmp_path / "out", sensor="s2-l1c")
    finished = scan(config)
    scenes = record(tmp_path / "out")["scenes"]
    assert {scene["sensor"] for scene in scenes} == {"s2-l1c"}
    assert [scene["sky_from"] for scene in scenes] == catalogue.item_ids(L2A)
    assert finished.summary.images_without_cloud_layer == 0


def test_clouds_found_in_the_bands_need_no_cloud_layer(
    catalogue, items, monkeypatch, tmp_path
) -> None:
    package = ModuleType("omnicloudmask")
    package.predict_from_array = lambda image, **_: (image[:1] > 0.35).astype(np.uint8)
    monkeypatch.setitem(sys.modules, "omnicloudmask", package)
    monkeypatch.setenv("SLUICE_OMNICLOUDMASK", str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    # Bands that clouds are found by are read besides those wanted.
    config = composite_config(
        catalogue, tmp_path / "out", source=items, cloud_mask="omnicloudmask", layers=("blue",)
    )
    asked = len(catalogue.files.requests)
    result = composite(config)
    read = " ".join(map(str, catalogue.files.requests[asked:]))
    assert "SCL" not in read
    assert {scene["sky_layer"] for scene in record(tmp_path / "out")["scenes"]} == {"omnicloudmask"}
    assert np.nanmin(layers(result.paths.looks)["looks"]) < 8
    assert np.nanpercentile(layers(result.paths.composite)["blue"], 99) < 0.3


def test_a_scan_that_is_killed_loses_no_finished_tile(catalogue, toy_model, tmp_path) -> None:
    """SIGKILL, as the power would go: the next call reads what is missing only."""
    source = str(catalogue.folder / "catalog.json")
    settings = {"source": source, "tile_px": 96, "layers": ("red", "green")}
    config = composite_config(catalogue, tmp_path / "out", workers=1, **settings)
    program = (
        "import sys, json\n"
        "from sluice.app.compositing import composite\n"
        "from sluice.app.config import CompositeConfig, make_config\n"
        "composite(make_config(CompositeConfig, **json.loads(sys.argv[1])))\n"
    )
    started = subprocess.Popen([sys.executable, "-c", program, config.model_dump_json()])
    deadline = time.monotonic() + 60
    tiles = tmp_path / "out" / ".sluice-work" / "tiles"
    while len(list(tiles.glob("*/r*.npz"))) < 3 and time.monotonic() < deadline:
        assert started.poll() is None, "it was done before it could be killed"
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    started.wait(timeout=30)
    kept = {path.name for path in tiles.glob("*/r*.npz")}
    assert len(kept) >= 3
    resumed: list[str] = []

    def note(outcome, *, done, total, resumed: bool, _into=resumed) -> None:
        if resumed:
            _into.append(f"{outcome.tile_id}.npz")

    result = composite(config, note)
    assert kept <= set(resumed)
    plain = composite(composite_config(catalogue, tmp_path / "plain", **settings))
    for name, image in layers(plain.paths.composite).items():
        np.testing.assert_array_equal(image, layers(result.paths.composite)[name])


def test_a_pass_in_two_overlapping_tiles_is_one_look(tmp_path_factory, tmp_path) -> None:
    """Else the overlap would seem to have twice the dates, and `--min-looks` be met by one."""
    folder = tmp_path_factory.mktemp("tiles")
    series = build_series(4, 360, cloud_shares=(0.0,) * 8, mine_count=1)
    source = str(write_catalogue(series, folder, bands=("red", "green"), tiles="two"))
    west, south, east, north = outline_lonlat(series.geobox).bounds
    config = make_config(
        CompositeConfig,
        source=source,
        sensor="s2-l2a",
        area=f"{west + 0.004},{south + 0.004},{east - 0.004},{north - 0.004}",
        out=tmp_path / "out",
        layers=("red",),
        **SPAN,
    )
    result = composite(config)
    assert result.summary.images == 16
    looks = layers(result.paths.looks)["looks"]
    assert np.nanmax(looks) == 8


def test_a_model_of_two_periods_takes_the_first_as_its_baseline(
    catalogue, tmp_path_factory, tmp_path
) -> None:
    package = write_toy_model(tmp_path_factory.mktemp("pairs"), "pair", earlier_period=True)
    settings = {"every": "quarter", "first": "2021-10", "last": "2022-03"}
    config = scan_config(catalogue, package.folder, tmp_path / "out", **settings)
    finished = scan(config)
    run = record(tmp_path / "out")
    assert run["period"] == "2022-01_2022-03"
    assert len(run["scenes"]) == 8
    assert finished.summary.not_observed_percent < 20
    with pytest.raises(ConfigError, match="give --every"):
        scan(scan_config(catalogue, package.folder, tmp_path / "b", every="none"))
    with pytest.raises(ConfigError, match="cut short"):
        scan(scan_config(catalogue, package.folder, tmp_path / "c", every="quarter"))


def test_a_result_of_other_settings_is_not_passed_off_as_this_one(
    catalogue, toy_model, tmp_path
) -> None:
    settings = {"every": "quarter", "first": "2021-10", "last": "2022-03"}
    scan_all(scan_config(catalogue, toy_model, tmp_path / "out", **settings))
    with pytest.raises(ConfigError, match=r"other settings \(method\)"):
        scan_all(scan_config(catalogue, toy_model, tmp_path / "out", method="medoid", **settings))
    with pytest.raises(ConfigError, match=r"other settings \(command"):
        composite_all(composite_config(catalogue, tmp_path / "out", **settings))


def test_the_record_holds_no_secret_of_the_source(catalogue, toy_model, tmp_path) -> None:
    source = catalogue.api.replace("http://", "http://me:hush@") + "?api_key=hush"
    scan(scan_config(catalogue, toy_model, tmp_path / "out", source=source))
    assert "hush" not in (tmp_path / "out" / "run.json").read_text()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"source": "google", "sensor": "s2-l2a"}, "has Sentinel-2 L1C, and no s2-l2a"),
        ({"source": "google", "sensor": "s2-l1c", "max_cloud": 30}, "--max-cloud: has no meaning"),
    ],
)
def test_what_a_source_has_no_use_for_is_refused(
    settings, says, catalogue, toy_model, tmp_path
) -> None:
    with pytest.raises(ConfigError, match=says):
        scan(scan_config(catalogue, toy_model, tmp_path / "out", **settings))


def test_a_composite_of_the_programs_own_scans_like_its_images(
    catalogue, toy_model, tmp_path
) -> None:
    """It knows its level, and that clouds are gone."""
    direct = scan(scan_config(catalogue, toy_model, tmp_path / "direct"))
    made = composite(composite_config(catalogue, tmp_path / "made", layers=("red", "green")))
    images = (made.paths.composite,)
    config = make_config(ScanConfig, images=images, out=tmp_path / "b", model=str(toy_model))
    again = scan(config)
    (scene,) = record(tmp_path / "b")["scenes"]
    assert (scene["sensor"], scene["sky_layer"]) == ("s2-l2a", "composed")
    assert again.summary.images_without_cloud_layer == 0
    assert again.summary.sites == direct.summary.sites


def test_another_commands_output_is_never_replaced(catalogue, toy_model, tmp_path) -> None:
    composite(composite_config(catalogue, tmp_path / "out"))
    with pytest.raises(ConfigError, match="holds the output of `sluice composite`"):
        scan(scan_config(catalogue, toy_model, tmp_path / "out", overwrite=True))
    assert (tmp_path / "out" / "composite.tif").is_file()


def test_real_items_are_found_through_an_api(
    shared_data, toy_model, tmp_path_factory, tmp_path, monkeypatch
) -> None:
    """Thirteen of Planetary Computer's, over the Congo; their files are out of reach here."""
    if rustac_program() is None:
        pytest.skip("rustac is not installed: no STAC API to talk to")
    path = shared_data / "stac-items-s2-drc" / "site2-2020_jun_jul-35MNM.geojson"
    items = json.loads(path.read_text())["features"]
    monkeypatch.setattr(gathering, "measure_line", lambda _: None)
    settings = {"area": "27.20,-7.60,27.30,-7.50", "sensor": "s2-l2a", "model": str(toy_model)}
    with serve_items(items, tmp_path_factory.mktemp("real")) as api:
        span = {"source": api, "first": "2020-06", "last": "2020-07", "out": tmp_path / "out"}
        (findings,) = find(make_config(ScanConfig, **settings, **span))
        assert (findings.scenes, findings.left_out) == (13, 0)
        assert str(findings.first) == "2020-06-01"
        assert findings.cloud_cover_median == pytest.approx(1.0, abs=0.1)
        (july,) = find(make_config(ScanConfig, **settings, **span | {"first": "2020-07-10"}))
        assert july.scenes == 5
        clear = span | {"max_cloud": 5}
        (few,) = find(make_config(ScanConfig, **settings, **clear))
        assert few.scenes == 9
