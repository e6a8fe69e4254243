"""Energy, emissions, quotas, and the way from a figure back to its telegrams."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from api import answers
from api.questions import parse_day, parse_instant
from api.quota_answers import quota_document
from api.routes.asked import Asked, Given, answer
from api.tracing import trace
from metering.periods import Every, local_day

router = APIRouter(tags=["figures"])


@router.get("/energy")
def read_energy(asked: Asked, given: Given) -> Response:
    """Energy, or one register, of a point, a building or the site."""
    behind = given.catch_up()
    figures = given.figures(asked.site, known_by=asked.known_by)
    return answer(given.current(answers.energy(figures, asked), behind))


@router.get("/emissions")
def read_emissions(
    asked: Asked,
    given: Given,
    method: Annotated[
        Literal["location", "market"], Query(description="GHG Protocol scope 2 method")
    ] = "location",
) -> Response:
    """Emissions of a point, a building or the site, by scope and gas basis."""
    behind = given.catch_up()
    figures = given.figures(asked.site, known_by=asked.known_by)
    document = answers.emissions(figures, replace(asked, method=method))
    return answer(given.current(document, behind))


@router.get("/quota")
def read_quota(
    given: Given,
    on: Annotated[
        str | None, Query(description="Site day at whose end the state is shown; else yesterday")
    ] = None,
    site: Annotated[str | None, Query(description="Site; may be left out if there is one")] = None,
    known_by: Annotated[str | None, Query(description="As known at the end of this day")] = None,
) -> Response:
    """Use against every quota of the site."""
    behind = given.catch_up()
    known = parse_day(known_by, "known_by") if known_by else None
    figures = given.figures(site, known_by=known)
    yesterday = local_day(given.now(), tz=figures.site.timezone) - timedelta(days=1)
    day = parse_day(on, "on") if on is not None else yesterday
    return answer(given.current(quota_document(figures, day), behind))


@router.get("/trace/{kind}")
def read_trace(
    given: Given,
    kind: Annotated[Literal["energy", "emissions"], Path(description="Which figure")],
    point: Annotated[str, Query(description="Meter point")],
    at: Annotated[str, Query(description="Instant inside the interval, with offset")],
    every: Annotated[Every, Query(description="Length of the interval")] = "hour",
    site: Annotated[str | None, Query(description="Site; may be left out if there is one")] = None,
    known_by: Annotated[str | None, Query(description="As known at the end of this day")] = None,
) -> Response:
    """The way of one figure back to the telegrams it came from."""
    behind = given.catch_up()
    instant = parse_instant(at, "at")
    known = parse_day(known_by, "known_by") if known_by else None
    figures = given.figures(site, known_by=known)
    document = trace(figures, given.journals, point, instant, every, emissions=kind == "emissions")
    return answer(given.current(document, behind))
