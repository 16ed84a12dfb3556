"""Other people's detections: thresholds, dissolved areas, differences and links, on real files."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from proof.markdown import to_table
from proof.setup import Setup
from sluice.base.places import Site, columns_of
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.cumulative import differences, dissolve
from sluice.sites.discs import disc_shapes
from sluice.sites.linking import LinkRule, Links, link
from sluice.sites.thresholds import is_isolated
from sluice.sites.vectorise import geohash

PATCHES = "amazon_5_48px_v3.3_0.50_1_2023-1_2024.geojson"
BASIN = "amazon_basin_48px_v3.2-3.7ensemble_dissolved-0.6_{}diff.geojson"
GHANA_EARLIER = "mining_ghana_ashanti_v44px_v2.8_2017-2020.geojson"
GHANA_2024 = "ghana_48px_v3.2-3.7ensemble_0.50_2024-01-01_2024-11-15-dissolved-0.6.geojson"
RULES = {"one period": (0.43, 0.75), "cumulative": (0.55, 0.80)}
"""`t_main` and `t_iso` of Amazon Mining Watch in 2026."""
K, ISOLATION_M = 5, 3000.0
SMALLEST_HA = 11.0
IPIS_HA = 1.0
"""Of the discs that stand for visited sites, whose size nobody gave."""


@dataclass(frozen=True)
class Kept:
    """Patches by the dual threshold."""

    isolated: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.bool_]


def vectors(data: Path, name: str) -> gpd.GeoDataFrame:
    """A file of `amw-vectors`, in EPSG:4326."""
    return gpd.read_file(data / "amw-vectors" / name).to_crs("EPSG:4326")


def centroids_m(patches: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
    """(n, 2) centroids in the UTM zone of the middle, in metres."""
    return np.asarray(shapely.get_coordinates(patches.to_crs(patches.estimate_utm_crs()).centroid))


def keep_patches(patches: gpd.GeoDataFrame, t_main: float, t_iso: float) -> Kept:
    """The dual threshold on patches with their scores in `pred`."""
    score = patches["pred"].to_numpy()
    main = score >= t_main
    isolated = np.zeros(len(patches), bool)
    isolated[main] = is_isolated(centroids_m(patches)[main], K, ISOLATION_M)
    return Kept(isolated, main & (~isolated | (score >= t_iso)))


def as_detections(shapes: gpd.GeoSeries) -> gpd.GeoDataFrame:
    """Shapes of others with the columns that `link` asks for."""
    whole = shapely.make_valid(shapes.to_numpy())
    points = shapely.get_coordinates(shapely.point_on_surface(whole))
    return gpd.GeoDataFrame(
        {
            "detection_id": [f"d-{geohash(*point)}" for point in points],
            "lon": points[:, 0],
            "lat": points[:, 1],
            "score_peak": np.nan,
            "footprint_ha": geodesic_areas_ha(whole, "EPSG:4326"),
        },
        geometry=gpd.GeoSeries(whole, crs="EPSG:4326"),
    )


def no_sites() -> gpd.GeoDataFrame:
    """Where nothing was ever detected."""
    return gpd.GeoDataFrame({c: [] for c in columns_of(Site)}, geometry=[], crs="EPSG:4326")


def land(
    detections: gpd.GeoDataFrame, sites: gpd.GeoDataFrame, day: dt.date
) -> tuple[Links, gpd.GeoDataFrame]:
    """Link a run, and give the sites as they are then."""
    links = link(detections, sites, LinkRule())
    columns = ["site_id", "first_seen", "merged_into", "current", "geometry"]
    new = detections.assign(site_id=links.site_ids, first_seen=day, merged_into=None, current=True)
    both = gpd.GeoDataFrame(pd.concat([sites[columns], new[columns]], ignore_index=True))
    gone = both["merged_into"].notna() | both["site_id"].isin(links.merged.index)
    heir = both["merged_into"].where(both["merged_into"].notna(), both["site_id"])
    both["heir"] = heir.replace(links.merged.to_dict())
    past = both[gone].assign(merged_into=both["heir"], current=False)
    several = both["heir"].duplicated(keep=False)
    melted = both[several].sort_values("first_seen", kind="stable").dissolve("heir").reset_index()
    melted = melted.assign(site_id=melted["heir"], merged_into=None, current=True)
    parts = [both[~several & ~gone], melted, past.drop_duplicates("site_id")]
    frame = pd.concat([part[columns] for part in parts if len(part)], ignore_index=True)
    return links, gpd.GeoDataFrame(frame, geometry="geometry", crs="EPSG:4326")


def africa(data: Path) -> gpd.GeoDataFrame:
    """The footprints of Africa Mining Watch, which come as points and hectares, as discs."""
    table = pd.read_csv(data / "vec-africa-mining-watch" / "data" / "detection_points.csv")
    return as_detections(disc_shapes(table["lon"], table["lat"], table["area_ha"]))


def ipis(data: Path) -> gpd.GeoDataFrame:
    """Visits of IPIS as discs of a hectare, with `pcode` (their site) and `visit_date`."""
    table = pd.read_csv(
        data / "vec-ipis-drc" / "cod_mines_curated_all_opendata_p_ipis.csv", low_memory=False
    )
    discs = disc_shapes(table["longitude"], table["latitude"], IPIS_HA)
    frame = as_detections(discs)
    return frame.assign(pcode=table["pcode"], visit_date=table["visit_date"])


def prove_real_detections(setup: Setup) -> str:
    """Tables of what the rules make of real detections."""
    return "\n\n".join(
        [
            _thresholds_table(setup.data),
            _difference_table(setup.data),
            _link_table(setup.data),
        ]
    )


def _thresholds_table(data: Path) -> str:
    patches = vectors(data, PATCHES)
    rows = []
    for name, (t_main, t_iso) in RULES.items():
        found = keep_patches(patches, t_main, t_iso)
        melted = dissolve(patches.geometry[found.kept])
        rows.append(
            [
                f"{name}, {t_main:.2f} / {t_iso:.2f}",
                f"{(patches['pred'] >= t_main).sum():,}",
                f"{found.isolated.sum():,}",
                f"{found.kept.sum():,}",
                f"{len(melted):,}",
                f"{melted['area_ha'].sum():,.0f}",
            ]
        )
    heads = ["patches of 2023, rule", "at t_main", "isolated", "kept", "dissolved", "ha"]
    return f"{len(patches):,} patches of one sector of the Amazon.\n\n{to_table(heads, rows)}"


def _difference_table(data: Path) -> str:
    basin = {year: vectors(data, BASIN.format(year)) for year in (2022, 2023)}
    ghana = vectors(data, GHANA_EARLIER)
    ghana_of = {int(str(year)[:4]): part.geometry for year, part in ghana.groupby("year")}
    nothing = gpd.GeoSeries([], crs="EPSG:4326")
    earlier, area = ghana_of[2017], _box(ghana)
    sets = {
        "basin, added in 2022": (nothing, basin[2022].geometry),
        "basin, added in 2023": (nothing, basin[2023].geometry),
        "basin, 2023 less 2022": (basin[2022].geometry, basin[2023].geometry),
        "Ashanti, 2017": (nothing, earlier),
        "Ashanti, 2020": (nothing, ghana_of[2020]),
        "Ashanti, 2020 less 2017": (earlier, ghana_of[2020]),
        "Ghana, 2024": (nothing, vectors(data, GHANA_2024).geometry),
        "Ghana, 2024 less 2017 and 2020, in their box": (
            ghana.geometry,
            vectors(data, GHANA_2024).geometry.loc[lambda s: s.intersects(area)],
        ),
    }
    rows = []
    for name, (before, after) in sets.items():
        pieces = differences(before, after, smallest_ha=0)
        kept = pieces[pieces["area_ha"] >= SMALLEST_HA]
        on_map = shapely.area(pieces.geometry.to_crs(3857).to_numpy()) / 10_000
        rows.append(
            [
                name,
                f"{len(after):,}",
                f"{len(pieces):,}",
                f"{pieces['area_ha'].sum():,.0f}",
                f"{len(kept):,}",
                f"{kept['area_ha'].sum():,.0f}",
                f"{on_map.sum():,.0f}",
                f"{(on_map >= SMALLEST_HA).sum() - len(kept):+d}",
            ]
        )
    heads = ["set", "polygons", "pieces", "ha", f"of {SMALLEST_HA:.0f} ha or more", "ha of them"]
    return to_table([*heads, "ha in Web Mercator", "pieces that it would add"], rows)


def _box(frame: gpd.GeoDataFrame) -> shapely.Geometry:
    return shapely.box(*frame.total_bounds)


def _link_table(data: Path) -> str:
    ghana = vectors(data, GHANA_EARLIER)
    visits = ipis(data)
    series = {
        "Ashanti, 2017, 2020 and 2024": [
            *(part.geometry for _, part in ghana.groupby("year")),
            vectors(data, GHANA_2024).geometry,
        ],
        "basin, added in 2022 and 2023": [
            vectors(data, BASIN.format(year)).geometry for year in (2022, 2023)
        ],
        "Africa, discs of 12,874 footprints": [africa(data).geometry],
        "DR Congo, visits of IPIS by year": [
            part.geometry for _, part in visits.groupby(visits["visit_date"].str[:4])
        ],
    }
    rows = []
    for name, runs in series.items():
        sites, told = no_sites(), []
        for number, shapes in enumerate(runs):
            links, sites = land(as_detections(shapes), sites, dt.date(2010 + number, 1, 1))
            met = links.site_ids.nunique() - len(links.new)
            told.append((len(shapes), len(links.new), met))
        going_on = int(sites["merged_into"].isna().sum())
        figures = (*np.sum(told, axis=0), len(sites) - going_on, going_on)
        rows.append([name, str(len(runs)), *(f"{value:,}" for value in figures)])
    heads = ["detections", "runs", "polygons", "new sites", "known sites met", "merged", "sites"]
    return to_table(heads, rows)
