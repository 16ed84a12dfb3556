"""A store without areas: from an empty map to what the first analysis found, in a real browser."""

import pytest

from analysis_cases import Place

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A path where there is no store yet."""
    return str(tmp_path_factory.mktemp("empty") / "new.sqlite")


@pytest.fixture(scope="module")
def serve_options(place: Place, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("jobs")
    return ["--create", "--source", place.source, "--model", place.model, "--jobs-out", str(out)]


def test_an_empty_map_says_what_to_do_in_each_language_and_to_whom_it_cannot(browse) -> None:
    said = browse("startOfOthers", width=390, height=844, mobile=True)
    begin = {"fr": "Dessiner la première zone", "es": "Dibujar la primera área"}
    begin["pt"] = "Desenhar a primeira área"
    assert all(words in said[language] for language, words in begin.items())
    assert "Assim que um analista incluir" in said["viewer"]
    assert "sluice areas" not in said["viewer"]


def test_the_first_area_is_drawn_analysed_and_shown(browse, place) -> None:
    assert browse("firstArea", box=list(place.shape.bounds))["sites"] > 0
