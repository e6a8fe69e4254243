"""A lease: of several processes one at a time does a piece of work, and another takes over.

The lease is a note in the ledger: who holds it, and a number that its holder raises every few
seconds. Whoever wants it watches that number by a clock of its own; once it has stood still for the
whole term the lease is taken. So nobody's clock need agree with another's. The holder stops
believing in its lease well before anybody else may take it.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from api.home import HomeBusy
from metering.ledger.port import Ledger, LedgerUnavailable
from metering.store.port import WriterReplaced

log = logging.getLogger(__name__)


class LeaseTaken(HomeBusy):
    """What wants nobody else to work cannot go on, because somebody does."""


TERM_S = 15.0
"""A lease that nobody renewed for so long may be taken."""

BELIEF = 2 / 3
"""The share of the term after which a holder that could not renew no longer counts on it."""


def lasting_s() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def process_name() -> str:
    """A name for this process that no other has: host, pid and something random."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass(slots=True)
class Lease:
    """One lease as one process sees it; call `hold` at least every third of its term."""

    ledger: Ledger
    name: str
    holder: str
    term_s: float = TERM_S
    clock: Callable[[], float] = lasting_s
    _renewed: float | None = None
    _mine: str | None = None
    _seen: str | None = None
    _seen_since: float = field(default=0.0)

    @property
    def key(self) -> str:
        """The name of the note."""
        return f"lease/{self.name}"

    @property
    def held(self) -> bool:
        """Whether this process may count on the lease now."""
        return self._renewed is not None and self.clock() < self._renewed + BELIEF * self.term_s

    def check(self) -> None:
        """Return while this process may count on the lease.

        Raises:
            WriterReplaced: It may not; another process may do the work by now.
        """
        if not self.held:
            raise WriterReplaced(
                f"This process may no longer count on the lease {self.name!r}; whoever has it now "
                "does the same again."
            )

    def hold(self) -> bool:
        """Take the lease if it is free, renew it if it is ours; say whether it is ours now.

        A ledger that does not answer is no answer: what was held stays held for a while.
        """
        before = self.clock()
        try:
            if self._take_or_renew(before):
                self._renewed = before
            else:
                self._renewed = self._mine = None
        except LedgerUnavailable as error:
            log.warning("lease %s: %s", self.name, error)
        return self.held

    def release(self) -> None:
        """Let others have it at once, as far as the ledger answers."""
        mine, self._mine, self._renewed = self._mine, None, None
        if mine is not None:
            try:
                self.ledger.swap(self.key, expected=mine, value=None)
            except LedgerUnavailable as error:
                log.warning("lease %s is left to run out: %s", self.name, error)

    def _take_or_renew(self, now: float) -> bool:
        found = self.ledger.get(self.key)
        owner, beat = _read(found)
        if found is not None and owner != self.holder and not self._stale(found, now):
            return False
        wanted = json.dumps({"holder": self.holder, "beat": beat + 1})
        if not self.ledger.swap(self.key, expected=found, value=wanted):
            return False
        if owner not in (None, self.holder):
            log.warning("lease %s: taken over from %s, which is silent", self.name, owner)
        self._mine = wanted
        return True

    def _stale(self, found: str, now: float) -> bool:
        if found != self._seen:
            self._seen, self._seen_since = found, now
        return now - self._seen_since > self.term_s


@contextmanager
def renewing(leases: Sequence[Lease]) -> Iterator[None]:
    """Renew leases in a thread until the block ends, while this one is busy."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(min(lease.term_s for lease in leases) / 5):
            for lease in leases:
                lease.hold()

    thread = threading.Thread(target=renew, name="leases", daemon=True)
    if leases:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if leases:
            thread.join()


def lease_names(journals: Iterable[str]) -> list[str]:
    """The leases of those who make hours and who move journals into the store."""
    return ["schedule", *(project_lease(name) for name in sorted(journals))]


def project_lease(journal: str) -> str:
    """The lease of whoever moves a journal into the store."""
    return f"project/{journal}"


@contextmanager
def alone(ledger: Ledger, names: Sequence[str], what: str) -> Iterator[Callable[[], None]]:
    """Hold leases while something is done to a store that nobody else may work on.

    Args:
        ledger: Where they are.
        names: Which.
        what: What is done, for the message, such as `rebuild`.

    Yields:
        Raises `LeaseTaken` where one was lost; to be asked now and then.

    Raises:
        LeaseTaken: Another process has one.
    """
    holder = process_name()
    leases = [Lease(ledger, name, holder) for name in names]

    def check() -> None:
        for lease in leases:
            if not lease.held:
                raise LeaseTaken(
                    f"Another process has the lease {lease.name!r}. Stop every `project`, "
                    f"`schedule` and `up` of the installation, wait 15 s, then {what}; those that "
                    "`listen` or `collect` go on."
                )

    try:
        for lease in leases:
            lease.hold()
        check()
        with renewing(leases):
            yield check
    finally:
        for lease in leases:
            lease.release()


def _read(text: str | None) -> tuple[str | None, int]:
    """Holder and number of a note; one that says neither is taken once it is stale."""
    try:
        found = json.loads(text or "{}")
        return found.get("holder"), int(found.get("beat", 0))
    except (ValueError, TypeError, AttributeError):
        return "an unreadable note", 0
