"""Of several schedulers one runs each job, once; what was due while nobody was there is run.

A run whose day is not whole in the store waits, and is made later.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api import timetable
from api.claims import Claims
from api.jobs import JOBS, what_is_missing
from api.leading import Leading
from api.line import Behind
from api.services import open_services
from api.settings import load_settings
from api.timetable import Timetable, last_due
from ingest.journal import Message
from metering.periods import Period
from metering.store.port import StoreUnavailable
from tests.acceptance.running import make_home
from tests.api.test_backup import SITE, fill
from tests.deploy.brokers import wait_until

DAY = timedelta(days=1)


@pytest.fixture
def services(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    fill(home, 150)
    with open_services(load_settings(home, environ={})) as opened:
        assert opened.catch_up() is None
        yield opened


def runs(services):
    return Counter(run.job for run in services.ledger.job_runs(limit=100))


def yesterday(services):
    """The period of the run of a daily job that was due last."""
    site = services.catalog.site("park")
    due = last_due(JOBS["quotas.daily"], site, services.now())
    start = datetime(due.year, due.month, due.day, tzinfo=site.timezone) - DAY
    return Period(start.astimezone(UTC), (start + DAY).astimezone(UTC))


def test_jobs_that_fire_in_two_schedulers_at_once_run_once_each(services):
    tables = [Timetable(services, holder=name) for name in ("one", "two")]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            started = [
                pool.submit(table.run_due, job, "park") for job in JOBS.values() for table in tables
            ]
            for each in started:
                each.result()

    assert runs(services) == dict.fromkeys(JOBS, 1)
    assert {run.status for run in services.ledger.job_runs()} == {"done"}


def test_who_may_not_run_starts_nothing(services):
    table = Timetable(services, may_run=lambda: False)
    for job in JOBS.values():
        table.run_due(job, "park")
    assert not runs(services)


def test_a_job_that_never_ran_waits_for_its_turn_and_one_that_was_missed_is_run(services):
    Timetable(services, holder="first").catch_up()
    assert not runs(services)

    # A week passes: as if what is noted were as old.
    for key, text in services.ledger.notes("job/").items():
        old = text.replace(text[11:31], "2024-01-01T00:00:00Z")
        assert services.ledger.swap(key, expected=text, value=old)
    Timetable(services, holder="second").catch_up()
    assert runs(services) == dict.fromkeys(JOBS, 1)

    Timetable(services, holder="third").catch_up()
    assert runs(services) == dict.fromkeys(JOBS, 1)


def test_a_run_that_a_scheduler_left_unfinished_is_made_by_the_next(services):
    period = yesterday(services)
    dead, living = (Claims(services.ledger, name) for name in ("dead", "living"))
    assert dead.take("park", "quotas.daily", period)
    assert not living.take("park", "quotas.daily", period)

    assert living.missed("park", "quotas.daily", period)
    Timetable(services, holder="living").catch_up()
    assert runs(services)["quotas.daily"] == 1
    assert not living.missed("park", "quotas.daily", period)
    dead.end("park", "quotas.daily", period, "failed")  # too late: it is another one's now
    assert not living.missed("park", "quotas.daily", period)


def test_a_run_under_way_elsewhere_is_left_alone_when_it_is_due_here(services):
    period = yesterday(services)
    slow, prompt = (Claims(services.ledger, name) for name in ("slow", "prompt"))
    assert slow.take("park", "quotas.daily", period)
    Timetable(services, holder="prompt").run_due(JOBS["quotas.daily"], "park")
    assert not runs(services)
    assert slow.holds("park", "quotas.daily", period)
    assert prompt.take("park", "quotas.daily", period, left=True)
    assert not slow.holds("park", "quotas.daily", period)


def test_a_leader_that_was_replaced_while_its_job_ran_does_not_count_its_run(services):
    slow = Timetable(services, holder="slow")
    new = Timetable(services, holder="new")
    paused, go_on = threading.Event(), threading.Event()
    real = JOBS["quotas.daily"]

    def dawdle(given, site, period):
        paused.set()
        assert go_on.wait(60)
        return real.run(given, site, period)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(slow.run_due, replace(real, run=dawdle), "park")
        assert paused.wait(60)
        new.catch_up()
        go_on.set()
        running.result()

    found = [run for run in services.ledger.job_runs() if run.job == "quotas.daily"]
    assert sorted(run.status for run in found) == ["done", "failed"]
    (given_up,) = [run for run in found if run.status == "failed"]
    assert "another process leads now" in given_up.message
    assert not Claims(services.ledger, "third").missed("park", "quotas.daily", yesterday(services))


def test_a_scheduler_that_does_not_lead_lets_go_of_nothing(services):
    ever = Period(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    before = len(services.store.series("energy", ever))
    assert before > 0
    services.leading = Leading(services, term_s=30.0)
    file = services.home.path / "site.yaml"
    file.write_text(file.read_text().replace("max_power_kw: 500", "max_power_kw: 501"))

    assert services.reload() == ["park"]
    assert len(services.store.series("energy", ever)) == before
    assert services.ledger.count_dirty() == 0

    services.leading.look()  # it leads now, lets go, and makes them again
    assert services.leading.leads
    assert services.catch_up() is None
    assert len(services.store.series("energy", ever)) == before
    services.leading.start()
    services.leading.stop()


def test_hours_of_old_definitions_are_no_answer_after_a_start_without_the_store(services):
    services.unapplied = True
    with pytest.raises(StoreUnavailable, match="Ask again in some seconds"):
        services.catch_up()
    services.apply()
    assert services.catch_up() is None


def test_when_a_job_was_due_last_is_told_in_site_time(services):
    site = services.catalog.site("park")  # London, in summer an hour ahead of UTC
    now = datetime(2024, 7, 3, 0, 30, tzinfo=UTC)
    assert last_due(JOBS["quotas.daily"], site, now) == datetime(2024, 7, 3, 0, 0, tzinfo=UTC)
    sunday = datetime(2024, 6, 30, 2, 0, tzinfo=UTC)
    assert last_due(JOBS["journal.verify"], site, now) == sunday


def test_of_two_leaders_one_leads_and_gives_it_up_in_order(services):
    one, two = Leading(services, term_s=1.0), Leading(services, term_s=1.0)
    one.look()
    two.look()
    assert (one.leads, two.leads) == (True, False)

    one.start()
    one.stop()
    two.look()
    assert (one.leads, two.leads) == (False, True)
    two.start()
    two.stop()


@pytest.fixture
def backlog(tmp_path, monkeypatch):
    """Services whose store was away all night: what came yesterday at 23:30 is not in it yet."""
    home = make_home(tmp_path / "home", SITE)
    fill(home, 150)
    settings = load_settings(home, environ={"TANYUAN_ANSWER_WAIT_S": "0.2"})
    with open_services(settings) as opened:
        assert opened.catch_up() is None
        add = opened.store.add

        def away(batch, **options):
            if away.is_away:
                raise StoreUnavailable("The store is away.")
            return add(batch, **options)

        away.is_away = True
        monkeypatch.setattr(opened.store, "add", away)
        read_at = yesterday(opened).end - timedelta(minutes=30)
        reading = {"meter": "E1", "at": read_at.isoformat(), "registers": {"active_import": 2000.0}}
        received = int(read_at.timestamp() * 1e6)
        opened.journal.append(
            [Message(received, "tanyuan/park/gw/readings", json.dumps(reading).encode(), "l", "gw")]
        )
        opened.line.start()
        yield opened, away
        opened.line.stop()


def silent_runs(services):
    found = [run for run in services.ledger.job_runs(limit=100) if run.job == "meters.silent"]
    return [run.status for run in reversed(found)]


def test_a_run_waits_while_the_store_lacks_a_part_of_its_day_and_is_made_after_it(backlog):
    services, store = backlog
    table = Timetable(services, again_s=0.2)
    for _ in range(3):
        table.run_due(JOBS["meters.silent"], "park")

    assert services.ledger.findings(code="meter.silent") == []  # E1 was heard at 23:30
    (run,) = services.ledger.job_runs(limit=100)  # said once
    assert run.status == "failed"
    assert "1 messages are not in the store yet, the oldest of" in run.message
    assert "tried again" in run.message

    table.start()
    store.is_away = False
    wait_until(lambda: silent_runs(services) == ["failed", "done"], seconds=30)
    table.stop()
    assert services.ledger.findings(code="meter.silent") == []
    assert not Claims(services.ledger, "next").missed("park", "meters.silent", yesterday(services))


def test_a_run_that_waited_to_the_last_says_what_it_did_not_have(backlog, monkeypatch):
    services, _ = backlog
    monkeypatch.setattr(timetable, "LAST_CHANCE", timedelta(days=2))
    Timetable(services).run_due(JOBS["meters.silent"], "park")

    assert silent_runs(services) == ["done"]
    (noted,) = services.ledger.findings(code="meter.silent")
    assert "1 messages are not in the store yet" in noted.finding.message
    assert "1 messages are not in the store yet" in noted.finding.data["behind"]


def test_what_came_after_the_day_holds_up_no_run_of_it(services, monkeypatch):
    period = yesterday(services)
    behind = Behind(7, period.end + timedelta(hours=1))
    monkeypatch.setattr(type(services), "catch_up", lambda _: behind)
    site = services.catalog.site("park")

    assert what_is_missing(services, site, period) == ""
    next_day = Period(period.start + DAY, period.end + DAY)
    assert what_is_missing(services, site, next_day).startswith("7 messages")


def test_hours_of_the_day_that_are_still_to_be_made_hold_up_its_runs(tmp_path, monkeypatch):
    home = make_home(tmp_path / "home", SITE)
    fill(home, 150)
    settings = load_settings(home, environ={"TANYUAN_ANSWER_WAIT_S": "0"})
    with open_services(settings) as services:
        assert services.catch_up() is None
        site, period = services.catalog.site("park"), yesterday(services)
        monkeypatch.setattr(type(services), "catch_up", lambda _: None)  # a round takes its time
        services.ledger.mark_dirty([("park/E1", period)])

        assert "1 spans of hours" in what_is_missing(services, site, period)
        before = Period(period.start - DAY, period.start)
        assert what_is_missing(services, site, before) == ""


def test_a_store_that_is_away_when_a_job_is_due_costs_no_run(services, monkeypatch):
    def away():
        raise StoreUnavailable("The store is away.")

    monkeypatch.setattr(services.store, "check", away)
    table = Timetable(services)
    table.run_due(JOBS["quotas.daily"], "park")
    (run,) = services.ledger.job_runs()
    assert (run.status, "The store is away." in run.message) == ("failed", True)

    monkeypatch.undo()
    table.catch_up(left=False)
    assert [run.status for run in services.ledger.job_runs()] == ["done", "failed"]


def day(year, month, number):
    start = datetime(year, month, number, tzinfo=UTC)
    return Period(start, start + DAY)


def test_a_claim_of_a_day_that_has_not_ended_was_made_by_a_wrong_clock_and_is_none(
    services, caplog
):
    wrong = Claims(services.ledger, "same", lambda: datetime(2036, 2, 8, 1, tzinfo=UTC))
    assert wrong.take("park", "quotas.daily", day(2036, 2, 7))
    wrong.end("park", "quotas.daily", day(2036, 2, 7), "done")

    right = Claims(services.ledger, "same", lambda: datetime(2026, 11, 22, 1, tzinfo=UTC))
    period = day(2026, 11, 21)
    assert right.missed("park", "quotas.daily", period, left=False)
    assert right.take("park", "quotas.daily", period)
    assert "2036-02-07T00:00:00Z, which has not ended" in caplog.text
    assert not right.take("park", "quotas.daily", period)  # once
    later = Claims(services.ledger, "same", lambda: datetime(2026, 11, 23, 1, tzinfo=UTC))
    assert later.take("park", "quotas.daily", day(2026, 11, 22))


def test_a_scheduler_whose_clock_is_a_little_slow_takes_no_newer_claim_away(services):
    prompt = Claims(services.ledger, "prompt", lambda: datetime(2026, 11, 22, 0, 20, tzinfo=UTC))
    assert prompt.take("park", "intervals.daily", day(2026, 11, 21))

    slow = Claims(services.ledger, "slow", lambda: datetime(2026, 11, 22, 0, 10, tzinfo=UTC))
    assert not slow.take("park", "intervals.daily", day(2026, 11, 20))
    assert not slow.missed("park", "intervals.daily", day(2026, 11, 20))
