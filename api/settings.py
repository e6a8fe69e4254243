"""The only reader of the environment: every setting, its default and where it came from.

A setting is looked up in the environment (`TANYUAN_` + name; or in the file that `TANYUAN_` + name
+ `_FILE` names, as containers and systemd hand over secrets), then in `tanyuan.toml` in the home
(the name in lower case, without the prefix), then its default counts.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_plus, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from api.logs import LogFormat
from metering.sites import closest

PREFIX = "TANYUAN_"
FILE = "tanyuan.toml"

OF_OTHERS = {
    "influx_url": "INFLUXDB_V2_URL",
    "influx_org": "INFLUXDB_V2_ORG",
    "influx_token": "INFLUXDB_V2_TOKEN",
}
"""Settings that influxdb-client itself names in the environment."""


PASSWORD_NAMES = ("password", "passwd", "pwd", "sslpassword")
"""How drivers of databases call a password in the query of a URL."""


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it, what was found and what to do."""


class Settings(BaseModel):
    """Everything that can be set. Field names are the settings, in lower case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path
    config: Path | None = Field(None, description="Folder of site.yaml, factors/ and profiles/")
    advertise: str | None = Field(None, description="URL under which others reach this process")
    bind: str = Field("127.0.0.1", description="Address of both doors")
    mqtt_port: int = Field(1883, ge=0, le=65535, description="MQTT listener; 0 takes a free port")
    http_port: int = Field(8400, ge=0, le=65535, description="API and console; 0 takes a free port")
    http_token: SecretStr | None = Field(None, description="Secret for the API")
    mqtt_users: Path | None = Field(None, description="File of gateway names and password hashes")
    mqtt_max_packet_bytes: int = Field(1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    store: Literal["duckdb", "influxdb"] = Field("duckdb", description="Time-series store")
    influx_url: str = Field("http://127.0.0.1:8086", description="InfluxDB 2")
    influx_org: str | None = Field(None, description="Organisation of the buckets")
    influx_token: SecretStr | None = Field(None, description="May read, write and make buckets")
    influx_bucket: str = Field("tanyuan", description="Readings; derived data in NAME_derived")
    store_memory_mb: int = Field(1024, ge=128, description="DuckDB's memory limit")
    ledger: str | None = Field(None, description="SQLAlchemy URL; SQLite in the home")
    broker: str | None = Field(None, description="mqtt[s]://user@host:port the subscriber reads")
    broker_password: SecretStr | None = None
    broker_ca: Path | None = Field(None, description="Certificates to trust with mqtts")
    broker_topic: str = Field("tanyuan/+/+/readings", description="Filter to subscribe to")
    broker_share: str | None = Field(None, description="Shared-subscription group")
    broker_client_id: str = Field("tanyuan-collector", description="Fixed MQTT client id")
    broker_protocol: Literal["5", "3.1.1"] = "5"
    journal_archive: Path | None = Field(None, description="Where older segments may have moved")
    journal_segment_mb: int = Field(64, ge=1, le=4096)
    min_free_mb: int = Field(256, ge=1, description="Below it nothing more is accepted")
    answer_wait_s: float = Field(10.0, ge=0, description="How long an answer waits to be current")
    workers: int | None = Field(None, ge=0, le=256, description="Processes that make hours")
    dask: str | None = Field(None, description="Scheduler of a Dask cluster that makes hours")
    indicators: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether figures for displays are written; auto: with InfluxDB"
    )
    grafana_url: str = Field("http://127.0.0.1:3000", description="Where dashboards are published")
    grafana_token: SecretStr | None = Field(None, description="Of a service account, role Admin")
    grafana_influx_token: SecretStr | None = Field(
        None, description="Read-only token that Grafana gets; by default our own"
    )
    otlp_endpoint: str | None = Field(None, description="Where spans are sent over OTLP and HTTP")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: LogFormat = Field("text", description="One line an event: text or json")

    def advertised_url(self, port: int) -> str:
        """Under which URL other processes reach the HTTP door, which has this port."""
        if self.advertise:
            return self.advertise
        if self.http_bind in ("0.0.0.0", "::"):
            return f"http://{socket.gethostname()}:{port}"
        host = f"[{self.http_bind}]" if ":" in self.http_bind else self.http_bind
        return f"http://{host}:{port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the doors."""
        try:
            return ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return self.bind == "localhost"

    @property
    def mqtt_bind(self) -> str:
        """Where gateways are listened to: without users only on this machine."""
        return self.bind if self.is_local or self.mqtt_users else "127.0.0.1"

    @property
    def http_bind(self) -> str:
        """Where the API and the page are: without a token only on this machine."""
        return self.bind if self.is_local or self.http_token else "127.0.0.1"

    @property
    def writes_indicators(self) -> bool:
        """Whether figures for displays are written into the store."""
        return self.indicators == "on" or (self.indicators == "auto" and self.store == "influxdb")

    @property
    def secrets(self) -> list[str]:
        """What no log may show."""
        found: list[str] = []
        for value in (getattr(self, name) for name in type(self).model_fields):
            if isinstance(value, SecretStr):
                found.append(value.get_secret_value())
            elif isinstance(value, str):
                found += passwords_in(value)
        return found

    @property
    def ledger_url(self) -> str:
        """Where the ledger is."""
        return self.ledger or f"sqlite:///{self.home / 'ledger.sqlite'}"


