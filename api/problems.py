"""Domain errors as HTTP problem documents (RFC 9457); nothing else turns an error into HTTP."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.auth import NotAllowed
from api.catalog import SiteNotFound
from api.executors import ComputeUnavailable
from api.figures import NotCountable
from api.home import HomeBusy, HomeError
from api.journals import NoSuchJournal
from api.questions import BadQuestion
from api.tracing import NothingToTrace
from carbon.emissions import MixedGasBases
from carbon.factor_files import FactorFileError
from carbon.gas_volume import BadReferenceCondition
from carbon.registry import FactorNotFound
from ingest.import_rows import ImportRefused
from ingest.listener import ListenerError
from ingest.profiles import ProfileErrors
from ingest.quarantine import NotQuarantined
from ingest.remote_journal import JournalUnavailable
from ingest.segments import JournalDamaged, JournalError
from metering.ledger.port import LedgerUnavailable
from metering.site_files import SiteErrors
from metering.sites import BuildingNotFound, MeterNotFound, PointNotFound
from metering.store.port import StoreDamaged, StoreUnavailable

log = logging.getLogger(__name__)

MEDIA = "application/problem+json"

STATUS: dict[type[Exception], tuple[int, str]] = {
    BadQuestion: (400, "The question cannot be answered as it stands"),
    NotCountable: (400, "No amount can be given"),
    NotAllowed: (401, "A token is needed"),
    SiteNotFound: (404, "No such site"),
    BuildingNotFound: (404, "No such building"),
    PointNotFound: (404, "No such meter point"),
    MeterNotFound: (404, "No such meter"),
    NothingToTrace: (404, "Nothing to trace"),
    NotQuarantined: (404, "Not in quarantine"),
    NoSuchJournal: (404, "No such journal"),
    FactorNotFound: (409, "No emission factor"),
    MixedGasBases: (409, "Gas bases differ"),
    BadReferenceCondition: (409, "Reference condition cannot be read"),
    SiteErrors: (422, "The site file has errors"),
    FactorFileError: (422, "A factor file has errors"),
    ProfileErrors: (422, "A profile has errors"),
    ImportRefused: (422, "The file cannot be imported"),
    HomeBusy: (409, "The home is in use"),
    HomeError: (409, "The home cannot be used"),
    ListenerError: (503, "A door cannot be opened"),
    JournalUnavailable: (503, "The journal does not answer"),
    JournalDamaged: (503, "The journal is damaged"),
    JournalError: (503, "The journal does not accept more"),
    StoreUnavailable: (503, "The store does not answer"),
    StoreDamaged: (503, "The store is damaged"),
    ComputeUnavailable: (503, "Nobody makes the hours"),
    LedgerUnavailable: (503, "The ledger does not answer"),
}
"""Error → HTTP status and title. 4xx: refused; 5xx: a fault of ours or of what we depend on."""


NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
"""What the system says when a disk, or a share of it, is full."""


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem document of a domain error; of any other, a fault of ours without its text."""
    for kind, (status, title) in STATUS.items():
        if isinstance(error, kind):
            return document(status, title, str(error), code=_code(type(error)))
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return document(
            503,
            "No room on the disk",
            f"A file could not be written ({error.strerror}). Make room on the disk of the home, "
            f"then try again; nothing that was acknowledged is lost.",
            code="no-room",
        )
    return document(
        500,
        "A fault of ours",
        f"{type(error).__name__}; the log of the process has the details.",
        code="internal",
    )


def document(status: int, title: str, detail: str, *, code: str) -> dict[str, Any]:
    """A problem document; `type` is stable, the sentences may be reworded."""
    return {
        "type": f"urn:tanyuan:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
    }


def _code(kind: type[Exception]) -> str:
    name = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__)
    return name.lstrip("-")


def respond(problem: dict[str, Any]) -> Response:
    """A problem as an HTTP response."""
    return Response(
        orjson.dumps(problem, option=orjson.OPT_APPEND_NEWLINE),
        status_code=problem["status"],
        media_type=MEDIA,
    )


def readiness(unready: Sequence[tuple[str, str]], *, is_known: bool) -> Response:
    """The answer to whether a process can do its work.

    Args:
        unready: The parts that cannot, and why.
        is_known: Whether who asks may hear why: it names hosts, users and folders.
    """
    if not unready:
        return Response(b"ready\n", media_type="text/plain")
    names = ", ".join(dict.fromkeys(part for part, _ in unready))
    text = f"Not ready: {names}. Ask with the token to hear why, or look at the log."
    if is_known:
        text = " ".join(why for _, why in unready)
    return respond(document(503, "Not ready", text, code="not-ready"))


def install(app: FastAPI) -> None:
    """Turn every error of the app into a problem document."""

    async def domain(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem["status"] >= 500:
            log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        return respond(problem)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        lines = [
            f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}, "
            f"found {fault.get('input')!r}"
            for fault in error.errors()
        ]
        return respond(
            document(400, "The question cannot be answered", "; ".join(lines), code="bad-question")
        )

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return respond(
            document(error.status_code, "Not found here", str(error.detail), code="http")
        )

    for kind in STATUS:
        app.add_exception_handler(kind, domain)
    app.add_exception_handler(Exception, domain)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
