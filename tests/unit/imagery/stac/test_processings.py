"""Of several processings of one acquisition the newest is kept."""

from typing import Any

import pytest

import stac_items as si
from sluice.base.sensors import find_sensor
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac.items import Reading, scene_of_item
from sluice.imagery.stac.processings import newest_processings


def files_of(item: si.Item) -> tuple[si.Item, SceneFiles]:
    files = scene_of_item(item, Reading(find_sensor("s2-l2a")))
    assert isinstance(files, SceneFiles)
    return item, files


def processings(items: list[si.Item]) -> tuple[list[str], list[str]]:
    kept, left_out = newest_processings(map(files_of, items))
    return [f.scene.processing_baseline or "" for f in kept], [out.reason for out in left_out]


@pytest.mark.parametrize("make", [si.cdse_l2a, si.planetary_computer_l2a])
def test_the_newest_processing_is_kept(make: Any) -> None:
    old, newer, newest = (make("2019-07-01", b) for b in ("02.12", "05.00", "05.10"))
    old |= {"id": old["id"] + "_a"}
    newest |= {"id": newest["id"] + "_b"}
    kept, reasons = processings([newer, newest, old])
    assert kept == ["05.10"]
    assert len(reasons) == 2
    assert all(f"superseded by {newest['id']}" in reason for reason in reasons)


def test_the_later_product_of_one_baseline_is_kept() -> None:
    early, late = si.cdse_l2a(), si.cdse_l2a()
    late["properties"]["processing:datetime"] = "2024-09-01T00:00:00Z"
    late["id"] += "_again"
    kept, left_out = newest_processings(map(files_of, [late, early]))
    assert [f.scene.id for f in kept] == [late["id"]]
    assert left_out[0].scene_id == early["id"]


def test_other_tiles_days_and_satellites_stay() -> None:
    tile, day, satellite = si.cdse_l2a(), si.cdse_l2a("2024-08-02"), si.cdse_l2a()
    props = tile["properties"]
    props["grid:code"] = "MGRS-21MVP"
    tile["id"] = tile["id"].replace("21MVN", "21MVP")
    props = satellite["properties"]
    props["eopf:datatake_id"] = props["eopf:datatake_id"].replace("GS2B", "GS2A")
    kept, reasons = processings([si.cdse_l2a(), tile, day, satellite])
    assert len(kept) == 4
    assert not reasons


def test_two_parts_of_a_datatake_complete_each_other() -> None:
    first, second, again = si.cdse_l2a(), si.cdse_l2a(), si.cdse_l2a()
    key = "eopf:datastrip_id"
    second["properties"][key] = second["properties"][key].replace("T135011", "T135140")
    second["id"] += "_second"
    again["properties"][key] = again["properties"][key].replace("T135011", "T135012")
    again["properties"]["processing:version"] = "05.12"
    again["id"] += "_again"
    kept, left_out = newest_processings(map(files_of, [first, second, again]))
    assert {f.scene.id for f in kept} == {second["id"], again["id"]}
    assert [out.scene_id for out in left_out] == [first["id"]]


def test_ids_that_become_one() -> None:
    one, two = si.planetary_computer_l2a("2024-08-01"), si.planetary_computer_l2a("2024-08-02")
    kept, _ = newest_processings([files_of(one | {"id": "a/b"}), files_of(two | {"id": "A:b"})])
    assert [f.scene.id for f in kept] == ["A_b-2", "a_b"] or [f.scene.id for f in kept] == [
        "a_b",
        "A_b-2",
    ]
