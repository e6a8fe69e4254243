"""Leases: one holder at a time, whatever clocks and databases do."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from api.leases import Lease, LeaseTaken, alone, lease_names, process_name, renewing
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger


@pytest.fixture
def ledger(tmp_path):
    found = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield found
    found.close()


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Away:
    """A ledger that does not answer; real ones are stopped in the ledger's own tests."""

    def get(self, key):
        raise LedgerUnavailable("away")

    swap = get


def two(ledger):
    clocks = Clock(), Clock(1e6)
    first, second = (
        Lease(ledger, "schedule", name, term_s=15, clock=clock)
        for name, clock in zip("ab", clocks, strict=True)
    )
    return first, second, *clocks


def test_of_two_one_holds_it_as_long_as_it_renews(ledger):
    first, second, one, other = two(ledger)
    for _ in range(20):
        assert first.hold()
        assert not second.hold()
        one.now += 5
        other.now += 5
    assert first.held
    assert not second.held


def test_a_silent_holder_stops_before_another_takes_over(ledger):
    first, second, one, other = two(ledger)
    assert first.hold()
    assert not second.hold()
    lost_at = taken_at = None
    for step in range(20):
        one.now, other.now = step, 1e6 + step
        if lost_at is None and not first.held:
            lost_at = step
        if taken_at is None and second.hold():
            taken_at = step
    assert lost_at == 10  # two thirds of 15 s
    assert taken_at == 16  # the first whole second after 15 s
    assert not first.hold()


def test_a_lease_that_was_released_is_free_at_once(ledger):
    first, second, *_ = two(ledger)
    assert first.hold()
    first.release()
    assert not first.held
    assert second.hold()
    first.release()
    assert second.hold()


def test_a_ledger_away_takes_the_lease_only_after_a_while(ledger):
    clock = Clock()
    lease = Lease(ledger, "schedule", "a", term_s=15, clock=clock)
    assert lease.hold()
    lease.ledger = Away()
    clock.now = 9
    assert lease.hold()
    clock.now = 10
    assert not lease.hold()
    lease.ledger = ledger
    assert lease.hold()


def test_a_note_that_cannot_be_read_is_taken_once_it_has_stood_still(ledger):
    ledger.put("lease/schedule", "[not json")
    clock = Clock()
    lease = Lease(ledger, "schedule", "a", term_s=15, clock=clock)
    assert not lease.hold()
    clock.now = 16
    assert lease.hold()


def test_no_two_processes_have_one_name():
    assert process_name() != process_name()


def test_leases_are_renewed_while_their_holder_is_busy(ledger):
    mine = Lease(ledger, "schedule", "busy", term_s=1.0)
    other = Lease(ledger, "schedule", "other", term_s=1.0)
    assert mine.hold()
    with renewing([mine]):
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert not other.hold()
            time.sleep(0.1)
    assert mine.held


def test_who_wants_to_be_alone_is_refused_while_another_works_and_told_when_it_lost(ledger):
    assert lease_names(["b", "a"]) == ["schedule", "project/a", "project/b"]
    worker = Lease(ledger, "project/a", "worker")
    assert worker.hold()
    with (
        pytest.raises(LeaseTaken, match=r"'project/a'.*then copy"),
        alone(ledger, lease_names(["a"]), "copy"),
    ):
        pass
    assert Lease(ledger, "schedule", "next").hold()  # nothing was kept of what was refused
    ledger.swap("lease/schedule", expected=ledger.get("lease/schedule"), value=None)
    worker.release()

    with alone(ledger, lease_names(["a"]), "copy") as check:
        check()
        assert not worker.hold()
        ledger.put("lease/project/a", '{"holder": "a thief", "beat": 1}')
        lost = None
        end = time.monotonic() + 30
        while lost is None and time.monotonic() < end:
            time.sleep(0.1)
            with suppress(LeaseTaken):
                check()
                continue
            lost = True
        assert lost
