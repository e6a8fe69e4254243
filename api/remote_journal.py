"""The journal of another process, read over HTTP as if it were in this home."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import httpx2
import orjson

from ingest.journal_reader import RecordNotFound
from ingest.journal_records import Parser, Record
from ingest.remote_journal import JournalUnavailable, decode_records
from ingest.segments import Damage, JournalDamaged

log = logging.getLogger(__name__)

TIMEOUT_S = 20.0
LAST_SEQUENCE = "X-Tanyuan-Last-Sequence"


class RemoteJournal:
    """Reads a journal that another process serves; safe to use from several threads.

    Args:
        journal_id: Which journal it must be.
        url: The process's address, such as `http://collector-1:8400`.
        token: What it wants to see.

    Raises:
        JournalUnavailable: The address cannot be used.
    """

    def __init__(self, journal_id: str, url: str, *, token: str | None) -> None:
        self.journal_id, self.url = journal_id, url.rstrip("/")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            self._client = httpx2.Client(
                base_url=self.url, headers=headers, timeout=TIMEOUT_S, trust_env=False
            )
        except httpx2.InvalidURL as error:
            raise self._misplaced(error) from error
        self._parser, self._parsing = Parser(), threading.Lock()
        self._hearing, self._answers = threading.Lock(), 0
        self._last, self._heard_at = 0, 0

    @property
    def last_sequence(self) -> int:
        """The newest message, as last heard; lower than before where the journal was put back."""
        return self._last

    def ask_last(self, timeout_s: float = TIMEOUT_S) -> int:
        """Ask for the newest message.

        Raises:
            JournalUnavailable: The process does not answer.
        """
        return self._ask(f"/journal/{self.journal_id}", {}, timeout_s)[1]

    def read(self, after: int, limit: int = 10_000, *, max_bytes: int = 32 << 20) -> list[Record]:
        """The records that follow a sequence, in order.

        Raises:
            JournalUnavailable: The process does not answer.
            JournalDamaged: The next record cannot be read; as with a journal in this home.
        """
        data, _ = self._ask(
            f"/journal/{self.journal_id}/records",
            {"after": after, "limit": limit, "max_bytes": max_bytes},
            TIMEOUT_S,
        )
        with self._parsing:
            return decode_records(data, first=after + 1, parser=self._parser)

    def record(self, sequence: int) -> Record:
        """One record.

        Raises:
            RecordNotFound: That sequence was never given out.
            JournalDamaged: It cannot be read any more.
            JournalUnavailable: The process does not answer.
        """
        found = self.read(sequence - 1, 1, max_bytes=1) if sequence > 0 else []
        if not found:
            raise RecordNotFound(
                f"journal {self.journal_id} at {self.url} has messages up to {self._last}, "
                f"not {sequence}"
            )
        return found[0]

    def wait_for(self, after: int, timeout: float) -> bool:
        """Wait until a record follows a sequence; False when none came in time [s].

        Raises:
            JournalUnavailable: The process does not answer.
        """
        if self._last > after:
            return True
        params = {"after": after, "wait_s": timeout}
        return self._ask(f"/journal/{self.journal_id}", params, timeout + TIMEOUT_S)[1] > after

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _ask(self, path: str, params: dict[str, Any], timeout_s: float) -> tuple[bytes, int]:
        """What is answered, and the newest message at that time."""
        asked_at = self._answers
        try:
            answer = self._client.get(path, params=params, timeout=timeout_s)
        except httpx2.InvalidURL as error:
            raise self._misplaced(error) from error
        except httpx2.HTTPError as error:
            raise JournalUnavailable(
                f"The journal {self.journal_id} at {self.url} does not answer "
                f"({type(error).__name__}: {error}). Look at the process that keeps it; nothing "
                "is lost, it is asked again."
            ) from error
        if answer.status_code == 410:
            raise self._damaged(answer.content)
        if answer.status_code != 200:
            raise JournalUnavailable(
                f"The journal {self.journal_id} at {self.url} answered {answer.status_code}: "
                f"{answer.text[:300].strip()}"
            )
        last = int(answer.headers.get(LAST_SEQUENCE, 0))
        self._hear(last, asked_at)
        return answer.content, last

    def _hear(self, last: int, asked_at: int) -> None:
        """Take the newest message as it is said now.

        Answers that overtake each other do not count as a journal that was put back: a lower
        number is believed only if it was asked for after the higher one was heard.
        """
        with self._hearing:
            self._answers += 1
            if last >= self._last or asked_at >= self._heard_at:
                self._last, self._heard_at = last, self._answers

    def _misplaced(self, error: Exception) -> JournalUnavailable:
        return JournalUnavailable(
            f"The journal {self.journal_id} is registered at {self.url!r}, which is no address "
            f"({error}). Mend TANYUAN_ADVERTISE of the process that keeps it and start it again; "
            "nothing is lost."
        )

    def _damaged(self, body: bytes) -> JournalDamaged:
        answer = orjson.loads(body)
        found = answer["damage"] | {"lost": bool(answer.get("lost"))}
        return JournalDamaged(Damage(**{**found, "path": Path(found["path"])}))
