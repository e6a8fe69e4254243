"""Spans go to the collector an operator names, and nowhere else."""

from __future__ import annotations

import http.server
import sys
import threading

import pytest

from api.settings import SettingsError, load_settings
from api.telemetry import span, telemetry
from tests.acceptance.running import make_home, run, up
from tests.api.test_backup import SITE, fill


class Collector:
    """What an OpenTelemetry collector is to us: it takes what is posted and says 200."""

    def __init__(self):
        taken = self.taken = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append((self.path, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def end(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.end()


def spans(collector):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = []
    for path, body in collector.taken:
        assert path == "/v1/traces"
        import gzip

        raw = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans:
            named = {a.key: a.value.string_value for a in resource.resource.attributes}
            found += [
                (named["service.name"], named["tanyuan.role"], each.name)
                for scope in resource.scope_spans
                for each in scope.spans
            ]
    return found


@pytest.mark.slow
def test_requests_rounds_and_jobs_of_a_running_up_are_spans(tmp_path, collector):
    home = make_home(tmp_path / "home", SITE)
    fill(home, 150)
    with up(home, TANYUAN_OTLP_ENDPOINT=collector.url) as running:
        running.ask("/energy", first="2024-01-01", to="2024-01-02", every="day")
        done = run(home, "job", "run", "meters.silent", "--for", "2024-01-01")
        assert done.status == 0, done.err
    names = {name for _, _, name in spans(collector)}
    assert {who for who in spans(collector)} <= {("tanyuan", "up", name) for name in names}
    assert {"recompute", "job meters.silent", "GET /api/v1/energy"} <= names


def test_without_an_end_point_nothing_is_imported_or_sent(tmp_path):
    settings = load_settings(make_home(tmp_path / "home", SITE), environ={})
    with telemetry(settings, "up") as instrument, span("work", site="park"):
        instrument(None)


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    home = make_home(tmp_path / "home", SITE)
    settings = load_settings(home, environ={}, given={"otlp_endpoint": "http://127.0.0.1:1"})
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(SettingsError, match="opentelemetry"), telemetry(settings, "up"):
        pass
