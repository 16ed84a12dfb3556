"""`sluice area`: from a map to points, and from a person's labels to an area."""

import datetime as dt
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio import features
from typer.testing import CliRunner

from sluice.app.cli.main import app
from sluice.app.products.layout import RUN, SCORE, SITES_GPKG, SITES_PARQUET
from sluice.app.products.sample_files import read_sample
from sluice.app.sampling.drawing import PlanOptions, plan_sample
from sluice.app.sampling.estimating import estimate_sample
from sluice.app.sampling.plan import read_plan
from sluice.app.sampling.strata import count_strata, read_strata
from sluice.base.errors import ConfigError, DataError, ItemNotFound, NoValidData, SluiceError
from sluice.base.records import Run, Scene
from sluice.evaluation.area_sample import OUTSIDE
from sluice.sites.area import geodesic_areas_ha

CRS = "EPSG:32721"
GRID = GeoBox((400, 500), Affine(10, 0, 600_000, 0, -10, 9_300_000), CRS)
# In pixels: left, top, right, bottom.
FOOTPRINT, WORKING, SUSPECT = (100, 100, 200, 180), (120, 120, 180, 160), (400, 320, 440, 360)
# What is true: most of the working, a strip beside it, and one mine that the map missed.
MINES = ((124, 120, 180, 160), (180, 130, 190, 150), (410, 330, 430, 350))
CLOUD_ROWS = 5  # of the score, 80 m each


def box(pixels) -> shapely.Polygon:
    left, top, right, bottom = pixels
    return shapely.box(
        600_000 + 10 * left, 9_300_000 - 10 * bottom, 600_000 + 10 * right, 9_300_000 - 10 * top
    )


def lonlat(shapes) -> gpd.GeoSeries:
    return gpd.GeoSeries([box(shape) for shape in shapes], crs=CRS).to_crs("EPSG:4326")


