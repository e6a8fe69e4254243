"""Health, status, quarantine, import, jobs and metrics."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from api import jobs
from api.answers import to_json
from api.auth import may_ask
from api.journals import NoSuchJournal, forget
from api.problems import readiness
from api.questions import parse_day
from api.roles import UP
from api.routes.asked import Given, answer
from api.services import Services
from api.status import metrics_text, status_document, unready
from ingest.import_files import import_file
from metering.ledger.port import QuarantineEntry, QuarantineState
from metering.periods import utc_text

router = APIRouter(tags=["system"])
doors = APIRouter(tags=["system"])


@doors.get("/healthz")
def healthz() -> Response:
    """200 while the process answers."""
    return Response(b"ok\n", media_type="text/plain")


@doors.get("/readyz")
def readyz(request: Request) -> Response:
    """200 while the journal accepts, and the store and the ledger answer; else 503.

    Strangers hear which part does not, whoever has the token also why.
    """
    given: Services = request.app.state.services
    known = may_ask(request.headers.get("authorization"), given.tokens)
    return readiness(unready(given), is_known=known)


@doors.get("/metrics")
def metrics(given: Given) -> Response:
    """Prometheus metrics."""
    return Response(metrics_text(given), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/status")
def read_status(given: Given) -> Response:
    """Lag, silent meters, disk, last jobs."""
    if given.role is UP and not given.line.moving:  # a home that was opened for this question
        given.catch_up()
    return answer(status_document(given))


class Selection(BaseModel):
    """Which quarantined messages: all that are open if nothing is said."""

    model_config = ConfigDict(extra="forbid")

    code: str | None = None
    sequence: int | None = None


@router.get("/quarantine")
def list_quarantine(
    given: Given,
    code: Annotated[str | None, Query(description="Only this reason code")] = None,
    state: Annotated[str, Query(pattern="^(open|replayed|all)$")] = "open",
    limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
) -> Response:
    """What could not be read, with its reason; the payloads are in the journal."""
    behind = given.catch_up()
    wanted: QuarantineState | None = None
    if state != "all":
        wanted = "open" if state == "open" else "replayed"
    entries = given.ledger.quarantined(state=wanted, code=code, limit=limit)
    counts = given.ledger.quarantine_counts()
    found = {
        "open": sum(counts.values()),
        "codes": counts,
        "entries": [_entry(entry) for entry in entries],
    }
    return answer(given.current(found, behind))


@router.get("/quarantine/{sequence}")
def show_quarantine(
    given: Given,
    sequence: int,
    journal: Annotated[str | None, Query(description="Of which journal")] = None,
) -> Response:
    """One message with its payload and every reason."""
    given.catch_up()
    message = given.quarantine.show(sequence, journal)
    return answer(
        {
            "journal": message.journal,
            "sequence": message.sequence,
            "received_at": utc_text(message.received_at),
            "topic": message.topic,
            "door": message.door,
            "client": message.client,
            "text": message.text,
            "hex": message.hex,
            "reasons": [_entry(entry) for entry in message.entries],
        }
    )


def _entry(entry: QuarantineEntry) -> dict[str, Any]:
    return {
        "journal": entry.journal,
        "sequence": entry.sequence,
        "part": entry.part,
        "received_at": utc_text(entry.received_at),
        "topic": entry.topic,
        "code": entry.code,
        "message": entry.message,
        "meter": entry.meter,
        "state": entry.state,
    }


@router.post("/quarantine/replay")
def replay_quarantine(given: Given, selection: Selection) -> Response:
    """Decode quarantined messages again, with today's sites and profiles."""
    given.catch_up()
    replayed = given.quarantine.replay(code=selection.code, sequence=selection.sequence)
    given.catch_up()
    return answer(dataclasses.asdict(replayed))


@router.post("/import")
async def import_upload(
    request: Request,
    given: Given,
    name: Annotated[str, Query(description="File name; its ending says CSV or Parquet")],
    site: Annotated[str | None, Query(description="Site the file's meters belong to")] = None,
) -> Response:
    """Readings from a file: they go through the journal like telegrams."""
    with tempfile.TemporaryDirectory(dir=given.home.path, prefix=".import-") as folder:
        path = Path(folder) / (Path(name).name or "file")
        with path.open("wb") as file:
            async for chunk in request.stream():
                await to_thread.run_sync(file.write, chunk)
        document = await to_thread.run_sync(lambda: _import(given, path, site))
    return Response(to_json(document), media_type="application/json")


def _import(given: Services, path: Path, site: str | None) -> dict[str, Any]:
    sites = [given.catalog.site(site).id] if site else list(given.catalog.sites())
    if given.journal is None:
        raise NoSuchJournal(
            "This process keeps no journal, and an import goes through one like a telegram. "
            "Import at a process that does: tanyuan --home HOME-OF-A-COLLECTOR import FILE"
        )
    report = import_file(path, given.journal, sites=sites, received_at=given.now())
    behind = given.catch_up()
    return given.current(dataclasses.asdict(report), behind)


@router.get("/journals")
def list_journals(given: Given) -> Response:
    """The journals that processes registered, and how far each is in the store."""
    found = []
    for place in given.journals.places().values():
        at = given.ledger.position(store_id=given.store.store_id, journal=place.journal)
        found.append({**dataclasses.asdict(place), "in_store": at})
    return answer({"own": given.journal.journal_id if given.journal else None, "journals": found})


@router.delete("/journals/{journal}")
def forget_journal(given: Given, journal: str) -> Response:
    """Take a journal off the list; its process, if it runs after all, registers it again."""
    if not forget(given.ledger, journal):
        raise NoSuchJournal(f"No journal {journal} is registered; look at: tanyuan journal list")
    return answer({"forgotten": journal})


@router.post("/jobs/{name}/run")
def run_job(
    given: Given,
    name: str,
    day: Annotated[str, Query(alias="for", description="Site day the run works on")],
) -> Response:
    """Run a scheduled job for one day, now."""
    return answer(jobs.run_for(given, name, parse_day(day, "for")))


@router.get("/jobs")
def read_jobs(given: Given) -> Response:
    """The timetable and the last runs."""
    return answer(jobs.jobs_document(given))
