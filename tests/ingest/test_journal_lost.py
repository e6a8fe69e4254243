"""A journal that was put back from an older copy: no number twice, and what is gone is named."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from ingest.journal import Journal, JournalDamaged, JournalError, Lost, Message
from ingest.journal_folder import META_NAME, Meta, read_meta, write_meta

NOON = 1_704_110_400_000_000
"""2024-01-01 12:00 UTC in microseconds."""


def messages(first, last):
    return [Message(NOON + n, "t", b"%d" % n, "door", "gw") for n in range(first, last + 1)]


def opened(folder):
    return Journal(folder, fsync=False, sealing=False, min_free_bytes=0)


@pytest.fixture
def folder(tmp_path):
    """20 messages in two segments, of which the first is sealed."""
    with opened(tmp_path / "journal") as journal:
        journal.append(messages(1, 10))
        journal.roll()
        journal.append(messages(11, 20))
        journal.seal_pending()
    return tmp_path / "journal"


def sequences(journal):
    """Every message that can be read, by sequence, and what is stepped over."""
    found, lost, at = [], [], 0
    while at < journal.last_sequence:
        try:
            found += (records := journal.read(at))
            at = records[-1].sequence
        except JournalDamaged as damage:
            lost.append((damage.first_lost, damage.last_lost, damage.damage.lost))
            at = damage.last_lost
    return [record.sequence for record in found], lost


def test_numbers_go_on_behind_what_anybody_knows_and_the_rest_is_named(folder):
    with opened(folder) as journal:
        assert journal.go_on_behind(100, found_at=NOON) == Lost(21, 100, NOON)
        assert journal.last_sequence == 100
        assert list(journal.append(messages(101, 103))) == [101, 102, 103]
        assert sequences(journal) == ([*range(1, 21), 101, 102, 103], [(21, 100, True)])
        with pytest.raises(JournalDamaged, match="messages 21 to 100 are not in the journal"):
            journal.record(50)
        assert journal.damages == ()

    for _ in range(2):
        with opened(folder) as journal:
            whole = journal.verify()
            assert (whole.problems, whole.messages) == ((), 23)
            assert whole.lost == (Lost(21, 100, NOON),)
            assert sequences(journal) == ([*range(1, 21), 101, 102, 103], [(21, 100, True)])
            journal.roll()
            journal.seal_pending()
            assert journal.health().unsealed == 1
            assert Journal.open_read_only(folder).verify() == journal.verify()


def test_journal_that_is_as_long_as_anybody_knows_goes_on_as_it_is(folder):
    before = (folder / META_NAME).read_bytes()
    with opened(folder) as journal:
        assert journal.go_on_behind(20, found_at=NOON) is None
        assert list(journal.append(messages(21, 21))) == [21]
    assert (folder / META_NAME).read_bytes() == before


def test_journal_that_was_put_back_twice_has_two_gaps(folder):
    with opened(folder) as journal:
        journal.go_on_behind(30, found_at=NOON)
    with opened(folder) as journal:
        assert journal.last_sequence == 30
        journal.go_on_behind(40, found_at=NOON)
        journal.append(messages(41, 42))
    with opened(folder) as journal:
        assert sequences(journal) == ([*range(1, 21), 41, 42], [(21, 30, True), (31, 40, True)])
        assert journal.verify().problems == ()


def test_empty_journal_goes_on_behind_too(tmp_path):
    with opened(tmp_path) as journal:
        journal.go_on_behind(50, found_at=NOON)
        journal.append(messages(51, 52))
    with opened(tmp_path) as journal:
        assert sequences(journal) == ([51, 52], [(1, 50, True)])
        assert journal.verify().problems == ()


@pytest.mark.parametrize("rolled", [False, True])
def test_crash_before_the_new_segment_is_there_gives_no_number_again(folder, rolled):
    with opened(folder) as journal:
        if rolled:
            journal.roll()  # an empty segment is open, which would begin with message 21
    meta = dataclasses.replace(read_meta(folder), lost=(Lost(21, 100, NOON),))
    write_meta(folder, meta, sync=False)

    assert Journal.open_read_only(folder).verify().problems == ()
    with opened(folder) as journal:
        assert list(journal.append(messages(101, 101))) == [101]
        assert sequences(journal) == ([*range(1, 21), 101], [(21, 100, True)])
        journal.roll()
        journal.seal_pending()
        assert journal.health().unsealed == 1
        assert journal.verify().problems == ()


def test_disk_that_refuses_the_new_segment_gets_no_message_into_the_old_one(folder, monkeypatch):
    begin = Journal._begin_segment
    with opened(folder) as journal:

        def refuses(_):
            raise JournalError("the disk does not want to")

        monkeypatch.setattr(Journal, "_begin_segment", refuses)
        with pytest.raises(JournalError, match="does not want"):
            journal.go_on_behind(100, found_at=NOON)
        with pytest.raises(JournalError, match="does not want"):
            journal.append(messages(101, 101))
        monkeypatch.setattr(Journal, "_begin_segment", begin)

        assert list(journal.append(messages(101, 101))) == [101]
        assert sequences(journal) == ([*range(1, 21), 101], [(21, 100, True)])
        assert journal.verify().problems == ()


def test_gap_that_is_not_named_stays_a_break(folder):
    with opened(folder) as journal:
        journal.go_on_behind(100, found_at=NOON)
        journal.append(messages(101, 101))
    write_meta(folder, Meta(read_meta(folder).journal), sync=False)

    (problem,) = Journal.open_read_only(folder).verify().problems
    assert "messages 21 to 100 cannot be read" in problem


def test_sealed_segments_that_were_taken_away_cannot_be_called_lost(folder):
    with opened(folder) as journal:
        for first in (21, 31):
            journal.roll()
            journal.append(messages(first, first + 9))
        journal.roll()
        journal.seal_pending()
    (folder / f"{21:020d}.sealed").unlink()
    meta = dataclasses.replace(read_meta(folder), lost=(Lost(21, 30, NOON),))
    write_meta(folder, meta, sync=False)

    (problem,) = Journal.open_read_only(folder).verify().problems
    assert "the chain to the segment before it is broken" in problem


def test_segments_that_were_copied_elsewhere_come_back_before_the_journal_goes_on(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with opened(folder) as journal:
        journal.append(messages(21, 25))
        journal.roll()
        journal.append(messages(26, 40))
        journal.seal_pending()
    newer = folder / f"{11:020d}.sealed"
    shutil.copy(newer, copy / newer.name)

    with opened(copy) as journal:
        assert journal.last_sequence == 25
        journal.go_on_behind(40, found_at=NOON)
        journal.append(messages(41, 41))
        assert sequences(journal) == ([*range(1, 26), 41], [(26, 40, True)])
        journal.roll()
        journal.seal_pending()
        assert journal.verify().problems == ()


def test_copies_that_are_put_into_a_gap_later_are_read_and_narrow_it(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with opened(folder) as journal:
        journal.roll()
        journal.append(messages(21, 30))
        journal.roll()
        journal.seal_pending()
    with opened(copy) as journal:
        journal.go_on_behind(40, found_at=NOON)
        journal.append(messages(41, 41))
    newer = folder / f"{21:020d}.sealed"
    shutil.copy(newer, copy / newer.name)

    with opened(copy) as journal:
        assert sequences(journal) == ([*range(1, 31), 41], [(31, 40, True)])
        assert list(journal.append(messages(42, 42))) == [42]


def test_segments_that_overlap_stay_a_break(folder):
    with opened(folder) as journal:
        journal.roll()
        journal.append(messages(21, 30))
        journal.roll()
        journal.seal_pending()
    doubled = folder / f"{21:020d}.sealed"
    shutil.copy(doubled, folder / f"{25:020d}.sealed")

    assert any("missing" in each for each in Journal.open_read_only(folder).verify().problems)


def test_restored_journal_takes_nothing_before_it_was_asked_which_numbers_are_given(folder):
    restored = dataclasses.replace(read_meta(folder), is_restored=True)
    write_meta(folder, restored, sync=False)

    with opened(folder) as journal:
        assert "before the ledger was asked" in journal.health().last_error
        with pytest.raises(JournalError, match="before the ledger was asked"):
            journal.append(messages(21, 21))
        journal.note_unasked()
        journal.go_on_behind(100, found_at=NOON)
        assert list(journal.append(messages(101, 101))) == [101]
        assert journal.health().last_error is None
    assert json.loads((folder / META_NAME).read_bytes()).keys() == {"journal", "format", "lost"}


def test_since_when_nobody_was_asked_is_remembered_until_somebody_was(folder):
    with opened(folder) as journal:
        assert journal.unasked is None
        journal.note_unasked()
        journal.append(messages(21, 22))
    with opened(folder) as journal:
        journal.note_unasked()
        assert journal.unasked == 20
        journal.go_on_behind(0, found_at=NOON)
        assert journal.unasked is None
    assert read_meta(folder).unasked is None


def test_reader_that_was_open_meanwhile_finds_what_comes_behind_the_gap(folder):
    reader = Journal.open_read_only(folder)
    assert reader.last_sequence == 20
    with opened(folder) as journal:
        journal.go_on_behind(100, found_at=NOON)
        journal.append(messages(101, 101))

        assert reader.last_sequence == 101
        assert sequences(reader) == ([*range(1, 21), 101], [(21, 100, True)])
