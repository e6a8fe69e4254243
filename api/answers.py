"""The documents that answer: plain dictionaries, the same for the command line and HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import orjson

from api.figures import EmissionRows, Figures, NotCountable, Scope
from api.questions import Question
from carbon.factors import EmissionFactor
from metering.intervals import Rows
from metering.periods import Times
from metering.readings import flag_names

Document: TypeAlias = dict[str, Any]
"""One answer, ready to be written as JSON."""


def to_json(document: Mapping[str, Any]) -> bytes:
    """An answer as bytes; numbers are not rounded, unknown ones are null."""
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def time_texts(times: Times) -> list[str]:
    """Instants as answers print them."""
    whole = np.datetime_as_string(times.astype("datetime64[s]")).tolist()
    if (times.astype("datetime64[s]") == times).all():
        return [text + "Z" for text in whole]
    exact = np.datetime_as_string(times.astype("datetime64[us]")).tolist()
    return [text.removesuffix(".000000") + "Z" for text in exact]


def row_documents(rows: Rows) -> list[Document]:
    """The rows of an answer, one for every interval, in order."""
    marks = time_texts(rows.edges)
    names = {int(bits): flag_names(int(bits)) for bits in np.unique(rows.flags)}
    values = [None if value != value else value for value in rows.value.tolist()]
    return [
        {
            "start": start,
            "end": end,
            "value": value,
            "coverage": coverage,
            "measured": measured,
            "flags": names[flags],
        }
        for start, end, value, coverage, measured, flags in zip(
            marks[:-1],
            marks[1:],
            values,
            rows.coverage.tolist(),
            rows.measured.tolist(),
            rows.flags.tolist(),
            strict=True,
        )
    ]


def energy(figures: Figures, question: Question) -> Document:
    """Energy, or one register, of a scope: one series a carrier."""
    period = question.period(figures.site)
    scope = question.scope
    recipes = figures.recipes(scope, carrier=question.carrier, register=question.register)
    _check_carrier(figures, scope, question)
    return {
        "series": [
            {
                "subject": scope.subject(figures.site),
                "carrier": recipe.carrier,
                "unit": recipe.unit,
                "rows": row_documents(figures.rows(recipe, period, question.every)),
            }
            for recipe in recipes
        ]
    }


def _check_carrier(figures: Figures, scope: Scope, question: Question) -> None:
    """Refuse a carrier nobody meters: an empty answer would look like nothing used."""
    if scope.point or question.carrier is None:
        return
    known = figures.site.carriers(scope.building)
    if question.carrier not in known:
        raise NotCountable(
            f"No {question.carrier!r} is metered at {scope.subject(figures.site)}; "
            f"there is: {', '.join(known) or 'nothing'}."
        )


def emissions(figures: Figures, question: Question) -> Document:
    """Emissions of a scope, one series for each carrier, scope and gas basis."""
    period = question.period(figures.site)
    scope = question.scope
    found, factors, reasons = figures.emissions(
        scope, period, question.every, method=question.method, carrier=question.carrier
    )
    _check_carrier(figures, scope, question)
    document: Document = {
        "method": question.method,
        "factors": [factor.id for factor in factors],
        "series": [_emission_series(figures, scope, each) for each in found],
    }
    if reasons:
        document["reasons"] = sorted(reasons)
    return document


def _emission_series(figures: Figures, scope: Scope, each: EmissionRows) -> Document:
    return {
        "subject": scope.subject(figures.site),
        "carrier": each.carrier,
        "scope": each.scope,
        "unit": each.unit,
        "rows": row_documents(each.rows),
    }


def factor_document(factor: EmissionFactor) -> Document:
    """A factor as a trace shows it."""
    return {
        "id": factor.id,
        "key": factor.key,
        "region": factor.region,
        "value": factor.value,
        "unit": factor.unit,
        "valid_from": factor.valid_from.isoformat(),
        "valid_until": factor.valid_until.isoformat() if factor.valid_until else None,
        "published": factor.published.isoformat(),
        "verification": factor.verification.value,
        "publisher": factor.source.publisher,
        "document": factor.source.document,
        "locator": factor.source.locator,
    }
