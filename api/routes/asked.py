"""What routes have in common: the services, the question, and how an answer leaves."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request, Response

from api.answers import Document, to_json
from api.auth import check_token
from api.questions import Question, parse_day
from api.services import Services
from metering.periods import Every


def services(request: Request) -> Services:
    """The services of the app, for those who may ask.

    Raises:
        NotAllowed: A token is set, and it did not come.
    """
    given: Services = request.app.state.services
    check_token(request.headers.get("authorization"), given.tokens)
    return given


Given = Annotated[Services, Depends(services)]


def question(
    first: Annotated[str, Query(alias="from", description="First site day, included")],
    until: Annotated[str, Query(alias="to", description="Last site day, not included")],
    every: Annotated[Every, Query(description="Length of the intervals")] = "day",
    site: Annotated[str | None, Query(description="Site; may be left out if there is one")] = None,
    building: Annotated[str | None, Query(description="Only this building")] = None,
    point: Annotated[str | None, Query(description="Only this meter point")] = None,
    carrier: Annotated[str | None, Query(description="Only this carrier")] = None,
    register: Annotated[str | None, Query(description="This register, not the energy")] = None,
    known_by: Annotated[str | None, Query(description="As known at the end of this day")] = None,
) -> Question:
    """The question of most routes."""
    return Question(
        first=parse_day(first, "from"),
        until=parse_day(until, "to"),
        every=every,
        site=site,
        building=building,
        point=point,
        carrier=carrier,
        register=register,
        known_by=parse_day(known_by, "known_by") if known_by else None,
    )


Asked = Annotated[Question, Depends(question)]


def answer(document: Document) -> Response:
    """A document as a response."""
    return Response(to_json(document), media_type="application/json")
