"""Pixels kept on disk: the same ones come back or none, and the folder stays within its limit."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.imagery import block_cache
from sluice.imagery.block_cache import BlockCache, cache_in

ARRAY = np.random.default_rng(1).integers(0, 5000, (64, 48), dtype=np.uint16)
# So that no entry can be compressed and sizes are known.
NOISE = np.random.default_rng(2).integers(0, 256, (100, 100), dtype=np.uint8)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/[!.]*.block"))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@given(
    array=hnp.arrays(
        st.sampled_from(["u1", "<u2", ">i2", "<f4", "<f8"]),
        hnp.array_shapes(max_dims=2, min_side=0),
    )
)
@settings(max_examples=60)
def test_any_array_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray
) -> None:
    cache = BlockCache(tmp_path_factory.mktemp("cache"), 10**6)
    cache.put_array("key", array)
    found = cache.get_array("key")
    assert found is not None
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_view_with_gaps_is_kept_too(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 10**6)
    cache.put_array("key", ARRAY[::2, ::3])
    np.testing.assert_array_equal(cache.get_array("key"), ARRAY[::2, ::3])


def test_unknown_keys_have_nothing(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path / "not" / "there", 10**6)
    assert cache.get_array("a") is None
    assert cache.get_text("a") is None
    cache.put_text("a", "words")
    assert cache.get_text("a") == "words"
    assert cache.get_text("b") is None


@given(data=st.data())
@settings(max_examples=80)
def test_a_damaged_entry_counts_as_absent(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cache = BlockCache(folder, 10**6)
    cache.put_array("key", ARRAY)
    (path,) = entries(folder)
    stored = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(stored) - 1))
    if data.draw(st.booleans()):
        stored[at] ^= data.draw(st.integers(1, 255))
    else:
        del stored[at:]
    path.write_bytes(bytes(stored))
    assert cache.get_array("key") is None
    cache.put_array("key", ARRAY)
    np.testing.assert_array_equal(cache.get_array("key"), ARRAY)


def test_an_entry_under_anothers_name_counts_as_absent(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 10**6)
    cache.put_array("one", ARRAY)
    (one,) = entries(tmp_path)
    cache.put_array("two", ARRAY + 1)
    (two,) = set(entries(tmp_path)) - {one}
    two.write_bytes(one.read_bytes())
    assert cache.get_array("two") is None


def test_a_text_is_not_taken_for_an_array(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 10**6)
    for text in ("", "words", '{"dtype": "u1"}\n', '{"dtype": "u1", "shape": [2]}\nx', "[]\nx"):
        cache.put_text("key", text)
        assert cache.get_array("key") is None


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 55_000)  # five entries of a little over 10,000 bytes
    for number in range(5):
        cache.put_array(f"key {number}", NOISE)
        # File systems' clocks tick coarsely.
        age = time.time() - 100 + number
        os.utime(cache._path(f"key {number}"), (age, age))
    assert cache.get_array("key 0") is not None
    cache.put_array("key 5", NOISE)
    left = [number for number in range(6) if cache.get_array(f"key {number}") is not None]
    assert left == [0, 3, 4, 5]
    assert size_of(tmp_path) <= 55_000


def test_the_limit_holds_through_many_writes(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 200_000)
    for number in range(60):
        cache.put_array(f"key {number}", NOISE)
        assert size_of(tmp_path) <= 200_000
    assert len(entries(tmp_path)) >= 10


def test_a_folder_over_its_limit_is_cut_back(tmp_path: Path) -> None:
    large = BlockCache(tmp_path, 10**6)
    for number in range(30):
        large.put_array(f"key {number}", NOISE)
    small = BlockCache(tmp_path, 100_000)
    small.put_array("new", NOISE)
    assert size_of(tmp_path) <= 100_000
    assert small.get_array("new") is not None


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 9_000)
    cache.put_array("key", NOISE)
    assert cache.get_array("key") is None
    assert size_of(tmp_path) == 0


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    mine = tmp_path / "ab" / "letter.txt"
    mine.write_text("x" * 50_000)
    old, new = tmp_path / "ab" / ".part-old.block", tmp_path / "ab" / ".part-new.block"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache = BlockCache(tmp_path, 15_000)
    cache.put_array("a", NOISE)
    cache.put_array("b", NOISE)
    assert len(entries(tmp_path)) == 1
    # What a killed process left goes, what another may be writing at this moment stays.
    assert mine.exists()
    assert new.exists()
    assert not old.exists()


def test_without_room_or_rights_nothing_is_kept_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = BlockCache(tmp_path, 10**6)
    cache.put_text("before", "kept")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        cache.put_array("key", ARRAY)
    assert cache.get_array("key") is None
    assert cache.get_text("before") == "kept"
    assert not list(tmp_path.rglob(".part-*"))
    cache.put_array("key", ARRAY)
    assert cache.get_array("key") is None  # it rests for a minute
    (tmp_path / "file").write_text("not a folder")
    blocked = BlockCache(tmp_path / "file" / "cache", 10**6)
    blocked.put_array("key", ARRAY)
    assert blocked.get_array("key") is None


def test_threads_and_two_caches_share_a_folder(tmp_path: Path) -> None:
    # Two objects stand for two processes: they share nothing but the folder.
    caches = [BlockCache(tmp_path, 300_000), BlockCache(tmp_path, 300_000)]
    wrong = []

    def work(cache: BlockCache, seed: int) -> None:
        order = np.random.default_rng(seed).integers(0, 40, 80)
        for number in order:
            expected = NOISE + np.uint8(number)
            found = cache.get_array(f"key {number}")
            if found is None:
                cache.put_array(f"key {number}", expected)
            elif not np.array_equal(found, expected):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(caches[seed % 2], seed)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    # Each may pass the limit by a sixteenth and an entry until it counts again.
    assert size_of(tmp_path) <= 300_000 * (1 + 2 / 16) + 2 * 10_200


def test_one_object_per_folder(tmp_path: Path) -> None:
    assert cache_in(tmp_path, 10) is cache_in(tmp_path, 10)
    assert cache_in(tmp_path, 10) is not cache_in(tmp_path, 20)
    assert block_cache.cache_in.cache_info().maxsize
