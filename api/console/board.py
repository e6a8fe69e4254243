"""What is computed for the console, once for all who look, and only while somebody does.

A `Part` is a piece of a document with an age: whoever looks at it gets what is there at once, and
sets off a new computation, in a thread, when it is older than it may be. A piece that takes long to
compute is computed less often, so that looking never takes more than a share of a processor.
Everything here belongs to the event loop of the HTTP server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from api.answers import Document
from api.latest import AHEAD
from api.live import meter_documents, meters_document, newest
from api.live_day import day_document
from api.live_power import NOT_AHEAD, power_document
from api.problems import STATUS, problem_of
from api.questions import parse_instant
from api.services import Services
from api.status import not_ready
from metering.periods import utc_text

log = logging.getLogger(__name__)

POWER_S, METERS_S, DAY_S, STATE_S, BEHIND_S = 0.4, 5.0, 10.0, 10.0, 1.0
"""How old each part may be. [s]"""

NEWEST_S = 1.0
"""How long the newest reading is taken for the newest where a page follows it. [s]"""

REST = 4.0
"""A part rests so many times as long as its computation took."""

PATIENCE_S = 5.0
"""So long the line may be behind before a page says so."""

WATCHES = 32
"""So many sites and moments are kept; the one looked at longest ago goes first."""


@dataclass(slots=True, eq=False)
class Part:
    """A piece of a document, computed again when somebody looks and it is too old."""

    name: str
    compute: Callable[[], Document]
    every_s: float
    value: Document | None = None
    version: int = 0
    """Changes with the value."""
    error: str = ""
    """Why the last computation gave nothing; the value is then an older one."""
    made: float = 0.0
    """When the value was begun, on the monotonic clock."""
    _began: float = float("-inf")
    _took: float = 0.0
    _task: asyncio.Task[None] | None = None

    def look(self) -> Document | None:
        """What is there; None before the first computation is done."""
        due = self._began + max(self.every_s, REST * self._took)
        if (self._task is None or self._task.done()) and time.monotonic() >= due:
            self._began = time.monotonic()
            self._task = asyncio.create_task(self._refresh(), name=f"console {self.name}")
        return self.value

    async def first(self, timeout_s: float) -> None:
        """Wait for the computation under way if there is no value yet."""
        self.look()
        if self.value is None and self._task is not None:
            await asyncio.wait([self._task], timeout=timeout_s)

    @property
    def stale_s(self) -> float | None:
        """How old the value is that a failed computation left behind; None if it did not fail."""
        return time.monotonic() - self.made if self.error and self.value is not None else None

    async def _refresh(self) -> None:
        began = self._began
        try:
            value = await asyncio.to_thread(self.compute)
        except tuple(STATUS) as error:
            self._failed(str(problem_of(error)["detail"]))
        except Exception as error:
            if type(error).__name__ not in self.error:
                log.exception("console: %s cannot be computed", self.name)
            self._failed(str(problem_of(error)["detail"]))
        else:
            if value != self.value:
                self.value, self.version = value, self.version + 1
            self.error, self.made = "", began
        self._took = time.monotonic() - began

    def _failed(self, detail: str) -> None:
        if detail != self.error:
            self.error, self.version = detail, self.version + 1


@dataclass(slots=True, eq=False)
class Watch:
    """One site as of now or as of a moment."""

    services: Services
    site: str
    at: str | None
    """None: now; `latest`: the newest reading; else an instant."""
    power: Part = field(init=False)
    meters: Part = field(init=False)
    day: Part = field(init=False)
    _newest: tuple[float, datetime | None] = (0.0, None)
    rendered: dict[tuple[str, str], tuple[object, str]] = field(default_factory=dict)
    """What pages made of the parts: by section and language, with what it was made from."""

    def __post_init__(self) -> None:
        self.power = Part(f"power of {self.site}", self._power, POWER_S)
        self.meters = Part(f"meters of {self.site}", self._meters, METERS_S)
        self.day = Part(f"day of {self.site}", self._day, DAY_S)

    @property
    def parts(self) -> Mapping[str, Part]:
        """The parts by name."""
        return {"power": self.power, "meters": self.meters, "day": self.day}

    def moment(self) -> datetime:
        """The instant that is shown."""
        if self.at is None:
            return self.services.now()
        if self.at != "latest":
            return parse_instant(self.at, "at")
        looked, found = self._newest
        if found is None or time.monotonic() - looked > NEWEST_S:
            found = newest(self.services.store, self.site)
            self._newest = (time.monotonic(), found)
        return found or self.services.now()

    def _power(self) -> Document:
        moment = self.moment()
        figures = self.services.figures(self.site)
        ahead = NOT_AHEAD if self.at else AHEAD
        document = power_document(figures, moment, ahead=ahead)
        return document if self.at else {**document, "at": None}

    def _meters(self) -> Document:
        figures = self.services.figures(self.site)
        found = meter_documents(figures.store, figures.site, self.moment(), extra=figures.extra)
        return {"all": found, "counts": meters_document(found)}

    def _day(self) -> Document:
        return day_document(self.services.figures(self.site), self.moment())


class Board:
    """Everything the console looks at, of all sites."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.state = Part("state", self._state, STATE_S)
        self.behind = Part("lag", self._behind, BEHIND_S)
        self._watches: OrderedDict[tuple[str, str | None], Watch] = OrderedDict()
        self._hours_behind_since: datetime | None = None

    def watch(self, site: str, at: str | None) -> Watch:
        """What is computed of a site as of now or a moment, shared by all who look at it."""
        key = (site, at)
        if key not in self._watches:
            self._watches[key] = Watch(self.services, site, at)
            while len(self._watches) > WATCHES:
                self._watches.popitem(last=False)
        self._watches.move_to_end(key)
        return self._watches[key]

    def look(self, watch: Watch) -> None:
        """Set off what is due."""
        for part in (self.state, self.behind, *watch.parts.values()):
            part.look()

    def _state(self) -> Document:
        """What is wrong with the installation, and what could not be read."""
        given = self.services
        subscriber = given.subscriber
        return {
            "problems": list(dict.fromkeys([*not_ready(given), *given.line.errors])),
            "broker_lost": subscriber is not None and not subscriber.connected,
            "quarantine": given.ledger.quarantine_counts(),
        }

    def _behind(self) -> Document:
        """What was accepted and is not in the figures, once that has lasted."""
        found = self.services.line.catch_up(0)
        now = self.services.now()
        patience = timedelta(seconds=PATIENCE_S)
        if found is None or found.messages:
            self._hours_behind_since = None
        elif self._hours_behind_since is None:
            self._hours_behind_since = now
        since = self._hours_behind_since
        late = found is not None and found.oldest is not None and now - found.oldest > patience
        return {
            "messages": found.messages if found is not None and late else 0,
            "oldest": utc_text(found.oldest) if found and found.oldest and late else None,
            "hours": since is not None and now - since > patience,
        }
