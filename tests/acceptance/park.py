"""A small park with every kind of meter point, and one day of it worked by hand.

1 March 2023 in Shanghai is 2023-02-28T16:00Z to 2023-03-01T16:00Z. Each register is read at the
beginning and at the end of the day; what passed is beside it.
"""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.running import answer, make_home, write_readings

SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
buildings:
  - id: a
    area_m2: 1000
    points:
      - {id: a-main, carrier: electricity, role: main, meter: {serial: E1, profile: native}}
      - {id: a-pv, carrier: electricity, role: generation, meter: {serial: PV1, profile: native}}
      - {id: a-battery, carrier: electricity, role: storage, meter: {serial: B1, profile: native}}
      - {id: a-sub, carrier: electricity, role: sub, upstream: a-main,
         meter: {serial: E2, profile: native, multiplier: 40}}
      - {id: a-heat, carrier: heat, role: main, meter: {serial: H1, profile: native}}
      - {id: a-gas, carrier: gas, role: main, net_calorific_value_mj_m3: 36,
         meter: {serial: G1, profile: native}}
  - id: b
    points:
      - {id: b-1, carrier: electricity, role: sub, meter: {serial: R1, profile: native}}
      - {id: b-2, carrier: electricity, role: sub, meter: {serial: R2, profile: native}}
      - {id: b-3, carrier: electricity, role: sub, upstream: b-1,
         meter: {serial: R3, profile: native}}
      - {id: b-pv, carrier: electricity, role: generation, meter: {serial: PV2, profile: native}}
      - {id: b-gas, carrier: gas, role: main, meter: {serial: G2, profile: native}}
  - id: c
    points:
      - {id: c-main, carrier: electricity, role: main, meter: {serial: T1, profile: native}}
      - {id: c-water, carrier: water, role: main, meter: {serial: W1, profile: native}}
      - {id: c-cooling, carrier: cooling, role: main, meter: {serial: K1, profile: native}}
      - {id: c-gas, carrier: gas, role: main, net_calorific_value_mj_m3: 36,
         meter: {serial: G3, profile: native}}
"""

DAY = ("--from", "2023-03-01", "--to", "2023-03-02", "--every", "day")
BEGIN, END = "2023-02-28T16:00:00Z", "2023-03-01T16:00:00Z"

PASSED = {
    ("E1", "active_import"): 100,
    ("E1", "active_export"): 30,
    ("PV1", "active_export"): 50,
    ("PV1", "active_import"): 1,
    ("B1", "active_import"): 20,
    ("B1", "active_export"): 12,
    ("E2", "active_import"): 2,
    ("H1", "heat"): 75,
    ("H1", "volume"): 3,
    ("G1", "gas_volume"): 10,
    ("R1", "active_import"): 7,
    ("R2", "active_import"): 5,
    ("R3", "active_import"): 4,
    ("PV2", "active_import"): 9,
    ("G2", "gas_volume"): 8,
    ("T1", "active_import_t1"): 6,
    ("T1", "active_import_t2"): 3,
    ("W1", "water_volume"): 2.5,
    ("K1", "cooling"): 11,
    ("G3", "gas_volume"): 10,
    ("G3", "gas_energy"): 99,
}


def make_park(folder: Path) -> Path:
    """A home with the park and its day."""
    home = make_home(folder, SITE)
    readings = []
    for number, ((meter, register), amount) in enumerate(PASSED.items()):
        readings.append((meter, register, BEGIN, 1000 + number))
        readings.append((meter, register, END, 1000 + number + amount))
    answer(home, "import", str(write_readings(folder / "day.csv", readings)))
    return home
