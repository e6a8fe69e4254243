"""The journal keeps what it was given, through crashes, full disks, bit rot and sealing."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import journal as journal_module
from ingest import sealed
from ingest.journal import (
    Journal,
    JournalDamaged,
    JournalError,
    JournalFull,
    Message,
    RecordNotFound,
)
from ingest.journal_records import Encoder
from ingest.segments import HEADER

NOON_US = 1_704_110_400_000_000  # 2024-01-01T12:00:00Z
REPO = Path(__file__).parents[2]


def messages(count, *, start=0, size=40):
    return [
        Message(
            NOON_US + n * 1000,
            f"tanyuan/park/gw{n % 7}/readings",
            f"{n}:".encode() * size,
            "t",
            "c",
        )
        for n in range(start, start + count)
    ]


def open_journal(folder, **options):
    options.setdefault("min_free_bytes", 0)
    options.setdefault("sealing", False)
    return Journal(folder, **options)


def everything(journal, *, limit=10_000):
    records, after = [], 0
    while batch := journal.read(after, limit):
        records += batch
        after = batch[-1].sequence
    return records


def as_messages(records):
    return [Message(r.received_at, r.topic, r.payload, r.door, r.client) for r in records]


def raw_files(folder):
    return sorted(folder.glob("*.log"))


def sealed_files(folder):
    return sorted(folder.glob("*.sealed"))


def damage_byte(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


# -- round trip ---------------------------------------------------------------------------------


def test_what_is_appended_is_read_back_and_again_after_reopening(tmp_path):
    given_messages = messages(250)
    with open_journal(tmp_path) as journal:
        assert journal.append(given_messages[:100]) == range(1, 101)
        assert journal.append(given_messages[100:]) == range(101, 251)
        first_time = everything(journal)
    with open_journal(tmp_path) as journal:
        assert journal.last_sequence == 250
        assert everything(journal) == first_time
    assert as_messages(first_time) == given_messages
    assert [r.sequence for r in first_time] == list(range(1, 251))


texts = st.text(st.characters(codec="utf-8"), max_size=30)
some_messages = st.lists(
    st.builds(
        Message,
        st.integers(-(2**62), 2**62),
        texts,
        st.binary(max_size=300),
        texts,
        texts,
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(some_messages, max_size=6), segment_bytes=st.integers(50, 800))
def test_any_bytes_survive_appending_rolling_sealing_and_reopening(
    tmp_path_factory, batches, segment_bytes
):
    folder = tmp_path_factory.mktemp("journal")
    with open_journal(folder, segment_bytes=segment_bytes, fsync=False) as journal:
        for batch in batches:
            journal.append(batch)
        journal.seal_pending()
    wanted = [message for batch in batches for message in batch]
    with open_journal(folder, fsync=False) as journal:
        assert as_messages(everything(journal, limit=5)) == wanted
        assert journal.verify().problems == ()


def test_payloads_that_are_empty_binary_or_large_come_back_as_they_were(tmp_path):
    payloads = [b"", b"\xff\xfe\x00", bytes(range(256)), os.urandom(5 << 20), b"\n", b"x" * 70_000]
    batch = [Message(NOON_US, "t", payload, "listener", "") for payload in payloads]
    with open_journal(tmp_path) as journal:
        journal.append(batch)
        assert [r.payload for r in everything(journal)] == payloads
        journal.roll()
        journal.seal_pending()
        assert [r.payload for r in everything(journal)] == payloads
        assert journal.record(4).payload == payloads[3]


def test_a_message_that_cannot_be_written_down_keeps_its_whole_batch_out(tmp_path):
    with open_journal(tmp_path) as journal:
        with pytest.raises(ValueError, match="65535"):
            journal.append([*messages(2), Message(0, "x" * 70_000, b"", "t", "c")])
        assert journal.last_sequence == 0
        assert journal.append(messages(1)) == range(1, 2)


def test_an_empty_batch_takes_no_sequence(tmp_path):
    with open_journal(tmp_path) as journal:
        assert len(journal.append([])) == 0
        assert journal.append(messages(1)) == range(1, 2)


def test_reading_keeps_to_limit_and_size(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.append(messages(5000, size=100))
        assert len(journal.read(10, 7)) == 7
        assert [r.sequence for r in journal.read(4998, 100)] == [4999, 5000]
        assert journal.read(5000) == []
        assert journal.read(0, 0) == []
        assert 0 < len(journal.read(0, 5000, max_bytes=1)) < 5000


def test_a_record_is_found_alone_wherever_it_is(tmp_path):
    with open_journal(tmp_path, segment_bytes=200_000) as journal:
        for start in range(0, 6000, 500):
            journal.append(messages(500, start=start))
        journal.seal_pending()
        assert len(sealed_files(tmp_path)) > 1
        for sequence in (1, 499, 500, 501, 2999, 6000):
            record = journal.record(sequence)
            assert (record.sequence, record.payload) == (
                sequence,
                f"{sequence - 1}:".encode() * 40,
            )
        for missing in (0, 6001, -1):
            with pytest.raises(RecordNotFound, match="1 to 6000"):
                journal.record(missing)


def test_threads_that_append_at_once_get_sequences_without_gap_or_overlap(tmp_path):
    taken = []

    def work(door):
        for n in range(40):
            batch = [Message(NOON_US, door, f"{n}.{i}".encode(), door, "") for i in range(5)]
            taken.append((door, n, journal.append(batch)))

    with open_journal(tmp_path, segment_bytes=20_000, sealing=True) as journal:
        threads = [threading.Thread(target=work, args=(f"door{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = {record.sequence: record for record in everything(journal)}

    assert sorted(s for _, _, sequences in taken for s in sequences) == list(range(1, 801))
    for door, n, sequences in taken:
        payloads = [(records[s].door, records[s].payload) for s in sequences]
        assert payloads == [(door, f"{n}.{i}".encode()) for i in range(5)]


def test_a_waiting_reader_wakes_up_when_something_comes(tmp_path):
    with open_journal(tmp_path) as journal:
        assert not journal.wait_for(0, 0.01)
        timer = threading.Timer(0.05, journal.append, [messages(1)])
        timer.start()
        assert journal.wait_for(0, 10)
        timer.join()
        assert journal.wait_for(0, 0)
        assert not journal.wait_for(1, 0)


# -- crashes ------------------------------------------------------------------------------------


def test_a_torn_tail_is_cut_at_every_byte_of_the_last_record(tmp_path):
    origin = tmp_path / "origin"
    with open_journal(origin) as journal:
        journal.append(messages(3, size=5))
        whole = journal.health().disk_bytes
        journal.append(messages(1, start=3, size=5))
        size = journal.health().disk_bytes
    for cut in range(whole, size):
        folder = tmp_path / f"cut{cut}"
        shutil.copytree(origin, folder)
        os.truncate(raw_files(folder)[0], cut)
        with open_journal(folder, fsync=False) as journal:
            assert journal.last_sequence == 3
            assert journal.damages == ()
            journal.append(messages(2, start=10, size=5))
            assert as_messages(everything(journal)) == [
                *messages(3, size=5),
                *messages(2, start=10, size=5),
            ]
        kept = [path.stat().st_size for path in folder.glob("*.torn-*")]
        assert kept == ([cut - whole] if cut > whole else [])
    assert size - whole > 29  # the loop went through the fixed part and the texts


@pytest.mark.parametrize("length", range(0, 36, 5))
def test_a_header_that_was_not_finished_is_written_again(tmp_path, length):
    with open_journal(tmp_path):
        pass
    os.truncate(raw_files(tmp_path)[0], length)
    with open_journal(tmp_path) as journal:
        journal.append(messages(2))
        assert len(everything(journal)) == 2
        assert journal.verify().problems == ()


def test_a_tail_of_zeros_is_cut(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.append(messages(5))
    with raw_files(tmp_path)[0].open("ab") as file:
        file.write(bytes(10_000))
    with open_journal(tmp_path) as journal:
        assert (journal.last_sequence, journal.damages) == (5, ())
        assert journal.append(messages(1)) == range(6, 7)


def flip(path, *, in_record, batch):
    """Damage one byte of the payload of a record; return where the record begins."""
    ends = [len(Encoder().encode(batch[:n], first=1)) for n in range(len(batch) + 1)]
    damage_byte(path, HEADER.size + ends[in_record] - 3)
    return HEADER.size + ends[in_record - 1]


def test_a_flipped_bit_in_the_middle_is_named_and_costs_one_message(tmp_path, caplog):
    batch = messages(50)
    with open_journal(tmp_path) as journal:
        journal.append(batch)
    path = raw_files(tmp_path)[0]
    offset = flip(path, in_record=20, batch=batch)

    with open_journal(tmp_path) as journal:
        assert f"damaged at byte {offset}" in caplog.text
        assert [r.sequence for r in journal.read(0)] == list(range(1, 20))
        with pytest.raises(JournalDamaged, match=f"{path.name} is damaged at byte {offset}") as e:
            journal.read(19)
        assert (e.value.first_lost, e.value.last_lost) == (20, 20)
        assert [r.sequence for r in journal.read(e.value.last_lost)] == list(range(21, 51))
        # new telegrams are not lost: they go into a new file
        assert journal.append(messages(1)) == range(51, 52)
        assert [path.name for path in raw_files(tmp_path)][1] == f"{51:020d}.log"
        assert journal.read(50)[0].sequence == 51
        assert [d.first_lost for d in journal.health().damages] == [20]
    assert path.stat().st_size == HEADER.size + len(Encoder().encode(batch, first=1))


def test_a_flipped_bit_that_appears_while_the_journal_is_open_is_found_by_reading(tmp_path):
    batch = messages(50)
    with open_journal(tmp_path) as journal:
        journal.append(batch)
        flip(raw_files(tmp_path)[0], in_record=7, batch=batch)
        assert [r.sequence for r in journal.read(0)][-1] == 6
        with pytest.raises(JournalDamaged) as e:
            journal.read(6)
        assert (e.value.first_lost, e.value.last_lost) == (7, 7)
        assert [r.sequence for r in journal.read(7)] == list(range(8, 51))


def test_a_flipped_bit_in_the_last_message_does_not_give_its_number_away(tmp_path):
    batch = messages(5)
    with open_journal(tmp_path) as journal:
        journal.append(batch)
    flip(raw_files(tmp_path)[0], in_record=5, batch=batch)
    with open_journal(tmp_path) as journal:
        assert journal.append(messages(1)) == range(6, 7)
        with pytest.raises(JournalDamaged) as e:
            journal.read(4)
        assert e.value.last_lost == 5
        assert journal.read(5)[0].sequence == 6


def test_a_hole_of_zeros_loses_only_the_messages_it_covers(tmp_path):
    batch = messages(2000)
    with open_journal(tmp_path) as journal:
        journal.append(batch)
    with raw_files(tmp_path)[0].open("r+b") as file:
        file.seek(40_000)
        file.write(bytes(4096))
    sizes = [len(Encoder().encode([message], first=1)) for message in batch]
    ends = list(accumulate(sizes, initial=HEADER.size))
    lost = [n for n in range(1, 2001) if ends[n] > 40_000 and ends[n - 1] < 44_096]
    with open_journal(tmp_path) as journal:
        found, after = [], 0
        while after < 2000:
            try:
                found += journal.read(after)
                after = found[-1].sequence
            except JournalDamaged as error:
                reported = (error.first_lost, error.last_lost)
                after = error.last_lost
        assert reported == (lost[0], lost[-1])
        assert sorted({r.sequence for r in found} | set(lost)) == list(range(1, 2001))
        assert not {r.sequence for r in found} & set(lost)


def test_bytes_beyond_the_next_segment_are_not_read(tmp_path):
    """A segment whose unfinished write could not be cut off ends where the next one begins."""
    with open_journal(tmp_path) as journal:
        journal.append(messages(5))
        journal.roll()
        journal.append(messages(2, start=50))
    with raw_files(tmp_path)[0].open("ab") as file:
        file.write(Encoder().encode(messages(3, start=90), first=6))
    with open_journal(tmp_path) as journal:
        assert as_messages(everything(journal)) == [*messages(5), *messages(2, start=50)]
        assert journal.verify().problems == ()
        journal.seal_pending()
        assert as_messages(everything(journal)) == [*messages(5), *messages(2, start=50)]


def test_a_second_writer_is_refused(tmp_path):
    with open_journal(tmp_path), pytest.raises(JournalError, match="open in another process"):
        open_journal(tmp_path)


def test_another_journal_is_refused(tmp_path):
    with open_journal(tmp_path) as journal:
        name = journal.journal_id
    with open_journal(tmp_path, journal_id=name) as journal:
        assert journal.journal_id == name
    with pytest.raises(JournalError, match=f"holds journal {name}, not other"):
        open_journal(tmp_path, journal_id="other")


# -- sealing ------------------------------------------------------------------------------------


def sealed_journal(folder, count=9000):
    """Three sealed segments of several blocks each, and an active one."""
    with open_journal(folder, segment_bytes=600_000) as journal:
        for start in range(0, count, 300):
            journal.append(messages(300, start=start))
        journal.seal_pending()
    return sealed_files(folder)


def test_sealed_blocks_can_be_read_one_by_one(tmp_path):
    path = sealed_journal(tmp_path)[0]
    footer = sealed.read_footer(path)
    assert len(footer.blocks) > 2
    handle = os.open(path, os.O_RDONLY)
    try:
        for block in reversed(footer.blocks):
            assert len(sealed.read_block(handle, block)) == block.raw_size
            assert 0 < block.raw_size <= sealed.BLOCK_BYTES
    finally:
        os.close(handle)


def test_sealing_changes_no_record_and_takes_less_room(tmp_path):
    with open_journal(tmp_path, segment_bytes=300_000) as journal:
        journal.append(messages(5000))
        before, size = everything(journal), journal.health().disk_bytes
        journal.roll()
        assert journal.seal_pending() == 1
        assert everything(journal) == before
        assert journal.health().disk_bytes < size / 2
        assert [len(raw_files(tmp_path)), len(sealed_files(tmp_path))] == [1, 1]


def test_the_background_thread_seals_what_is_full(tmp_path):
    with open_journal(tmp_path, segment_bytes=50_000, sealing=True) as journal:
        for start in range(0, 3000, 300):
            journal.append(messages(300, start=start))
        for _ in range(500):
            if journal.health().unsealed == 1:
                break
            threading.Event().wait(0.02)
        assert journal.health().unsealed == 1
        assert len(everything(journal)) == 3000


def test_a_segment_is_closed_when_its_first_message_is_a_day_old(tmp_path):
    day_us = 86_400_000_000
    with open_journal(tmp_path) as journal:
        for at in (NOON_US, NOON_US + day_us, NOON_US + day_us + 1):
            journal.append([Message(at, "t", b"", "t", "")])
        assert len(raw_files(tmp_path)) == 2
        assert {day: u.messages for day, u in journal.days().items()} == {19723: 1, 19724: 2}


def test_verify_is_content_with_a_whole_chain(tmp_path):
    files = sealed_journal(tmp_path)
    with open_journal(tmp_path) as journal:
        result = journal.verify()
    assert (result.problems, result.messages) == ((), 9000)
    assert result.segments == len(files) + 1
    assert result.head == sealed.read_footer(files[-1]).manifest.seal


def test_verify_finds_a_changed_byte_anywhere_in_a_sealed_file(tmp_path):
    path = sealed_journal(tmp_path)[1]
    whole = path.read_bytes()
    for offset in range(HEADER.size, len(whole), 997):
        damage_byte(path, offset)
        with open_journal(tmp_path, fsync=False) as journal:
            result = journal.verify()
        assert result.problems, f"byte {offset} of {len(whole)}"
        assert str(path) in result.problems[0]
        path.write_bytes(whole)
    with open_journal(tmp_path, fsync=False) as journal:
        assert journal.verify().problems == ()


def test_verify_finds_a_segment_that_was_sealed_again_with_other_contents(tmp_path):
    """The forger makes everything in the file agree; only the next file's link gives it away."""
    files = sealed_journal(tmp_path)
    folder = tmp_path / "forged"
    first, last = int(files[0].stem), int(files[1].stem) - 1
    with open_journal(folder, fsync=False) as journal:
        journal.journal_id = sealed.read_footer(files[0]).manifest.journal
        journal.append(messages(last - first + 1, start=7))
        journal.roll()
        journal.seal_pending()
    shutil.copy(sealed_files(folder)[0], files[0])
    with open_journal(tmp_path) as journal:
        (problem,) = journal.verify().problems
    assert problem == f"{files[1]}: the chain to the segment before it is broken"


