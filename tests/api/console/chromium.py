"""A real headless Chromium, spoken to by its DevTools protocol: what a person would see."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")

LOCAL_ONLY = "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"


class Tab:
    """One tab, and every address it asked for."""

    def __init__(self, socket):
        self._socket, self._ids = socket, itertools.count(1)
        self.requested: list[str] = []
        for domain in ("Page", "Network", "Runtime"):
            self._call(f"{domain}.enable")

    def _call(self, method, **params):
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            self._note(message)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def _note(self, message):
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif message.get("method") == "Network.webSocketCreated":
            self.requested.append(params["url"])

    def size(self, width, height):
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def open(self, address):
        self._call("Page.navigate", url=address)

    def run(self, script):
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, selector="body"):
        """The text a person sees in the first element that matches; empty if there is none."""
        return self.run(f"document.querySelector({selector!r})?.innerText ?? ''")

    def wait_for(self, wanted, selector="body", *, within_s=20.0):
        """Seconds until an element shows a text."""
        began = time.monotonic()
        while wanted not in (seen := self.text(selector)):
            waited = time.monotonic() - began
            assert waited < within_s, f"{wanted!r} not in {selector} after {waited:.1f} s:\n{seen}"
            time.sleep(0.02)
        return time.monotonic() - began

    def screenshot(self, path: Path, *, whole=False):
        found = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def chromium(folder: Path):
    """A tab in a browser with an empty profile that can reach nothing but 127.0.0.1."""
    command = [
        PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--no-first-run", "--no-default-browser-check",
        f"--host-resolver-rules={LOCAL_ONLY}", f"--user-data-dir={folder}",
        "--remote-debugging-port=0", "--hide-scrollbars", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _port(folder / "DevToolsActivePort", process)
        target = _first_page(port)
        with connect(target, max_size=None, open_timeout=20) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(20)


def _port(file: Path, process):
    deadline = time.monotonic() + 30
    while not file.is_file() or len(file.read_text().split()) < 2:
        assert process.poll() is None, "chromium ended while it started"
        assert time.monotonic() < deadline, "chromium did not open its DevTools port"
        time.sleep(0.05)
    return int(file.read_text().split()[0])


def _first_page(port):
    import httpx2

    for target in httpx2.get(f"http://127.0.0.1:{port}/json/list", trust_env=False).json():
        if target["type"] == "page":
            return target["webSocketDebuggerUrl"]
    raise AssertionError("chromium has no page")
