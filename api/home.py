"""The home: one folder that holds everything of one installation, owned by one process."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path


class HomeError(RuntimeError):
    """The home is missing, not empty, or not a home; the message says what to do."""


class HomeBusy(HomeError):
    """Another process owns the home."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a running `up` says of itself in `run.json`."""

    pid: int
    mqtt_port: int
    http_port: int
    token: str


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one installation."""

    path: Path
    config: Path | None = None
    """Where site files, factors and profiles are, if not in the home itself."""

    @property
    def given(self) -> Path:
        """Where site files, factors and profiles are."""
        return self.config or self.path

    @property
    def has_sites(self) -> bool:
        """Whether there is a site file, or a folder of them."""
        return (self.given / "site.yaml").is_file() or (self.given / "sites").is_dir()

    @property
    def journal(self) -> Path:
        """Append-only segments of everything accepted."""
        return self.path / "journal"

    @property
    def store(self) -> Path:
        """The embedded time-series store."""
        return self.path / "store.duckdb"

    @property
    def factors(self) -> Path:
        """The installation's own emission factors."""
        return self.given / "factors"

    @property
    def profiles(self) -> Path:
        """The installation's own device profiles."""
        return self.given / "profiles"

    @property
    def run_file(self) -> Path:
        """Written while `up` answers on both doors."""
        return self.path / "run.json"

    @property
    def lock_file(self) -> Path:
        """Held by the process that owns the home."""
        return self.path / "home.lock"

    def check(self) -> None:
        """Return if this is a home.

        Raises:
            HomeError: It is not.
        """
        if self.has_sites:
            return
        if self.config:
            raise HomeError(
                f"Wanted site.yaml or sites/ in {self.config}, which TANYUAN_CONFIG names, found "
                "none. Put the site files there."
            )
        raise HomeError(
            f"Wanted a home with site.yaml or sites/ at {self.path}, found none. "
            f"Make one with: tanyuan --home {self.path} init"
        )

    def init(self) -> list[Path]:
        """Write a new home with a commented `site.yaml`; return the files made.

        Raises:
            HomeError: There is a home already.
        """
        if (self.given / "site.yaml").exists() or (self.given / "sites").exists():
            raise HomeError(f"{self.given} is a home already; nothing was changed.")
        self.factors.mkdir(parents=True, exist_ok=True)
        site = self.given / "site.yaml"
        site.write_bytes(resources.files("metering").joinpath("data/site.yaml").read_bytes())
        return [site, self.factors]

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the home while inside.

        Raises:
            HomeBusy: Another process does; the message names its pid.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise HomeBusy(
                    f"The home {self.path} is in use by process {pid}. "
                    f"Stop that process first, or ask it over HTTP."
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)

    def running(self) -> Running | None:
        """The running `up` of this home; None if there is none, or its file is stale."""
        try:
            found = json.loads(self.run_file.read_text(encoding="utf-8"))
            running = Running(
                int(found["pid"]),
                int(found["mqtt_port"]),
                int(found["http_port"]),
                str(found["token"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return running if _alive(running.pid) and self._locked() else None

    def _locked(self) -> bool:
        """Whether some process owns the home; a pid alone may have been given to another."""
        try:
            handle = os.open(self.lock_file, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def announce(self, running: Running) -> None:
        """Write `run.json`, readable by its owner only, whole or not at all."""
        text = json.dumps(
            {
                "pid": running.pid,
                "mqtt_port": running.mqtt_port,
                "http_port": running.http_port,
                "token": running.token,
            }
        )
        draft = self.run_file.with_suffix(".new")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(self.run_file)

    def withdraw(self) -> None:
        """Remove `run.json`."""
        self.run_file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
