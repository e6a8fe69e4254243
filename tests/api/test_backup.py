"""Backup, wipe, restore: the same figures and the same hashes, or a refusal that says why."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
import zstandard

from api import backup, backup_journal
from api.archive import ArchiveDamaged, read_manifest, written
from api.settings import load_settings
from ingest.journal import Journal, Message
from ingest.journal_folder import list_entries
from tests.acceptance.publishing import publish
from tests.acceptance.running import call, make_home, run, up

SITE = """
site: {id: park, name: Park, timezone: Europe/London, region: GB}
buildings:
  - id: a
    area_m2: 1000
    points:
      - {id: a-main, carrier: electricity, role: main,
         meter: {serial: E1, profile: native, capacity: 1000000, max_power_kw: 500}}
quotas:
  - {id: q, subject: a, carrier: electricity, limit: 20, unit: kWh/m2, period: calendar_year,
     source: own budget}
"""

FACTORS = """
factors:
  - key: electricity.grid.location
    unit: kgCO2/kWh
    region: GB
    versions: [{value: 0.2, valid_from: 2020-01-01, published: 2020-01-01, source: own}]
sources:
  own: {title: Grid, publisher: Ours, edition: "1", locator: p. 1}
"""

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
QUESTIONS = (
    ("energy", "--from", "2024-01-01", "--to", "2024-02-01", "--every", "day", "--json"),
    ("energy", "--from", "2024-01-01", "--to", "2024-01-02", "--every", "15min", "--json"),
    ("emissions", "--from", "2024-01-01", "--to", "2024-02-01", "--every", "hour", "--json"),
    ("quota", "--on", "2024-01-20", "--json"),
    ("quarantine", "list", "--json"),
    ("trace", "energy", "--point", "a-main", "--at", "2024-01-03T10:10:00Z", "--json"),
)


def message(number):
    """A reading every hour, 7 kWh on; every fiftieth message is garbage."""
    at = FIRST + timedelta(hours=number)
    reading = {"meter": "E1", "at": at.isoformat(), "registers": {"active_import": 7.0 * number}}
    payload = b"{" if number % 50 == 49 else json.dumps(reading).encode()
    received = int(at.timestamp() * 1e6) + 2_000_000
    return Message(received, "tanyuan/park/gw/readings", payload, "listener", "gw")


def fill(home, count=600, *, archive=None):
    """Three sealed segments and an open one; with an archive, the first one has moved there."""
    with Journal(home / "journal", min_free_bytes=0, archive=archive) as journal:
        for start in range(0, count, 150):
            journal.append([message(n) for n in range(start, start + 150)])
            if start + 150 < count:
                journal.roll()
        journal.seal_pending()


@pytest.fixture
def home(tmp_path):
    made = make_home(tmp_path / "home", SITE, factors={"own.yaml": FACTORS})
    fill(made)
    return made


def answers(home):
    found = [call(home, *question) for question in QUESTIONS]
    assert [each.status for each in found] == [0] * len(QUESTIONS), [e.err for e in found]
    return [each.out for each in found]


def verified(home, archive=None):
    reader = Journal.open_read_only(home / "journal", archive=archive)
    return reader.verify()


def saved(home, target, *options):
    done = call(home, "backup", str(target), "--json", *options)
    assert done.status == 0, done.err
    return done.document


def everything_in(file):
    with file.open("rb") as packed:
        return zstandard.ZstdDecompressor().stream_reader(packed).read()


def test_backup_wipe_restore_gives_the_same_answers_and_the_same_head(home, tmp_path):
    before, chain = answers(home), verified(home)
    assert chain.head
    assert (chain.messages, chain.problems) == (600, ())
    made = saved(home, tmp_path / "b.tar.zst")
    shutil.rmtree(home)

    done = call(home, "restore", str(tmp_path / "b.tar.zst"), "--json")

    assert done.status == 0, done.err
    assert done.document["store"]["rebuilt"] is True
    assert done.document["store"]["messages"] == 600
    assert verified(home) == chain
    assert answers(home) == before
    assert (made["journal"]["head"], made["journal"]["last_sequence"]) == (chain.head, 600)
    assert made["store"] == {"kind": "duckdb", "included": False}


def test_backup_with_its_store_is_restored_without_a_rebuild(home, tmp_path):
    before = answers(home)
    made = saved(home, tmp_path, "--with-store")
    assert made["file"].startswith(str(tmp_path / "tanyuan-park-"))
    shutil.rmtree(home)

    done = call(home, "restore", made["file"], "--json")

    assert done.status == 0, done.err
    assert done.document["store"] == {"rebuilt": False}
    assert answers(home) == before


def test_segments_that_moved_to_an_archive_come_back(home, tmp_path, monkeypatch):
    old = tmp_path / "archive"
    old.mkdir()
    first = min((home / "journal").glob("*.sealed"))
    shutil.move(first, old / first.name)
    monkeypatch.setenv("TANYUAN_JOURNAL_ARCHIVE", str(old))
    chain = verified(home, archive=old)
    saved(home, tmp_path / "b.tar.zst")
    shutil.rmtree(home)
    shutil.rmtree(old)
    monkeypatch.delenv("TANYUAN_JOURNAL_ARCHIVE")

    done = call(home, "restore", str(tmp_path / "b.tar.zst"))

    assert done.status == 0, done.err
    assert verified(home) == chain


@pytest.mark.slow
def test_backup_beside_a_running_up_holds_everything_acknowledged_before_it(home, tmp_path):
    stop = threading.Event()

    def stream(port):
        number = 600
        while not stop.is_set():
            batch = [message(number + n).payload for n in range(50)]
            number += publish(port, batch, site="park")

    with up(home) as running:
        publisher = threading.Thread(target=stream, args=(running.mqtt_port,))
        publisher.start()
        try:
            before = running.ask("/status")["journal"]["last_sequence"]
            done = run(home, "backup", str(tmp_path / "b.tar.zst"), "--json")
            refused = run(home, "backup", str(tmp_path / "c.tar.zst"), "--with-store", "--json")
            again = run(home, "restore", str(tmp_path / "b.tar.zst"), "--json")
        finally:
            stop.set()
            publisher.join(60)
        assert running.ask("/status")["ready"] is True
        pid = running.pid
    assert done.status == 0, done.err
    assert done.document["journal"]["last_sequence"] >= before >= 600
    assert refused.status == again.status == 1
    assert str(pid) in refused.document["detail"]
    assert str(pid) in again.document["detail"]
    copy = tmp_path / "copy"

    restored = run(copy, "restore", str(tmp_path / "b.tar.zst"), "--json")

    assert restored.status == 0, restored.err
    last = restored.document["journal"]["last_sequence"]
    whole = Journal.open_read_only(home / "journal")
    part = Journal.open_read_only(copy / "journal")
    assert part.last_sequence == last <= whole.last_sequence
    assert part.verify().problems == ()
    assert part.read(last - 50, 50) == whole.read(last - 50, 50)


def test_segment_that_is_sealed_while_it_is_copied_is_taken_sealed(home, tmp_path, monkeypatch):
    with Journal(home / "journal", min_free_bytes=0, sealing=False) as journal:
        journal.append([message(600)])
        journal.roll()
        stale = list_entries(home / "journal", None)
        assert sum(entry.raw is not None for entry in stale) == 3
        journal.seal_pending()
        monkeypatch.setattr(backup_journal, "list_entries", lambda *_: stale)

        made = saved(home, tmp_path / "b.tar.zst")

    names = read_manifest(tmp_path / "b.tar.zst")["files"]
    assert sum(name.endswith(".sealed") for name in names) == 5
    assert made["journal"]["last_sequence"] == 601


def test_unfinished_write_at_the_end_is_left_behind(home, tmp_path):
    open_segment = max((home / "journal").glob("*.log"))
    size = open_segment.stat().st_size
    with open_segment.open("ab") as file:
        file.write(b"half a record")

    made = saved(home, tmp_path / "b.tar.zst")

    about = read_manifest(tmp_path / "b.tar.zst")["files"][f"journal/{open_segment.name}"]
    assert about["size"] == size
    assert made["journal"]["last_sequence"] == 600
    assert made["journal"]["damages"] == []


def test_ledger_is_whole_although_it_is_written_to_meanwhile(home, tmp_path):
    answers(home)
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE alembic_version SET version_num = 'half way'")

        made = saved(home, tmp_path / "b.tar.zst")

        writer.execute("ROLLBACK")
    assert made["ledger"]["included"] is True
    assert made["ledger"]["schema"].startswith("r0")


def test_secrets_in_clear_are_left_out_and_named(home, tmp_path):
    (home / "tanyuan.toml").write_text(
        '# own\nhttp_token = "hidden-token"\nanswer_wait_s = 20\n'
        'broker = "mqtt://collector@host"\nbroker_password = "hidden-password"\n'
        'otlp_endpoint = "http://c:4318/?password=hidden-too"\n'
    )
    (home / "signing.key").write_text("hidden-key")
    (home / "exports").mkdir()
    (home / "exports" / "pack.pdf").write_bytes(b"evidence")

    made = saved(home, tmp_path / "b.tar.zst")

    assert b"hidden" not in everything_in(tmp_path / "b.tar.zst")
    assert {each["name"] for each in made["left_out"]} == {
        "signing.key", "tanyuan.toml: broker_password", "tanyuan.toml: http_token",
        "tanyuan.toml: otlp_endpoint",
    }  # fmt: skip
    shutil.rmtree(home)
    assert call(home, "restore", str(tmp_path / "b.tar.zst")).status == 0
    found = load_settings(home, environ={})
    assert (found.answer_wait_s, found.broker) == (20.0, "mqtt://collector@host")
    assert found.secrets == []
    assert (home / "exports" / "pack.pdf").read_bytes() == b"evidence"


def test_settings_that_stand_in_the_new_home_already_stay(home, tmp_path):
    (home / "tanyuan.toml").write_text("answer_wait_s = 20\n")
    saved(home, tmp_path / "b.tar.zst")
    new = tmp_path / "new"
    new.mkdir()
    (new / "tanyuan.toml").write_text('http_token = "its own"\n')

    done = call(new, "restore", str(tmp_path / "b.tar.zst"))

    assert done.status == 0, done.err
    assert (new / "tanyuan.toml").read_text() == 'http_token = "its own"\n'


def test_backup_is_for_its_owner_alone_and_is_never_written_over(home, tmp_path):
    file = tmp_path / "b.tar.zst"
    saved(home, file)
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_bytes()

    done = call(home, "backup", str(file), "--json")

    assert done.status == 1
    assert "never written over" in done.document["detail"]
    assert file.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["b.tar.zst", "home"]


def test_backup_that_cannot_be_written_leaves_nothing_behind(home, tmp_path):
    done = call(home, "backup", str(tmp_path / "no-such-folder" / "b.tar.zst"), "--json")

    assert done.status == 1
    assert "no-such-folder" in done.document["detail"]


def test_home_that_exists_is_not_touched_by_restore(home, tmp_path):
    saved(home, tmp_path / "b.tar.zst")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}

    done = call(home, "restore", str(tmp_path / "b.tar.zst"), "--json")

    assert done.status == 1
    assert "site.yaml" in done.document["detail"]
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def flip(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def retold(data):
    """The same archive with another byte in the site file, and valid frames all the same."""
    out = BytesIO()
    plain = zstandard.ZstdDecompressor().stream_reader(BytesIO(data)).read()
    out.write(zstandard.ZstdCompressor().compress(plain.replace(b"id: park", b"id: bark", 1)))
    return out.getvalue()


@pytest.mark.parametrize(
    "harm",
    [flip, retold, lambda data: data[:-100], lambda data: data[: len(data) // 3], lambda _: b""],
    ids=["a bit", "a changed file", "an end cut off", "two thirds cut off", "empty"],
)
def test_damaged_backup_is_noticed_before_anything_is_made(home, tmp_path, harm):
    file = tmp_path / "b.tar.zst"
    saved(home, file)
    file.write_bytes(harm(file.read_bytes()))
    new = tmp_path / "new"

    checked = call(None, "restore", "--check", str(file), "--json")
    restored = call(new, "restore", str(file), "--json")

    assert checked.status == restored.status == 1
    assert checked.document["type"] == "urn:tanyuan:problem:archive-damaged"
    assert not new.exists()


@pytest.mark.parametrize("name", ["../evil", "home/../evil", "/evil", "home//evil", "manifest"])
def test_name_that_leads_out_of_the_home_is_refused(tmp_path, name):
    file = tmp_path / "b.tar.zst"
    raw = BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, BytesIO(b"evil"))
    file.write_bytes(zstandard.ZstdCompressor().compress(raw.getvalue()))

    with pytest.raises(ArchiveDamaged, match="no name of a file of a home"):
        read_manifest(file)


def test_backup_of_a_newer_form_is_refused(tmp_path):
    with written(tmp_path / "b.tar.zst") as archive:
        archive.finish({"format": 2})

    with pytest.raises(ArchiveDamaged, match="newer Tanyuan"):
        read_manifest(tmp_path / "b.tar.zst")


def test_ledger_in_another_database_is_left_to_its_own_tools(home, tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "ledger_file", lambda _: None)

    made = saved(home, tmp_path / "b.tar.zst")

    assert made["ledger"]["included"] is False
    assert "pg_dump" in made["ledger"]["note"]


def test_check_says_what_a_backup_holds_without_writing(home, tmp_path):
    made = saved(home, tmp_path / "b.tar.zst")

    done = call(None, "restore", "--check", str(tmp_path / "b.tar.zst"), "--json")

    assert done.status == 0
    assert done.document["journal"] == made["journal"]
    assert done.document["files"] == made["files"]
