"""The made-up park: its site file, and registers that truly count what its loads carry.

Nothing in it exists: every id and serial begins with SIM, and the site's name says so. What a main
carries is the sum of what it feeds, plus a rest no sub-meter sees, minus what is generated below
it; its register agrees with the sub-meters' to the last digit of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import yaml

from ingest.simulated_loads import STEP, Surroundings, generator, load_of, surroundings
from ingest.simulated_registers import ENERGY, Run, Signal, run_of, unmetered_of
from ingest.simulated_truth import Truth
from metering.meter_points import MeterPoint
from metering.periods import Period
from metering.readings import Floats
from metering.site_files import load_site
from metering.sites import Part, Site

STEP_H: Final = STEP / timedelta(hours=1)
WATER_KWH_M3_K: Final = 1.163
"""Heat that 1 m³ of water carries per kelvin, nearly. [kWh/(m³·K)]"""


class BadLoads(ValueError):
    """The loads do not fit the site file."""


@dataclass(frozen=True, slots=True)
class PointLoad:
    """What flows through a point and how its meter shows it: an entry of loads.yaml."""

    load: list[Mapping[str, Any]] | None = None
    rest: Mapping[str, float] | None = None
    noise: float = 0.05
    decimals: int | None = None
    unit: str | None = None
    power: bool = False
    both_ways: bool = False


@dataclass(frozen=True, slots=True)
class Loads:
    """The content of loads.yaml."""

    year: int
    holidays: frozenset[date]
    make_up_days: frozenset[date]
    spacing: Mapping[str, timedelta]
    """Gateway -> time between its readings."""
    points: Mapping[str, PointLoad]


@dataclass(frozen=True, slots=True, eq=False)
class Park:
    """The made-up park with its year."""

    site: Site
    loads: Loads
    truth: Truth
    around: Surroundings
    runs: tuple[Run, ...]
    """Every register that is read, in the order of the site file."""


def site_file() -> bytes:
    """The park's site file, ready to be a home's site.yaml."""
    return files("ingest").joinpath("data/simulated/park.yaml").read_bytes()


@cache
def park_site() -> Site:
    """The park's site model."""
    return load_site(site_file(), file="park.yaml")


@cache
def park_loads() -> Loads:
    """The park's loads.

    Raises:
        BadLoads: An entry has an unknown key, or belongs to no point.
    """
    content = yaml.safe_load(files("ingest").joinpath("data/simulated/loads.yaml").read_bytes())
    try:
        points = {name: PointLoad(**entry) for name, entry in content["points"].items()}
    except TypeError as error:
        raise BadLoads(f"loads.yaml: {error}.") from None
    wanted = {point.id for point in park_site().all_points() if point.carrier != "temperature"}
    if odd := wanted.symmetric_difference(points):
        raise BadLoads(f"loads.yaml and park.yaml do not agree on {', '.join(sorted(odd))}.")
    holidays = [
        first + timedelta(days=number)
        for first, last in content["holidays"]
        for number in range((last - first).days + 1)
    ]
    return Loads(
        year=content["year"],
        holidays=frozenset(holidays),
        make_up_days=frozenset(content["make_up_days"]),
        spacing={g: timedelta(minutes=m) for g, m in content["spacing_minutes"].items()},
        points=points,
    )


def make_park(*, seed: int, rollovers: Mapping[str, datetime] = MappingProxyType({})) -> Park:
    """Let the park live through its year.

    Args:
        seed: Of all random numbers; the same seed gives the same park.
        rollovers: Serial -> an instant; the meter's register passes its capacity in the quarter
            hour that begins then. Every other meter is far from its capacity.
    """
    site, loads = park_site(), park_loads()
    period = Period.year(loads.year, tz=site.timezone)
    around = surroundings(
        site, period, holidays=loads.holidays, make_up_days=loads.make_up_days, seed=seed
    )
    flows = _flows(site, loads, around, seed)
    runs: list[Run] = []
    counted: dict[tuple[str, str], list[Run]] = {}
    unmetered: dict[tuple[str, str], float] = {}
    for point in site.all_points():
        entry = loads.points.get(point.id, PointLoad())
        for signal in _signals(point, entry, flows, around):
            found = [
                run_of(
                    signal, point, meter, period, seed=seed, rolls_over=rollovers.get(meter.serial)
                )
                for meter in point.meters
            ]
            runs += found
            if found[0].cumulative:
                counted[point.id, signal.register] = found
                unmetered[point.id, signal.register] = unmetered_of(signal, point, period)
    return Park(site, loads, Truth(site, period, counted, unmetered), around, tuple(runs))


