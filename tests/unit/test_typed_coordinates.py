"""Coordinates as people type them, on a served map and on a published one."""

import pytest

from map_code import asker
from sluice.app.web.search import read_coordinates

TYPED = {
    "5.05, -1.03": (-1.03, 5.05),
    "5.05 -1.03": (-1.03, 5.05),
    " 5.05;  -1.03 ": (-1.03, 5.05),
    "5,-1": (-1, 5),
    "120.5, 30": (120.5, 30),
    "5.05 N, 1.03 W": (-1.03, 5.05),
    "-6.51° -56.1°": (-56.1, -6.51),
    # With letters first, or the longitude.
    "N5.05 W1.03": (-1.03, 5.05),
    "n 5.05, w 1.03": (-1.03, 5.05),
    "S 6,46 O 56,03": (-56.03, -6.46),
    "1.03 W 5.05 N": (-1.03, 5.05),
    "1,03 W 5,05 N": (-1.03, 5.05),
    "W1.03 N5.05": (-1.03, 5.05),
    # With the minus of typeset text.
    "−6.46 −56.03": (-56.03, -6.46),
    "−6,46; −56,03": (-56.03, -6.46),
    # With decimal commas.
    "5,05 -1,03": (-1.03, 5.05),
    "5,05, -1,03": (-1.03, 5.05),
    "-6,51; -56,1": (-56.1, -6.51),
    "-6,51;-56": (-56, -6.51),
    "-6,51,-56,1": (-56.1, -6.51),
    "5,05° N 1,03° O": (-1.03, 5.05),
    "5,05 S 1,03 L": (1.03, -5.05),
    "120,5 30,25": (120.5, 30.25),
    # Degrees, minutes, seconds.
    "5°03'00.0\"N 1°02'03.0\"W": (-1.034167, 5.05),
    "5°03'00,9\"S, 1°02'03\"E": (1.034167, -5.05025),
    "5 3 0 N 1 2 3 O": (-1.034167, 5.05),
    "5:03:00N 1:02:03E": (1.034167, 5.05),
    "5d3m0s S 1d2m3s E": (1.034167, -5.05),
    "5:03:00S 1:02:03E": (1.034167, -5.05),
    "N5°03'00\" W1°02'03\"": (-1.034167, 5.05),
    "1°02'03\"W 5°03'00\"N": (-1.034167, 5.05),
}
NONE = [
    "",
    "5",
    "91, 181",
    "91,5 181,5",
    "nowhere",
    "5,05 -1,03 7",
    "5.05.1 3",
    "5.05 N 1.03 N",
    "1.03 W, 5.05 E",
    "N 5.05 S 1.03 W",
    "s-5,5",
    "5" + 190 * " " + "x",
]


@pytest.fixture(scope="module")
def of_map():
    return asker("base/coordinates.ts", "readCoordinates", "readCoordinates(value)")


@pytest.mark.parametrize("typed", TYPED)
def test_the_service_reads_coordinates(typed: str) -> None:
    assert read_coordinates(typed) == pytest.approx(TYPED[typed], abs=1e-6)


def test_a_published_map_reads_the_same(of_map) -> None:
    for typed, read in zip(TYPED, of_map(list(TYPED)), strict=True):
        assert read == pytest.approx(TYPED[typed], abs=1e-6), typed


def test_other_words_are_no_coordinates(of_map) -> None:
    assert [typed for typed in NONE if read_coordinates(typed) is not None] == []
    assert of_map(NONE) == [None] * len(NONE)
