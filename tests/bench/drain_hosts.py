"""Only the line in a process of its own, without hours, console and API: `-m …drain_hosts`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from api.doors import subscriber_of
from api.services import open_services
from api.settings import load_settings
from ingest.listener import Listener, ListenerSettings
from tests.bench.sender import tell


def drain(home: Path) -> None:
    """Take what a broker has, until told to stop."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open_services(load_settings(home, environ={})) as services:
        journal, projector = services.journal, services.projector
        assert journal is not None
        assert projector is not None
        collector = subscriber_of(services.settings, journal)
        collector.start()
        thread = threading.Thread(target=projector.run, args=(stop,))
        thread.start()
        stop.wait()
        collector.stop()
        thread.join(60)


def door(home: Path) -> None:
    """Listen until a line comes."""
    stop = threading.Event()
    with open_services(load_settings(home, environ={})) as services:
        journal, projector = services.journal, services.projector
        assert journal is not None
        assert projector is not None
        listener = Listener(journal, ListenerSettings(port=0))
        listener.start()
        thread = threading.Thread(target=projector.run, args=(stop,))
        thread.start()
        tell({"port": listener.port})
        sys.stdin.readline()
        stop.set()
        thread.join(60)
        listener.stop()


if __name__ == "__main__":
    {"drain": drain, "door": door}[sys.argv[1]](Path(sys.argv[2]))
