"""Which images a site was seen in."""

from arrivals import PIT, arrival_of
from map_cases import AREA
from service_cases import client_of, get
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.stores import open_store


def test_an_image_that_several_scans_read_is_told_once(tmp_path) -> None:
    path = tmp_path / "s.sqlite"
    read = [["S1A", "S1B"], ["S1B", "S2A"]]
    with open_store(str(path), create=True) as store:
        first = arrival_of(0, [PIT])
        ground = first.detections.to_crs("EPSG:4326").union_all().envelope.buffer(0.05)
        add_named_area(store, AREA, ground)
        for sensor, scenes in zip(("s1", "s2-l2a"), read, strict=True):
            arrival = arrival_of(0, [PIT], sensor=sensor, tag=sensor)
            told = [{"id": one, "href": f"{one}.tif", "acquired": "2023-02-01"} for one in scenes]
            # As files of a folder for each month.
            told += [{"id": "image", "sha256": "0" * 64, "acquired": f"2023-0{len(sensor)}-01"}]
            run = arrival.run.model_copy(update={"record": {"scenes": told}})
            land(store, type(arrival)(run, arrival.detections, arrival.evidence_map))
    with client_of(path) as client:
        (site,) = get(client, "/api/sites")["sites"]
        detail = get(client, f"/api/sites/{site['site_id']}")
    names = sorted(one["scene_id"] for one in detail["scenes"])
    assert names == ["S1A", "S1B", "S2A", "image", "image"]
    # Each look tells all of its own.
    assert sorted(sorted(look["scene_ids"])[:2] for look in detail["looks"]) == read
