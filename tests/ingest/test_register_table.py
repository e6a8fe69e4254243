"""The registers that ingest/README.md lists are those there are; its examples are taken."""

import re
from pathlib import Path

import pytest

from metering.units import REGISTERS
from tests.ingest.test_native import decode, found, record

README = (Path(__file__).parents[2] / "ingest" / "README.md").read_text(encoding="utf-8")
TABLE = re.search(r"\| register \|.*?\n\n", README, re.DOTALL)[0].strip().splitlines()[2:]
EXAMPLES = [line for line in README.splitlines() if line.startswith('{"meter": ')]


def test_table_has_every_register_with_its_unit_and_kind():
    listed = {}
    for row in TABLE:
        names, unit, _, kind, multiplied = (cell.strip() for cell in row.strip("|").split("|"))
        for name in re.findall(r"`([a-z_0-9]+)`", names):
            assert name not in listed
            listed[name] = (unit, kind, multiplied == "yes")

    assert listed == {
        name: (each.unit, each.kind.value, each.multiplied) for name, each in REGISTERS.items()
    }


def test_examples_are_read_without_a_rejection():
    decoded = [decode(record(text.encode())) for text in EXAMPLES]

    assert len(decoded) == 2
    assert [each.rejected for each in decoded] == [[], []]
    # 812.4 MWh = 812 400 kWh
    assert found(decoded[1])[("estate/H1", "heat")] == pytest.approx(812_400)
    assert len(found(decoded[1])) == 5
