"""What is made of other people's detections, against plain references."""

import datetime as dt
import importlib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import sparse
from scipy.spatial import cKDTree

from sluice.sites.area import geodesic_areas_ha
from sluice.sites.cumulative import cumulative_union, differences, dissolve
from sluice.sites.linking import LinkRule, link

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def real(monkeypatch):
    """The module that measures the same for the docs."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return importlib.import_module("proof.real_detections")


def partition(labels) -> set[frozenset[int]]:
    groups: dict[object, set[int]] = {}
    for k, label in enumerate(labels):
        groups.setdefault(label, set()).add(k)
    return {frozenset(group) for group in groups.values()}


def components(pairs: np.ndarray, size: int) -> np.ndarray:
    graph = sparse.coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (size, size))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])


def test_the_dual_threshold_keeps_what_scikit_learn_keeps(shared_data: Path, real) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    patches = real.vectors(shared_data, real.PATCHES)
    assert len(patches) == 10_957
    for t_main, t_iso in real.RULES.values():
        score = patches["pred"].to_numpy()
        over = np.flatnonzero(score >= t_main)
        points = real.centroids_m(patches)[over]
        # The nearest of six points of the same set is the point itself.
        tree = neighbors.NearestNeighbors(n_neighbors=real.K + 1).fit(points)
        far = tree.kneighbors(points)[0][:, real.K] > real.ISOLATION_M
        expected = set(over[~far | (score[over] >= t_iso)])
        found = real.keep_patches(patches, t_main, t_iso)
        assert set(np.flatnonzero(found.kept)) == expected
        # Each half of the rule has something to do.
        assert 0 < found.isolated.sum() < len(over)
        assert len(expected) < len(over)


def test_kept_patches_melt_without_gain_or_loss(shared_data: Path, real) -> None:
    patches = real.vectors(shared_data, real.PATCHES).iloc[:1500]
    melted = dissolve(patches.geometry)
    assert len(melted) < len(patches)
    tree = shapely.STRtree(melted.geometry.to_numpy())
    inside = tree.query(patches.representative_point().to_numpy(), predicate="within")[0]
    assert sorted(inside) == list(range(len(patches)))
    whole = geodesic_areas_ha([shapely.union_all(patches.geometry.to_numpy())], patches.crs)[0]
    assert melted["area_ha"].sum() == pytest.approx(whole, rel=1e-9)
    assert whole < geodesic_areas_ha(patches.geometry.to_numpy(), patches.crs).sum()


def test_what_2023_adds_to_2022_in_the_basin(shared_data: Path, real) -> None:
    box = shapely.box(-58, -9, -56, -6)
    earlier, later = (
        real.vectors(shared_data, real.BASIN.format(year)).geometry.loc[lambda s: s.intersects(box)]
        for year in (2022, 2023)
    )
    assert min(len(earlier), len(later)) > 100
    found = differences(earlier, later, smallest_ha=real.SMALLEST_HA)
    one, other = (shapely.union_all(shapely.make_valid(s.to_numpy())) for s in (earlier, later))
    plain = shapely.get_parts(shapely.difference(other, one))
    areas = geodesic_areas_ha(plain, "EPSG:4326")
    kept = areas >= real.SMALLEST_HA
    assert kept.sum() < len(areas)
    # Borders that nearly coincide may cut a piece in two in one way and not in the other.
    assert len(found) == pytest.approx(kept.sum(), abs=2)
    assert found["area_ha"].sum() == pytest.approx(areas[kept].sum(), rel=1e-3)
    ours, theirs = shapely.union_all(found.geometry.to_numpy()), shapely.union_all(plain[kept])
    apart = geodesic_areas_ha([shapely.symmetric_difference(ours, theirs)], "EPSG:4326")[0]
    assert apart < 1e-3 * areas[kept].sum()
    # Their file of one year holds nothing that the one of the year before has.
    assert geodesic_areas_ha([shapely.intersection(one, other)], "EPSG:4326")[0] < 0.01


def test_ghana_grows_from_year_to_year(shared_data: Path, real) -> None:
    ghana = real.vectors(shared_data, real.GHANA_EARLIER)
    days = [dt.date(int(str(year)[:4]), 1, 1) for year in ghana["year"]]
    frame = ghana.assign(start=days, end=[day.replace(month=12, day=31) for day in days])
    whole = cumulative_union(frame)["area_ha"].sum()
    first, last = (
        cumulative_union(frame, since=dt.date(year, 1, 1), until=dt.date(year, 12, 31))
        for year in (2017, 2020)
    )
    new = differences(first.geometry, last.geometry, smallest_ha=0)["area_ha"].sum()
    assert whole == pytest.approx(first["area_ha"].sum() + new, rel=1e-6)
    later = real.vectors(shared_data, real.GHANA_2024)
    assert not later.is_valid.all()
    assert dissolve(later.geometry).is_valid.all()


def test_ghana_2017_2020_2024_linked_as_circles_that_meet(shared_data: Path, real) -> None:
    ghana = real.vectors(shared_data, real.GHANA_EARLIER)
    runs = [part.geometry for _, part in ghana.groupby("year")]
    runs.append(real.vectors(shared_data, real.GHANA_2024).geometry)
    sites, seen = real.no_sites(), []
    for number, shapes in enumerate(runs):
        detections = real.as_detections(shapes)
        seen.append(detections)
        _, sites = real.land(detections, sites, dt.date(2017 + number, 1, 1))
    everything = pd.concat(seen, ignore_index=True)
    survivors = link(everything, sites, LinkRule())
    assert survivors.new == []
    assert survivors.merged.empty
    # Plainly: pairs at most 100 m apart on UTM's plane, whose metres are 0.1 % off at most.
    plane = everything.geometry.to_crs("EPSG:32630").to_numpy()
    pairs = shapely.STRtree(plane).query(plane, predicate="dwithin", distance=100).T
    assert partition(survivors.site_ids) == partition(components(pairs, len(plane)))
    # Merged sites have another one's id, and nothing else does.
    going_on = sites["merged_into"].isna()
    assert set(survivors.site_ids) == set(sites.loc[going_on, "site_id"])
    assert set(sites.loc[~going_on, "merged_into"]) <= set(sites.loc[going_on, "site_id"])


def test_africa_and_ipis_are_loaded_and_linked(shared_data: Path, real) -> None:
    footprints, visits = real.africa(shared_data), real.ipis(shared_data)
    assert len(footprints) == 12_874
    assert footprints["footprint_ha"].sum() == pytest.approx(868_110, rel=1e-3)
    assert visits["pcode"].nunique() == 2_988
    linked = link(footprints, real.no_sites(), LinkRule())
    turned = link(footprints.sample(frac=1, random_state=1), real.no_sites(), LinkRule())
    assert turned.new == linked.new
    assert turned.site_ids.sort_index().equals(linked.site_ids)
    assert len(linked.new) < len(footprints)
    links, sites = real.land(visits, real.no_sites(), dt.date(2020, 1, 1))
    again = link(visits, sites, LinkRule())
    assert again.new == []
    assert again.site_ids.equals(links.site_ids)
    # All visits to a place are visits to one site.
    assert links.site_ids.groupby(visits["pcode"].to_numpy()).nunique().max() == 1
    # Plainly: circles of a hectare at most 100 m apart, give or take their corners.
    less, more = (components(_near(visits, metres), len(visits)) for metres in (210, 214))
    ours = partition(links.site_ids)
    for fine, coarse in ((partition(less), ours), (ours, partition(more))):
        home = {k: group for group in coarse for k in group}
        assert all(group <= home[next(iter(group))] for group in fine)


def _near(points: gpd.GeoDataFrame, metres: float) -> np.ndarray:
    """Pairs by the straight line between them; radius of two circles of a hectare 112.8 m."""
    lon, lat = np.radians(points["lon"]), np.radians(points["lat"])
    a, es = 6_378_137.0, 0.00669437999
    normal = a / np.sqrt(1 - es * np.sin(lat) ** 2)
    xyz = np.column_stack(
        [
            normal * np.cos(lat) * np.cos(lon),
            normal * np.cos(lat) * np.sin(lon),
            normal * (1 - es) * np.sin(lat),
        ]
    )
    return cKDTree(xyz).query_pairs(metres, output_type="ndarray")
