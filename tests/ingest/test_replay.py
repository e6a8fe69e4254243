"""Files played again: recorded messages and readings, over real MQTT to our listener."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from itertools import islice

import orjson
import pytest

from ingest.import_rows import ImportRefused
from ingest.listener import Listener, ListenerSettings
from ingest.publisher import Broker
from ingest.replay import (
    BadLine,
    Pace,
    ReplayRefused,
    ReplayReport,
    recorded_message,
    recorded_messages,
    replay,
)
from ingest.simulator import simulate

NOW = datetime(2024, 5, 1, tzinfo=UTC)
TOPIC = "tanyuan/p/gw1/readings"


class Kept:
    """A journal in memory."""

    def __init__(self):
        self.messages = []

    def append(self, messages):
        first = len(self.messages) + 1
        self.messages += [(message.topic, message.payload) for message in messages]
        return range(first, len(self.messages) + 1)


@pytest.fixture
def play(tmp_path):
    """Write a file, replay it, and return the report and what arrived."""
    journal = Kept()
    listener = Listener(journal, ListenerSettings(port=0, max_packet_bytes=100_000))
    listener.start()

    def run(name, text, **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        options = {"sites": ["p"], "now": NOW, "clock": lambda: 0.0, **options}
        return replay(Broker(port=listener.port), path, **options), journal.messages

    yield run
    listener.stop()


def lines(*contents):
    return "".join(json.dumps(content, ensure_ascii=False) + "\n" for content in contents)


def test_recorded_messages_arrive_byte_for_byte(play):
    odd = b"\x68\xff\x00\x16"
    text = lines(
        {"topic": TOPIC, "payload": '{"meter": "E1"}', "received_at": "2024-01-01T00:00:00Z"},
        {"topic": "园区/表", "payload": "不是 JSON"},
        {"topic": "dlt/1", "payload_hex": odd.hex()},
        {"topic": "dlt/2", "payload_base64": base64.b64encode(odd).decode()},
    )

    report, arrived = play("day.jsonl", text)

    assert arrived == [
        (TOPIC, b'{"meter": "E1"}'),
        ("园区/表", "不是 JSON".encode()),
        ("dlt/1", odd),
        ("dlt/2", odd),
    ]
    assert (report.lines, report.messages, report.left_out) == (4, 4, 0)
    assert report.published == (4, 4, 0, 0)


def test_bad_lines_are_named_by_number_and_spare_their_neighbours(play):
    good = {"topic": TOPIC, "payload": "1"}
    text = lines(good) + "{no json\n\n" + lines({"topic": "a/#", "payload": "1"}, good)

    report, arrived = play("day.jsonl", text)

    assert arrived == [(TOPIC, b"1")] * 2
    assert (report.lines, report.messages, report.left_out) == (4, 2, 2)
    # the empty line 3 counts as a line of the file
    assert [problem.partition(":")[0] for problem in report.problems] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "a list of 1"),
        ({"payload": "1"}, "topic"),
        ({"topic": "", "payload": "1"}, "topic"),
        ({"topic": "a/+/b", "payload": "1"}, "topic"),
        ({"topic": "a"}, "found none"),
        ({"topic": "a", "payload": "1", "payload_hex": "31"}, "payload, payload_hex"),
        ({"topic": "a", "payload": {"meter": "E1"}}, "payload as text"),
        ({"topic": "a", "payload_hex": "3"}, "payload_hex"),
        ({"topic": "a", "payload_base64": "?"}, "payload_base64"),
        ({"topic": "a", "payload": "1", "received_at": "yesterday"}, "received_at"),
        ({"topic": "a", "payload": "1", "received_at": "2024-01-01T00:00:00"}, "offset"),
    ],
)
def test_a_line_that_is_no_message_says_why(content, message):
    with pytest.raises(BadLine, match=message):
        recorded_message(json.dumps(content).encode())


def test_a_message_the_listener_takes_not_is_reported_and_the_rest_sent(play):
    text = lines({"topic": TOPIC, "payload": "x" * 200_000}, {"topic": TOPIC, "payload": "1"})

    report, arrived = play("day.jsonl", text)

    assert arrived == [(TOPIC, b"1")]
    assert (report.messages, report.left_out) == (1, 1)
    assert report.problems[0].startswith("line 1: Wanted at most 100000 bytes")


def test_readings_become_native_messages(play):
    text = (
        "meter,register,at,value,unit\n"
        "E1,active_import,2024-01-01T00:00:00+08:00,1.5,kWh\n"
        "E1,active_power,2024-01-01T00:00:00+08:00,2,kW\n"
        "E2,active_import,2024-01-01T00:00:00+08:00,7,\n"
    )

    report, arrived = play("readings.csv", text)

    ((topic, payload),) = arrived
    at = "2024-01-01T00:00:00+08:00"
    assert topic.startswith("tanyuan/p/")
    assert [(r["meter"], r["at"], r["registers"]) for r in orjson.loads(payload)["readings"]] == [
        ("E1", at, {"active_import": 1.5, "active_power": 2.0}),
        ("E2", at, {"active_import": 7.0}),
    ]
    assert (report.lines, report.messages, report.published.acked) == (3, 1, 1)


def test_a_row_that_is_no_reading_is_reported_and_goes_along(play):
    text = (
        "meter,register,at,value\n"
        "E1,active_import,2024-01-01T00:00:00Z,1.5\n"
        "E1,active_import,2024-01-01T01:00:00Z,a lot\n"
    )

    report, arrived = play("readings.csv", text)

    assert b'"a lot"' in arrived[0][1]
    assert (report.odd_rows, report.left_out) == (1, 0)
    assert report.problems[0].startswith("line 3: ")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ReplayRefused, match="Correct the path"):
        list(recorded_messages(tmp_path / "none.jsonl", ReplayReport()))


def test_readings_without_their_columns_are_refused(play):
    with pytest.raises(ImportRefused, match="register"):
        play("readings.csv", "meter,at,value\nE1,2024-01-01T00:00:00Z,1\n")


def test_messages_follow_each_other_at_a_multiple_of_their_recorded_pace():
    # at 60 times real time 60 s become 1 s; the message from before is not waited for; 90 s after
    # the first is 1.5 s after it, 0.5 s after the one before
    clock, waits = [100.0], []

    def wait(seconds):
        waits.append(seconds)
        clock[0] += seconds

    pace = Pace(60.0, wait, lambda: clock[0])
    for second in (0, 60, 30, None, 90):
        pace.keep(None if second is None else (1_700_000_000 + second) * 1_000_000)

    assert waits == pytest.approx([1.0, 0.5])


def test_time_lost_on_the_way_is_made_up_for():
    # 10 s recorded, of which sending took 4 s already
    clock, waits = [0.0], []
    pace = Pace(1.0, waits.append, lambda: clock[0])

    pace.keep(0)
    clock[0] = 4.0
    pace.keep(10_000_000)

    assert waits == [6.0]


def test_without_a_speed_nothing_waits():
    waits = []
    pace = Pace(None, waits.append, lambda: 0.0)

    for second in (0, 3600):
        pace.keep(second * 1_000_000)

    assert waits == []


def test_a_paced_replay_waits_between_its_messages(play):
    # 300 s apart at 1000 times real time: 0.3 s; the clock stands still, so each is waited for
    text = lines(
        {"topic": TOPIC, "payload": "1", "received_at": "2024-01-01T00:00:00Z"},
        {"topic": TOPIC, "payload": "2", "received_at": "2024-01-01T00:05:00Z"},
    )
    asked = []

    report, arrived = play("day.jsonl", text, speed=1000.0, clock=lambda: asked.append(1) or 0.0)

    assert [payload for _, payload in arrived] == [b"1", b"2"]
    assert len(asked) == 3
    assert report.messages == 2


def test_a_recording_of_the_made_up_park_arrives_as_it_was_sent(play):
    recorded = list(islice(simulate().messages(), 200))
    text = lines(*({"topic": topic, "payload": data.decode()} for topic, data in recorded))

    report, arrived = play("park.jsonl", text)

    assert arrived == recorded
    assert report.messages == 200
