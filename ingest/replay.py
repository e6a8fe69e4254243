"""Plays a file again over MQTT: recorded messages, or readings.

Recorded messages are JSON lines, one message each, as they came:
`{"topic": "…", "payload": "…", "received_at": "2024-01-01T00:15:00Z"}`, with `payload_hex` or
`payload_base64` where the payload is no text; `received_at` may be absent. A line that is no such
message has no topic it could be sent on: it is reported by its number and left out.

Readings are a CSV or Parquet file as `import` takes it. A row that is no reading is reported and
goes along as it is, so that it ends in quarantine and not in silence.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from ingest.import_files import ImportReport, import_file
from ingest.journal_records import Message
from ingest.publisher import Broker, MessageTooLong, Published, Publisher
from ingest.rejections import Rejected, shown
from ingest.times import time_us

READINGS: Final = (".csv", ".parquet")
"""How the names of files with readings end; anything else is recorded messages."""

_PROBLEMS_SHOWN: Final = 20
_PAYLOADS: Final = ("payload", "payload_hex", "payload_base64")
_EXAMPLE: Final = '{"topic": "tanyuan/park/gw1/readings", "payload": "…"}'


class ReplayRefused(ValueError):
    """The file cannot be played."""


class BadLine(ValueError):
    """A line is no recorded message."""


class Recorded(NamedTuple):
    """A message as it once came."""

    topic: str
    payload: bytes
    received_us: int | None
    """Microseconds since 1970-01-01 UTC; None if the recording does not say."""


@dataclass(slots=True)
class ReplayReport:
    """What became of a file."""

    lines: int = 0
    messages: int = 0
    """Sent."""
    left_out: int = 0
    """Lines that are no message, and messages that the broker takes not."""
    odd_rows: int = 0
    """Rows that are no reading; they went along and end in quarantine."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the first of either, by line."""
    published: Published | None = None

    def leave_out(self, line: int, reason: object) -> None:
        """Note what was not sent."""
        self.left_out += 1
        if len(self.problems) < _PROBLEMS_SHOWN:
            where = f"line {line}" if line else "a message"
            self.problems.append(f"{where}: {reason}")


@dataclass(slots=True)
class Pace:
    """Waits so that messages follow each other as they once did.

    A message that is older than one before it waits for nothing.
    """

    speed: float | None
    """So many times as fast as recorded; None: as fast as it goes."""
    wait: Callable[[float], None]
    """Lets so many seconds pass."""
    clock: Callable[[], float]
    """Seconds of a clock that only goes forward."""
    _recorded_us: int | None = None
    _began_s: float = 0.0

    def keep(self, recorded_us: int | None) -> None:
        """Wait until a message of that time is due."""
        if not self.speed or recorded_us is None:
            return
        if self._recorded_us is None:
            self._recorded_us, self._began_s = recorded_us, self.clock()
        due_s = self._began_s + (recorded_us - self._recorded_us) / 1e6 / self.speed
        if (rest := due_s - self.clock()) > 0:
            self.wait(rest)


def replay(
    broker: Broker,
    path: Path,
    *,
    sites: Sequence[str],
    now: datetime,
    clock: Callable[[], float],
    speed: float | None = None,
    on_progress: Callable[[Published], None] | None = None,
) -> ReplayReport:
    """Publish a file's messages, QoS 1, and return when all are acknowledged.

    Args:
        broker: Where they go.
        path: Recorded messages, or readings if it ends in .csv or .parquet.
        sites: Of the home; with one, a file of readings need not name it.
        now: When the replay begins.
        clock: Seconds of a clock that only goes forward, such as `time.monotonic`.
        speed: So many times as fast as recorded; None: as fast as it goes. A file of readings is
            paced by the first time of each message.
        on_progress: Told every thousand messages.

    Raises:
        ReplayRefused: There is no such file, or it is no text.
        ImportRefused: It is no file of readings after all.
        BrokerRefused, BrokerLost: As `publish_all`.
    """
    report = ReplayReport()
    with Publisher(broker) as publisher:
        pace = Pace(speed, publisher.idle, clock)

        def send(line: int, message: Recorded) -> None:
            pace.keep(message.received_us)
            try:
                publisher.publish(message.topic, message.payload)
            except MessageTooLong as reason:
                report.leave_out(line, reason)
                return
            report.messages += 1
            if on_progress is not None and report.messages % 1000 == 0:
                on_progress(publisher.so_far)

        if path.suffix.lower() in READINGS:
            _send_readings(path, send, report, sites=sites, now=now)
        else:
            for line, message in recorded_messages(path, report):
                send(line, message)
        publisher.drain()
        report.published = publisher.so_far
    return report


