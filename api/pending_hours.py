"""Spans of hours that displays do not have yet, kept in the ledger until they are written.

They are noted before the marks they came from are cleared, and taken away once they are written:
whoever writes next, in this process or after a crash in another, finds what is left.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.windows import Window
from metering.ledger.port import Ledger
from metering.periods import Period, utc_text
from metering.sites import Site

PIECE = timedelta(days=31)
"""Hours are written so many days at a time."""

NEAR = timedelta(days=2)
"""Spans of hours that lie as near as this are written as one."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """What the note of one site says."""

    spans: Sequence[Period] = ()
    taken: Period | None = None
    """What somebody writes just now; what is made again meanwhile is in `spans` once more."""
    taker: str = ""


class PendingHours:
    """The spans of every site that are still to be written into one store.

    Args:
        ledger: Where they are kept.
        store_id: Tells the name of the store, which is another once its bucket was made anew.
    """

    def __init__(self, ledger: Ledger, store_id: Callable[[], str]) -> None:
        self._ledger, self._store_id = ledger, store_id
        self._taker = uuid.uuid4().hex

    def add(self, site: str, spans: Sequence[Period]) -> None:
        """Keep spans of a site.

        Raises:
            LedgerUnavailable: They are not kept; add them again.
            StoreUnavailable: Likewise; it did not say its name.
        """
        if spans:
            self._change(site, lambda old: _Pending(together([*old.spans, *spans]), *_taken(old)))

    def made(self, site: Site, windows: Sequence[Window]) -> None:
        """Keep which hours of a site were made again.

        Raises:
            LedgerUnavailable: They are not kept; make them again.
            StoreUnavailable: Likewise.
        """
        spans = [window.hours for window in windows if window.hours.start < window.hours.end]
        self.add(site.id, spans)

    def take(self, site: str) -> Period | None:
        """The next piece to write, if there is one; it stays pending until it is `written`.

        What another took and did not finish is pending again: only one process writes at a time.
        """

        def taking(old: _Pending) -> _Pending:
            spans = together([*old.spans, *([old.taken] if old.taken else [])])
            if not spans:
                return _Pending()
            piece = next(pieces(spans[0]))
            left = [cut for each in spans for cut in without(each, piece)]
            return _Pending(left, piece, self._taker)

        return self._change(site, taking).taken

    def written(self, site: str, piece: Period) -> None:
        """Forget a piece that was taken here, but not what was made again since."""

        def forgetting(old: _Pending) -> _Pending:
            mine = old.taker == self._taker and old.taken == piece
            return _Pending(old.spans) if mine else old

        self._change(site, forgetting)

    def _change(self, site: str, change: Callable[[_Pending], _Pending]) -> _Pending:
        """Change the note of a site, whoever else changes it at the same moment."""
        key = f"pending_hours.{self._store_id()}.{site}"
        while True:
            text = self._ledger.get(key)
            changed = change(_pending_from(text))
            new = _pending_text(changed)
            if new == text or self._ledger.swap(key, expected=text, value=new):
                return changed


def _taken(pending: _Pending) -> tuple[Period | None, str]:
    return pending.taken, pending.taker


def _pending_from(text: str | None) -> _Pending:
    if text is None:
        return _Pending()
    found = json.loads(text)
    taken = found["taken"]
    return _Pending(
        [_period(each) for each in found["spans"]],
        _period(taken) if taken else None,
        found["taker"],
    )


def _pending_text(pending: _Pending) -> str | None:
    """The note; None where nothing is pending, so that there is none."""
    if not pending.spans and pending.taken is None:
        return None
    spans = [_ends(each) for each in pending.spans]
    taken = _ends(pending.taken) if pending.taken else None
    return json.dumps({"spans": spans, "taken": taken, "taker": pending.taker})


def _ends(period: Period) -> list[str]:
    return [utc_text(period.start), utc_text(period.end)]


def _period(ends: Sequence[str]) -> Period:
    return Period(datetime.fromisoformat(ends[0]), datetime.fromisoformat(ends[1]))


def pieces(span: Period) -> Iterator[Period]:
    """A span, a bounded piece at a time."""
    start = span.start
    while start < span.end:
        end = min(span.end, start + PIECE)
        yield Period(start, end)
        start = end


def together(spans: Sequence[Period]) -> list[Period]:
    """Spans in order; those that meet or lie near each other as one."""
    found: list[Period] = []
    for span in sorted(spans, key=lambda each: each.start):
        if found and span.start - found[-1].end <= NEAR:
            found[-1] = Period(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def without(span: Period, piece: Period) -> list[Period]:
    """What is left of a span after a piece of it was written."""
    if piece.end <= span.start or span.end <= piece.start:
        return [span]
    before = (span.start, max(span.start, piece.start))
    after = (min(span.end, piece.end), span.end)
    return [Period(start, end) for start, end in (before, after) if start < end]
