"""The table of speeds: what a run of some parts changes in the document, and what it leaves."""

import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ORDER = ["dense", "scan", "families"]


@pytest.fixture
def table(monkeypatch):
    """`bench.table`, which lies beside the installed package."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return importlib.import_module("bench.table")


@pytest.fixture
def document(table, tmp_path) -> Path:
    """With `dense` and `scan` of one run."""
    path = tmp_path / "benchmarks.md"
    path.write_text(f"# Speed\n\n{table.BEGIN}\n{table.END}\n\nWords.\n")
    parts = [part_of(table, name, "1st", ["1 s", "2 s"]) for name in ("dense", "scan")]
    table.write_between_markers(path, parts, ORDER)
    return path


def part_of(table, name, date, figures):
    rows = [table.Row(f"{name} {k}", figure, "", "a; b") for k, figure in enumerate(figures)]
    return table.make_part(name, rows, {"date": date, "memory": "9 GB"})


def test_what_is_written_is_read_again(table, document):
    kept = document.read_text().partition(table.BEGIN)[2].partition(table.END)[0]
    parts = table.read_markdown(kept)
    assert [part.name for part in parts] == ["dense", "scan"]
    assert parts[0] == part_of(table, "dense", "1st", ["1 s", "2 s"])
    assert table.to_markdown(parts) == kept.strip()
    assert kept.count("- date: 1st") == 1


def test_a_part_measured_again_replaces_its_own_rows_alone(table, document):
    before = document.read_text()
    table.write_between_markers(document, [part_of(table, "dense", "2nd", ["7 s"])], ORDER)
    after = document.read_text()
    assert "| dense | dense 0 | 7 s |  | a; b |" in after
    assert "dense 1" not in after
    assert [line for line in before.splitlines() if line.startswith("| scan ")] == [
        line for line in after.splitlines() if line.startswith("| scan ")
    ]
    # Each row's date is that of its own run.
    assert "Measured together: dense\n\n- date: 2nd\n- memory: 9 GB\n" in after
    assert "Measured together: scan\n\n- date: 1st\n- memory: 9 GB\n" in after
    assert after.startswith("# Speed\n")
    assert after.endswith("\n\nWords.\n")


def test_a_new_part_takes_its_place_and_one_that_is_gone_goes(table, document):
    table.write_between_markers(document, [part_of(table, "families", "2nd", ["3 s"])], ORDER)
    rows = [line.split(" | ")[0] for line in document.read_text().splitlines() if line[:2] == "| "]
    assert rows == ["| part", "| dense", "| dense", "| scan", "| scan", "| families"]
    parts = [part_of(table, "scan", "3rd", ["5 s"])]
    table.write_between_markers(document, parts, ["scan", "families"])
    assert "dense" not in document.read_text()


def test_a_run_of_all_parts_leaves_one_description_of_the_machine(table, document):
    parts = [part_of(table, name, "2nd", ["4 s"]) for name in ORDER]
    table.write_between_markers(document, parts, ORDER)
    assert document.read_text().count("- date:") == 1
    assert "1st" not in document.read_text()


@pytest.mark.parametrize("spoil", ["Measured together: dense, scan", "<!-- bench: end -->"])
def test_a_document_that_is_not_such_a_one_is_left_as_it_is(table, document, spoil):
    spoilt = document.read_text().replace(spoil, "")
    document.write_text(spoilt)
    with pytest.raises(ValueError, match=r"run that measured it|put them back"):
        table.write_between_markers(document, [part_of(table, "dense", "2nd", ["7 s"])], ORDER)
    assert document.read_text() == spoilt


def test_the_document_of_the_project_is_such_a_one(table):
    text = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    former = text.partition(table.BEGIN)[2].partition(table.END)[0]
    assert table.to_markdown(table.read_markdown(former)) == former.strip()


def test_minutes_of_a_job_follow_from_an_epoch_of_a_smaller_set(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY))
    families = importlib.import_module("bench.families")
    # A tenth of the chips in 3 s: all in 30 s an epoch, 100 epochs in 50 minutes.
    assert families.minutes_of_job(in_set=100, epoch_s=3, epochs=100, fits=1) == pytest.approx(50)
    assert families.minutes_of_job(in_set=100, epoch_s=3, epochs=100, fits=6) == pytest.approx(300)