def recorded_messages(path: Path, report: ReplayReport) -> Iterator[tuple[int, Recorded]]:
    """Read recorded messages with their lines; what is none goes into the report.

    Raises:
        ReplayRefused: There is no such file.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ReplayRefused(
            f"{path}: cannot be read: {error.strerror}. Correct the path."
        ) from None
    with file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            report.lines += 1
            try:
                message = recorded_message(line)
            except BadLine as reason:
                report.leave_out(number, reason)
            else:
                yield number, message


def recorded_message(line: bytes) -> Recorded:
    """Read one recorded message.

    Raises:
        BadLine: It is none.
    """
    try:
        content = orjson.loads(line)
    except ValueError as error:
        raise BadLine(f"wanted a message such as {_EXAMPLE}, found no JSON: {error}") from None
    if not isinstance(content, dict):
        raise BadLine(f"wanted a message such as {_EXAMPLE}, found {shown(content)}")
    topic = content.get("topic")
    if not isinstance(topic, str) or not _publishable(topic):
        raise BadLine(f"wanted a topic without + and #, found {shown(topic)}")
    at = content.get("received_at")
    try:
        received_us = None if at is None else time_us(at)
    except Rejected as reason:
        raise BadLine(f"received_at: {reason}") from None
    return Recorded(topic, _payload(content), received_us)


def _publishable(topic: str) -> bool:
    return bool(topic) and not set("+#\0") & set(topic) and len(topic.encode()) <= 65_535


def _payload(content: dict[str, object]) -> bytes:
    found = [key for key in _PAYLOADS if key in content]
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise BadLine(f"wanted one of {', '.join(_PAYLOADS)}, found {names}")
    text = content[found[0]]
    if not isinstance(text, str):
        raise BadLine(f"wanted {found[0]} as text, found {shown(text)}")
    try:
        if found[0] == "payload_hex":
            return bytes.fromhex(text)
        if found[0] == "payload_base64":
            return b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise BadLine(f"wanted {found[0]} in that code, found {shown(text)}") from None
    return text.encode()


class _Sink:
    """Takes the messages an import makes, and sends them."""

    def __init__(self, send: Callable[[int, Recorded], None]) -> None:
        self._send = send
        self._count = 0

    def append(self, messages: Sequence[Message]) -> range:
        """Send them."""
        first = self._count + 1
        for message in messages:
            self._count += 1
            self._send(0, Recorded(message.topic, message.payload, _first_time(message.payload)))
        return range(first, self._count + 1)


def _first_time(payload: bytes) -> int | None:
    """The time of a message's first reading, if it can be read."""
    try:
        return time_us(orjson.loads(payload)["readings"][0]["at"])
    except (Rejected, LookupError, TypeError):
        return None


def _send_readings(
    path: Path,
    send: Callable[[int, Recorded], None],
    report: ReplayReport,
    *,
    sites: Sequence[str],
    now: datetime,
) -> None:
    """Send a file of readings as the messages an import makes of it."""
    found: ImportReport = import_file(path, _Sink(send), sites=sites, received_at=now)
    report.lines = found.rows
    report.odd_rows = found.odd_rows
    report.problems += found.odd
