"""Puts the dashboards into a Grafana over HTTP: folder, datasource, dashboards, annotations.

Everything has a uid of ours, so that publishing again changes what differs and adds nothing. The
routes by uid go through the library's generic calls; its own are those by number, which Grafana
gives up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from grafana_api.grafana_api import (  # type: ignore[import-untyped]
    GrafanaAPI,
    GrafanaClientError,
    GrafanaException,
    GrafanaServerError,
)

from api.settings import Settings
from dashboards.builder import FOLDER, FOLDER_UID, Dashboard
from dashboards.queries import DATASOURCE
from metering.store.indicators import Indicator

TIMEOUT_S: Final = 30.0
EXISTS: Final = (409, 412)
"""How Grafana says that something of this uid is there: datasources, folders."""


class GrafanaRefused(Exception):
    """Grafana does not do what was asked; the message says what to do."""


class GrafanaUnavailable(Exception):
    """Grafana does not answer, or answers with a fault of its own."""


@dataclass(slots=True)
class Published:
    """What was done."""

    url: str
    version: str
    folder: str
    datasource: str = ""
    dashboards: list[dict[str, str]] = field(default_factory=list)
    annotations: int = 0


class Grafana:
    """One Grafana and what we do in it."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GrafanaRefused(
                f"The Grafana URL {url!r} cannot be used. Write it as https://grafana.example.org."
            )
        self.url = url.rstrip("/")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        path = parts.path.strip("/")
        self._api = GrafanaAPI(
            token,
            host=host,
            port=parts.port,
            url_path_prefix=f"{path}/" if path else "",
            protocol=parts.scheme,
            timeout=TIMEOUT_S,
        )

    def close(self) -> None:
        """Close the connection."""
        self._api.s.close()

    def ask(self, verb: str, path: str, body: object = None, *, doing: str) -> Any:  # noqa: ANN401
        """One request; `doing` says in an error what it was for.

        Raises:
            GrafanaUnavailable: No answer, or a fault of Grafana's.
            GrafanaRefused: No rights, or something that cannot be changed.
        """
        try:
            return getattr(self._api, verb)(path, json=body)
        except GrafanaServerError as error:
            raise GrafanaUnavailable(f"{doing}: {self.url} answers {error.message}.") from error
        except GrafanaClientError as error:
            raise GrafanaRefused(f"{doing}: {_remedy(error)}") from error
        except requests.RequestException as error:
            raise GrafanaUnavailable(
                f"{doing}: nothing answers at {self.url} ({type(error).__name__}). "
                "Check TANYUAN_GRAFANA_URL and that Grafana runs."
            ) from error
        except ValueError as error:
            raise GrafanaRefused(self._not_grafana(doing)) from error

    def _not_grafana(self, doing: str) -> str:
        return f"{doing}: what answers at {self.url} is not Grafana. Check TANYUAN_GRAFANA_URL."

    def version(self) -> str:
        """The version of a Grafana that is well.

        Raises:
            GrafanaUnavailable: It does not answer, or its database does not.
        """
        try:
            health = self.ask("GET", "/health", doing="Health")
        except GrafanaRefused as error:
            if _status(error) != 404:
                raise
            raise GrafanaRefused(self._not_grafana("Health")) from error
        if not isinstance(health, dict) or health.get("database") != "ok":
            raise GrafanaUnavailable(f"Health: the database of {self.url} is not well: {health}.")
        return str(health.get("version", "unknown"))

    def put_folder(self, title: str) -> None:
        """Make our folder, or give it this title."""
        try:
            self.ask("POST", "/folders", {"uid": FOLDER_UID, "title": title}, doing="Folder")
        except GrafanaRefused as error:
            if _status(error) not in EXISTS:
                raise
            self._rename_folder(title)

    def _rename_folder(self, title: str) -> None:
        body = {"title": title, "overwrite": True}
        try:
            self.ask("PUT", f"/folders/{FOLDER_UID}", body, doing="Folder")
        except GrafanaRefused as error:
            if _status(error) not in (404, *EXISTS):
                raise
            raise GrafanaRefused(
                f"Folder: another one is called {title!r} already. Give ours another title with "
                "--folder, or rename that one."
            ) from error

    def put_datasource(self, settings: Settings) -> str:
        """Make or change the datasource that all panels ask.

        Returns:
            `made`, `changed`, or `provisioned` where files of Grafana's own rule it.
        """
        uid = DATASOURCE["uid"]
        body = datasource_document(settings)
        try:
            self.ask("POST", "/datasources", body, doing="Datasource")
        except GrafanaRefused as error:
            if _status(error) not in EXISTS:
                raise
            there = self.ask("GET", f"/datasources/uid/{uid}", doing="Datasource")
            if there.get("readOnly"):
                return "provisioned"
            self.ask("PUT", f"/datasources/uid/{uid}", body, doing="Datasource")
            return "changed"
        return "made"

    def put_dashboard(self, dashboard: Dashboard) -> dict[str, str]:
        """Make or replace a dashboard in our folder."""
        body = {"dashboard": dashboard, "folderUid": FOLDER_UID, "overwrite": True}
        doing = f"Dashboard {dashboard['uid']}"
        done = self.ask("POST", "/dashboards/db", body, doing=doing)
        return {
            "uid": dashboard["uid"],
            "title": dashboard["title"],
            "url": f"{self.url}{done['url']}",
        }

    def put_annotation(self, event: Indicator) -> bool:
        """Mark an event on all dashboards; False if it is there already."""
        ms = int(event.at.timestamp() * 1000)
        tags = ["tanyuan", event.about, event.subject]
        query = "&".join(f"tags={quote(tag, safe='')}" for tag in tags)
        there = self.ask(
            "GET", f"/annotations?from={ms}&to={ms}&{query}&limit=100", doing="Annotations"
        )
        if any(each["time"] == ms and each["text"] == event.text for each in there):
            return False
        body = {"time": ms, "tags": tags, "text": event.text}
        self.ask("POST", "/annotations", body, doing="Annotations")
        return True