def test_verify_finds_a_missing_segment(tmp_path):
    files = sealed_journal(tmp_path)
    files[1].unlink()
    with open_journal(tmp_path) as journal:
        lost = int(files[1].stem)
        assert f"messages {lost} to" in journal.verify().problems[0]
        with pytest.raises(JournalDamaged, match=files[1].name) as e:
            journal.read(lost - 1)
        assert e.value.last_lost == int(files[2].stem) - 1
        assert journal.read(e.value.last_lost)[0].sequence == int(files[2].stem)


def test_a_damaged_block_loses_only_its_own_messages(tmp_path):
    path = sealed_journal(tmp_path)[0]
    footer = sealed.read_footer(path)
    damage_byte(path, footer.blocks[1].offset + footer.blocks[1].size // 2)
    with open_journal(tmp_path) as journal:
        assert journal.read(0)[-1].sequence == footer.firsts[1] - 1
        with pytest.raises(JournalDamaged) as e:
            journal.record(footer.firsts[1])
        assert (e.value.first_lost, e.value.last_lost) == (footer.firsts[1], footer.firsts[2] - 1)
        assert journal.read(e.value.last_lost)[0].sequence == footer.firsts[2]


def test_a_sealed_file_whose_end_is_damaged_can_still_be_read(tmp_path, caplog):
    path = sealed_journal(tmp_path)[0]
    damage_byte(path, path.stat().st_size - 200)
    with open_journal(tmp_path) as journal:
        assert [r.sequence for r in everything(journal)] == list(range(1, 9001))
        assert as_messages(journal.read(4, 1)) == messages(1, start=4)
        assert f"{path}: the index at the end" in journal.verify().problems[0]
    assert "made again from its blocks" in caplog.text


def test_a_lost_block_of_a_file_whose_end_is_damaged_too_is_not_passed_over(tmp_path):
    path = sealed_journal(tmp_path)[0]
    footer = sealed.read_footer(path)
    damage_byte(path, path.stat().st_size - 200)
    damage_byte(path, footer.blocks[1].offset + footer.blocks[1].size // 2)
    with open_journal(tmp_path) as journal:
        assert journal.read(0)[-1].sequence == footer.firsts[1] - 1
        with pytest.raises(JournalDamaged) as e:
            journal.read(footer.firsts[1] + 4)
        assert e.value.first_lost == footer.firsts[1] + 5
        assert e.value.last_lost == footer.firsts[2] - 1
        assert journal.read(e.value.last_lost)[0].sequence == footer.firsts[2]


@pytest.mark.parametrize("step", ["written", "renamed"])
def test_a_crash_between_the_steps_of_sealing_loses_nothing(tmp_path, monkeypatch, step):
    class Crash(BaseException):
        pass

    def crash(*_args, **_options):
        raise Crash

    journal = open_journal(tmp_path, segment_bytes=50_000)
    for start in range(0, 900, 300):
        journal.append(messages(300, start=start))
    before = everything(journal)
    with monkeypatch.context() as patch:
        if step == "written":
            patch.setattr(sealed.os, "replace", crash)
            patch.setattr(Path, "unlink", lambda *_a, **_o: None)  # a crash tidies nothing up
        else:
            patch.setattr(Path, "unlink", crash)
        with pytest.raises(Crash):
            journal.seal_pending()
    journal.close()
    left = sorted(path.suffix for path in tmp_path.glob(f"{1:020d}.*"))
    assert left == ([".log", ".sealing"] if step == "written" else [".log", ".sealed"])

    with open_journal(tmp_path, segment_bytes=50_000) as journal:
        assert len(list(tmp_path.glob(f"{1:020d}.*"))) == 1
        assert everything(journal) == before
        journal.seal_pending()
        assert everything(journal) == before
        assert journal.verify().problems == ()


def test_a_sealed_file_that_cannot_be_read_does_not_win_over_its_raw_segment(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.append(messages(300))
        journal.roll()
        raw = raw_files(tmp_path)[0]
        copy = raw.read_bytes()
        journal.seal_pending()
    raw.write_bytes(copy)
    damage_byte(sealed_files(tmp_path)[0], 100)
    with open_journal(tmp_path) as journal:
        assert len(everything(journal)) == 300
        assert len(list(tmp_path.glob("*.damaged"))) == 1
        assert journal.verify().problems == ()


def test_segments_in_the_archive_are_found(tmp_path):
    folder, archive = tmp_path / "journal", tmp_path / "archive"
    files = sealed_journal(folder)
    archive.mkdir()
    shutil.move(files[0], archive)
    with open_journal(folder, archive=archive) as journal:
        shutil.move(files[1], archive)  # while it is open
        assert [r.sequence for r in everything(journal)] == list(range(1, 9001))
        assert journal.verify().problems == ()
        assert journal.record(5).sequence == 5
    with open_journal(folder) as journal, pytest.raises(JournalDamaged, match="messages 1 to"):
        journal.read(0)


# -- full disks ---------------------------------------------------------------------------------


def test_the_watermark_refuses_before_the_disk_is_full(tmp_path):
    with open_journal(tmp_path, min_free_bytes=1 << 60) as journal:
        with pytest.raises(JournalFull, match="make room"):
            journal.append(messages(1))
        assert journal.last_sequence == 0
        assert "make room" in journal.health().last_error
        journal._min_free_bytes = 0
        assert journal.append(messages(1)) == range(1, 2)
        assert (journal.health().last_error, journal.health().refused_batches) == (None, 1)


def test_a_failed_sync_keeps_nothing_and_the_next_batch_is_kept(tmp_path, monkeypatch):
    with open_journal(tmp_path) as journal:
        journal.append(messages(3))

        def fail(_handle):
            raise OSError(errno.EIO, "input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(journal_module.os, "fdatasync", fail)
            with pytest.raises(JournalError, match="look at the disk"):
                journal.append(messages(5, start=100))
        assert journal.last_sequence == 3
        assert journal.append(messages(2, start=3)) == range(4, 6)
    with open_journal(tmp_path) as journal:
        assert as_messages(everything(journal)) == messages(5)


def test_garbage_that_cannot_be_cut_off_is_left_behind_in_its_segment(tmp_path, monkeypatch):
    with open_journal(tmp_path) as journal:
        journal.append(messages(3))

        def fail(*_args):
            raise OSError(errno.EIO, "input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(journal_module.os, "fdatasync", fail)
            patch.setattr(journal_module.os, "ftruncate", fail)
            with pytest.raises(JournalError):
                journal.append(messages(5, start=100))
        assert journal.append(messages(2, start=3)) == range(4, 6)
        assert as_messages(everything(journal)) == messages(5)
        assert len(raw_files(tmp_path)) == 2
    with open_journal(tmp_path) as journal:
        assert as_messages(everything(journal)) == messages(5)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("a small disk needs root and mount")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True
    )
    if made.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def append_until_refused(journal):
    for start in range(0, 100_000, 300):
        journal.append(messages(300, start=start))


@pytest.mark.parametrize("min_free_bytes", [0, -(1 << 40)], ids=["watermark", "disk"])
def test_a_full_disk_refuses_whole_batches_and_goes_on_once_there_is_room(
    small_disk, min_free_bytes
):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    with open_journal(
        small_disk / "journal", segment_bytes=300_000, min_free_bytes=min_free_bytes
    ) as journal:
        with pytest.raises(JournalFull, match="make room"):
            append_until_refused(journal)
        kept = journal.last_sequence
        assert kept > 0
        for _ in range(3):
            with pytest.raises(JournalFull):
                journal.append(messages(300, start=kept))
        assert journal.last_sequence == kept
        ballast.unlink()
        assert journal.append(messages(300, start=kept)) == range(kept + 1, kept + 301)
        assert as_messages(everything(journal)) == messages(kept + 300)
    with open_journal(small_disk / "journal") as journal:
        assert (journal.damages, list(journal.folder.glob("*.torn*"))) == ((), [])
        assert as_messages(everything(journal)) == messages(kept + 300)


FILE_TOO_LARGE = """
import resource, sys
from pathlib import Path
from ingest.journal import Journal, JournalFull, Message
batch = [Message(n, "t", b"x" * 1000, "t", "") for n in range(100)]
with Journal(Path(sys.argv[1]), min_free_bytes=0, sealing=False) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    journal.append(batch)
    try:
        journal.append(batch)
        sys.exit("the limit did not bite")
    except JournalFull:
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.append(batch)
    records = journal.read(0)
assert [r.sequence for r in records] == list(range(1, 201)), len(records)
"""


def test_a_write_that_stops_half_way_leaves_no_garbage(tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", FILE_TOO_LARGE, str(tmp_path)],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    with open_journal(tmp_path) as journal:
        assert len(everything(journal)) == 200
        assert journal.damages == ()


# -- looking on ---------------------------------------------------------------------------------


def test_a_reader_beside_the_writer_follows_it_and_changes_nothing(tmp_path):
    with open_journal(tmp_path, segment_bytes=50_000) as journal:
        journal.append(messages(300))
        reader = Journal.open_read_only(tmp_path)
        assert as_messages(everything(reader)) == messages(300)
        journal.append(messages(300, start=300))
        assert reader.wait_for(300, 5)
        journal.append(messages(300, start=600))
        journal.seal_pending()
        listing = sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.iterdir())
        assert as_messages(everything(reader)) == messages(900)
        assert reader.record(10).sequence == 10
        assert reader.verify().problems == ()
        assert not reader.wait_for(900, 0.01)
        assert sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.iterdir()) == listing


def test_a_reader_leaves_a_torn_tail_alone(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.append(messages(3))
    path = raw_files(tmp_path)[0]
    os.truncate(path, path.stat().st_size - 5)
    size = path.stat().st_size
    reader = Journal.open_read_only(tmp_path)
    assert reader.last_sequence == 2
    assert as_messages(everything(reader)) == messages(2)
    assert path.stat().st_size == size


def test_a_folder_without_a_journal_says_so(tmp_path):
    with pytest.raises(JournalError, match="there is no journal in"):
        Journal.open_read_only(tmp_path)


def test_health_says_how_many_days_the_disk_lasts(tmp_path):
    with open_journal(tmp_path) as journal:
        assert journal.health().days_left is None
        for hour in range(5):
            journal.append([Message(NOON_US + hour * 3_600_000_000, "t", bytes(1000), "t", "c")])
        health = journal.health()
    # 5 records of 8 + 16 + 5 + 3 + 1000 = 1032 bytes and a header of 36 in 4 hours
    assert health.disk_bytes == 5 * 1032 + 36
    assert health.bytes_per_day == pytest.approx((5 * 1032 + 36) * 6)
    assert health.days_left == pytest.approx(health.free_bytes / health.bytes_per_day)
    assert (health.segments, health.unsealed, health.last_sequence) == (1, 1, 5)