def passwords_in(url: str) -> list[str]:
    """The passwords in a URL, before its host or in its query: as written, and what that means."""
    try:
        parts = urlsplit(url)
        found = [parts.password or ""]
    except ValueError:
        return []
    if not parts.scheme:
        return []
    pairs = (pair.partition("=") for pair in parts.query.split("&"))
    found += [value for name, _, value in pairs if name.lower() in PASSWORD_NAMES]
    return [each for text in found if text for each in dict.fromkeys((text, unquote_plus(text)))]


def secret_names() -> frozenset[str]:
    """The settings that are secrets."""
    fields = Settings.model_fields.items()
    return frozenset(name for name, field in fields if "SecretStr" in str(field.annotation))


def load_settings(
    home: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Settings:
    """Read the settings of a home.

    Args:
        home: The home; `TANYUAN_HOME` or `./tanyuan-home` if None.
        environ: The environment; this process's own if None.
        given: Settings that win over everything, such as command line options.

    Raises:
        SettingsError: An unknown name or a value that does not fit.
    """
    env = os.environ if environ is None else environ
    place = home or Path(env.get(PREFIX + "HOME") or "tanyuan-home")
    values: dict[str, object] = _from_file(place / FILE)
    origin = dict.fromkeys(values, FILE)
    for name in Settings.model_fields:
        variable = OF_OTHERS.get(name, PREFIX + name.upper())
        if name != "home" and (text := _given(env, variable)):
            values[name] = text
            origin[name] = "the environment"
    values |= {name: value for name, value in (given or {}).items() if value is not None}
    try:
        settings = Settings(home=place.absolute(), **values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(_sentence(error, origin)) from error
    _check_doors(settings)
    _check_store(settings)
    _check_advertised(settings)
    return settings


def _given(env: Mapping[str, str], variable: str) -> str | None:
    """What a variable says, or the first line of the file that its twin `…_FILE` names.

    Raises:
        SettingsError: Both are set, or the file cannot be read.
    """
    text, file = env.get(variable), env.get(f"{variable}_FILE")
    if not file:
        return text
    if text:
        raise SettingsError(
            f"The environment: {variable} and {variable}_FILE are both set; keep one of them."
        )
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The environment: {variable}_FILE: wanted a text file at {file}, found {error}. "
            "Make it, readable by this user."
        ) from error
    if not lines or not lines[0]:
        raise SettingsError(f"The environment: {variable}_FILE: the file {file} is empty.")
    return lines[0]


def _from_file(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: wanted TOML, found {error}. Mend or remove it.") from error


def _sentence(error: ValidationError, origin: Mapping[str, str]) -> str:
    lines, unknown = [], False
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else "?"
        where = origin.get(name, "the command line")
        found = "" if "token" in name or "password" in name else f", found {fault['input']!r}"
        if fault["type"] == "extra_forbidden":
            unknown = True
            meant = _meant(name)
            lines.append(f"{where}: {name!r} is no setting.{f' Write {meant}.' if meant else ''}")
        else:
            lines.append(f"{where}: {PREFIX}{name.upper()}: {fault['msg']}{found}.")
    if unknown:
        lines.append(f"Known: {', '.join(_NAMES)}.")
    return "\n".join(lines)


_NAMES = sorted(set(Settings.model_fields) - {"home"})


def _meant(name: str) -> str:
    """The setting that a wrong name probably means, also one as the environment has it; or ''."""
    folded = name.lower()
    others = {variable.lower(): setting for setting, variable in OF_OTHERS.items()}
    if folded in others:
        return others[folded]
    near = closest(folded.removeprefix(PREFIX.lower()), _NAMES)
    return near[0] if near else ""


def _check_store(settings: Settings) -> None:
    """Refuse InfluxDB without what it takes to reach it."""
    if settings.store == "influxdb" and not (settings.influx_org and settings.influx_token):
        raise SettingsError(
            "TANYUAN_STORE is influxdb, but INFLUXDB_V2_ORG or INFLUXDB_V2_TOKEN is not set. "
            "Set both (in tanyuan.toml: influx_org, influx_token), and INFLUXDB_V2_URL unless the "
            "server is at http://127.0.0.1:8086."
        )


def _check_advertised(settings: Settings) -> None:
    """Refuse an address under which no other process could ask."""
    if settings.advertise is None:
        return
    try:
        parts = urlsplit(settings.advertise)
        is_url = parts.port != 0 and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_url = False
    if not is_url or parts.query or parts.fragment or re.search(r"\s", settings.advertise):
        raise SettingsError(
            f"TANYUAN_ADVERTISE: wanted the URL under which others reach this process, such as "
            f"http://collector-1:8400, found {settings.advertise!r}. Mend it, or leave it out."
        )


def _check_doors(settings: Settings) -> None:
    """Refuse to listen to strangers without any secret."""
    if settings.is_local or settings.http_token or settings.mqtt_users:
        return
    raise SettingsError(
        f"TANYUAN_BIND is {settings.bind}, which others can reach, but neither TANYUAN_HTTP_TOKEN "
        "nor TANYUAN_MQTT_USERS is set. Set both (a door without its secret stays on this "
        "machine), "
        "or bind to 127.0.0.1."
    )
