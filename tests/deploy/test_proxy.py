"""The proxy's configuration, read by nginx, and asked through where that is here."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import threading
from contextlib import closing
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from tests.acceptance.running import make_home, up
from tests.dashboards.grafana_server import PASSWORD, started
from tests.deploy.brokers import DEPLOY, make_certificates, program, wait_until
from tests.deploy.test_files import compose_services, parts


def nginx_with(folder, changes=()):
    """nginx with the configuration that is shipped: only places are changed."""
    make_certificates(folder)
    site = (DEPLOY / "nginx" / "tanyuan.conf").read_text(encoding="utf-8")
    for old, new in (
        ("/etc/nginx/tanyuan/fullchain.pem", str(folder / "server.crt")),
        ("/etc/nginx/tanyuan/privkey.pem", str(folder / "server.key")),
        *changes,
    ):
        assert old in site, old
        site = site.replace(old, new)
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid;\nerror_log stderr;\ndaemon off;\nevents {{}}\n"
        "http {\n  access_log off;\n"
        + "".join(
            f"  {kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"  include {folder}/site.conf;\n}}\n"
    )
    return [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def test_proxy_configuration_is_one_that_nginx_takes(tmp_path):
    done = subprocess.run(
        [*nginx_with(tmp_path), "-t"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_proxy_takes_both_answering_processes_and_keeps_a_viewer_with_one(tmp_path):
    site = (DEPLOY / "nginx" / "tanyuan.conf").read_text(encoding="utf-8")
    upstream = re.search(r"upstream tanyuan \{(.*?)\}", site, re.DOTALL)
    assert upstream is not None
    published = [
        port.rpartition(":")[0]
        for name in ("serve-1", "serve-2")
        for port in parts()["services"][name]["ports"]
    ]

    assert "\n    ip_hash;\n" in upstream[1]
    assert re.findall(r"server (.*);", upstream[1]) == published
    command = nginx_with(tmp_path, [("# server 127.0.0.1:8401", "server 127.0.0.1:8401")])
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_proxy_reaches_grafana_where_the_compose_file_publishes_it():
    site = (DEPLOY / "nginx" / "tanyuan.conf").read_text(encoding="utf-8")
    upstream = re.search(r"upstream tanyuan_grafana \{(.*?)\}", site, re.DOTALL)
    assert upstream is not None
    address = re.findall(r"server (.*);", upstream[1])

    assert [f"{each}:3000" for each in address] == compose_services()["grafana"]["ports"]
    server = site[site.index("server_name wall.example.org;\n\n") :]
    assert "location /api/live/ {" in server
    assert "proxy_set_header Upgrade $http_upgrade;" in server


@pytest.mark.slow
def test_page_and_api_are_reached_over_tls_through_the_proxy(tmp_path):
    program("nginx")
    home = make_home(tmp_path / "home", (DEPLOY / "site.yaml").read_text(encoding="utf-8"))
    folder = tmp_path / "nginx"
    folder.mkdir()
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        plain, secure = one.getsockname()[1], two.getsockname()[1]
    with up(home, TANYUAN_HTTP_TOKEN="a-token-of-the-tests") as running:
        command = nginx_with(
            folder,
            (
                ("listen 80;", f"listen 127.0.0.1:{plain};"),
                ("listen 443 ssl", f"listen 127.0.0.1:{secure} ssl"),
                ("127.0.0.1:8400", f"127.0.0.1:{running.http_port}"),
            ),
        )
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as nginx:
            try:
                get = Proxied(folder, secure)
                wait_until(get.answers)
                assert get("/healthz") == (200, b"ok\n")
                assert get("/api/v1/status")[0] == 401
                assert get("/api/v1/status", "a-token-of-the-tests")[0] == 200
                assert b"tanyuan_meters" in get("/metrics", "a-token-of-the-tests")[1]
                assert b"<html" in get("/", "a-token-of-the-tests")[1]
            finally:
                nginx.terminate()


class Counting(BaseHTTPRequestHandler):
    """Answers, and counts connections and requests."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[list[object]] = []
    asked: ClassVar[list[dict[str, str]]] = []

    def setup(self):
        super().setup()
        self.connections.append(self)

    def do_GET(self):
        self.asked.append(dict(self.headers))
        self.send_response(200)
        self.send_header("content-length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_proxy_keeps_its_connections_and_lets_web_sockets_through(tmp_path):
    program("nginx")
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        plain, secure = one.getsockname()[1], two.getsockname()[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = nginx_with(
        tmp_path,
        (
            ("listen 80;", f"listen 127.0.0.1:{plain};"),
            ("listen 443 ssl", f"listen 127.0.0.1:{secure} ssl"),
            ("127.0.0.1:8400", f"127.0.0.1:{server.server_port}"),
        ),
    )
    command += ["-g", "worker_processes 1;"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as nginx:
        try:
            get = Proxied(tmp_path, secure)
            wait_until(get.answers)
            before = len(Counting.connections)
            for _ in range(5):
                assert get("/healthz") == (200, b"ok\n")
            assert len(Counting.connections) == before
            assert all("Connection" not in headers for headers in Counting.asked)
            get("/ws", upgrade="websocket")
            assert Counting.asked[-1]["Connection"] == "upgrade"
            assert Counting.asked[-1]["Upgrade"] == "websocket"
        finally:
            nginx.terminate()
            server.shutdown()
            server.server_close()


class Proxied:
    """Asks the proxy over TLS."""

    def __init__(self, folder, port):
        self.context = ssl.create_default_context(cafile=folder / "ca.crt")
        self.port = port

    def __call__(self, path, token=None, upgrade=None):
        asked = Request(f"https://localhost:{self.port}{path}")
        if upgrade:
            asked.add_header("upgrade", upgrade)
        if token:
            asked.add_header("authorization", f"Bearer {token}")
        try:
            with urlopen(asked, context=self.context, timeout=30) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def answers(self):
        try:
            return self("/healthz")[0] == 200
        except URLError:
            return False


@pytest.mark.slow
def test_grafana_and_its_live_socket_are_reached_over_tls_under_its_own_name(tmp_path):
    program("nginx")
    (tmp_path / "grafana").mkdir()
    grafana = started(tmp_path / "grafana", GF_SERVER_ROOT_URL="https://wall.example.org/")
    folder = tmp_path / "nginx"
    folder.mkdir()
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        plain, secure = one.getsockname()[1], two.getsockname()[1]
    command = nginx_with(
        folder,
        (
            ("listen 80;", f"listen 127.0.0.1:{plain};"),
            ("listen 443 ssl", f"listen 127.0.0.1:{secure} ssl"),
            ("127.0.0.1:3000", grafana.url.removeprefix("http://")),
        ),
    )
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as nginx:
        try:
            wall = Wall(folder, secure)
            wait_until(lambda: wall.is_there())
            given = json.dumps({"user": "admin", "password": PASSWORD})
            status, headers = wall("POST", "/login", given, {"content-type": "application/json"})
            assert status == 200
            session = headers["set-cookie"].partition(";")[0]
            assert wall("GET", "/metrics")[0] == 403
            assert wall("GET", "/api/org")[0] == 401
            assert wall("GET", "/api/org", headers={"cookie": session})[0] == 200
            assert wall.handshake(session, "https://wall.example.org") == 101
            assert wall.handshake(session, "https://elsewhere.example.org") == 403
        finally:
            nginx.terminate()
            grafana.stop()


class Wall:
    """Asks the proxy over TLS for the server that is Grafana's."""

    def __init__(self, folder, port):
        self.context = ssl.create_default_context(cafile=folder / "ca.crt")
        self.port = port

    def __call__(self, verb, path, body=None, headers=None):
        connection = HTTPSConnection("localhost", self.port, context=self.context, timeout=30)
        with closing(connection):
            connection.request(verb, path, body, {"host": "wall.example.org", **(headers or {})})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers

    def is_there(self):
        try:
            return self("GET", "/api/health")[0] == 200
        except OSError:
            return False

    def handshake(self, session, origin):
        """What the server says to a browser's first words on a web socket."""
        return self(
            "GET",
            "/api/live/ws",
            headers={
                "connection": "Upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
                "cookie": session,
                "origin": origin,
            },
        )[0]
