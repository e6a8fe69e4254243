"""A real PostgreSQL for the tests: the one that is named, or one of our own on loopback.

Every test has databases of its own, which are dropped after it. The one that is named must let its
user make databases.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, make_url

NAMED = "TANYUAN_TEST_POSTGRES_URL"
USER, PASSWORD = "tester", "only-for-tests"
START_S = 60.0

REASON = (
    "PostgreSQL was not tested: install its server (Debian: postgresql), or set "
    f"{NAMED} to the URL of a user who may make databases."
)

OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "jit": "off",
}
"""Fast, and good for tests alone: nothing survives the machine, and a crash of the server only what
a connection wanted on disk."""


@dataclass
class Server:
    """Where a server is, and how to stop and start it if it is ours."""

    url: URL
    folder: Path | None = None
    programs: Path = Path()
    process: subprocess.Popen[bytes] | None = None
    databases: set[str] = field(default_factory=set)

    @property
    def port(self) -> int:
        return self.url.port or 5432

    def start(self) -> None:
        """Start our own server and wait until it lets us in."""
        assert self.folder is not None
        options = OPTIONS | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, **_owner()
            )
        deadline = time.monotonic() + START_S
        while not self._lets_in():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not answer:\n{self.log[-2000:]}")
            time.sleep(0.05)

    @property
    def log(self) -> str:
        """What our own server wrote."""
        assert self.folder is not None
        return (self.folder / "log").read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop our own server: SIGINT is "fast", SIGQUIT "immediate", SIGKILL a crash."""
        if self.process is not None:
            children = self._children()
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None
            _wait_until_gone(children)

    def freeze(self) -> None:
        """Stop every process of our own server where it is; its kernel still takes connections."""
        self._tell_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._tell_all(signal.SIGCONT)

    def _tell_all(self, what: signal.Signals) -> None:
        """Tell the server first, so that it makes no new process meanwhile, then all it made."""
        assert self.process is not None
        self.process.send_signal(what)
        for pid in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)

    def client(self, database: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
        """The plain client, for what the ledger does not do; each statement for itself."""
        at = self.url if database is None else self.url.set(database=database)
        text = at.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(text, autocommit=True, connect_timeout=10)

    def new_database(self, name: str, *, template: str = "template1") -> str:
        """A database that is empty, or a copy of another one that nobody uses; its URL."""
        with self.client() as client:
            named = sql.Identifier(name)
            client.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named))
            like = sql.Identifier(template)
            client.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(named, like))
        self.databases.add(name)
        return self.url.set(database=name).render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        """Take a database away, whoever uses it."""
        with self.client() as client:
            named = sql.Identifier(name)
            client.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named))
        self.databases.discard(name)

    def connections(self, database: str) -> int:
        """How many connections to a database there are."""
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        with self.client() as client:
            found = client.execute(asked, [database]).fetchone()
        assert found is not None
        return int(str(found[0]))

    def terminate(self, database: str) -> int:
        """End every connection to a database, as an administrator does; how many there were."""
        asked = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        with self.client() as client:
            return len(client.execute(asked, [database]).fetchall())

    def end(self) -> None:
        """Leave nothing behind."""
        if self.folder is None:
            for name in sorted(self.databases):
                self.drop(name)
            return
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lets_in(self) -> bool:
        try:
            self.client().close()
        except psycopg.OperationalError:
            return False
        return True

    def _children(self) -> list[int]:
        assert self.process is not None
        return [pid for pid, parent in _parents().items() if parent == self.process.pid]


_server: Server | None = None


def server() -> Server:
    """The server of this test run, started when first asked for; skips the test without one."""
    global _server
    if _server is None:
        _server = _named() or _own()
    if _server is None:
        pytest.skip(REASON)
    return _server


def own_server() -> Server:
    """A server of one test alone, which may stop, freeze and break it."""
    started = _own()
    if started is None:
        pytest.skip(REASON)
    return started


def end_server() -> None:
    """Stop what was started."""
    global _server
    if _server is not None:
        _server.end()
        _server = None


def name_for(folder: Path) -> str:
    """A name of a database that belongs to a folder."""
    return "t" + hashlib.blake2b(bytes(folder), digest_size=8).hexdigest()


def _named() -> Server | None:
    url = os.environ.get(NAMED)
    return Server(make_url(url)) if url else None


def _programs() -> Path | None:
    """The folder of the newest PostgreSQL on this machine."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = sorted(versions, key=lambda found: float(found.parts[-3]))
    found = newest[-1] if newest else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _own() -> Server | None:
    programs = _programs()
    if programs is None:
        return None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = URL.create("postgresql", USER, PASSWORD, "127.0.0.1", port, "postgres")
    started = Server(url, Path(tempfile.mkdtemp(prefix="postgres")), programs)
    try:
        _make_cluster(started)
        started.start()
    except BaseException:
        started.end()
        raise
    return started


def _make_cluster(server: Server) -> None:
    """A cluster whose usual order of text is a linguistic one, as most are set up."""
    assert server.folder is not None
    secret = server.folder / "password"
    secret.write_text(PASSWORD)
    if owner := _owner():
        for path in (server.folder, secret):
            os.chown(path, int(str(owner["user"])), int(str(owner["group"])))
    command = [str(server.programs / "initdb"), "-D", str(server.folder / "data"), "--no-sync"]
    command += ["-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
    command += ["--locale=C", "--locale-provider=icu", "--icu-locale=en"]
    done = subprocess.run(
        command, cwd=server.folder, capture_output=True, text=True, check=False, **_owner()
    )
    if done.returncode:
        raise RuntimeError(f"initdb failed:\n{done.stderr}")


def _owner() -> dict[str, object]:
    """Who runs it: PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL is not run by root, and there is no user postgres or nobody")


def _parents() -> dict[int, int]:
    """Every process and the one that started it, as Linux tells."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        found[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    return found


def _wait_until_gone(pids: list[int]) -> None:
    """Wait for processes that end by themselves once their parent is gone."""
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, f"processes of PostgreSQL are still there: {pids}"
        time.sleep(0.02)