def _flows(site: Site, loads: Loads, around: Surroundings, seed: int) -> dict[str, Floats]:
    """What flows into each point (out of a generator), net: kW, m³/h."""
    fed: dict[str, list[MeterPoint]] = {}
    for point in site.all_points():
        fed.setdefault(point.upstream or "", []).append(point)
    flows: dict[str, Floats] = {}

    def flow(point: MeterPoint) -> Floats:
        entry = loads.points[point.id]
        if entry.load:
            rng = generator(seed, point.id)
            found = load_of(entry.load, around, rng, noise=entry.noise)
        else:
            found = np.zeros(len(around))
            below = [(each, flow(each)) for each in fed.get(point.id, [])]
            for each, amount in below:
                found = found + amount * (each.role != Part.GENERATION)
            rest = entry.rest or {}
            found = found * (1 + rest.get("share", 0.0)) + rest.get("level", 0.0)
            for each, amount in below:
                found = found - amount * (each.role == Part.GENERATION)
        flows[point.id] = found
        return found

    for root in fed[""]:
        if root.carrier != "temperature":
            flow(root)
    return flows


def _signals(
    point: MeterPoint, entry: PointLoad, flows: Mapping[str, Floats], around: Surroundings
) -> list[Signal]:
    """What the registers of a point count and show."""
    if point.carrier == "temperature":
        return [Signal("air_temperature", _at_instants(around.air_c))]
    flow = flows[point.id]
    if point.carrier == "heat":
        return _heat_signals(flow, entry)
    if point.carrier != "electricity":
        return [Signal(ENERGY[point.carrier], flow * STEP_H, entry.decimals, entry.unit)]
    made = point.role == Part.GENERATION
    register = "active_export" if made else "active_import"
    found = [Signal(register, np.maximum(flow, 0.0) * STEP_H, entry.decimals, entry.unit)]
    if entry.both_ways:
        back = np.maximum(-flow, 0.0) * STEP_H
        found.append(Signal("active_export", back, entry.decimals, entry.unit))
    return [*found, Signal("active_power", _at_instants(flow))] if entry.power else found


def _heat_signals(power_kw: Floats, entry: PointLoad) -> list[Signal]:
    """A heat meter with its water: heat = 1.163 · (volume · supply - volume · return)."""
    load = power_kw / max(float(power_kw.max()), 1.0)
    on = power_kw > 0
    supply_c = np.where(on, 55.0 + 30.0 * load, 25.0)
    return_c = np.where(on, supply_c - 12.0 - 18.0 * load, 25.0)
    spread = np.where(on, supply_c - return_c, 1.0)
    flow_m3h = power_kw / (WATER_KWH_M3_K * spread)
    volume = flow_m3h * STEP_H
    return [
        Signal("heat", power_kw * STEP_H, entry.decimals, entry.unit),
        Signal("volume", volume),
        Signal("volume_supply_temperature", volume * supply_c),
        Signal("volume_return_temperature", volume * return_c),
        Signal("supply_temperature", _at_instants(supply_c)),
        Signal("return_temperature", _at_instants(return_c)),
        Signal("flow", _at_instants(flow_m3h)),
    ]


def _at_instants(steps: Floats) -> Floats:
    """The value of the step before each instant; of the first step at the first."""
    return np.concatenate([steps[:1], steps])
