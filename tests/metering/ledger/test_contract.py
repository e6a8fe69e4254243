"""What every ledger does, whatever database is behind it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from metering.findings import Finding
from metering.ledger.port import JobRun, LedgerUnavailable, Noted, QuarantineEntry, SiteVersion
from metering.ledger.sql_ledger import open_ledger
from metering.periods import Period

NOON = datetime(2023, 6, 14, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def hours(first: float, last: float) -> Period:
    """A period counted in hours from noon."""
    return Period(NOON + first * HOUR, NOON + last * HOUR)


def marked(ledger) -> list[tuple[str, Period]]:
    return sorted((dirty.meter, dirty.period) for dirty in ledger.dirty())


def entry(sequence: int, *, part: int = 0, code: str = "unknown_meter", **more) -> QuarantineEntry:
    return QuarantineEntry("j1", sequence, part, NOON, "tanyuan/park/g1", code, "why", **more)


def noted(subject: str, *, at: datetime = NOON, code: str = "meter.reset", **more) -> Noted:
    return Noted(subject, at, Finding(code, "It fell."), NOON + DAY, **more)


# Positions


def test_a_position_is_zero_at_the_start_and_then_what_was_saved_last(ledger):
    assert ledger.position(store_id="s1", journal="j1") == 0

    ledger.save_position(5, store_id="s1", journal="j1")
    ledger.save_position(2**40, store_id="s1", journal="j1")

    assert ledger.position(store_id="s1", journal="j1") == 2**40


def test_positions_of_other_stores_and_journals_are_their_own(ledger):
    ledger.save_position(5, store_id="s1", journal="j1")

    assert ledger.position(store_id="s2", journal="j1") == 0
    assert ledger.position(store_id="s1", journal="j2") == 0


def test_furthest_position_of_a_journal_is_that_of_any_store(ledger):
    assert ledger.furthest("j1") == 0

    ledger.save_position(5, store_id="s1", journal="j1")
    ledger.save_position(9, store_id="s2", journal="j1")
    ledger.save_position(30, store_id="s1", journal="j2")

    assert ledger.furthest("j1") == 9


def test_journal_is_set_back_in_every_store_that_is_further(ledger):
    ledger.save_position(5, store_id="s1", journal="j1")
    ledger.save_position(9, store_id="s2", journal="j1")
    ledger.save_position(30, store_id="s1", journal="j2")

    ledger.set_back(7, journal="j1")

    assert ledger.position(store_id="s1", journal="j1") == 5
    assert ledger.position(store_id="s2", journal="j1") == 7
    assert ledger.position(store_id="s1", journal="j2") == 30


def test_forgetting_positions_forgets_dirty_ranges_and_quarantine_but_no_facts(ledger):
    ledger.save_position(5, store_id="s1", journal="j1")
    ledger.mark_dirty([("E1", hours(0, 1))])
    ledger.quarantine([entry(1)])
    ledger.note([noted("E1")])
    ledger.record_site("park", b"site: {}", recorded_at=NOON)

    ledger.forget_positions()

    assert ledger.position(store_id="s1", journal="j1") == 0
    assert ledger.dirty() == []
    assert ledger.quarantined(state=None) == []
    assert len(ledger.findings()) == 1
    assert len(ledger.site_versions()) == 1


# Dirty ranges


def test_ranges_that_overlap_or_lie_less_than_a_day_apart_become_one(ledger):
    ledger.mark_dirty([("E1", hours(0, 2)), ("E1", hours(1, 3))])
    ledger.mark_dirty([("E1", hours(26.9, 27))])

    assert marked(ledger) == [("E1", hours(0, 27))]


def test_ranges_a_day_apart_and_those_of_other_meters_stay_apart(ledger):
    ledger.mark_dirty([("E1", hours(0, 2)), ("E1", hours(26, 27)), ("E2", hours(1, 2))])

    expected = [("E1", hours(0, 2)), ("E1", hours(26, 27)), ("E2", hours(1, 2))]
    assert marked(ledger) == expected


def test_a_range_that_bridges_two_makes_all_three_one(ledger):
    ledger.mark_dirty([("E1", hours(0, 1)), ("E1", hours(48, 49))])
    ledger.mark_dirty([("E1", hours(20, 30))])

    assert marked(ledger) == [("E1", hours(0, 49))]


def test_a_range_may_grow_at_its_start(ledger):
    ledger.mark_dirty([("E1", hours(10, 11))])
    ledger.mark_dirty([("E1", hours(8, 9))])

    assert marked(ledger) == [("E1", hours(8, 11))]


def test_of_seventeen_ranges_the_two_closest_become_one(ledger):
    # starts 100 h apart, only the 9th begins 90 h after the 8th: its gap of 89 h is the least
    starts = [100 * n - (10 if n >= 8 else 0) for n in range(17)]
    for start in starts:
        ledger.mark_dirty([("E1", hours(start, start + 1))])

    kept = [hours(s, s + 1) for s in starts]
    kept[7:9] = [hours(700, 791)]
    assert marked(ledger) == [("E1", period) for period in kept]


def test_an_instant_is_kept_as_dirty(ledger):
    ledger.mark_dirty([("E1", hours(1, 1))])

    assert marked(ledger) == [("E1", hours(1, 1))]


def test_an_instant_at_the_end_of_a_range_is_inside_it_afterwards(ledger):
    ledger.mark_dirty([("E1", hours(0, 1))])
    ledger.mark_dirty([("E1", hours(1, 1))])

    (dirty,) = ledger.dirty()
    assert dirty.period.contains(NOON + HOUR)
    assert dirty.period == Period(NOON, NOON + HOUR + timedelta(microseconds=1))


def test_times_are_kept_to_the_microsecond_in_any_century(ledger):
    odd = Period(
        datetime(1905, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(2106, 2, 7, 6, 28, 15, 999_999, tzinfo=timezone(timedelta(hours=8))),
    )
    ledger.mark_dirty([("E1", odd)])

    assert marked(ledger) == [("E1", odd)]


def test_the_oldest_mark_comes_first_and_a_new_mark_moves_to_the_end(ledger):
    for meter in ("E2", "E1", "E3"):
        ledger.mark_dirty([(meter, hours(0, 1))])
    ledger.mark_dirty([("E2", hours(0, 1))])

    assert [dirty.meter for dirty in ledger.dirty()] == ["E1", "E3", "E2"]
    assert [dirty.meter for dirty in ledger.dirty(limit=2)] == ["E1", "E3"]
    assert ledger.count_dirty() == 3


def test_clearing_forgets_what_was_worked_off(ledger):
    ledger.mark_dirty([("E1", hours(0, 1)), ("E2", hours(0, 1))])
    first, second = ledger.dirty()

    ledger.clear_dirty([first])

    assert ledger.dirty() == [second]


@pytest.mark.parametrize(
    "again",
    [hours(0, 10), hours(3, 4), hours(3, 3), hours(9, 12), hours(-2, 1)],
    ids=["the same", "inside", "an instant inside", "at its end", "at its start"],
)
def test_clearing_spares_what_was_marked_since(ledger, again):
    ledger.mark_dirty([("E1", hours(0, 10))])
    taken = ledger.dirty()
    ledger.mark_dirty([("E1", again)])

    ledger.clear_dirty(taken)

    (left,) = ledger.dirty()
    assert left.version > taken[0].version
    assert left.period.start <= again.start
    assert left.period.end >= again.end


def test_a_mark_elsewhere_does_not_renew_a_range(ledger):
    ledger.mark_dirty([("E1", hours(0, 1))])
    taken = ledger.dirty()
    ledger.mark_dirty([("E1", hours(100, 101)), ("E2", hours(0, 1))])

    ledger.clear_dirty(taken)

    assert marked(ledger) == [("E1", hours(100, 101)), ("E2", hours(0, 1))]


def test_versions_grow_even_after_everything_was_forgotten(ledger):
    ledger.mark_dirty([("E1", hours(0, 1))])
    stale = ledger.dirty()
    ledger.forget_positions()
    ledger.mark_dirty([("E1", hours(0, 1))])

    ledger.clear_dirty(stale)

    assert ledger.count_dirty() == 1


def test_nothing_to_mark_clear_keep_or_close_is_no_error(ledger):
    ledger.mark_dirty([])
    ledger.clear_dirty([])
    ledger.quarantine([])
    ledger.close_quarantine("j1", [])
    ledger.note([])

    assert ledger.count_dirty() == 0


def test_more_meters_than_a_statement_takes_parameters_are_marked(ledger):
    spans = [(f"E{n}", hours(0, 1)) for n in range(12_000)]
    ledger.mark_dirty(spans)
    ledger.mark_dirty([(meter, hours(1, 2)) for meter, _ in spans])

    dirty = ledger.dirty()
    assert len(dirty) == 12_000
    assert {found.period for found in dirty} == {hours(0, 2)}


# Site versions


def test_a_site_file_is_recorded_when_its_bytes_differ(ledger):
    content = b"site: {id: park}\n\x00\xff"
    digest = hashlib.sha256(content).hexdigest()
    first = SiteVersion("park", 1, NOON, digest, content)

    assert ledger.record_site("park", content, recorded_at=NOON) == (first, True)
    assert ledger.record_site("park", content, recorded_at=NOON + DAY) == (first, False)
    second, new = ledger.record_site("park", b"other", recorded_at=NOON + DAY)

    assert (second.version, new) == (2, True)
    assert ledger.site_versions("park") == [first, second]


def test_going_back_to_old_bytes_is_a_new_version(ledger):
    for content in (b"a", b"b", b"a"):
        ledger.record_site("park", content, recorded_at=NOON)

    assert [v.content for v in ledger.site_versions()] == [b"a", b"b", b"a"]


def test_site_versions_come_by_site_and_version_whatever_the_locale(ledger):
    # by code point "B" comes before "a"; most locales sort them the other way round
    for site, content in (("a", b"1"), ("B", b"1"), ("a", b"2")):
        ledger.record_site(site, content, recorded_at=NOON)

    assert [(v.site, v.version) for v in ledger.site_versions()] == [("B", 1), ("a", 1), ("a", 2)]
    assert [v.version for v in ledger.site_versions("B")] == [1]


# Quarantine


def test_quarantined_entries_come_by_journal_sequence_and_part(ledger):
    ledger.quarantine([entry(2, part=1), entry(10), entry(2, part=-1), entry(2, meter="E9")])

    found = ledger.quarantined()
    assert [(e.sequence, e.part) for e in found] == [(2, -1), (2, 0), (2, 1), (10, 0)]
    assert found[1] == entry(2, meter="E9")
    assert ledger.quarantined(limit=1) == [entry(2, part=-1)]


def test_an_entry_is_kept_once_and_its_newest_reason_counts(ledger):
    ledger.quarantine([entry(1, code="bad_json"), entry(1, code="bad_time")])
    ledger.quarantine([entry(1, code="unknown_meter")])

    assert ledger.quarantined() == [entry(1, code="unknown_meter")]


def test_entries_can_be_asked_for_by_state_code_and_sequence(ledger):
    ledger.quarantine([entry(1), entry(2, code="bad_json"), entry(3)])
    ledger.close_quarantine("j1", [3])

    assert [e.sequence for e in ledger.quarantined()] == [1, 2]
    assert [e.sequence for e in ledger.quarantined(state=None)] == [1, 2, 3]
    assert ledger.quarantined(state="replayed") == [entry(3, state="replayed")]
    assert [e.sequence for e in ledger.quarantined(code="bad_json")] == [2]
    assert [e.sequence for e in ledger.quarantined(sequence=1)] == [1]


def test_closing_a_message_closes_all_its_parts_and_no_other_journals(ledger):
    other = QuarantineEntry("j2", 1, 0, NOON, "t", "bad_json", "why")
    ledger.quarantine([entry(1), entry(1, part=1), other])

    ledger.close_quarantine("j1", [1, 99])

    assert ledger.quarantined() == [other]


def test_a_message_that_fails_again_is_open_again(ledger):
    ledger.quarantine([entry(1)])
    ledger.close_quarantine("j1", [1])
    ledger.quarantine([entry(1)])

    assert [e.state for e in ledger.quarantined(state=None)] == ["open"]


def test_open_entries_are_counted_by_code(ledger):
    ledger.quarantine([entry(1), entry(2), entry(3, code="bad_json"), entry(4)])
    ledger.close_quarantine("j1", [4])

    assert ledger.quarantine_counts() == {"bad_json": 1, "unknown_meter": 2}
    ledger.close_quarantine("j1", [3])
    assert ledger.quarantine_counts() == {"unknown_meter": 2}
    assert ledger.quarantine_counts(closed_too=True) == {"bad_json": 0, "unknown_meter": 2}


def test_text_no_database_keeps_is_kept_readable(ledger):
    bad = QuarantineEntry("j1", 1, 0, NOON, "park/\x00", "unknown_meter", "no \ud800", "E\x001")

    ledger.quarantine([bad])

    (kept,) = ledger.quarantined()
    assert (kept.topic, kept.message, kept.meter) == (r"park/\x00", r"no \ud800", r"E\x001")


# Findings


def test_findings_come_by_instant_subject_and_code(ledger):
    ledger.note([noted("b", at=NOON + DAY), noted("b"), noted("a"), noted("a", code="meter.gap")])

    found = [(n.at, n.subject, n.finding.code) for n in ledger.findings()]
    assert found == [
        (NOON, "a", "meter.gap"),
        (NOON, "a", "meter.reset"),
        (NOON, "b", "meter.reset"),
        (NOON + DAY, "b", "meter.reset"),
    ]
    assert len(ledger.findings(subject="a")) == 2
    assert len(ledger.findings(code="meter.gap")) == 1


def test_findings_since_a_time_are_those_noted_from_then_on(ledger):
    late = Noted("a", NOON - 9 * DAY, Finding("meter.gap", "Found late."), NOON + 2 * DAY)
    ledger.note([noted("a"), late])

    # The first was noted a day after noon; the other a day later, of an earlier instant.
    assert len(ledger.findings(since=NOON + DAY)) == 2
    assert ledger.findings(since=NOON + DAY + HOUR) == [late]
    assert ledger.findings(since=NOON + DAY + HOUR, code="meter.reset") == []
    assert ledger.findings(since=NOON + 3 * DAY) == []


def test_a_finding_is_kept_once_as_it_was_first_noted(ledger):
    first = noted("a")
    again = Noted("a", NOON, Finding("meter.reset", "Other words."), NOON + 9 * DAY)

    ledger.note([first, again])
    ledger.note([again])

    assert ledger.findings() == [first]


def test_what_a_finding_carries_comes_back_as_json_has_it(ledger):
    data = {"kwh": np.float64(1.5), "n": np.int64(2), "on": date(2023, 6, 14), "at": NOON}
    finding = Finding("meter.reset", "电表", {"表": "E1", "span": hours(0, 1)})
    ledger.note([Noted("a", NOON, finding, NOON, data)])

    (kept,) = ledger.findings()
    assert kept.data == {"kwh": 1.5, "n": 2, "on": "2023-06-14", "at": "2023-06-14T12:00:00Z"}
    assert kept.finding.message == "电表"
    span = "2023-06-14T12:00:00Z/2023-06-14T13:00:00Z"
    assert kept.finding.data == {"表": "E1", "span": span}


# Jobs and notes


def test_runs_of_jobs_come_newest_first(ledger):
    first = ledger.start_job("hours", hours(0, 24), at=NOON)
    second = ledger.start_job("hours", hours(24, 48), at=NOON + DAY)
    third = ledger.start_job("days", hours(0, 24), at=NOON + DAY)
    ledger.end_job(first, at=NOON + HOUR)
    ledger.end_job(second, at=NOON + DAY + HOUR, failed="The store is away.")

    failed = "The store is away."
    assert third > second > first
    assert ledger.job_runs() == [
        JobRun("days", hours(0, 24), NOON + DAY, None, "running"),
        JobRun("hours", hours(24, 48), NOON + DAY, NOON + DAY + HOUR, "failed", failed),
        JobRun("hours", hours(0, 24), NOON, NOON + HOUR, "done"),
    ]
    assert len(ledger.job_runs(limit=1)) == 1


def test_a_note_is_what_was_put_last(ledger):
    assert ledger.get("profiles") is None

    ledger.put("profiles", "abc")
    ledger.put("profiles", "")

    assert ledger.get("profiles") == ""


# Opening and closing


def test_everything_is_there_after_the_ledger_was_opened_again(url):
    first = open_ledger(url)
    first.mark_dirty([("E1", hours(0, 1))])
    first.save_position(7, store_id="s1", journal="j1")
    first.close()

    second = open_ledger(url)
    second.check()
    kept = marked(second), second.position(store_id="s1", journal="j1")
    second.close()

    assert kept == ([("E1", hours(0, 1))], 7)


def test_a_closed_ledger_says_so(url):
    ledger = open_ledger(url)
    ledger.close()
    ledger.close()

    with pytest.raises(LedgerUnavailable, match="was closed: open it again"):
        ledger.get("profiles")


# Notes that several processes change


def test_a_note_is_swapped_only_if_it_says_what_was_expected(ledger):
    assert not ledger.swap("lease", expected="a", value="b")
    assert ledger.swap("lease", expected=None, value="a")
    assert not ledger.swap("lease", expected=None, value="b")
    assert not ledger.swap("lease", expected="x", value="b")
    assert ledger.get("lease") == "a"

    assert ledger.swap("lease", expected="a", value="b")
    assert ledger.get("lease") == "b"


def test_a_note_is_taken_away_only_if_it_says_what_was_expected(ledger):
    ledger.put("lease", "a")

    assert not ledger.swap("lease", expected="b", value=None)
    assert ledger.swap("lease", expected="a", value=None)
    assert ledger.get("lease") is None
    assert ledger.swap("lease", expected=None, value=None)


def test_of_many_that_swap_at_once_one_wins(ledger):
    ledger.put("lease", "0")
    with ThreadPoolExecutor(8) as pool:
        won = list(
            pool.map(lambda n: ledger.swap("lease", expected="0", value=str(n)), range(1, 9))
        )

    assert sum(won) == 1
    assert ledger.get("lease") == str(won.index(True) + 1)


def test_notes_are_found_by_how_their_names_begin(ledger):
    for name in ("journal/b", "journal/a", "journal_", "Journal/c", "journal"):
        ledger.put(name, name.upper())

    assert ledger.notes("journal/") == {"journal/a": "JOURNAL/A", "journal/b": "JOURNAL/B"}
    assert list(ledger.notes("journal_")) == ["journal_"]
    assert ledger.notes("x") == {}
