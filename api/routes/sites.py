"""Sites, meters, the latest readings, and the readings of one register."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response

from api import live
from api.answers import time_texts
from api.latest import AHEAD
from api.live_power import NOT_AHEAD
from api.questions import BadQuestion, parse_day, parse_instant
from api.routes.asked import Given, answer
from metering.periods import Period, utc_text
from metering.readings import flag_names

router = APIRouter(tags=["sites"])

MAX_READINGS = 200_000
"""More readings are not given in one answer."""

SiteName = Annotated[str | None, Query(description="Site; may be left out if there is one")]


@router.get("/sites")
def read_sites(given: Given) -> Response:
    """The sites of this home, their buildings and points."""
    return answer({"sites": [live.site_document(site) for site in given.catalog.sites().values()]})


@router.post("/sites/reload")
def reload_sites(given: Given) -> Response:
    """Read site and factor files again; a changed site becomes a new version."""
    return answer({"changed": given.reload()})


@router.get("/sites/versions")
def read_versions(given: Given) -> Response:
    """Every recorded version of every site."""
    versions = [
        {
            "site": version.site,
            "version": version.version,
            "recorded_at": utc_text(version.recorded_at),
            "sha256": version.sha256,
        }
        for version in given.ledger.site_versions()
    ]
    return answer({"versions": versions})


@router.get("/meters")
def read_meters(given: Given, site: SiteName = None, at: str | None = None) -> Response:
    """Every meter with its point, its last reading and whether it is silent."""
    given.catch_up()
    model = given.catalog.site(site)
    return answer(
        {"meters": live.meter_documents(given.store, model, _moment(given, at, model.id))}
    )


@router.get("/latest")
def read_latest(given: Given, site: SiteName = None) -> Response:
    """The newest reading of every register."""
    behind = given.catch_up()
    model = given.catalog.site(site)
    return answer(given.current({"latest": live.latest_documents(given.store, model)}, behind))


@router.get("/live")
def read_live(given: Given, site: SiteName = None, at: str | None = None) -> Response:
    """What the console shows: power, energy, quotas, carbon, meters; now or at an instant."""
    model = given.catalog.site(site)
    moment = _moment(given, at, model.id)
    ahead = AHEAD if at is None else NOT_AHEAD
    return answer(live.live_document(given.figures(model.id), moment, ahead=ahead))


def _moment(given: Given, at: str | None, site: str) -> datetime:
    if at is None:
        return given.now()
    if at == "latest":
        return live.newest(given.store, site) or given.now()
    return parse_instant(at, "at")


@router.get("/series")
def read_series(
    given: Given,
    meter: Annotated[str, Query(description="Serial of the meter")],
    register: Annotated[str, Query(description="Register, such as active_import")],
    first: Annotated[str, Query(alias="from", description="First site day, included")],
    until: Annotated[str, Query(alias="to", description="Last site day, not included")],
    site: SiteName = None,
) -> Response:
    """The readings of one register as they came, with the journal sequence of each."""
    behind = given.catch_up()
    model = given.catalog.site(site)
    model.meter_point_of(meter)
    days = parse_day(first, "from"), parse_day(until, "to")
    if days[1] <= days[0]:
        raise BadQuestion(f"Wanted from before to, found {days[0]} and {days[1]}.")
    period = Period.days(*days, tz=model.timezone)
    found = given.store.read(period, meters=[model.meter_key(meter)], registers=[register])
    if len(found) > MAX_READINGS:
        raise BadQuestion(f"{len(found)} readings; ask for at most {MAX_READINGS} at once.")
    names = {int(bits): flag_names(int(bits)) for bits in np.unique(found.flags)}
    columns = zip(
        time_texts(found.read_at),
        found.value.tolist(),
        found.flags.tolist(),
        found.journal.tolist(),
        found.sequence.tolist(),
        strict=True,
    )
    rows = [
        {
            "at": at,
            "value": value,
            "flags": names[bits],
            "journal": found.journals[code],
            "sequence": sequence,
        }
        for at, value, bits, code, sequence in columns
    ]
    return answer(given.current({"meter": meter, "register": register, "readings": rows}, behind))
