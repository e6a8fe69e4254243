"""The lines for containers in deploy/README.md, held against the compose files.

No container engine is wanted: which service, user, folder and volume a line means stands in the
files, and what it runs is a command of ours or of PostgreSQL's, which is here.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

import click
import pytest
import yaml

from api.cli import cli
from metering.ledger.sql_ledger import open_ledger
from tests import postgres_server
from tests.deploy.brokers import DEPLOY, program
from tests.deploy.test_files import places, prepared  # noqa: F401  (a fixture)
from tests.deploy.test_readme import BLOCKS, LINES

COMPOSE = [line for line in LINES if line.startswith("docker compose ")]
HOME = "/var/lib/tanyuan"
VALUES = {"-f", "--profile", "-s"}
"""Options that a value follows."""


@dataclass(frozen=True)
class Line:
    """What a line says.

    Attributes:
        files: The compose files.
        profiles: Which are switched on.
        verb: Such as `exec`.
        options: Of the verb.
        words: What follows: services; or one service and what runs in it.
        host: The file of the host that is read or written, if one is.
    """

    files: tuple[str, ...]
    profiles: tuple[str, ...]
    verb: str
    options: tuple[str, ...]
    words: tuple[str, ...]
    host: str | None

    @property
    def services(self):
        found = {}
        for file in self.files:
            for name, service in document(file)["services"].items():
                found[name] = {**found.get(name, {}), **service}
        return {
            name: service
            for name, service in found.items()
            if not service.get("profiles") or set(service["profiles"]) & set(self.profiles)
        }


def document(file):
    return yaml.safe_load((DEPLOY.parent / file).read_text(encoding="utf-8"))


def parsed(line):
    line, _, host = line.replace("<", ">").partition(" > ")
    words = shlex.split(line)[2:]
    files, profiles, options = [], [], []
    while words[0].startswith("-"):
        kind, value, *words = words
        {"-f": files, "--profile": profiles}[kind].append(value)
    verb, *words = words
    while words and words[0].startswith("-"):
        options.append(words.pop(0))
        if options[-1] in VALUES:
            options.append(words.pop(0))
    return Line(*map(tuple, (files, profiles)), verb, tuple(options), tuple(words), host or None)


PARSED = [pytest.param(parsed(line), id=line.removeprefix("docker compose ")) for line in COMPOSE]
INSIDE = [each for each in PARSED if each.values[0].verb in ("exec", "run")]


def test_lines_for_backup_restore_and_upgrade_are_there():
    asked = [" ".join([each.values[0].verb, *each.values[0].words[:3]]) for each in PARSED]

    for wanted in ("exec tanyuan tanyuan backup", "run tanyuan restore", "exec postgres pg_dump",
                   "exec postgres pg_restore", "exec collect-1 tanyuan backup",
                   "exec collect-2 tanyuan backup", "run collect-1 restore", "build",
                   "run tanyuan check"):  # fmt: skip
        assert any(line.startswith(wanted) for line in asked), wanted


@pytest.mark.parametrize("line", PARSED)
def test_services_of_a_line_are_in_its_files(line):
    services = line.words[:1] if line.verb in ("exec", "run") else line.words

    assert set(services) <= set(line.services)
    assert all((DEPLOY.parent / file).is_file() for file in line.files)
    if line.host is not None:
        assert line.host.startswith("deploy/backups/")
        assert "-T" in line.options  # a terminal would change the bytes


@pytest.mark.parametrize("line", INSIDE)
def test_folders_of_a_line_are_volumes_its_service_may_write(line):
    service = line.services[line.words[0]]
    mounts = {volume.split(":")[-1]: volume for volume in service.get("volumes", [])
              if not volume.endswith(":ro")}  # fmt: skip
    mounts = {inside: volume for inside, volume in mounts.items() if inside.startswith("/")}

    for word in line.words[1:]:
        if word.startswith("/"):
            places = {str(each) for each in [PurePosixPath(word), *PurePosixPath(word).parents]}
            assert places & set(mounts), word
            assert HOME not in places  # a home that is restored has to be empty


@pytest.mark.parametrize(
    "line", [each for each in INSIDE if "postgres" not in each.values[0].words]
)
def test_what_runs_inside_is_a_command_of_ours(line):
    service, words = line.words[0], list(line.words[1:])
    assert "tanyuan:" in line.services[service]["image"]
    if line.verb == "exec":  # `run` goes through the entry point of the image
        assert words.pop(0) == "tanyuan"
    command = cli.commands[words.pop(0)]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    known = {text for option in command.params for text in option.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_entry_point_of_the_image_is_the_program():
    assert 'ENTRYPOINT ["tanyuan"]' in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_volume_that_is_taken_away_is_that_of_the_collector():
    (name,) = [line.split()[-1] for line in LINES if line.startswith("docker volume rm")]
    project = document("deploy/compose.yaml")["name"]
    service, volume = "collect-1", name.removeprefix(f"{project}_")
    parts = document("deploy/compose.parts.yaml")

    assert volume in parts["volumes"]
    assert f"{volume}:{HOME}" in parts["services"][service]["volumes"]


def test_folder_for_backups_is_made_for_the_user_of_the_containers(prepared):  # noqa: F811
    folder = prepared / "backups"

    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_uid == (10001 if os.getuid() == 0 else os.getuid())
    sources = [
        volume.partition(":/var/backups")[0]
        for file in ("deploy/compose.yaml", "deploy/compose.parts.yaml")
        for service in document(file)["services"].values()
        for volume in service.get("volumes", [])
        if volume.endswith(":/var/backups")
    ]
    assert sources == ["${TANYUAN_BACKUPS_DIR:-./backups}"] * 3


def test_every_version_of_the_image_has_a_tag_of_its_own(prepared, tmp_path):  # noqa: F811
    block = next(block for block in BLOCKS if "TANYUAN_VERSION" in block)
    lines = [line.split("#")[0].strip() for line in block.splitlines()]
    assert re.fullmatch(r"echo TANYUAN_VERSION=\S+ >> deploy/\.env", lines[0])
    assert parsed(lines[1]).verb == "build"
    docker = program("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin here")
    (tmp_path / ".env").write_text("TANYUAN_VERSION=0.1.0\nTANYUAN_UID=7\nTANYUAN_VERSION=0.2.0\n")
    files = ["-f", str(DEPLOY / "compose.yaml"), "-f", str(DEPLOY / "compose.parts.yaml")]
    done = subprocess.run(
        [docker, "compose", "--env-file", str(tmp_path / ".env"), *files, "config"],
        env=os.environ | places(prepared), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    images = {service["image"] for service in yaml.safe_load(done.stdout)["services"].values()}
    assert {image for image in images if image.startswith("tanyuan:")} == {"tanyuan:0.2.0"}


def test_ledger_is_saved_and_put_back_by_the_commands_as_written(tmp_path):
    server, name = postgres_server.server(), postgres_server.name_for(tmp_path)
    program("pg_dump")
    environ = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGPASSWORD": server.url.password}

    def run(verb, **files):
        (line,) = [each.values[0] for each in INSIDE if verb in each.values[0].words]
        of_ours = {"-U": server.url.username, "-d": name}
        words = list(line.words[1:])
        for option, value in of_ours.items():
            assert words[words.index(option) + 1] == "tanyuan"
            words[words.index(option) + 1] = value
        subprocess.run(words, env=os.environ | environ, check=True, timeout=60, **files)

    url = server.new_database(name)
    try:
        with closing(open_ledger(url)) as ledger:
            ledger.put("of that night", "1")
        with (tmp_path / "dump").open("wb") as dump:
            run("pg_dump", stdout=dump)
        with closing(open_ledger(url)) as ledger:
            ledger.put("of that night", "2")
            ledger.put("later", "3")
            ledger.record_site("park", b"site", recorded_at=datetime(2025, 1, 1, tzinfo=UTC))
        for _ in range(2):  # over what is there, and into an empty database
            with (tmp_path / "dump").open("rb") as dump:
                run("pg_restore", stdin=dump)
            with closing(open_ledger(url, migrate=False)) as ledger:
                ledger.check()
                assert (ledger.get("of that night"), ledger.get("later")) == ("1", None)
                assert ledger.site_versions() == []
            server.drop(name)
            server.new_database(name)
    finally:
        server.drop(name)
