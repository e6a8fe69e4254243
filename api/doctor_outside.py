"""What the doctor looks at of what is only there if it is set: Grafana, Dask, OpenTelemetry."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx2
import orjson

from api.doctor import Check, Examination, Patient
from api.settings import Settings

_WAIT_S = 5.0
_DASK_PORT = 8786
_WEB_PORTS = {"http": 80, "https": 443}


def check_grafana(patient: Patient) -> Sequence[Check]:
    """Grafana answers, is well and takes our token."""
    settings = patient.settings
    default = Settings.model_fields["grafana_url"].default
    if settings.grafana_token is None and settings.grafana_url == default:
        return [Check("grafana", "ok", "No Grafana is configured.")]
    if problem := _grafana(settings):
        remedy = (
            "See that Grafana runs and is reached from here, that TANYUAN_GRAFANA_URL names it, "
            "and that TANYUAN_GRAFANA_TOKEN is that of a service account of it."
        )
        return [Check("grafana", "fail", f"{settings.grafana_url}: {problem}", remedy)]
    return [Check("grafana", "ok", f"{settings.grafana_url} answers.")]


def _grafana(settings: Settings) -> str:
    """What is wrong with Grafana; empty if nothing is."""
    secret = settings.grafana_token
    headers = {"authorization": f"Bearer {secret.get_secret_value()}"} if secret else {}
    try:
        with httpx2.Client(headers=headers, timeout=_WAIT_S, trust_env=False) as client:
            base = settings.grafana_url.rstrip("/")
            health = client.get(f"{base}/api/health")
            found = orjson.loads(health.content)
            if not isinstance(found, dict) or "database" not in found:
                return "what answers there is not Grafana."
            if found["database"] != "ok":
                return f"its database is not well: {found['database']}."
            asked = client.get(f"{base}/api/search?limit=1") if secret else health
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"it does not answer ({type(error).__name__}: {error})."
    except orjson.JSONDecodeError:
        return "what answers there is not Grafana."
    return "" if asked.status_code == 200 else f"it refuses our token ({asked.status_code})."


def check_dask(patient: Patient) -> Sequence[Check]:
    """The scheduler of the Dask cluster can be reached."""
    address = patient.settings.dask
    if not address:
        return [Check("dask", "ok", "No Dask cluster is configured.")]
    if problem := _unreached(address, _DASK_PORT):
        remedy = (
            "See that `dask scheduler` runs and is reached from here, and that TANYUAN_DASK names "
            "it; without TANYUAN_DASK hours are made by the process itself."
        )
        return [Check("dask", "fail", f"{address}: {problem} No hours are made.", remedy)]
    return [Check("dask", "ok", f"{address} can be reached.")]


def check_telemetry(patient: Patient) -> Sequence[Check]:
    """The OpenTelemetry collector can be reached."""
    address = patient.settings.otlp_endpoint
    if not address:
        return [Check("telemetry", "ok", "No spans are sent.")]
    if problem := _unreached(address, _WEB_PORTS.get(urlsplit(address).scheme)):
        remedy = (
            "See that the OpenTelemetry collector runs, takes OTLP over HTTP and is reached from "
            "here; TANYUAN_OTLP_ENDPOINT names it, as http://collector:4318."
        )
        return [Check("telemetry", "fail", f"{address}: {problem} Spans are lost.", remedy)]
    return [Check("telemetry", "ok", f"{address} can be reached.")]


def _unreached(address: str, port: int | None) -> str:
    """Why nothing listens at an address; empty if something does."""
    try:
        parts = urlsplit(address)
        port = parts.port or port
    except ValueError as error:
        return f"it is no address ({error})."
    if not parts.hostname or port is None:
        return "it is no address."
    try:
        socket.create_connection((parts.hostname, port), _WAIT_S).close()
    except OSError as error:
        return f"nothing answers ({error})."
    return ""


EXAMINATIONS: Sequence[tuple[str, Examination]] = (
    ("grafana", check_grafana),
    ("dask", check_dask),
    ("telemetry", check_telemetry),
)
