"""How a scan divides the cores, and whether the bench times what a scan really calls."""

import importlib
import threading
from pathlib import Path

import pytest

from scenes import Patch, forest_with, utm_geobox, write_image
from sluice.app import compositing, planning, workflows
from sluice.app.config import CompositeConfig, ScanConfig, make_config
from sluice.models.predictor import WindowPredictor

SHAPE = (200, 300)


@pytest.fixture
def config(toy_model, tmp_path) -> ScanConfig:
    bands = forest_with([Patch(40, 40, 80, 80)], SHAPE)
    image = write_image(tmp_path / "scene.tif", bands, utm_geobox(SHAPE))
    return ScanConfig(images=(image,), out=tmp_path / "out", model=str(toy_model))


@pytest.mark.parametrize(
    ("settings", "threads", "calls"),
    [
        ({}, 8, 1),  # one tile
        ({"tile_px": 220}, 4, 2),  # two tiles side by side
        ({"tile_px": 64}, 1, 8),
        ({"tile_px": 64, "workers": 3}, 2, 3),
        ({"tile_px": 64, "workers": 4, "processes": True}, 2, 1),
    ],
)
def test_cores_that_tiles_leave_go_to_the_engine(settings, threads, calls, config, monkeypatch):
    class Stop(Exception):
        pass

    asked = []

    def notice(*args, **kwargs) -> WindowPredictor:
        asked.append((kwargs["threads"], kwargs["calls"]))
        raise Stop

    monkeypatch.setattr(planning, "usable_cores", lambda: 8)
    monkeypatch.setattr(planning, "make_predictor", notice)
    with pytest.raises(Stop):
        workflows.scan(config.model_copy(update=settings))
    assert asked == [(threads, calls)]


def test_the_bench_times_every_stage_of_a_scan(config, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    child = importlib.import_module("bench.scan_child")
    timed_stages = importlib.import_module("bench.child").timed_stages
    with timed_stages(child.STAGES) as seconds:
        workflows.scan(config.model_copy(update={"tile_px": 100, "workers": 2}))
    assert {stage: sum(taken.values()) > 0 for stage, taken in seconds.items()} == dict.fromkeys(
        child.STAGES, True
    )
    of_composites = importlib.import_module("bench.composite_child")
    asked = {"images": config.images, "out": config.out / "image", "layers": ("red",)}
    stages = of_composites.STAGES
    assert all(hasattr(place, name) for place, names in stages.values() for name in names)
    # One image without a cloud layer leaves clouds and guard nothing to do.
    used = {name: stage for name, stage in stages.items() if name not in {"clouds", "guard"}}
    with timed_stages(used):
        compositing.composite(make_config(CompositeConfig, **asked, tile_px=100))
    # Not the thread that waits for the tiles.
    assert not {*seconds["read"], *seconds["predict"]} & {threading.get_ident()}
    with (
        pytest.raises(RuntimeError, match="nothing of the stage open"),
        timed_stages(child.STAGES),
    ):
        pass
