"""Files become telegrams: every digit, every odd row, and the same file twice."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.context import Context
from ingest.import_files import ROWS_PER_MESSAGE, import_file
from ingest.import_rows import ImportRefused
from ingest.journal import Journal
from ingest.profiles import load_profiles
from ingest.projector import Projector
from metering.ledger.sql_ledger import open_ledger
from metering.periods import Period
from metering.store.memory import MemoryStore

NOW = datetime(2024, 6, 1, tzinfo=UTC)
YEARS = Period(datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
PROFILES = load_profiles()
CONTEXT = Context(
    {"estate": {"E27": "native", "007": "native"}, "park": {"E1": "native"}}, PROFILES
)


class Sink:
    """Takes messages like a journal and remembers them."""

    def __init__(self):
        self.messages = []

    def append(self, messages):
        first = len(self.messages) + 1
        self.messages.extend(messages)
        return range(first, first + len(messages))

    @property
    def readings(self):
        return [r for m in self.messages for r in json.loads(m.payload)["readings"]]


@pytest.fixture
def line(tmp_path):
    """The line behind the journal: whatever was appended ends in a store."""

    class Line:
        def __init__(self):
            self.journal = Journal(tmp_path / "j", fsync=False, sealing=False, min_free_bytes=0)
            self.store = MemoryStore()
            self.ledger = open_ledger(f"sqlite:///{tmp_path / 'l.sqlite'}")
            self.projector = Projector(self.journal, self.store, self.ledger, lambda: CONTEXT)

        def take(self, path, *, sites=("estate",), at=NOW):
            report = import_file(path, self.journal, sites=sites, received_at=at)
            self.projector.drain(timeout=20)
            return report

        def rows(self):
            found = self.store.read(YEARS).rows()
            return [(r.meter, r.register, r.read_at, r.value) for r in found]

        def quarantined(self):
            return [(e.code, e.part) for e in self.ledger.quarantined()]

    opened = Line()
    yield opened
    opened.journal.close()
    opened.ledger.close()


def csv(tmp_path, *lines, name="r.csv", header="meter,register,at,value", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes("\n".join([header, *lines, ""]).encode(encoding))
    return path


def test_a_csv_file_goes_through_the_line(tmp_path, line):
    path = csv(
        tmp_path,
        "E27,active_import,2024-01-01T08:00:00+08:00,1234.5,",
        "E27,active_power,2024-01-01T08:00:00+08:00,1500,W",
        "007,active_import,2024-01-01 00:15:00Z, 7 ,MWh",
        header="Meter, Register,at,VALUE,unit",
    )

    report = line.take(path)

    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert line.rows() == [
        ("estate/007", "active_import", at + timedelta(minutes=15), 7000.0),
        ("estate/E27", "active_import", at, 1234.5),
        ("estate/E27", "active_power", at, 1.5),
    ]
    assert (report.rows, report.messages, report.odd_rows) == (3, 1, 0)
    assert (report.first_sequence, report.last_sequence) == (1, 1)
    record = line.journal.record(1)
    assert (record.topic, record.door, record.client) == (
        "tanyuan/estate/import/readings",
        "import",
        "r.csv",
    )


def test_registers_of_one_meter_and_time_that_follow_each_other_are_one_reading(tmp_path):
    sink = Sink()
    path = csv(
        tmp_path,
        "E27,active_import,2024-01-01T00:00:00Z,1",
        "E27,active_export,2024-01-01T00:00:00Z,2",
        "E27,active_import,2024-01-01T00:15:00Z,3",
    )

    import_file(path, sink, sites=["estate"], received_at=NOW)

    assert [r["registers"] for r in sink.readings] == [
        {"active_import": 1.0, "active_export": 2.0},
        {"active_import": 3.0},
    ]


def test_the_same_file_again_changes_no_answer(tmp_path, line):
    path = csv(tmp_path, *(f"E27,active_import,2024-01-01T00:{n:02d}:00Z,{n}" for n in range(60)))
    line.take(path)
    before = line.rows()

    line.take(path, at=NOW + timedelta(days=1))

    assert line.rows() == before
    assert line.ledger.findings() == []


def test_two_values_for_one_reading_in_a_file_are_a_conflict_and_the_later_counts(tmp_path, line):
    path = csv(
        tmp_path,
        "E27,active_import,2024-01-01T00:00:00Z,9",
        "E27,active_import,2024-01-01T00:00:00Z,4",
    )

    line.take(path)

    assert [r[3] for r in line.rows()] == [4.0]
    assert [n.finding.code for n in line.ledger.findings()] == ["reading.conflict"]


def test_odd_rows_are_told_by_line_and_kept_in_quarantine(tmp_path, line):
    path = csv(
        tmp_path,
        "E27,active_import,2024-01-01T00:00:00Z,1",
        ",active_import,2024-01-01T00:00:00Z,2",
        "E27,active_import,2024-01-01T00:15:00Z,n/a",
        "E27,active_import,2024-01-01T00:30:00Z,",
        "",
        "E27,active_import,2024-01-01T00:45:00Z,1,5",
        "E27,active_import",
        "E27,,2024-01-01T01:00:00Z,3",
        "E27,active_import,2024-01-01T01:15:00,4",
        "E27,active_import,,5",
        "E27,active_import,2024-01-01T01:30:00Z,6",
    )

    report = line.take(path)

    assert [r[3] for r in line.rows()] == [1.0, 6.0]
    assert (report.rows, report.odd_rows) == (10, 6)
    assert report.odd == [
        "line 3: wanted a meter, found nothing; it is in quarantine",
        'line 4: wanted a number, found "n/a"; it is in quarantine',
        'line 5: wanted a number, found ""; it is in quarantine',
        'line 7: wanted a number, found "5 cells: E27,active_import,2024-01-01T00:45:00Z,1,5"; '
        "it is in quarantine",
        "line 8: wanted a number, found null; it is in quarantine",
        "line 9: wanted a register, found nothing; it is in quarantine",
    ]
    assert sorted(code for code, _ in line.quarantined()) == [
        "bad_time",
        "bad_time",
        "missing_meter",
        "not_finite",
        "not_finite",
        "not_finite",
        "time_without_offset",
        "unknown_register",
    ]


def test_long_files_become_messages_of_a_few_hundred_readings(tmp_path):
    sink = Sink()
    count = 2 * ROWS_PER_MESSAGE + 1
    start = datetime(2024, 1, 1, tzinfo=UTC)
    lines = [
        f"E27,active_import,{(start + timedelta(minutes=n)).isoformat()},{n}" for n in range(count)
    ]

    report = import_file(csv(tmp_path, *lines), sink, sites=["estate"], received_at=NOW)

    assert report.messages == 3
    assert [r["registers"]["active_import"] for r in sink.readings] == list(range(count))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_keep_every_digit_from_csv_and_parquet(tmp_path, values):
    times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(len(values))]
    frame = pd.DataFrame(
        {"meter": "E27", "register": "active_import", "at": times, "value": values}
    )
    frame.to_parquet(tmp_path / "v.parquet")
    lines = [f"E27,active_import,{t.isoformat()},{v!r}" for t, v in zip(times, values, strict=True)]
    for path in (tmp_path / "v.parquet", csv(tmp_path, *lines)):
        sink = Sink()
        import_file(path, sink, sites=["estate"], received_at=NOW)
        assert [r["registers"]["active_import"] for r in sink.readings] == values


def parquet(tmp_path, **columns):
    table = {"meter": ["E27"] * 2, "register": ["active_import"] * 2, **columns}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_times_with_a_zone_are_instants(tmp_path, line, unit):
    at = pa.array([1704067200, 1704068100], pa.int64())
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    stamped = pa.array([v.as_py() * scale for v in at]).cast(pa.timestamp(unit, tz="Asia/Shanghai"))

    report = line.take(parquet(tmp_path, at=stamped, value=[1, 2]))

    # 1 704 067 200 s after 1970 began is 2024-01-01T00:00:00Z
    start = datetime(2024, 1, 1, tzinfo=UTC)
    assert [(r[2], r[3]) for r in line.rows()] == [
        (start, 1.0),
        (start + timedelta(minutes=15), 2.0),
    ]
    assert report.odd_rows == 0


def test_parquet_times_without_a_zone_are_quarantined(tmp_path, line):
    naive = pa.array([1704067200, None], pa.timestamp("s"))

    line.take(parquet(tmp_path, at=naive, value=[1.0, 2.0]))

    assert line.rows() == []
    assert line.quarantined() == [("time_without_offset", 0), ("bad_time", 1)]


def test_parquet_values_that_are_no_numbers_are_quarantined(tmp_path, line):
    times = ["2024-01-01T00:00:00Z", "2024-01-01T00:15:00Z"]

    report = line.take(parquet(tmp_path, at=times, value=[float("nan"), None]))

    assert (line.rows(), report.odd_rows) == ([], 2)
    assert line.quarantined() == [("not_finite", 0), ("not_finite", 1)]


def test_a_home_with_several_sites_wants_a_site_column(tmp_path, line):
    without = csv(tmp_path, "E27,active_import,2024-01-01T00:00:00Z,1", name="a.csv")
    with_site = csv(
        tmp_path,
        "E27,active_import,2024-01-01T00:00:00Z,1,estate",
        "E1,active_import,2024-01-01T00:00:00Z,2,park",
        "E1,active_import,2024-01-01T00:00:00Z,3,mars",
        name="b.csv",
        header="meter,register,at,value,site",
    )

    with pytest.raises(ImportRefused, match="column `site`"):
        line.take(without, sites=("estate", "park"))
    line.take(with_site, sites=("estate", "park"))

    assert [(r[0], r[3]) for r in line.rows()] == [("estate/E27", 1.0), ("park/E1", 2.0)]
    assert line.quarantined() == [("unknown_site", -1)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.csv", b"meter;register;at;value\n", ["meter, register, at, value", "commas"]),
        ("r.csv", b"meter,register,time,value\n", ["at missing"]),
        ("r.csv", b"", ["meter, register, at, value"]),
        ("r.csv", b"meter,register,at,value,value\n", ["once", "value"]),
        ("r.csv", "meter,register,at,value\n计".encode("gbk"), ["UTF-8"]),
        ("r.csv", "meter,register,at,value\n".encode("utf-16"), ["UTF-8", "FFh"]),
        ("r.csv", b'meter,register,at,value\n"' + b"x" * 200_000, ["after line 1", "quote"]),
        ("r.parquet", b"PAR1 no", ["Parquet"]),
        ("r.xlsx", b"PK", [".csv or .parquet", ".xlsx"]),
        ("r", b"", [".csv or .parquet"]),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_before_anything_is_in(
    tmp_path, name, content, words
):
    sink = Sink()
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ImportRefused) as refusal:
        import_file(tmp_path / name, sink, sites=["estate"], received_at=NOW)

    assert sink.messages == []
    for word in (name, *words):
        assert word in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ImportRefused, match=r"none\.csv"):
        import_file(tmp_path / "none.csv", Sink(), sites=["estate"], received_at=NOW)


def test_further_columns_are_ignored_and_named(tmp_path, line):
    path = csv(
        tmp_path,
        "E27,active_import,2024-01-01T00:00:00Z,1,hall",
        header="meter,register,at,value,room",
    )

    report = line.take(path)

    assert report.ignored_columns == ("room",)
    assert len(line.rows()) == 1


def test_a_byte_order_mark_and_windows_lines_are_no_fault(tmp_path, line):
    path = tmp_path / "excel.csv"
    path.write_bytes(
        b"\xef\xbb\xbfmeter,register,at,value\r\nE27,active_import,2024-01-01T00:00:00Z,1\r\n"
    )

    line.take(path)

    assert [r[3] for r in line.rows()] == [1.0]
