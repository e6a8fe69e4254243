"""Between the port's values and the rows of the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from typing import Any

import numpy as np

from metering.findings import Finding
from metering.ledger.port import JobRun, Noted, QuarantineEntry, SiteVersion
from metering.periods import Period, utc_text


def row_of(value: SiteVersion | QuarantineEntry) -> dict[str, object]:
    """A row whose columns are named as the value's fields."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def finding_row(noted: Noted) -> dict[str, object]:
    """The row of a finding."""
    return {
        "noted_of": noted.at,
        "subject": noted.subject,
        "code": noted.finding.code,
        "message": noted.finding.message,
        "finding_data": _json(noted.finding.data),
        "noted_at": noted.noted_at,
        "noted_data": _json(noted.data),
    }


def noted_from(row: Mapping[Any, Any]) -> Noted:
    """The finding a row keeps."""
    finding = Finding(row["code"], row["message"], json.loads(row["finding_data"]))
    data = json.loads(row["noted_data"])
    return Noted(row["subject"], row["noted_of"], finding, row["noted_at"], data)


def job_row(job: str, period: Period, at: datetime) -> dict[str, object]:
    """The row of a run that begins."""
    return {
        "job": job,
        "period_start": period.start,
        "period_end": period.end,
        "started_at": at,
        "status": "running",
        "message": "",
    }


def job_run_from(row: Mapping[Any, Any]) -> JobRun:
    """The run a row keeps."""
    period = Period(row["period_start"], row["period_end"])
    return JobRun(
        row["job"], period, row["started_at"], row["ended_at"], row["status"], row["message"]
    )


def _json(data: Mapping[str, object]) -> str:
    """The same bytes for the same data."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    """What JSON has no form for, as answers print it."""
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, date | Period):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"A finding's data cannot hold {type(value).__name__} {value!r}.")
