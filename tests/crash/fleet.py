"""A made-up fleet whose registers advance unevenly, its telegrams, and the truth about it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

TOPIC = "tanyuan/park/gw/readings"
START = datetime(2023, 2, 28, 16, tzinfo=UTC)
"""Midnight of 1 March 2023 in Shanghai."""
STEP_S = 300
CAPACITY = 1_000_000
GAS_KWH_PER_M3 = 35.5 / 3.6
"""35.5 MJ in a cubic metre, 3.6 MJ in a kilowatt hour."""

KINDS = {
    "E": ("electricity", "active_import", 1.0),
    "H": ("heat", "heat", 1.0),
    "G": ("gas", "gas_volume", GAS_KWH_PER_M3),
}
"""By the first letter of a serial: carrier, register, kWh in one unit of the register."""


@dataclass(frozen=True)
class Meter:
    """A meter and everything it will ever show."""

    serial: str
    at_s: np.ndarray
    """Seconds after START, increasing."""
    total: np.ndarray
    """What the register would show if it did not begin again at its capacity."""

    @property
    def point(self):
        return "p-" + self.serial

    @property
    def carrier(self):
        return KINDS[self.serial[0]][0]

    @property
    def register(self):
        return KINDS[self.serial[0]][1]

    @property
    def shown(self):
        """What the register shows: rounded as it is sent."""
        return [round(float(value), 3) for value in self.total % CAPACITY]

    @property
    def times(self):
        return [text(START + timedelta(seconds=int(second))) for second in self.at_s]

    def rows(self):
        """The readings as the API lists them: time and value."""
        return list(zip(self.times, self.shown, strict=True))

    def hourly_kwh(self, hours):
        """The energy of each hour: the register's line between readings, cut at the hours.

        Energy between two readings is spread evenly over the time between them, which is what
        reading the line at the full hours means; before the first and after the last there is none.
        """
        edges = np.arange(hours + 1) * 3600.0
        return np.diff(np.interp(edges, self.at_s, self.total)) * KINDS[self.serial[0]][2]


def text(moment):
    """A time as answers print it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make_fleet(seed, *, electricity=30, heat=6, gas=4, readings=2500):
    """Meters with readings about every five minutes, at uneven times, by uneven amounts."""
    rng = np.random.default_rng(seed)
    serials = [
        f"{letter}{number:02d}"
        for letter, count in (("E", electricity), ("H", heat), ("G", gas))
        for number in range(count)
    ]
    return [_meter(serial, rng, readings) for serial in serials]


def _meter(serial, rng, readings):
    jitter = rng.integers(-120, 121, readings)
    jitter[0] = 0
    at_s = np.arange(readings) * STEP_S + jitter
    # log-normal: mostly some kWh, now and then twenty times as much, never twice the same
    advance = np.minimum(rng.lognormal(0.7, 1.0, readings), 80.0)
    # E00 is a few days from beginning again at 0
    first = CAPACITY - 3000 if serial == "E00" else rng.uniform(10, 900_000)
    return Meter(serial, at_s, np.round(first + np.cumsum(advance), 3))


def messages_of(fleet, *, per_message=20):
    """The readings of the fleet in the order of their slots, several to a message."""
    shown = {meter.serial: (meter.times, meter.shown) for meter in fleet}
    readings = [
        {
            "meter": meter.serial,
            "at": shown[meter.serial][0][slot],
            "registers": {meter.register: shown[meter.serial][1][slot]},
        }
        for slot in range(len(fleet[0].at_s))
        for meter in fleet
    ]
    return [
        json.dumps({"readings": readings[start : start + per_message]}).encode()
        for start in range(0, len(readings), per_message)
    ]


def site_yaml(fleet):
    """The site of the fleet: one building, every meter a main one, a quota of its own."""
    lines = [
        "site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}",
        "factors: {provisional: true}",
        "buildings:",
        "  - id: a",
        "    use: office",
        "    area_m2: 20000",
        "    points:",
    ]
    for meter in fleet:
        more = ", net_calorific_value_mj_m3: 35.5" if meter.carrier == "gas" else ""
        device = f"serial: {meter.serial}, profile: native, capacity: {CAPACITY}"
        device += ", max_flow_m3h: 2000" if more else ", max_power_kw: 2000"
        lines.append(
            f"      - {{id: {meter.point}, carrier: {meter.carrier}, role: main{more}, "
            f"meter: {{{device}}}}}"
        )
    lines += [
        "quotas:",
        "  - {id: a-2023, subject: a, carrier: electricity, limit: 110, unit: kWh/m2,"
        " period: calendar_year, source: own budget 2023}",
    ]
    return "\n".join(lines) + "\n"
