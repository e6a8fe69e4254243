"""The demonstration: a made-up park's year through the whole line, held against the known truth."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from api.answers import Document, row_documents
from api.figures import Figures, Scope
from api.home import Home, Running
from api.indicator_writer import IndicatorWriter, write_past
from api.live import newest
from api.output import text_of
from api.quota_answers import quota_document
from api.running import doors
from api.services import Services, open_services
from api.settings import Settings, load_settings
from api.signals import stop_signals, wait_for
from api.tracing import trace
from ingest.publisher import Broker, Published
from ingest.simulated_reports import FaultReport
from ingest.simulator import Simulation, play_year, simulate, site_file
from metering.periods import Period, utc_text

log = logging.getLogger(__name__)

YEAR = 2023
DAYS = (date(YEAR, 9, 30), date(YEAR, 12, 31))
"""When the quotas are shown: while there is time to act, and at the end."""

DISPLAY_HOURS = 24
"""So many hours before the end are written for displays, where there are any."""

QUARTER = timedelta(minutes=15)

TOLERANCE = 1e-6
"""Relative: sums of differences of registers with two decimals are not more exact in floats."""


@dataclass(slots=True)
class Outcome:
    """What the demonstration showed."""

    failures: list[str] = field(default_factory=list)

    def check(self, what: str, got: float | None, wanted: float) -> bool:
        """Hold a figure against the truth."""
        good = got is not None and abs(got - wanted) <= max(TOLERANCE * abs(wanted), 1e-3)
        if not good:
            self.failures.append(f"{what}: computed {text_of(got)}, truth {text_of(wanted)}")
        return good


def demo(settings: Settings | None, *, once: bool, console: Console) -> int:
    """Run the demonstration; 1 if a figure is not the truth.

    Args:
        settings: Of the home to make; a fresh one in the temporary folder if None.
        once: End after the summary instead of staying up.
        console: Where everything is printed.
    """
    began = time.monotonic()
    settings = settings or _fresh_home()
    console.print(f"home: {settings.home}", soft_wrap=True)
    simulation = simulate()
    with open_services(settings) as services, doors(services) as running:
        _send_year(services, running, simulation, console)
        if services.indicators is not None:
            _write_displays(services, services.indicators, console)
        outcome = summary(services, simulation, console)
        took = time.monotonic() - began
        console.print(f"\nThe whole year took {took:.0f} s, from MQTT to these figures.")
        for failure in outcome.failures:
            console.print(f"NOT THE TRUTH: {failure}", style="bold red")
        say_where(settings, None if once else running, console)
        if not once:
            _stay(services)
    return 1 if outcome.failures else 0


def _fresh_home() -> Settings:
    home = Path(tempfile.mkdtemp(prefix="tanyuan-demo-"))
    (home / "site.yaml").write_bytes(site_file())
    Home(home).factors.mkdir()
    return load_settings(home, given={"mqtt_port": 0, "http_port": 0})


def _write_displays(services: Services, writer: IndicatorWriter, console: Console) -> None:
    """Write for displays what the present was on the last day of the made-up year."""
    writer.flush()
    for site in services.catalog.sites().values():
        last = newest(services.store, site.id)
        if last is not None:
            quarters = range(4 * DISPLAY_HOURS, -1, -1)
            write_past(services, site, [last - quarter * QUARTER for quarter in quarters])
            console.print(f"For displays: {DISPLAY_HOURS} hours up to {utc_text(last)}.")


def _send_year(
    services: Services, running: Running, simulation: Simulation, console: Console
) -> None:
    """Publish the year from a process of its own, and wait until it is in the figures."""
    total = simulation.count.messages
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} messages"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        sent = progress.add_task("MQTT, acknowledged", total=total)
        kept = progress.add_task("in the store", total=total)
        with _publisher(services, running) as pipe:
            done = False
            while not done:
                if pipe.poll(0.2):
                    told = pipe.recv()
                    if isinstance(told, Exception):
                        raise told
                    acked, done = told
                    progress.update(sent, completed=acked)
                progress.update(kept, completed=services.line.position)
        while services.line.catch_up(0.5) is not None:
            progress.update(kept, completed=services.line.position)
        progress.update(kept, completed=services.line.position)


@contextmanager
def _publisher(services: Services, running: Running) -> Iterator[Connection]:
    here, there = multiprocessing.Pipe(duplex=False)
    broker = Broker(port=running.mqtt_port, client_id="simulated-park", version=3)
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_play, args=(broker, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.join(30)
        here.close()


def _play(broker: Broker, pipe: Connection) -> None:
    def tell(so_far: Published) -> None:
        pipe.send((so_far.acked, False))

    try:
        done = play_year(broker, on_progress=tell)
        pipe.send((done.acked, True))
    except Exception as error:
        log.exception("the simulated park could not be played")
        pipe.send(RuntimeError(f"the simulated park could not be played: {error}"))


# -- the summary ----------------------------------------------------------------------------------


def summary(services: Services, simulation: Simulation, console: Console) -> Outcome:
    """Print energy, carbon, quotas and faults beside the truth."""
    outcome = Outcome()
    figures = services.figures(None)
    site = figures.site
    console.rule(f"{site.name}, {YEAR}")
    year = Period.year(YEAR, tz=site.timezone)
    _energy(figures, simulation, year, outcome, console)
    _carbon(figures, year, console)
    _quotas(figures, console)
    _faults(services, figures, simulation, outcome, console)
    _trace_one(services, figures, console)
    return outcome


def _energy(
    figures: Figures, simulation: Simulation, year: Period, outcome: Outcome, console: Console
) -> None:
    table = _table("Energy of the year", "subject", "carrier", "computed", "truth", "unit", "")
    scopes: list[tuple[str, str | None]] = [(figures.site.id, None)]
    scopes += [(building.id, building.id) for building in figures.site.buildings]
    for name, building in scopes:
        for recipe in figures.recipes(Scope(building=building)):
            rows = figures.rows(recipe, year, "year")
            got = float(rows.value[0])
            truth = simulation.truth.used(recipe.carrier, building)
            good = outcome.check(f"{recipe.carrier} of {name}", got, truth)
            table.add_row(
                name, recipe.carrier, text_of(got), text_of(truth), recipe.unit, _mark(good)
            )
    console.print(table)


def _carbon(figures: Figures, year: Period, console: Console) -> None:
    table = _table("Carbon of the year", "carrier", "scope", "amount", "unit", "flags")
    found, factors, reasons = figures.emissions(Scope(), year, "year")
    for each in found:
        row = row_documents(each.rows)[0]
        table.add_row(
            each.carrier,
            text_of(each.scope),
            text_of(row["value"]),
            each.unit,
            ", ".join(row["flags"]) or "–",
        )
    console.print(table)
    for factor in factors:
        console.print(
            f"  factor {factor.id}: {factor.source.document} ({factor.verification.value})",
            markup=False,
        )
    for reason in reasons:
        console.print(f"  {reason}", markup=False)


def _quotas(figures: Figures, console: Console) -> None:
    table = _table(
        "Quotas", "quota", "used", "limit", "unit", *(f"on {day.isoformat()}" for day in DAYS)
    )
    columns = [quota_document(figures, day)["quotas"] for day in DAYS]
    for uses in zip(*columns, strict=True):
        last = uses[-1]
        table.add_row(
            last["quota"],
            text_of(last["used"]),
            text_of(last["limit"]),
            last["unit"],
            *(use["verdict"].replace("_", " ") for use in uses),
        )
    console.print(table)


def _faults(
    services: Services,
    figures: Figures,
    simulation: Simulation,
    outcome: Outcome,
    console: Console,
) -> None:
    table = _table("What the injected faults did", "fault", "where", "computed", "truth", "")
    counts = services.ledger.quarantine_counts()
    for report in simulation.reports:
        rows = list(_fault_rows(figures, report, counts, outcome))
        for number, (where, got, truth, good) in enumerate(rows or [("–", "–", "–", True)]):
            name = f"{report.kind}: {report.what}" if number == 0 else ""
            table.add_row(name, where, got, truth, _mark(good), end_section=number == len(rows) - 1)
    console.print(table)


def _fault_rows(
    figures: Figures, report: FaultReport, counts: dict[str, int], outcome: Outcome
) -> Iterator[tuple[str, str, str, bool]]:
    for point, truth in report.expected.items():
        got = _amount(figures, point, report.check)
        good = outcome.check(f"{report.kind} at {point}", got, truth)
        yield point, text_of(got), text_of(truth), good
    for code, wanted in report.quarantined.items():
        found = counts.get(code, 0)
        good = outcome.check(f"{report.kind}, quarantined as {code}", float(found), float(wanted))
        yield f"quarantine: {code}", str(found), str(wanted), good


def _amount(figures: Figures, point: str, period: Period) -> float | None:
    recipe = figures.recipes(Scope(point=point))[0]
    rows = figures.rows(recipe, period, "day")
    known = rows.value[rows.value == rows.value]
    return float(known.sum()) if len(known) else None


def _trace_one(services: Services, figures: Figures, console: Console) -> None:
    """Follow one hour of the first main meter to its telegram."""
    main = figures.site.boundary("electricity")[0].point
    instant = datetime(YEAR, 7, 3, 10, tzinfo=figures.site.timezone)
    document: Document = trace(figures, services.journals, main.id, instant, "hour", emissions=True)
    console.rule("One figure, back to its telegram")
    energy = document["energy"]
    emission = document["emissions"][0]
    factor = document["factors"][0]
    console.print(
        f"{main.id}, {energy['start']}: {text_of(energy['value'])} {energy['unit']}"
        f" × {factor['value']} {factor['unit']} = {text_of(emission['value'])} {emission['unit']}",
        markup=False,
    )
    for step in document["increments"][:4]:
        console.print(
            f"  {step['start']} to {step['end']}: {text_of(step['amount'])} {step['register']}",
            markup=False,
        )
    for reading in document["readings"][:2]:
        console.print(
            f"  register {reading['register']} of {reading['meter']} at {reading['at']} showed "
            f"{reading['value']} (journal {reading['journal']}, message {reading['sequence']})",
            markup=False,
        )
    telegram = document["telegrams"][0]
    console.print(f"  telegram {telegram['sequence']} on {telegram['topic']}:", markup=False)
    console.print(f"    {telegram['text'][:300]}…", markup=False)
    console.print(f"    {telegram['hex'][:96]}…", markup=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        number = column in ("computed", "truth", "amount", "used", "limit")
        table.add_column(column, justify="right" if number else "left")
    return table


def _mark(good: bool) -> str:
    return "✓" if good else "✗"


def say_where(settings: Settings, running: Running | None, console: Console) -> None:
    """Say where to look further: the doors of what stays up, or how to open the home again."""
    program = f"tanyuan --home {settings.home}"
    if running is not None:
        at = f"http://{settings.bind}:{running.http_port}/?at=latest"
        console.print(f"console: {at}", soft_wrap=True, markup=False)
        console.print(f"MQTT: {settings.bind}:{running.mqtt_port}", soft_wrap=True, markup=False)
    else:
        text = f"The demonstration ends here; its page and MQTT come back with: {program} up"
        console.print(text, soft_wrap=True, markup=False)
    console.print(
        f"ask more with: {program} energy --from {YEAR}-01-01 --to {YEAR + 1}-01-01 --every month",
        soft_wrap=True,
        markup=False,
    )


def _stay(services: Services) -> None:
    stop = Event()
    with stop_signals(stop, services.reload):
        wait_for(stop)
