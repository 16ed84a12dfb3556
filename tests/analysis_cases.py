"""Images of a place with mines, and a model that finds them, for analyses on request."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import shapely

from scenes import write_toy_model
from sluice.app.products.coverage import outline_lonlat
from sluice.phantom.catalogue import write_catalogue
from sluice.phantom.series import build_series

PERIOD = {"first": "2022-03", "last": "2022-05"}


class Place:
    """A catalogue, a model, and an area within its images."""

    def __init__(self, folder: Path) -> None:
        dates = [dt.date(2022, 3, 5), dt.date(2022, 5, 4)]
        mines = {"mine_count": 3, "largest_ha": 400}
        series = build_series(2, 300, dates=dates, cloud_shares=(0, 0), **mines)
        bands = ("blue", "green", "red", "nir")
        write_catalogue(series, folder / "catalogue", bands=bands)
        self.source = str(folder / "catalogue" / "catalog.json")
        self.model = str(keen(write_toy_model(folder / "models").folder))
        whole = outline_lonlat(series.geobox)
        west, south, east, north = whole.bounds
        trim = (east - west) * 0.05
        self.shape = shapely.box(west + trim, south + trim, east - trim, north - trim)
        self.area = {"name": "tapajos", "geometry": json.loads(shapely.to_geojson(self.shape))}


def keen(model: Path) -> Path:
    """The same model with a low threshold: mines of the phantom are less red than its own."""
    manifest = model / "manifest.json"
    text = manifest.read_text()
    told = text.replace('"t_main": 0.5', '"t_main": 0.1').replace('"t_iso": 0.9', '"t_iso": 0.2')
    assert told != text
    manifest.write_text(told)
    return model
