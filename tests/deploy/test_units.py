"""The units and settings of a plain Debian host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from api.roles import COLLECT, PROJECT, SCHEDULE, SERVE, check_role
from api.settings import load_settings
from tests.acceptance.running import PROGRAM
from tests.deploy.brokers import DEPLOY, program
from tests.deploy.test_files import PARTS, compose_services, parts

UNITS = sorted((DEPLOY / "systemd").glob("tanyuan*"))
SYSTEMD_PARTS = sorted(path.name for path in (DEPLOY / "systemd/parts").iterdir())


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_unit_is_one_that_systemd_takes(tmp_path, path):
    analyze = program("systemd-analyze")
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/tanyuan/bin/tanyuan", str(PROGRAM))
        (tmp_path / unit.name).write_text(text)

    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / path.name)],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert path.name not in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["tanyuan.service", "tanyuan@.service"])
def test_unit_is_started_again_however_long_a_server_is_away(name):
    text = (DEPLOY / "systemd" / name).read_text(encoding="utf-8")

    assert "\nStartLimitIntervalSec=0\n" in text  # systemd: no limit to starts
    assert "\nRestart=on-failure\n" in text


def test_every_process_is_given_the_time_to_end_that_the_readme_says():
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    said = re.search(r"`stop_grace_period` and `TimeoutStopSec`\s+allow (\d+) s", readme)[1]

    for name in ("tanyuan.service", "tanyuan@.service"):
        text = (DEPLOY / "systemd" / name).read_text(encoding="utf-8")
        assert f"\nTimeoutStopSec={said}\n" in text
    ours = [compose_services()["tanyuan"], *map(parts()["services"].get, PARTS)]
    assert {service["stop_grace_period"] for service in ours} == {f"{said}s"}


def test_backup_can_reach_the_ledger_that_it_asks():
    text = (DEPLOY / "systemd" / "tanyuan-backup.service").read_text(encoding="utf-8")

    assert "PrivateNetwork" not in text
    assert "\nRestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n" in text
    assert not re.search("^IPAddress", text, re.MULTILINE)


def test_service_is_locked_in(tmp_path):
    analyze = program("systemd-analyze")
    shutil.copy(DEPLOY / "systemd" / "tanyuan.service", tmp_path)
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager",
         str(tmp_path / "tanyuan.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    level = re.search(r"Overall exposure level for tanyuan.service: ([\d.]+)", done.stdout)

    if level is None:
        pytest.skip(f"this systemd-analyze does not judge a file: {done.stderr.strip()}")
    assert float(level[1]) < 2.5  # systemd's own scale: below 2.5 is "OK", 10 is worst


def part_on_a_host(folder, name, *command):
    """part.sh and the examples in the folder's places; the program only says what it was given."""
    etc = folder / "etc"
    if not etc.is_dir():
        shutil.copytree(DEPLOY / "systemd" / "parts", etc)
    text = (DEPLOY / "systemd" / "part.sh").read_text(encoding="utf-8")
    said = folder / "program"
    said.write_text('#!/bin/sh\necho "ARGUMENTS=$*"\nenv\n', encoding="utf-8")
    said.chmod(0o755)
    as_user = "setpriv --reuid tanyuan --regid tanyuan --init-groups "
    for old, new in (
        ("/etc/tanyuan", str(etc)),
        ("/opt/tanyuan/bin/tanyuan", str(said)),
        (as_user, ""),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (folder / "part.sh").write_text(text, encoding="utf-8")
    return subprocess.run(
        ["/bin/sh", str(folder / "part.sh"), name, *command],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_examples_of_parts_on_a_host_have_what_their_roles_want_and_a_port_each(tmp_path):
    roles = {role.name: role for role in (COLLECT, PROJECT, SCHEDULE, SERVE)}
    names = [name for name in SYSTEMD_PARTS if name != "shared"]
    found = {}
    for name in names:
        done = part_on_a_host(tmp_path, name, "journal", "list")
        assert done.returncode == 0, done.stderr
        given = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        assert given["ARGUMENTS"] == "journal list"
        assert given["TANYUAN_HOME"] == f"/var/lib/tanyuan/{name}"
        assert given["TANYUAN_CONFIG"] == str(tmp_path / "etc" / "config")
        found[name] = load_settings(environ=given)
        check_role(roles[name.partition("-")[0]], found[name])

    assert {name.partition("-")[0] for name in names} == set(roles)
    assert len({each.http_port for each in found.values()}) == len(names)
    collectors = [each for name, each in found.items() if name.startswith("collect")]
    assert len({each.broker_client_id for each in collectors}) == len(collectors) == 2
    assert {each.http_token.get_secret_value() for each in found.values()} == {
        "one long secret for all parts"
    }


@pytest.mark.parametrize("name", ["../shared", "nobody"])
def test_part_that_has_no_settings_is_refused(tmp_path, name):
    done = part_on_a_host(tmp_path, name, "status")

    assert done.returncode == 1
    assert "ARGUMENTS" not in done.stdout
    assert name in done.stderr
