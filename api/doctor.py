"""`tanyuan doctor`: looks at everything the installation depends on, and says what to do.

It changes nothing. Beside a running `up` it asks that process instead of opening the home.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from api.answers import Document
from api.home import Home, Running
from api.settings import Settings
from api.version import version
from metering.periods import utc_text

log = logging.getLogger(__name__)

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing.

    Attributes:
        name: Stable name of the check.
        status: `ok`; `warn`: it works, but look at it; `fail`: it does not work.
        message: What was found, in a sentence.
        remedy: What to do; empty when there is nothing to do.
    """

    name: str
    status: Verdict
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined."""

    settings: Settings
    home: Home
    running: Running | None
    """The `up` of this home, if there is one."""
    now: datetime
    deep: bool
    """Whether the whole journal is read."""


Examination = Callable[[Patient], Sequence[Check]]


def examine(settings: Settings, *, now: datetime, deep: bool) -> list[Check]:
    """Make every check, in an order in which the first `fail` is the one to mend first."""
    from api import doctor_home, doctor_machine, doctor_outside, doctor_parts

    home = Home(settings.home, settings.config)
    patient = Patient(settings, home, home.running(), now, deep)
    found: list[Check] = []
    for family in (doctor_machine, doctor_home, doctor_parts, doctor_outside):
        for name, examination in family.EXAMINATIONS:
            found += _made(name, examination, patient)
    return found


def _made(name: str, examination: Examination, patient: Patient) -> Sequence[Check]:
    try:
        return examination(patient)
    except Exception as error:  # one broken check must not hide the others
        log.debug("%s", name, exc_info=error)
        return [
            Check(
                name,
                "fail",
                f"It cannot be examined: {type(error).__name__}: {error}",
                "Mend what the message names, then ask again.",
            )
        ]


def settings_failed(error: ValueError) -> list[Check]:
    """The only check that can be made without settings."""
    remedy = "Mend the setting that the message names; nothing else was looked at."
    return [Check("settings", "fail", str(error), remedy)]


def report(checks: Sequence[Check], *, now: datetime) -> Document:
    """The checks as a document."""
    return {
        "version": version(),
        "examined_at": utc_text(now),
        "ok": is_well(checks),
        "checks": [
            {"name": c.name, "status": c.status, "message": c.message, "remedy": c.remedy}
            for c in checks
        ],
    }


def is_well(checks: Sequence[Check]) -> bool:
    """Whether nothing failed."""
    return all(check.status != "fail" for check in checks)
