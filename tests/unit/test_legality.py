"""What the layers say of a place, and the sentence that tells why."""

import datetime as dt

import pandas as pd
import pytest
from shapely.geometry import Point, box

from context_cases import YEAR, layer, places
from said_cases import english
from sluice.base.periods import Period
from sluice.base.places import Legality
from sluice.sites.context import ContextLayer, describe_places
from sluice.sites.legality import legalities

PLACE = box(0, 0, 0.01, 0.01)
AROUND, AWAY = box(-0.1, -0.1, 0.1, 0.1), box(0.2, 0, 0.3, 0.1)


def judge(*layers: ContextLayer, period: Period = YEAR) -> tuple[str, str]:
    context = describe_places(places(PLACE), layers, period)
    found = legalities(context, period)
    assert list(found) == ["legality", "legality_why"]
    return found["legality"].iloc[0], english(found["legality_why"].iloc[0])


def concession(shape: object = AROUND, start: object = None, end: object = None) -> ContextLayer:
    return layer("concessions", [shape], name=["Obuasi"], start=[start], end=[end])


def test_a_valid_concession() -> None:
    held = concession(start=dt.date(2020, 1, 1), end=dt.date(2030, 12, 31))
    assert judge(held) == (
        "in_concession",
        "All of it lies in the concession Obuasi (P0). "
        "The concession is valid from 1 January 2020 to 31 December 2030.",
    )


@pytest.mark.parametrize(
    ("start", "end", "expected", "words"),
    [
        (None, None, "in_concession", "The layer gives no dates for the concession."),
        (None, "2023-12-31", "expired_concession", "It had ended before the period 2024."),
        (None, "2024-01-01", "in_concession", "That is a part of the period 2024 only."),
        ("2024-12-31", None, "in_concession", "That is a part of the period 2024 only."),
        ("2025-01-01", None, "expired_concession", "It begins after the period 2024."),
        (
            "2024-01-01",
            "2024-12-31",
            "in_concession",
            "from 1 January 2024 to 31 December",
        ),
    ],
)
def test_the_days_of_a_concession(
    start: str | None, end: str | None, expected: str, words: str
) -> None:
    days = [dt.date.fromisoformat(day) if day else None for day in (start, end)]
    found, why = judge(concession(AROUND, *days))
    assert found == expected
    assert words in why


def test_outside_tells_how_far_the_nearest_is() -> None:
    found, why = judge(concession(AWAY))
    assert found == "outside"
    assert why.startswith("It lies in none of the registered concessions; the nearest is 21.")


def test_without_a_layer_of_concessions_nothing_is_known() -> None:
    assert judge(layer("roads", [AROUND])) == (
        "unknown",
        "No registered layer of concessions reaches this place.",
    )
    # Nor where the layer is of another country.
    assert judge(concession(box(30, 30, 31, 31)))[0] == "unknown"


def test_protected_and_indigenous_areas() -> None:
    park = layer("protected", [AROUND], name=["Virunga"])
    found, why = judge(park)
    assert found == "protected"
    assert "All of it lies in the protected area Virunga." in why
    land = layer("indigenous", [box(-1, -1, 1, 0.007)], name=["Munduruku"])
    found, why = judge(land, concession(AWAY))
    assert found == "protected"
    assert why.endswith("70% of it lies in the indigenous area Munduruku.")
    # A permit comes first, and the park is told.
    found, why = judge(park, concession())
    assert found == "in_concession"
    assert "Virunga" in why
    # One that has run out does not.
    assert judge(park, concession(end=dt.date(2001, 1, 1)))[0] == "protected"


@pytest.mark.parametrize(
    ("east", "expected", "words"),
    [
        (0.0049, "outside", "49% of it lies in the concession Obuasi"),
        (0.0051, "in_concession", "51% of it lies in the concession Obuasi"),
        (0.00005, "outside", "< 1% of it lies in the concession Obuasi"),
    ],
)
def test_half_of_the_area_makes_the_class(east: float, expected: str, words: str) -> None:
    found, why = judge(concession(box(-0.1, -0.1, east, 0.1)))
    assert found == expected
    assert why.startswith(words)


def test_partly_in_a_valid_and_partly_in_an_old_concession() -> None:
    both = layer(
        "concessions",
        [box(-1, -1, 0.003, 1), box(0.003, -1, 1, 1)],
        name=["New", "Old"],
        end=[None, dt.date(2020, 1, 1)],
    )
    found, why = judge(both)
    assert found == "expired_concession"
    assert "30% of the site lies in concessions valid in the period" in why


def test_nameless_areas_and_tables_of_many() -> None:
    context = describe_places(
        places(PLACE, Point(0.25, 0.05), Point(9, 9), None),
        [layer("concessions", [AROUND, AWAY], name=[None, "B"], properties=[{}, {}])],
        YEAR,
    )
    found = legalities(context, YEAR)
    assert found["legality"].tolist() == ["in_concession", "in_concession", "unknown", "unknown"]
    assert "a concession without a name. The layer gives no dates" in english(
        found["legality_why"].iloc[0]
    )
    assert legalities(context.iloc[:0], YEAR).empty
    assert set(found["legality"]) <= {one.value for one in Legality}


def test_no_sentence_claims_that_anything_is_illegal() -> None:
    layers = [
        [],
        [concession(AWAY)],
        [concession(end=dt.date(2001, 1, 1))],
        [layer("protected", [AROUND])],
    ]
    sentences = pd.Series([judge(*some)[1] for some in layers])
    assert not sentences.str.contains("legal", case=False).any()
