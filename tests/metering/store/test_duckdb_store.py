"""What only the DuckDB adapter must stand: crashes, damage, full disks, other processes."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from metering.periods import Period, to_us
from metering.readings import Readings
from metering.store.duckdb_instance import Instance
from metering.store.duckdb_schema import load
from metering.store.duckdb_store import open_duckdb
from metering.store.port import StoreDamaged, StoreUnavailable

ROOT = Path(__file__).parents[3]
T0 = datetime(2025, 3, 1, tzinfo=UTC)
EVER = Period(T0 - timedelta(days=1), T0 + timedelta(days=4000))
METERS = 500


def batch(number):
    """One reading of each of 500 meters, `number` minutes after T0, with values hard to pack."""
    codes = np.arange(METERS, dtype=np.int32)
    zeros = np.zeros(METERS, np.int32)
    at = np.full(METERS, to_us(T0 + timedelta(minutes=number)))
    return Readings(
        meters=tuple(f"park/{i:03d}" for i in range(METERS)),
        registers=("import",),
        journals=("j",),
        meter=codes,
        register=zeros,
        read_at=at,
        value=np.random.default_rng(number).random(METERS),
        flags=zeros,
        received_at=at,
        journal=zeros,
        sequence=np.full(METERS, number, np.int64),
    )


def opened(path):
    return open_duckdb(path, memory_limit_mb=128)


def filled(path, *, batches):
    store = opened(path)
    for number in range(batches):
        store.add(batch(number))
    return store


CHILD = """
import sys
from pathlib import Path
from tests.metering.store.test_duckdb_store import batch, opened

