"""Which registers make an energy, and their hours put together, worked by hand."""

from __future__ import annotations

from datetime import UTC, timedelta

import numpy as np
import pytest

from metering.energy import Term, point_recipe, scope_recipe, term_rows
from metering.intervals import Rows
from metering.periods import Period, edges
from metering.sites import BoundaryPoint, MeterPoint, Part
from tests.metering.columns import START

HOURS = edges(Period(START, START + timedelta(hours=2)), "hour", tz=UTC)
POINT = MeterPoint("A1-EL-MAIN", "electricity", "main")


def rows(values, coverage):
    known, flags = np.array(coverage, float), np.zeros(len(values), np.int32)
    return Rows(HOURS, np.array(values, float), known, known.copy(), flags)


def test_tariffs_are_added_up_where_they_know_more_than_the_total():
    recipe = point_recipe(POINT, {"active_import", "active_import_t1", "active_import_t2"})
    found = {
        "active_import": rows([np.nan, 9.0], [0, 1]),
        "active_import_t1": rows([2.0, 3.0], [1, 1]),
        "active_import_t2": rows([5.0, 4.5], [1, 1]),
    }

    together = term_rows(recipe.terms[0], found.get)

    # First hour: the total is unknown, 2 + 5 stands in; second: the total itself, not 3 + 4.5.
    assert together.value.tolist() == [7, 9]


def test_gas_volume_stands_in_with_its_calorific_value():
    # 36 MJ/m3 are 10 kWh/m3: 3 m3 are 30 kWh.
    point = MeterPoint("G", "gas", "main", net_calorific_value_mj_m3=36.0)
    recipe = point_recipe(point, {"gas_volume"})
    found = {"gas_volume": rows([3.0, np.nan], [1, 0])}

    together = term_rows(recipe.terms[0], found.get)

    assert together.value.tolist() == pytest.approx([30, np.nan], nan_ok=True)
    assert together.coverage.tolist() == [1, 0]


def test_registers_without_any_hour_give_nothing():
    assert term_rows(Term(POINT, ("active_import",), 1.0), {}.get) is None


def test_a_share_in_a_unit_that_cannot_be_added_is_unknown_and_shows():
    kwh = MeterPoint("G1", "gas", "main", net_calorific_value_mj_m3=36.0)
    cubic_metres = MeterPoint("G2", "gas", "main")
    boundary = tuple(BoundaryPoint(each, Part.MAIN) for each in (kwh, cubic_metres))

    recipe = scope_recipe("gas", boundary, {"G1": {"gas_volume"}, "G2": {"gas_volume"}})
    shares = [
        term_rows(term, {"gas_volume": rows([3.0, 4.0], [1, 1])}.get) for term in recipe.terms
    ]

    assert recipe.unit == "kWh"
    assert shares[0].value.tolist() == pytest.approx([30, 40])
    assert np.isnan(shares[1].value).all()
    assert shares[1].coverage.tolist() == [0, 0]
    assert shares[1].measured.tolist() == [0, 0]
