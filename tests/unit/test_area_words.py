"""An area of which only the most is known is never told as nothing."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from sluice.app.following.place_lists import area_in_words
from sluice.app.messages import messages
from sluice.app.reports.report_parts import area_words
from sluice.app.reports.site_charts import Bar, area_chart
from sluice.app.reports.site_words import period_row
from sluice.base.places import Look, columns_of
from sluice.base.said import read_said
from sluice.sites.history import site_periods

MOST = {"area_ha": 0.0, "area_low_ha": 0.0, "area_high_ha": 2.6}


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "at most 2.6 ha"),
        ("fr", "au plus 2,6 ha"),
        ("es", "como máximo 2,6 ha"),
        ("pt", "no máximo 2,6 ha"),
    ],
)
def test_nothing_outlined_is_at_most_the_footprint(language: str, told: str) -> None:
    say = messages(language)
    assert area_words(say, 0.0, 2.6).replace("\u202f", " ").replace("\xa0", " ") == told
    assert area_in_words(MOST, say) == told.removesuffix(" ha")
    row = {"start": dt.date(2024, 1, 1), "end": dt.date(2024, 3, 31), "detected": True, **MOST}
    cells = [cell.replace("\u202f", " ").replace("\xa0", " ") for cell in period_row(row, say)]
    assert cells[3:5] == [told, "–"]


def test_known_areas_are_told_as_they_are() -> None:
    say = messages("en")
    known = {"area_ha": 4.4, "area_low_ha": 3.1, "area_high_ha": 5.9}
    assert area_in_words(known, say) == "4.4 (3.1 to 5.9)"
    assert area_words(say, 4.4, 5.9) == say.hectares(4.4)
    assert area_words(say, 4.4, None) == say.hectares(4.4)
    assert area_in_words(MOST | {"area_low_ha": None, "area_high_ha": None}, say) == "0.0"


def test_a_chart_shows_the_interval_and_not_the_sign_of_nothing() -> None:
    say = messages("en")
    most = area_chart([Bar("Q1", 0.0, 0.0, 2.6, observed=True)], say)
    nothing = area_chart([Bar("Q1", 0.0, None, None, observed=True)], say)
    kinds = [[type(shape).__name__ for shape in chart.parts] for chart in (most, nothing)]
    assert "Disc" not in kinds[0]
    assert "Disc" in kinds[1]


def test_a_period_without_an_outline_is_no_measure_of_growth() -> None:
    rows = [
        dict.fromkeys(columns_of(Look))
        | {
            "site_id": "s-a",
            "run_id": str(month),
            "sensor": "s2-l2a",
            "start": dt.date(2024, month, 1),
            "end": dt.date(2024, month, 28),
            "observed_share": 1.0,
            "detected": True,
            "footprint_ha": 2.6,
            **(MOST if area is None else dict(zip(MOST, area, strict=True))),
        }
        for month, area in enumerate([None, (1.9, 1.0, 2.5), None, (4.0, 3.0, 5.0)], 1)
    ]
    found = site_periods(pd.DataFrame(rows).astype({"forest_ha": float, "farmland_ha": float}))
    assert found["status"].tolist() == ["new", "steady", "steady", "growing"]
    said = [read_said(rule) for rule in found["status_rule"]]
    assert said[0][1].code == "status_rule.area_at_most"
    assert said[0][1].values["area_ha"] == 2.6
    assert said[3][0].values["from_ha"] == 1.9
