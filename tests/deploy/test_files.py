"""The files an operator copies: looked at by the programs that read them, where these are here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from api.roles import COLLECT, PROJECT, SCHEDULE, SERVE, check_role
from api.settings import OF_OTHERS, Settings, load_settings
from tests.acceptance.running import call, make_home
from tests.deploy.brokers import DEPLOY, PASSWORDS, program

ROOT = DEPLOY.parent
COMPOSE = DEPLOY / "compose.yaml"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The secrets, certificates and broker files that prepare.sh makes."""
    folder = tmp_path_factory.mktemp("prepared")
    program("openssl")
    program("mosquitto_passwd")
    done = prepare(folder)
    assert done.returncode == 0, done.stderr
    return folder


def prepare(folder, *arguments):
    return subprocess.run(
        ["/bin/sh", str(DEPLOY / "prepare.sh"), *(arguments or ("north", "broker.example.org"))],
        env=os.environ | places(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def places(folder):
    return {
        "TANYUAN_SECRETS": str(folder / "secrets"),
        "TANYUAN_HOME_DIR": str(folder / "home"),
        "TANYUAN_BACKUPS_DIR": str(folder / "backups"),
    }


def compose_services():
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]


def test_compose_file_passes_docker_compose_config(prepared):
    docker = program("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin here")
    done = subprocess.run(
        [docker, "compose", "-f", str(COMPOSE), "--profile", "dashboards", "config"],
        env=os.environ | places(prepared),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == set(compose_services())
    assert services["tanyuan"]["environment"]["TANYUAN_BROKER"].startswith("mqtts://")


def parts():
    return yaml.safe_load((DEPLOY / "compose.parts.yaml").read_text(encoding="utf-8"))


def test_parts_beside_the_compose_file_pass_docker_compose_config(prepared):
    docker = program("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin here")
    files = ["-f", str(COMPOSE), "-f", str(DEPLOY / "compose.parts.yaml")]
    done = subprocess.run(
        [docker, "compose", *files, "config"],
        env=os.environ | places(prepared),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert "tanyuan" not in services
    assert {name for name in parts()["services"] if name != "tanyuan"} <= set(services)


PARTS = [name for name in parts()["services"] if name not in ("tanyuan", "homes")]


@pytest.mark.parametrize("name", PARTS)
def test_part_may_do_no_more_than_it_must_and_is_given_what_its_role_wants(name, prepared):
    service = parts()["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not service["user"].startswith(("0", "root"))
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert f"{name}:/var/lib/tanyuan" in service["volumes"]
    environ = dict(service["environment"])
    for key, value in list(environ.items()):
        if value.startswith("/run/secrets/"):
            about = yaml.safe_load(COMPOSE.read_text())["secrets"][value.rpartition("/")[2]]
            file = about["file"].replace("${TANYUAN_SECRETS:-./secrets}", str(prepared / "secrets"))
            environ[key] = file
    settings = load_settings(prepared / "home", environ=environ)
    roles = {role.name: role for role in (COLLECT, PROJECT, SCHEDULE, SERVE)}
    role = roles[service["command"][0]]
    check_role(role, settings)


def test_homes_of_the_parts_are_given_to_the_user_they_run_as():
    """A new volume has the owner the image says, 10001 and mode 0700; that may be another user."""
    document = parts()
    homes = document["services"]["homes"]

    assert homes["user"] == "0:0"
    assert homes["cap_drop"] == ["ALL"]
    assert homes["cap_add"] == ["CHOWN"]
    assert homes["network_mode"] == "none"
    assert set(homes["volumes"]) == {f"{name}:/homes/{name}" for name in document["volumes"]}
    assert set(document["volumes"]) == set(PARTS)
    for name in PARTS:
        part = document["services"][name]
        assert part["user"] == ":".join([homes["entrypoint"][-1]] * 2)
        assert part["depends_on"]["homes"] == {"condition": "service_completed_successfully"}


def test_owner_of_the_homes_is_changed_by_the_command_as_written(tmp_path):
    """As compose hands it over: $$ is $, and the user is the last word."""
    *command, user = parts()["services"]["homes"]["entrypoint"]
    assert user == "${TANYUAN_UID:-10001}"
    (tmp_path / "serve-1").mkdir()
    script = command[-1].replace("$$", "$").replace("/homes", str(tmp_path))

    done = subprocess.run(
        [*command[:-1], script.replace("chown", "echo"), "1000"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.split() == ["1000:1000", str(tmp_path / "serve-1")]


def test_collectors_of_one_subscription_have_sessions_of_their_own():
    services = parts()["services"].values()
    collectors = [part for part in services if part.get("command") == ["collect"]]
    ids = {part["environment"]["TANYUAN_BROKER_CLIENT_ID"] for part in collectors}
    assert len(ids) == len(collectors) == 2


@pytest.mark.parametrize("name", compose_services())
def test_container_is_pinned_and_may_do_no_more_than_it_must(name):
    service = compose_services()[name]
    image = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", service["image"])

    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.?\d*[a-z0-9.-]*", image)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name == "broker-folder":
        assert service["network_mode"] == "none"
        assert service["cap_add"] == ["CHOWN"]
        return
    assert not service["user"].startswith(("0", "root"))
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service or name == "tanyuan"  # its image brings one
    assert service.get("read_only") is True or name == "influxdb"


def test_only_mqtt_over_tls_is_published_to_others():
    ports = [port for service in compose_services().values() for port in service.get("ports", [])]

    assert sorted(p for p in ports if not p.startswith("127.0.0.1:")) == ["8883:8883"]


def test_influxdb_makes_no_bucket_of_ours():
    """Its own would have shards of a week; the program makes them a year long, if there is none."""
    given = compose_services()["influxdb"]["environment"]
    ours = Settings.model_fields["influx_bucket"].default

    assert given["DOCKER_INFLUXDB_INIT_BUCKET"] not in (ours, f"{ours}_derived")
    assert "TANYUAN_INFLUX_BUCKET" not in compose_services()["tanyuan"]["environment"]


def secrets_of(service):
    """The secrets of a service: where each is found in it, and which it is."""
    given = [
        each if isinstance(each, dict) else {"source": each, "target": f"/run/secrets/{each}"}
        for each in service.get("secrets", [])
    ]
    return {each["target"]: each["source"] for each in given}


def test_grafana_has_a_token_for_influxdb_that_is_not_the_programs():
    services = compose_services()
    datasource = (DEPLOY / "grafana/provisioning/datasources/tanyuan.yaml").read_text()
    asked = re.search(r"token: \$__file\{(.*)\}", datasource)

    assert asked is not None
    of_grafana = secrets_of(services["grafana"])
    assert of_grafana[asked[1]] == "grafana_influxdb_token"
    assert "influxdb_token" not in of_grafana.values()
    assert "influxdb_token" in secrets_of(services["tanyuan"]).values()


DOCKER = """#!/bin/sh
# docker compose -f FILE exec -T influxdb sh -c SCRIPT influx ARGUMENTS...
shift 10
echo "$*" >> "$CALLS"
case "$*" in
    *"--name tanyuan_derived"*) printf '%s' "$DERIVED" ;;
    *"--name tanyuan "*) printf 'aaaa\ttanyuan\tinfinite\t8736h0m0s\n' ;;
    "auth create "*) printf '{\n\t"id": "x",\n\t"token": "read==",\n\t"userName": "admin"\n}\n' ;;
esac
"""


def grafana_token(folder, *, derived):
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "docker").write_text(DOCKER, encoding="utf-8")
    (folder / "docker").chmod(0o755)
    environ = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
        "DERIVED": derived,
    }
    return subprocess.run(
        ["/bin/sh", str(DEPLOY / "grafana-token.sh")],
        env=os.environ | places(folder) | environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_token_of_grafana_may_read_both_buckets_and_write_none(tmp_path):
    done = grafana_token(tmp_path, derived="bbbb\ttanyuan_derived\tinfinite\t8736h0m0s\n")

    assert done.returncode == 0, done.stderr
    made = tmp_path / "secrets" / "grafana_influxdb_token"
    assert made.read_text() == "read==\n"
    assert made.stat().st_mode & 0o777 == 0o444
    assert "read==" not in done.stdout
    asked = (tmp_path / "calls").read_text().splitlines()[-1]
    assert "--read-bucket aaaa --read-bucket bbbb" in asked
    assert not re.search("write|operator|all-access", asked)


def test_token_of_grafana_is_not_made_while_a_bucket_is_missing(tmp_path):
    done = grafana_token(tmp_path, derived="")

    assert done.returncode == 1
    assert "no bucket tanyuan_derived" in done.stderr
    assert "auth create" not in (tmp_path / "calls").read_text()
    assert not (tmp_path / "secrets" / "grafana_influxdb_token").exists()


def test_no_secret_stands_in_the_compose_file():
    document = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    used = {
        name for service in document["services"].values() for name in secrets_of(service).values()
    }

    assert used == set(document["secrets"])
    for service in document["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|LEDGER", name):
                assert value.startswith("/run/secrets/"), name


def test_every_setting_in_the_compose_file_is_one(prepared):
    given = compose_services()["tanyuan"]["environment"]
    secrets = {
        f"/run/secrets/{name}": about["file"].replace(
            "${TANYUAN_SECRETS:-./secrets}", str(prepared / "secrets")
        )
        for name, about in yaml.safe_load(COMPOSE.read_text())["secrets"].items()
    }
    environ = {name: secrets.get(value, value) for name, value in given.items()}
    known = {f"TANYUAN_{name.upper()}" for name in Settings.model_fields}

    for name in environ:
        assert name.removesuffix("_FILE") in known or name.startswith("INFLUXDB_V2_")
    found = load_settings(prepared / "home", environ=environ)
    assert found.http_bind == "0.0.0.0"
    assert found.mqtt_bind == "127.0.0.1"
    assert found.broker_ca is not None
    assert Path(found.broker_ca).is_file()
    assert found.ledger_url.startswith("postgresql+psycopg://tanyuan:")


def test_prepare_makes_secrets_once_and_for_their_owner_alone(prepared):
    secrets = prepared / "secrets"
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}

    again = prepare(prepared)

    assert again.returncode == 0, again.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert len((secrets / "http_token").read_text().strip()) == 48
    assert "tanyuan/north/%u/readings" in (secrets / "broker" / "acl").read_text()
    assert not any(text.strip() in again.stdout for text in map(bytes.decode, before.values()))


def test_prepare_refuses_a_site_id_that_would_open_other_topics(tmp_path):
    done = prepare(tmp_path, "+")

    assert done.returncode == 1
    assert "site id" in done.stderr
    assert not (tmp_path / "secrets").exists()


def test_certificate_names_the_host_that_gateways_connect_to(prepared):
    shown = subprocess.run(
        [program("openssl"), "x509", "-in", "server.crt", "-noout", "-ext", "subjectAltName"],
        cwd=prepared / "secrets" / "broker", capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "DNS:broker.example.org" in shown.stdout
    assert "DNS:mosquitto" in shown.stdout


def test_prepare_says_what_openssl_said(tmp_path):
    (tmp_path / "openssl").write_text(
        "#!/bin/sh\n[ $1 = rand ] && exec echo 0\necho no curve >&2\nexit 1\n"
    )
    (tmp_path / "openssl").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(DEPLOY / "prepare.sh"), "north"],
        env=os.environ | places(tmp_path) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "no curve" in done.stderr


def test_certificate_is_renewed_by_the_same_authority(tmp_path):
    """After 825 days, as deploy/README.md says: gateways keep the ca.crt they have."""
    program("mosquitto_passwd")
    openssl = program("openssl")
    broker, key = tmp_path / "secrets" / "broker", tmp_path / "secrets" / "ca.key"
    assert prepare(tmp_path).returncode == 0
    trusted, old = (broker / "ca.crt").read_bytes(), (broker / "server.crt").read_bytes()
    taken_away = key.rename(tmp_path / "ca.key")

    (broker / "server.crt").unlink()
    without = prepare(tmp_path)
    assert without.returncode == 1
    assert "ca.key" in without.stderr
    taken_away.rename(key)
    assert prepare(tmp_path).returncode == 0

    assert (broker / "ca.crt").read_bytes() == trusted
    assert (broker / "server.crt").read_bytes() != old
    subprocess.run(
        [openssl, "verify", "-CAfile", broker / "ca.crt", broker / "server.crt"],
        check=True, capture_output=True,
    )  # fmt: skip


def test_gateway_script_says_how_the_broker_is_given_the_file(prepared):
    done = subprocess.run(
        ["/bin/sh", str(DEPLOY / "gateway.sh"), "gw9"],
        env=os.environ | places(prepared), capture_output=True, text=True, check=True,
    )  # fmt: skip
    made = prepared / "secrets/broker/passwords"
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")

    assert len(done.stdout.split()) == 1  # the password alone
    line = f"install -o mosquitto -g mosquitto -m 600 {made} /etc/mosquitto/tanyuan/passwords"
    assert line in done.stderr
    assert line.replace(str(made), "deploy/secrets/broker/passwords") in readme
    assert "systemctl kill -s HUP mosquitto" in done.stderr
    assert "systemctl kill -s HUP mosquitto" in readme


def test_gateway_gets_a_password_that_a_real_broker_takes(prepared):
    from tests.deploy.test_mosquitto import OWN, ShippedMosquitto

    made = subprocess.run(
        ["/bin/sh", str(DEPLOY / "gateway.sh"), "gw1"],
        env=os.environ | places(prepared), capture_output=True, text=True, check=True,
    )  # fmt: skip
    folder = prepared / "running"
    folder.mkdir()
    broker = ShippedMosquitto(folder)
    shutil.copy(prepared / "secrets" / "broker" / "passwords", folder / "passwords")
    broker.start()
    try:
        with broker.client("gw1", made.stdout.strip()) as gateway:
            assert not gateway.reason.is_failure
            assert not gateway.publish(OWN, b"1").is_failure
        with broker.client("gw1", PASSWORDS["gw1"]) as stranger:
            assert stranger.reason.is_failure
    finally:
        broker.kill()


def test_example_of_settings_can_be_used(tmp_path):
    shutil.copy(DEPLOY / "tanyuan.toml", tmp_path)
    commented = (DEPLOY / "tanyuan.toml").read_text(encoding="utf-8")
    named = re.findall(r"^(?:# )?([a-z_]+) = ", commented, re.MULTILINE)

    assert load_settings(tmp_path, environ={}).min_free_mb == 1024
    assert set(named) <= set(Settings.model_fields)
    assert {"store", "ledger", "influx_url", "influx_org", "influx_token"} <= set(named)
    for name, variable in OF_OTHERS.items():
        assert name in commented.partition("\nbind")[0]
        assert variable.removeprefix("INFLUXDB_V2") in commented.partition("\nbind")[0]


def test_example_of_settings_is_that_of_servers_once_its_lines_count(tmp_path):
    commented = (DEPLOY / "tanyuan.toml").read_text(encoding="utf-8")
    text = re.sub(r"^# ((?:store|influx_[a-z]+|ledger) = )", r"\1", commented, flags=re.MULTILINE)
    text = text.replace('influx_token = ""', 'influx_token = "t"')
    (tmp_path / "tanyuan.toml").write_text(text, encoding="utf-8")

    found = load_settings(tmp_path, environ={})

    assert (found.store, found.influx_org) == ("influxdb", "tanyuan")
    assert found.ledger_url.startswith("postgresql://tanyuan:")


def test_example_site_has_no_error(tmp_path):
    home = make_home(tmp_path / "home", (DEPLOY / "site.yaml").read_text(encoding="utf-8"))

    done = call(home, "check", "--json")

    assert done.status == 0, done.err
    assert done.document["sites"][0]["meters"] == 7
    assert done.document["sites"][0]["findings"] == []


def test_image_ends_without_tools_and_as_a_user_of_its_own():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]

    assert "USER tanyuan" in last
    assert "pip uninstall -y pip" in last
    assert not re.search(r"apt-get|build-essential|gcc", text)
    copied = re.findall(r"^COPY ([a-z]+) \1$", text, re.MULTILINE)
    assert copied == ["ingest", "metering", "carbon", "api", "dashboards"]
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    assert all(f"!{name}\n" in allowed for name in copied)