def datasource_document(settings: Settings) -> dict[str, Any]:
    """The datasource as Grafana takes it: Flux, by Grafana's server.

    Whoever may ask through Grafana has the rights of the token it gets: one that may only read is
    enough, and ours is its own only where none is set.

    Raises:
        GrafanaRefused: There is no InfluxDB in the settings.
    """
    token = settings.grafana_influx_token or settings.influx_token
    if token is None or not settings.influx_org:
        raise GrafanaRefused(
            "Datasource: Grafana reads InfluxDB, but INFLUXDB_V2_ORG, or both "
            "TANYUAN_GRAFANA_INFLUX_TOKEN and INFLUXDB_V2_TOKEN, are not set. Set the organisation "
            "and one token; one that may only read is enough for it."
        )
    return {
        **DATASOURCE,
        "name": "Tanyuan",
        "access": "proxy",
        "url": settings.influx_url,
        "jsonData": {
            "version": "Flux",
            "organization": settings.influx_org,
            "defaultBucket": settings.influx_bucket,
            "httpMode": "POST",
        },
        "secureJsonData": {"token": token.get_secret_value()},
    }


def for_buckets(dashboard: Dashboard, bucket: str, timezone: str | None = None) -> Dashboard:
    """A dashboard that reads other buckets, or counts days in another zone."""
    values = {"bucket": bucket, "derived": f"{bucket}_derived"}
    if timezone:
        values["timezone"] = timezone
    variables = [
        _constant(each, values[each["name"]]) if each["name"] in values else each
        for each in dashboard["templating"]["list"]
    ]
    return dashboard | {"templating": {"list": variables}}


def publish(
    settings: Settings,
    grafana: Grafana,
    boards: Iterable[Dashboard],
    *,
    folder: str = FOLDER,
    events: Sequence[Indicator] = (),
) -> Published:
    """Put everything into a Grafana; again, and nothing changes.

    Raises:
        GrafanaRefused: The rights do not suffice, or files of Grafana's own rule a dashboard.
        GrafanaUnavailable: It does not answer; publish again.
    """
    done = Published(grafana.url, grafana.version(), folder)
    done.datasource = grafana.put_datasource(settings)
    grafana.put_folder(folder)
    for board in boards:
        done.dashboards.append(grafana.put_dashboard(board))
    done.annotations = sum(grafana.put_annotation(event) for event in events)
    return done


@contextmanager
def opened(settings: Settings, url: str | None = None) -> Iterator[Grafana]:
    """The Grafana of the settings.

    Raises:
        GrafanaRefused: There is no token.
    """
    if settings.grafana_token is None:
        raise GrafanaRefused(
            "TANYUAN_GRAFANA_TOKEN is not set. In Grafana make a service account with the role "
            "Admin (it must make a datasource), and set its token."
        )
    grafana = Grafana(url or settings.grafana_url, settings.grafana_token.get_secret_value())
    try:
        yield grafana
    finally:
        grafana.close()


def _constant(variable: dict[str, Any], value: str) -> dict[str, Any]:
    option = {"selected": True, "text": value, "value": value}
    fixed = {"type": "constant", "query": value, "current": option, "options": [option]}
    return variable | fixed


def _status(error: BaseException) -> int:
    cause = error.__cause__
    return int(cause.status_code) if isinstance(cause, GrafanaException) else 0


def _remedy(error: GrafanaException) -> str:
    said = error.message
    if "provisioned" in said.lower():
        return (
            f"{said}. It comes from files of Grafana's own provisioning; change those "
            "(`tanyuan dashboards write`), or take them away to publish."
        )
    if error.status_code == 401:
        return f"{said}. Check TANYUAN_GRAFANA_TOKEN; it may have expired."
    if error.status_code == 403:
        return f"{said}. The service account needs the role Admin."
    return f"{said}."