def write_map(
    folder: Path, *, sites: bool = True, outlined: bool = True, area: str | None = None
) -> Path:
    """A finished scan's folder, as far as a sample needs it."""
    folder.mkdir()
    cells = np.full((50, 63), 0.05, np.float32)
    cells[:CLOUD_ROWS] = np.nan
    left, top, right, bottom = (edge // 8 for edge in SUSPECT)
    cells[top:bottom, left:right] = 0.3
    with rasterio.open(
        folder / SCORE, "w", driver="GTiff", width=63, height=50, count=1, dtype="float32",
        nodata=np.nan, crs=CRS, transform=Affine(80, 0, 600_000, 0, -80, 9_300_000),
    ) as raster:  # fmt: skip
        raster.write(cells, 1)
    found = gpd.GeoDataFrame({"rank": [1]}, geometry=lonlat([FOOTPRINT])).iloc[: int(sites)]
    found.to_parquet(folder / SITES_PARQUET)
    pyogrio.write_dataframe(found, folder / SITES_GPKG, layer="sites", geometry_type="Polygon")
    if outlined:
        workings = gpd.GeoDataFrame({"pixels": [1]}, geometry=lonlat([WORKING]))
        pyogrio.write_dataframe(workings, folder / SITES_GPKG, layer="workings")
    now = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    run = Run(
        run_id="20250101T000000Z-toy", sluice_version="0", started=now, finished=now,
        status="complete", scenes=(Scene(id="s", href="s", acquired=dt.date(2024, 7, 1)),),
        model={"name": "toy", "thresholds": {"t_main": 0.5}}, engine="e", precision="f32",
        prior=None, parameters={"command": "scan", "area": area},
        grid={"crs": CRS, "transform": list(GRID.affine)[:6], "shape": [400, 500]},
        tiles=(), summary={"window_m": 480.0}, disclaimer="d",
    )  # fmt: skip
    (folder / RUN).write_text(run.model_dump_json())
    return folder


def write_truth(path: Path) -> Path:
    gpd.GeoDataFrame({"id": [0, 1, 2]}, geometry=lonlat(MINES)).to_file(path, layer="mines")
    return path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    return write_map(tmp_path_factory.mktemp("area") / "map")


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> Path:
    return write_truth(tmp_path_factory.mktemp("truth") / "truth.gpkg")


@pytest.fixture
def planned(run_folder, tmp_path) -> Path:
    out = tmp_path / "sample.gpkg"
    plan_sample(read_strata(run_folder), out, PlanOptions(points=240, seed=3))
    return out


def truth_ha() -> float:
    """Of observed mines."""
    return float(geodesic_areas_ha([box(mine) for mine in MINES], CRS).sum())


def label(sample: Path, out: Path, change=None) -> Path:
    """Do what a person does, who knows the truth."""
    table = read_sample(sample)
    places = gpd.GeoSeries.from_xy(table["lon"], table["lat"], crs="EPSG:4326")
    mines = shapely.union_all(lonlat(MINES).to_numpy())
    table["reference"] = np.where(places.within(mines), "mine", "not mine")
    if change is not None:
        table = change(table)
    table.to_csv(out, index=False)
    return out


def test_strata_are_those_of_a_plain_count(run_folder) -> None:
    """Pixel by pixel with a mask each, over blocks that do not divide the grid."""
    maps = read_strata(run_folder, near_m=100)
    codes = np.full(GRID.shape.yx, 9, np.uint8)
    for block in maps.blocks():
        codes[block.slices] = maps.read(block)

    def burnt(shape):
        return features.rasterize([(shape, 1)], GRID.shape.yx, transform=GRID.affine) == 1

    expected = np.full(GRID.shape.yx, 3, np.uint8)
    expected[burnt(box(SUSPECT)) | burnt(box(FOOTPRINT).buffer(100))] = 2
    expected[burnt(box(FOOTPRINT))] = 1
    expected[burnt(box(WORKING))] = 0
    expected[: 8 * CLOUD_ROWS] = OUTSIDE
    assert (codes == expected).all()
    counted = count_strata(maps)
    assert [stratum.pixels for stratum in counted.strata] == [
        (expected == code).sum() for code in range(4)
    ]
    working = geodesic_areas_ha([box(WORKING)], CRS)[0]
    assert counted.strata[0].area_ha == pytest.approx(working, rel=1e-5)
    whole = geodesic_areas_ha([shapely.box(*GRID.boundingbox.bbox)], CRS)[0]
    assert counted.observed_ha == pytest.approx(0.9 * whole, rel=1e-5)
    assert counted.not_observed_ha == pytest.approx(0.1 * whole, rel=1e-5)
    assert counted.pixel_area_spread < 1e-4


def test_an_area_bounds_what_is_sampled(run_folder, tmp_path) -> None:
    west, _, east, north = lonlat([(0, 0, 500, 400)]).total_bounds
    south = float(lonlat([(0, 0, 500, 200)]).total_bounds[1])
    bounded = count_strata(read_strata(run_folder, area=f"{west},{south},{east},{north}"))
    assert bounded.observed_ha == pytest.approx(
        4 / 9 * count_strata(read_strata(run_folder)).observed_ha, rel=0.02
    )
    scanned_so = write_map(tmp_path / "map", area=f"{west},{south},{east},{north}")
    assert count_strata(read_strata(scanned_so)).observed_ha == pytest.approx(bounded.observed_ha)
    with pytest.raises(ConfigError, match="does not meet"):
        read_strata(run_folder, area="0,0,1,1")
    with pytest.raises(ConfigError, match=r"scanned for the area gone\.gpkg.*--area"):
        read_strata(write_map(tmp_path / "other", area="gone.gpkg"))


def test_a_run_without_outlines_has_its_footprints(tmp_path) -> None:
    strata = count_strata(read_strata(write_map(tmp_path / "map", outlined=False))).strata
    assert [(s.name, s.map_class) for s in strata] == [
        ("footprint", "mine"), ("near", "not mine"), ("other", "not mine"),
    ]  # fmt: skip


def test_a_run_that_found_nothing_may_have_missed_some(truth, tmp_path) -> None:
    maps = read_strata(write_map(tmp_path / "map", sites=False, outlined=False))
    out = tmp_path / "s.gpkg"
    plan = plan_sample(maps, out, PlanOptions(points=400))
    assert [stratum.name for stratum in plan.strata] == ["near", "other"]
    mine = estimate_sample(out, truth=truth).estimate.by_class[0]
    assert mine.area_ha.low <= truth_ha() <= mine.area_ha.high
    assert (mine.mapped_ha, mine.users, mine.producers.value) == (0, None, 0)


def test_who_labels_does_not_see_what_the_map_says(planned) -> None:
    plan = read_plan(planned.with_suffix(".plan.json"))
    for ending in (".gpkg", ".geojson", ".csv"):
        path = planned.with_suffix(ending)
        table = read_sample(path)
        assert set(table) <= {
            "point_id", "reference", "note", "lon", "lat", "imagery_link", "sample_id",
        }  # fmt: skip
        assert (table["reference"] == "").all()
        assert len(table) == 240
        text = path.read_bytes()
        assert not any(stratum.name.encode() in text for stratum in plan.strata)
    # Nor does the order tell: the first points are of several strata.
    assert len({point.stratum for point in plan.points[:30]}) > 2
    assert [point.point_id for point in plan.points][:2] == ["P001", "P002"]
    style = pd.DataFrame(pyogrio.read_dataframe(planned, layer="layer_styles", read_geometry=False))
    assert 'type="ValueMap"' in style["styleQML"].iloc[0]


def test_points_lie_in_their_strata(planned, run_folder) -> None:
    plan = read_plan(planned.with_suffix(".plan.json"))
    maps = read_strata(run_folder)
    codes = np.full(GRID.shape.yx, 9, np.uint8)
    for block in maps.blocks():
        codes[block.slices] = maps.read(block)
    places = gpd.GeoSeries.from_xy(
        [p.lon for p in plan.points], [p.lat for p in plan.points], crs="EPSG:4326"
    ).to_crs(CRS)
    cols = ((places.x - 600_000) // 10).astype(int)
    rows = ((9_300_000 - places.y) // 10).astype(int)
    names = [maps.strata[code].name for code in codes[rows, cols]]
    assert names == [point.stratum for point in plan.points]
    assert len(set(zip(rows, cols, strict=True))) == 240
    # To the centre of a pixel.
    assert np.allclose((places.x - 600_000) % 10, 5, atol=0.05)


def test_the_same_seed_draws_the_same_plan(run_folder, planned, tmp_path) -> None:
    first = planned.with_suffix(".plan.json").read_bytes()
    for name, seed in (("again", 3), ("other", 4)):
        out = tmp_path / f"{name}.gpkg"
        plan_sample(read_strata(run_folder), out, PlanOptions(points=240, seed=seed))
        assert (out.with_suffix(".plan.json").read_bytes() == first) == (seed == 3)


def test_the_estimate_holds_the_true_area(planned, run_folder, truth, tmp_path) -> None:
    report = estimate_sample(label(planned, tmp_path / "labelled.csv"), maps=run_folder)
    mine = report.estimate.by_class[0]
    assert mine.area_ha.low <= truth_ha() <= mine.area_ha.high
    assert mine.mapped_ha == pytest.approx(24, rel=0.01)
    assert report.not_observed_ha == pytest.approx(200, rel=0.01)
    # Outlines give the same labels.
    assert estimate_sample(planned, truth=truth).estimate == report.estimate


def test_samples_of_many_seeds_hold_it_as_often_as_they_say(run_folder, truth, tmp_path) -> None:
    maps = read_strata(run_folder)
    held, values = [], []
    for seed in range(12):
        out = tmp_path / f"s{seed}.gpkg"
        plan_sample(maps, out, PlanOptions(points=240, seed=seed))
        area = estimate_sample(out, truth=truth).estimate.by_class[0].area_ha
        held.append(area.low <= truth_ha() <= area.high)
        values.append(area.value)
    assert sum(held) >= 9  # of honest methods 1 in 400 would fail
    assert np.mean(values) == pytest.approx(truth_ha(), abs=4 * np.std(values) / 12**0.5)


def test_commands_from_plan_to_table(run_folder, truth, tmp_path) -> None:
    out = tmp_path / "sample"
    plan = ["area", "plan", str(run_folder), "--out", str(out), "--points", "150", "--kml"]
    told = CliRunner().invoke(app, plan, catch_exceptions=False)
    assert told.exit_code == 0, told.output
    assert "150 points drawn in 4 strata" in told.stdout
    assert "Not observed: 200 ha" in told.stdout
    assert "<coordinates>" in (tmp_path / "sample.kml").read_text()
    labelled = label(tmp_path / "sample.gpkg", tmp_path / "sample.csv")
    told = CliRunner().invoke(app, ["area", "estimate", str(labelled)], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    assert "95 % interval" in told.stdout
    assert "nothing of the 200 ha" in " ".join(told.stdout.split())
    table = pd.read_csv(tmp_path / "sample-estimate.csv").set_index(["class", "figure", "unit"])
    figures = json.loads((tmp_path / "sample-estimate.json").read_text())
    area = table.loc[("mine", "area", "ha")]
    assert area["value"] == pytest.approx(
        figures["estimate"]["by_class"][0]["area_ha"]["value"], rel=1e-4
    )
    with pytest.raises(ConfigError, match="holds 150 labels"):
        CliRunner().invoke(app, plan, catch_exceptions=False)


def test_a_target_sets_the_number_of_points(run_folder, tmp_path) -> None:
    maps = read_strata(run_folder)
    few = plan_sample(maps, tmp_path / "a.gpkg", PlanOptions(target_se="20%"))
    many = plan_sample(maps, tmp_path / "b.gpkg", PlanOptions(target_se="10%"))
    assert len(many.points) > 2 * len(few.points)
    assert many.expected_se_ha <= 1.01 * many.target_se_ha
    same = plan_sample(maps, tmp_path / "c.gpkg", PlanOptions(target_se=f"{many.target_se_ha}ha"))
    assert len(same.points) == len(many.points)


def test_unsure_points_are_told_apart(planned, tmp_path) -> None:
    def doubt(table):
        mines = table.index[table["reference"] == "mine"]
        return table.assign(
            reference=table["reference"].mask(table.index.isin(mines[:5]), "Unsure")
        )

    report = estimate_sample(label(planned, tmp_path / "l.csv", doubt))
    assert report.unsure.points == 5
    assert report.estimate.points == 235
    low, middle, high = (
        area.value
        for area in (
            report.unsure.none_mine_ha,
            report.estimate.by_class[0].area_ha,
            report.unsure.all_mine_ha,
        )
    )
    assert low < middle < high
    assert any("5 unsure points" in remark for remark in report.remarks)


def test_a_person_may_look_at_half_and_ask(planned, tmp_path) -> None:
    half = label(
        planned,
        tmp_path / "l.csv",
        lambda t: t.assign(reference=t["reference"].where(t.index < 120, "")),
    )
    with pytest.raises(DataError, match=r"120 of 240 points have no label \(P121, .*--unfinished"):
        estimate_sample(half)
    half.rename(planned.with_suffix(".csv"))
    with pytest.raises(DataError, match=r"label them .*or give sample\.csv beside it"):
        estimate_sample(planned)
    report = estimate_sample(planned.with_suffix(".csv"), unfinished=True)
    assert (report.unlabelled, report.estimate.points) == (120, 120)
    assert any(remark.startswith("Preliminary") for remark in report.remarks)


def test_no_mine_at_all_is_told_and_bounded(planned, tmp_path) -> None:
    report = estimate_sample(
        label(planned, tmp_path / "l.csv", lambda t: t.assign(reference="not mine"))
    )
    assert report.estimate.by_class[0].area_ha.value == 0
    assert report.estimate.by_class[0].area_ha.high > 5
    assert report.remarks[0].startswith("No point was labelled mine")


def test_spreadsheets_may_write_it_their_way(planned, tmp_path) -> None:
    plain = estimate_sample(label(planned, tmp_path / "l.csv"))
    table = read_sample(tmp_path / "l.csv").sort_values("lat")
    table["reference"] = table["reference"].map({"mine": " Mine", "not mine": "NOT_MINE"})
    table["lon"] = table["lon"].map(lambda x: f"{x:.6f}".replace(".", ","))
    table.to_csv(tmp_path / "excel.csv", sep=";", index=False, encoding="utf-8-sig")
    assert estimate_sample(tmp_path / "excel.csv").estimate == plain.estimate
    table[["point_id", "reference"]].to_csv(tmp_path / "bare.csv", index=False)
    plan = planned.with_suffix(".plan.json")
    assert estimate_sample(tmp_path / "bare.csv", plan=plan).estimate == plain.estimate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(reference=t["reference"].replace("mine", "pit")), "'pit' of point P"),
        (lambda t: t.assign(lat=t["lat"] + 0.001), "240 points were moved, first P001 by 11"),
        (lambda t: t.iloc[1:], r"1 of 240 points have no label \(P001\)"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "point P001 is there twice"),
        (lambda t: t.assign(point_id=t["point_id"].replace("P001", "Q")), "of this sample.*'Q'"),
        (lambda t: t.assign(sample_id="s-000000000000"), "is of sample s-000000000000"),
        (lambda t: t.drop(columns="reference"), "has no column reference"),
        (lambda t: t.assign(reference=""), "240 of 240 points have no label"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused(planned, tmp_path, change, message) -> None:
    labelled = label(planned, tmp_path / "l.csv", change)
    with pytest.raises(DataError, match=message):
        estimate_sample(labelled, plan=planned.with_suffix(".plan.json"))


def test_a_stratum_of_unsure_points_is_refused(planned, tmp_path) -> None:
    strata = {p.point_id: p.stratum for p in read_plan(planned.with_suffix(".plan.json")).points}

    def doubt(table):
        near = table["point_id"].map(strata) == "near"
        return table.assign(reference=table["reference"].mask(near, "unsure"))

    with pytest.raises(DataError, match="fewer than two labelled points in stratum near"):
        estimate_sample(label(planned, tmp_path / "l.csv", doubt))


def test_a_plan_that_was_changed_or_lost_is_refused(planned, tmp_path) -> None:
    plan = planned.with_suffix(".plan.json")
    text = plan.read_text()
    labelled = label(planned, tmp_path / "l.csv")
    plan.write_text(text.replace('"other"', '"near"', 1))
    with pytest.raises(DataError, match="was changed after the points were drawn"):
        estimate_sample(planned)
    plan.write_text("{}")
    with pytest.raises(DataError, match="not a plan of this version"):
        estimate_sample(planned)
    plan.unlink()
    with pytest.raises(ItemNotFound, match=r"written beside the sample.*--plan"):
        estimate_sample(labelled)


def test_another_map_is_refused(planned, tmp_path) -> None:
    other = write_map(tmp_path / "map", outlined=False)
    labelled = label(planned, tmp_path / "l.csv")
    with pytest.raises(DataError, match=r"is not the map that was sampled \(sites.gpkg workings"):
        estimate_sample(labelled, maps=other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--points", "20", "--min-points", "10"], "20 points are too few for 4 strata"),
        (["--target-se", "5"], "give hectares"),
        (["--target-se", "1.2.3ha"], "give hectares"),
        (["--target-se", "5ha", "--points", "100"], "not both"),
        (["--allocation", "random"], "give one of neyman, proportional, equal"),
        (["--expect", "mine=0.5"], "no stratum mine; this map has workings"),
        (["--expect", "near=5"], "give a share from 0 to 1"),
        (["--expect", "near"], "near=0.05"),
        (["--mine-values", "1"], "is for rasters"),
        (["--near", "-1"], "0 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(run_folder, tmp_path, options, message) -> None:
    command = ["area", "plan", str(run_folder), "--out", str(tmp_path / "s.gpkg"), *options]
    with pytest.raises(SluiceError, match=message):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_folders_and_files_that_are_no_map_are_refused(run_folder, tmp_path) -> None:
    with pytest.raises(ConfigError, match="holds no finished scan"):
        read_strata(tmp_path)
    with pytest.raises(ItemNotFound, match="no such file"):
        read_strata(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="--mine-values 1"):
        read_strata(run_folder / SCORE)
    with pytest.raises(ConfigError, match="holds float32, not classes"):
        read_strata(run_folder / SCORE, mine_values=(1,))
    with pytest.raises(ConfigError, match=r"ends with \.gpkg"):
        plan_sample(read_strata(run_folder), tmp_path / "s.csv", PlanOptions())


def write_classes(path: Path, crs: str, transform: Affine, classes: np.ndarray) -> Path:
    height, width = classes.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype="uint8", nodata=255,
        crs=crs, transform=transform,
    ) as raster:  # fmt: skip
        raster.write(classes, 1)
    return path


def test_any_raster_of_classes_can_be_sampled(tmp_path) -> None:
    classes = np.zeros((700, 600), np.uint8)
    classes[100:200, 100:150], classes[300:310, 500:590], classes[:, :20] = 1, 2, 255
    path = write_classes(tmp_path / "c.tif", CRS, GRID.affine, classes)
    strata = count_strata(read_strata(path, mine_values=(1, 2), near_m=20)).strata
    mine = np.isin(classes, (1, 2))
    grown = features.rasterize(
        [
            (shapely.geometry.shape(shape).buffer(2, quad_segs=32), 1)
            for shape, _ in features.shapes(mine.astype(np.uint8), mask=mine)
        ],
        classes.shape,
    )
    assert strata[0].pixels == mine.sum() == 5900
    # A buffer in pixels' corners, and a distance between centres, part at the corners only.
    assert strata[1].pixels == pytest.approx(grown.sum() - 5900, abs=30)
    assert sum(s.pixels for s in strata) == (classes != 255).sum()
    plan = plan_sample(read_strata(path, mine_values=(1,)), tmp_path / "s.gpkg", PlanOptions())
    assert plan.source["mine_values"] == [1]
    empty = write_classes(tmp_path / "e.tif", CRS, GRID.affine, np.full((9, 9), 255, np.uint8))
    with pytest.raises(NoValidData, match="nothing of the area was observed"):
        count_strata(read_strata(empty, mine_values=(1,)))
    # Degrees at 60 north: rows of pixels differ in area.
    degrees = Affine(0.01, 0, 10, 0, -0.01, 62)
    path = write_classes(tmp_path / "d.tif", "EPSG:4326", degrees, classes)
    with pytest.raises(ConfigError, match=r"differ by .* in true area.*warp it to UTM"):
        count_strata(read_strata(path, mine_values=(1,)))