store = opened(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    store.add(batch(number))
    print(number, flush=True)
sys.stdin.read()
"""


def child(path, first, last):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(first), str(last)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process, signal_number=signal.SIGKILL):
    process.send_signal(signal_number)
    process.wait(timeout=30)
    process.stdin.close()
    process.stdout.close()


def killed_while_adding(path, *, after):
    """Kill a process in the middle of its adds; the number of the last add that returned."""
    process = child(path, after, after + 10_000)
    assert process.stdout.readline() == "ready\n"
    said = [process.stdout.readline() for _ in range(12)]
    process.kill()
    said += process.stdout.readlines()
    end(process)
    return max(int(line) for line in said if line.endswith("\n"))


def left_by_a_crash(path, *, batches):
    """The files of a store that was never closed: the log holds what the file does not."""
    live = path.with_name("live.duckdb")
    with closing(filled(live, batches=batches)):
        shutil.copy(live, path)
        shutil.copy(live.with_name("live.duckdb.wal"), wal_of(path))


def wal_of(path):
    return path.with_name(path.name + ".wal")


def test_a_killed_process_loses_nothing_that_add_returned_for(tmp_path):
    path = tmp_path / "store.duckdb"
    returned = -1
    for _ in range(2):
        returned = killed_while_adding(path, after=returned + 1)

        store = opened(path)
        found = store.read(EVER)
        times, counts = np.unique(found.read_at, return_counts=True)
        store.close()

        assert len(times) >= returned + 1
        assert (counts == METERS).all()
        returned = len(times) - 1


def test_a_truncated_file_is_called_damaged_with_the_remedy(tmp_path):
    path = tmp_path / "store.duckdb"
    filled(path, batches=30).close()
    os.truncate(path, path.stat().st_size // 2)

    with pytest.raises(StoreDamaged, match=r"store\.duckdb.*tanyuan rebuild"):
        opened(path)


def test_a_file_that_is_no_database_is_called_damaged(tmp_path):
    path = tmp_path / "store.duckdb"
    path.write_bytes(b"not a database" * 1000)

    with pytest.raises(StoreDamaged, match="tanyuan rebuild"):
        opened(path)


def test_a_database_of_someone_else_is_not_touched(tmp_path):
    path = tmp_path / "store.duckdb"
    with duckdb.connect(str(path)) as other:
        other.execute("CREATE TABLE recipes (name VARCHAR)")

    with pytest.raises(StoreDamaged, match="found recipes"):
        opened(path)


def test_a_damaged_log_is_called_damaged(tmp_path):
    path = tmp_path / "store.duckdb"
    left_by_a_crash(path, batches=20)
    wal = wal_of(path)
    content = bytearray(wal.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(byte ^ 0xFF for byte in content[middle : middle + 8])
    wal.write_bytes(content)

    with pytest.raises(StoreDamaged, match="tanyuan rebuild"):
        opened(path)


def test_a_block_that_became_unreadable_is_called_damaged_when_it_is_read(tmp_path):
    path = tmp_path / "store.duckdb"
    filled(path, batches=300).close()
    size = path.stat().st_size
    with path.open("r+b") as file:  # the header and the catalogue's blocks are left as they are
        for position in range(size // 4, size // 2, 4096):
            file.seek(position)
            file.write(b"\xa5" * 64)

    def open_and_read():
        with closing(opened(path)) as store:
            store.read(EVER)

    with pytest.raises(StoreDamaged, match="tanyuan rebuild"):
        open_and_read()


def test_a_log_without_its_file_belongs_to_nothing(tmp_path):
    path = tmp_path / "store.duckdb"
    left_by_a_crash(path, batches=5)
    path.unlink()

    store = opened(path)

    assert len(store.read(EVER)) == 0
    store.close()


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "store.duckdb"
    opened(path).close()
    with duckdb.connect(str(path)) as raw:
        raw.execute("UPDATE meta SET value = '2' WHERE name = 'schema_version'")

    with pytest.raises(StoreUnavailable, match=r"newer Tanyuan.*schema 2"):
        opened(path)


def test_a_file_held_by_another_process_names_it(tmp_path):
    path = tmp_path / "store.duckdb"
    process = child(path, 0, 1)
    try:
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(StoreUnavailable, match=f"another process.*{process.pid}"):
            opened(path)
    finally:
        end(process)

    store = opened(path)
    store.check()
    store.close()


def test_a_file_is_opened_once_in_a_process(tmp_path):
    path = tmp_path / "store.duckdb"
    first = opened(path)

    with pytest.raises(StoreUnavailable, match="open in this process"):
        opened(path)

    first.check()
    first.close()
    opened(path).close()


def test_a_folder_that_is_missing_is_unavailable(tmp_path):
    with pytest.raises(StoreUnavailable, match="folder"):
        opened(tmp_path / "nowhere" / "store.duckdb")


def add_until_it_fails(store):
    """Add batch after batch; the number of the one that was refused."""
    for number in range(5000):
        try:
            store.add(batch(number))
        except StoreUnavailable:
            return number
    pytest.fail("the disk never filled")


def check_recovery(store, refused):
    store.check()
    store.add(batch(refused))
    found = store.read(EVER)
    assert len(found) == (refused + 1) * METERS
    expected = Readings.concat([batch(number) for number in range(refused + 1)])
    np.testing.assert_array_equal(np.sort(found.value), np.sort(expected.value))
    assert len(store.superseded(EVER)) == 0


def test_a_full_disk_is_told_and_room_mends_it(tmp_path):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a small file system")
    try:
        store = opened(small / "store.duckdb")
        refused = add_until_it_fails(store)
        assert len(store.read(EVER)) == refused * METERS
        with pytest.raises(StoreUnavailable, match="No space left"):
            store.add(batch(refused))
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        check_recovery(store, refused)
        store.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_file_that_may_not_grow_is_told_and_mends_when_it_may(tmp_path):
    store = opened(tmp_path / "store.duckdb")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        refused = add_until_it_fails(store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    check_recovery(store, refused)
    store.close()


@pytest.fixture
def instance(tmp_path):
    made = Instance(tmp_path / "store.duckdb", memory_limit_mb=64, threads=1, load=load)
    yield made
    made.close()


GUARDED = "disabled by configuration|disabled through configuration|has been locked"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY meta TO '/tmp/tanyuan-leak.csv'",
        "ATTACH '/tmp/tanyuan-other.db'",
        "INSTALL httpfs",
        "SET threads = 8",
        "SET enable_external_access = true",
    ],
)
def test_sql_cannot_leave_the_file_or_loosen_its_guards(instance, statement):
    with instance.read() as (cursor, _), pytest.raises(duckdb.Error, match=GUARDED):
        cursor.execute(statement).fetchall()


def test_a_fatal_error_opens_the_file_again_when_the_last_reader_has_left(instance):
    inside, leave, order = threading.Event(), threading.Event(), []

    def read_slowly():
        with instance.read():
            inside.set()
            leave.wait(30)
            order.append("reader left")

    reader = threading.Thread(target=read_slowly)
    reader.start()
    assert inside.wait(30)
    with pytest.raises(StoreUnavailable, match="opened again"), instance.read():
        raise duckdb.FatalException("the instance is invalid")
    threading.Timer(0.2, leave.set).start()
    began = time.monotonic()

    with instance.read() as (cursor, known):
        order.append("next call")
        assert cursor.execute("SELECT count(*) FROM meta").fetchall() == [(3,)]

    reader.join()
    assert order == ["reader left", "next call"]
    assert time.monotonic() - began < 30
    assert len(known.store_id) == 32


def test_what_a_failed_batch_brought_is_forgotten(instance):
    def write_and_fail():
        with instance.write() as writing:
            writing.cursor.execute("INSERT INTO meters VALUES (0, 'park/1')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()

    with instance.read() as (cursor, _):
        assert cursor.execute("SELECT count(*) FROM meters").fetchall() == [(0,)]
