"""Plays the made-up park onto MQTT: its year with faults to order, and then the present.

Everything it sends is marked as simulated: the site's name, and every id and serial. The known
truth comes along, so that whatever is computed from the messages can be held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Final

from ingest.publisher import Broker, Published, Publisher, publish_all
from ingest.simulated_faults import DEMO_FAULTS, Fault, Rollover
from ingest.simulated_gateways import Count
from ingest.simulated_messages import Outgoing, YearOfMessages, live_messages
from ingest.simulated_park import Park, make_park, site_file
from ingest.simulated_reports import FaultReport, report_of
from ingest.simulated_truth import Truth

__all__ = ["SEED", "Simulation", "play_live", "play_year", "simulate", "site_file"]

SEED: Final = 2023
"""Of the park that the demonstration shows; its quotas are made for it."""

_LIVE_PATIENCE_S: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """The made-up park, what goes wrong in its year, and what is true."""

    park: Park
    faults: tuple[Fault, ...]
    reports: tuple[FaultReport, ...]
    """What each fault did, and what must come out."""
    year: YearOfMessages

    @property
    def truth(self) -> Truth:
        """What its meters truly metered."""
        return self.park.truth

    @property
    def count(self) -> Count:
        """How many messages, readings and register values the year has."""
        return self.year.count

    def messages(self) -> Iterator[Outgoing]:
        """The year, in sending order; the same bytes each time."""
        return iter(self.year)

    def live(self, now: datetime) -> Iterator[Outgoing]:
        """The readings of all meters at an instant, one message per gateway."""
        return live_messages(self.park, self.faults, now)


def simulate(*, seed: int = SEED, faults: Sequence[Fault] = DEMO_FAULTS) -> Simulation:
    """Make the park and its year; the same seed and faults give the same bytes.

    Raises:
        UnknownFault: A fault names what the park does not have.
        NoTruth: A fault lies outside the park's year.
    """
    rollovers = {fault.serial: fault.at for fault in faults if isinstance(fault, Rollover)}
    park = make_park(seed=seed, rollovers=rollovers)
    reports = tuple(report_of(fault, park) for fault in faults)
    return Simulation(park, tuple(faults), reports, YearOfMessages(park, faults, seed=seed))


def play_year(
    broker: Broker,
    *,
    seed: int = SEED,
    on_progress: Callable[[Published], None] | None = None,
) -> Published:
    """Publish the demonstration's year as fast as it goes; a process of its own may run this."""
    simulation = simulate(seed=seed)
    return publish_all(broker, simulation.messages(), on_progress=on_progress)


def play_live(
    broker: Broker,
    simulation: Simulation,
    *,
    stop: Event,
    every: timedelta = timedelta(seconds=15),
) -> None:
    """Publish the park's present readings until `stop` is set.

    Raises:
        BrokerRefused, BrokerLost: As `publish_all`.
    """
    with Publisher(broker, patience_s=_LIVE_PATIENCE_S) as publisher:
        while not stop.is_set():
            for topic, payload in simulation.live(datetime.now(UTC)):
                publisher.publish(topic, payload)
            publisher.drain()
            stop.wait(every.total_seconds())
