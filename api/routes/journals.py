"""The journal of this process, read-only, for the others of the installation."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Annotated

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response

from api.answers import to_json
from api.auth import check_token
from api.journals import NoSuchJournal
from api.problems import document, respond
from api.remote_journal import LAST_SEQUENCE
from ingest.journal import Journal
from ingest.journal_reader import RecordNotFound
from ingest.remote_journal import MEDIA, JournalUnavailable, encode_records
from ingest.segments import JournalDamaged
from metering.periods import from_us, utc_text

router = APIRouter(prefix="/journal", tags=["journal"])

LONGEST_WAIT_S = 30.0


def serve_journal(app: FastAPI, journal: Journal, tokens: Collection[str]) -> None:
    """Serve a journal to whoever shows one of the tokens.

    Raises:
        ValueError: There is no token.
    """
    if not all(tokens) or not tokens:
        raise ValueError("A journal is served only to those who show a token; there is none.")
    app.state.journal, app.state.journal_tokens = journal, list(tokens)
    app.include_router(router)


def _journal(request: Request, journal: str) -> Journal:
    """The journal that is asked for, for those who may ask.

    Raises:
        NotAllowed: The token did not come.
        NoSuchJournal: It is kept elsewhere.
        JournalUnavailable: Its numbers may be given a second time, for all that is known.
    """
    check_token(request.headers.get("authorization"), request.app.state.journal_tokens)
    kept: Journal = request.app.state.journal
    if journal != kept.journal_id:
        raise NoSuchJournal(
            f"This process keeps the journal {kept.journal_id}, not {journal}. The ledger says "
            "where it is, once its process has registered it."
        )
    if not kept.is_settled:
        raise JournalUnavailable(
            f"The journal {journal} may be an older copy that was put back: nobody reads it before "
            "the ledger was asked which numbers are given already. See that the ledger answers."
        )
    return kept


Kept = Annotated[Journal, Depends(_journal)]


def _answer(journal: Journal, body: bytes, media: str = "application/json") -> Response:
    return Response(body, media_type=media, headers={LAST_SEQUENCE: str(journal.last_sequence)})


@router.get("/{journal}")
async def read_state(
    kept: Kept,
    after: Annotated[int, Query(ge=0, description="Wait for a message after this one")] = 0,
    wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="At most so long")] = 0,
) -> Response:
    """How far the journal is; with `wait_s`, once a message follows `after`."""
    if wait_s:
        await to_thread.run_sync(kept.wait_for, after, wait_s)
    state = {
        "journal": kept.journal_id,
        "first_sequence": kept.first_sequence,
        "last_sequence": kept.last_sequence,
    }
    return _answer(kept, to_json(state))


@router.get("/{journal}/records")
def read_records(
    kept: Kept,
    after: Annotated[int, Query(ge=0, description="The sequence before the first")],
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    max_bytes: Annotated[int, Query(ge=1, le=256 << 20)] = 32 << 20,
) -> Response:
    """Records as they lie in a segment, with lengths and checksums."""
    try:
        records = kept.read(after, limit, max_bytes=max_bytes)
    except JournalDamaged as damaged:
        return respond(_damage_problem(damaged))
    return _answer(kept, encode_records(records), MEDIA)


def _damage_problem(damaged: JournalDamaged) -> dict[str, object]:
    problem = document(410, "The journal is damaged there", str(damaged), code="journal-damaged")
    damage = dataclasses.asdict(damaged.damage)
    lost = damage.pop("lost")  # beside it: older processes know nothing of it
    return {**problem, "damage": {**damage, "path": str(damage["path"])}, "lost": lost}


@router.get("/{journal}/{sequence}")
def read_message(kept: Kept, sequence: int) -> Response:
    """One message, byte for byte."""
    try:
        record = kept.record(sequence)
    except RecordNotFound as error:
        return respond(document(404, "No such message", f"{error}.", code="no-such-message"))
    except JournalDamaged as damaged:
        return respond(_damage_problem(damaged))
    found = {
        "journal": kept.journal_id,
        "sequence": record.sequence,
        "received_at": utc_text(from_us(np.datetime64(record.received_at, "us"))),
        "topic": record.topic,
        "door": record.door,
        "client": record.client,
        "hex": record.payload.hex(),
        "text": record.payload.decode("utf-8", "replace"),
    }
    return _answer(kept, to_json(found))
