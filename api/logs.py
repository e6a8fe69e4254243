"""What the process says of itself: one event per line on stderr, as text or as JSON, no secrets.

A control character inside an event, a line break too, is written as its number, so that
what a stranger sends (a client id, a topic) can neither end a line nor colour a terminal.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, TextIO

from typing_extensions import override

LogFormat = Literal["text", "json"]

HIDDEN = "***"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_IN_WORDS = re.compile(r"(?i)(\bbearer\s+|[?&\"']token[\"']?\s*[=:]\s*[\"']?)[^\s&\"']+")
_IN_QUERY = re.compile(
    r"(?i)((?:password|passwd|pwd)(?:\s*=\s*|[\"']\s*[=:]\s*)[\"']?)[^\s&\"';,]+"
)
_IN_URL = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)")
_SHORTEST_SECRET = 4
"""A shorter one would blot out ordinary text; `doctor` says that it is too short anyway."""

CHATTY = ("httpx2", "httpcore2", "alembic", "apscheduler")
"""Libraries that say every step they take; without `DEBUG` only their warnings are written."""

_secrets: set[str] = set()


def configure(level: str, log_format: LogFormat = "text", *, secrets: Iterable[str] = ()) -> None:
    """Send the log of this process to stderr; may be called again.

    Args:
        level: The least important kind of event that is written.
        log_format: `text` for people, `json` for machines.
        secrets: Values that no line may show, wherever they come from.
    """
    hide(*secrets)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ToStderr):
            root.removeHandler(handler)
    handler = _ToStderr()
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    root.addHandler(handler)
    root.setLevel(level)
    for name in CHATTY:
        quiet = logging.NOTSET if level == "DEBUG" else max(logging.WARNING, root.level)
        logging.getLogger(name).setLevel(quiet)
    logging.captureWarnings(True)


def hide(*secrets: str) -> None:
    """Let no line show these values from now on."""
    _secrets.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at that moment."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class TextLines(logging.Formatter):
    """`2025-01-01T00:00:00.000Z WARNING ingest.subscriber: connection lost`."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        parts = [_message(record), *_traceback(self, record)]
        text = " | ".join(line.strip() for part in parts for line in part.splitlines())
        line = f"{_time(record)} {record.levelname} {record.name}: {text}"
        return _without_control(_without_secrets(line))


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `thread`, `message`, `traceback`."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "thread": record.threadName,
            "message": _without_secrets(_message(record)),
        }
        if trace := _traceback(self, record):
            event["traceback"] = _without_secrets("\n".join(trace))
        return _without_control(json.dumps(event, ensure_ascii=False))


def _message(record: logging.LogRecord) -> str:
    return record.getMessage()


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    found = []
    if record.exc_info:
        found.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        found.append(formatter.formatStack(record.stack_info))
    return found


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_control(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _without_secrets(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern in (_IN_WORDS, _IN_QUERY):
        text = pattern.sub(lambda found: found[1] + HIDDEN, text)
    return _IN_URL.sub(lambda found: found[1] + HIDDEN, text)
