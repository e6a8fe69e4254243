"""What a process does: all of it (`up`), or one part of an installation that several share."""

from __future__ import annotations

from dataclasses import dataclass

from api.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Role:
    """A part that a process plays."""

    name: str
    what: str
    accepts: bool = False
    """Whether it keeps a journal and takes messages."""
    projects: bool = False
    """Whether it moves journals into the store."""
    recomputes: bool = False
    """Whether it makes the hours."""
    schedules: bool = False
    """Whether it has the timetable."""
    answers: bool = False
    """Whether it answers questions and has the page."""


UP = Role(
    "up", "everything in one process",
    accepts=True, projects=True, recomputes=True, schedules=True, answers=True,
)  # fmt: skip
LISTEN = Role("listen", "gateways publish to it; it keeps and serves a journal", accepts=True)
COLLECT = Role("collect", "reads from a broker; it keeps and serves a journal", accepts=True)
PROJECT = Role("project", "moves the journals of others into the store", projects=True)
SERVE = Role("serve", "answers questions and has the page", answers=True)
SCHEDULE = Role(
    "schedule", "makes the hours and runs the timetable", recomputes=True, schedules=True
)


def check_role(role: Role, settings: Settings) -> None:
    """Return if the settings let several processes share an installation.

    Raises:
        SettingsError: They do not; the message says what is missing.
    """
    if role is UP:
        return
    missing = []
    if settings.store != "influxdb":
        missing.append("TANYUAN_STORE=influxdb (only one process can open a DuckDB file)")
    if settings.ledger is None:
        missing.append("TANYUAN_LEDGER with a database that all of them reach, such as PostgreSQL")
    if settings.http_token is None:
        missing.append("TANYUAN_HTTP_TOKEN, the same for all: they ask each other with it")
    if role is COLLECT and not settings.broker:
        missing.append("TANYUAN_BROKER, where it collects from")
    if missing:
        raise SettingsError(
            f"`tanyuan {role.name}` is one of several processes that share an installation. "
            f"Set {'; '.join(missing)}. Or run everything in one process: tanyuan up."
        )
