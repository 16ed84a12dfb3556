"""How often, how long: against plain reckoning, with a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.app.web.connections import Connections
from sluice.app.web.limits import BackOff, Buckets, network_of
from sluice.app.web.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 10), st.floats(0.1, 5))
def test_no_more_than_the_rate_and_one_burst(gaps: list[float], burst: int, rate: float):
    clock = Clock()
    buckets = Buckets(rate, burst, clock)
    taken: list[float] = []
    for gap in gaps:
        clock.now += gap
        wait = buckets.take("a")
        if wait == 0:
            taken.append(clock.now)
            # In no span are there more than a burst and what flowed in.
            for first in range(len(taken)):
                count = len(taken) - first
                assert count <= burst + rate * (clock.now - taken[first]) + 1e-6
        else:
            clock.now += wait + 1e-9
            assert buckets.take("a") == 0
            taken.append(clock.now)


def test_buckets_are_apart():
    buckets = Buckets(1, 1, Clock())
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


def test_each_failure_makes_the_wait_twice_as_long():
    clock = Clock()
    back_off = BackOff(3, first_s=1, longest_s=10, clock=clock)
    waits = []
    for _ in range(9):
        assert back_off.attempt("a") == 0
        waits.append(back_off.attempt("a"))
        clock.now += waits[-1]
    # The first asks twice; the third failure is the first that makes one wait. Asking too early is
    # no attempt.
    assert waits == [0, 1, 2, 4, 8, 10, 10, 10, 10]
    back_off.succeeded("a")
    assert back_off.attempt("a") == 0
    assert back_off.attempt("a") == 0


def test_failures_are_forgotten_after_an_hour():
    clock = Clock()
    back_off = BackOff(1, first_s=100, longest_s=1000, forget_s=3600, clock=clock)
    assert back_off.attempt("a") == 0
    assert back_off.attempt("a") == 100
    clock.now = 3700
    assert back_off.attempt("a") == 0
    assert back_off.attempt("a") == 100


def test_attempts_at_the_same_time_count():
    back_off = BackOff(3, clock=Clock())
    assert [back_off.attempt("a") == 0 for _ in range(6)] == [True] * 3 + [False] * 3


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("sluice.app.web.limits._MOST_KEYS", 10)
    buckets, back_off = Buckets(1, 1), BackOff(1)
    for n in range(100):
        buckets.take(str(n))
        back_off.attempt(str(n))
    assert len(buckets._levels) == len(back_off._failures) == 10


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_what_counts_as_one_place(address: str, network: str):
    assert network_of(address) == network


def test_a_proxy_holds_the_connections_of_all_behind_it():
    connections = Connections(
        Settings(store="none", connections_per_address=2, proxies=("192.0.2.0/28", "::1"))
    )

    def entered(address: str) -> list[bool]:
        clients = [(address, port) for port in range(3)]
        return [connections.enter(client, object()) for client in clients]

    assert entered("192.0.2.7") == [True, True, True]
    assert entered("::1") == [True, True, True]
    assert entered("192.0.2.200") == [True, True, False]
    # An IPv6 host has a network of its own.
    assert entered("2001:db8::1") == [True, True, False]
    assert not connections.enter(("2001:db8::2", 9), object())
    connections.leave(("192.0.2.200", 0))
    connections.leave(("192.0.2.200", 0))
    assert connections.enter(("192.0.2.200", 4), object())
    assert not connections.enter(("192.0.2.200", 5), object())
