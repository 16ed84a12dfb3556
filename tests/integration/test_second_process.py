"""A real service under load makes answers in two processes, and leaves neither behind."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

pytest.importorskip("fastapi")

from served import NO_WORKER, running
from service_cases import write_store
from sluice.app.planning import usable_cores

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_store(tmp_path_factory.mktemp("many") / "s.sqlite", 200))


def ask(address: str, count: int, first: int = 0) -> Iterator[int]:
    """Ask for pages that nobody asked for, many at a time; give how many sites they have."""

    def ids(number: int) -> int:
        path = f"ogc/collections/sites/items?limit=20&bbox=-180,-90,180,{80 + number / 1000}"
        with urllib.request.urlopen(address + path, timeout=60) as answer:  # noqa: S310
            return len(json.load(answer)["features"])

    with ThreadPoolExecutor(16) as pool:
        yield from pool.map(ids, range(first, first + count))


def children_after_load(address: str, process: psutil.Process) -> list[psutil.Process]:
    until = time.monotonic() + 20
    first = 0
    while not (found := process.children()) and time.monotonic() < until and first < 2000:
        assert set(ask(address, 200, first)) == {20}
        first += 200
    return found


@pytest.mark.skipif(usable_cores() < 2, reason="one core: a second process would take from it")
def test_many_who_wait_begin_a_second_process_that_ends_with_the_first(store):
    with running(store) as (address, program):
        process = psutil.Process(program.pid)
        assert process.children() == []
        assert list(ask(address, 1)) == [20]
        assert process.children() == []
        (beside,) = children_after_load(address, process)
        assert set(ask(address, 200, 5000)) == {20}
        # Killed, it can tell nobody.
        program.kill()
        beside.wait(20)


def test_a_service_may_be_told_to_stay_one_process(store):
    with running(store, (*NO_WORKER, "--one-process")) as (address, program):
        assert set(ask(address, 200)) == {20}
        assert psutil.Process(program.pid).children() == []
