"""A journal read over HTTP, from a real server, also after an older copy of it was put back."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from fastapi import FastAPI

from api import problems
from api.doors import served
from api.remote_journal import RemoteJournal
from api.routes.journals import serve_journal
from api.settings import load_settings
from ingest.context import Context
from ingest.journal import Journal
from ingest.profiles import load_profiles
from ingest.projector import Projector
from metering.ledger.sql_ledger import open_ledger
from metering.store.memory import MemoryStore
from tests.api.test_backup import message
from tests.deploy.brokers import wait_until

TOKEN = "a-token-of-the-tests"


class Serving:
    """A process's journal and its HTTP door, which close and open again at the same port."""

    def __init__(self, folder):
        self.folder, self.port, self.requests = folder, 0, 0

    @contextmanager
    def open(self):
        settings = load_settings(
            self.folder, environ={"TANYUAN_HTTP_PORT": str(self.port), "TANYUAN_HTTP_TOKEN": TOKEN}
        )
        app = FastAPI()
        problems.install(app)

        @app.middleware("http")
        async def counted(request, call_next):
            self.requests += 1
            return await call_next(request)

        with Journal(self.folder, fsync=False, sealing=False, min_free_bytes=0) as journal:
            serve_journal(app, journal, [TOKEN])
            with served(app, settings) as self.port:
                yield journal


@pytest.fixture
def serving(tmp_path):
    return Serving(tmp_path / "journal")


@pytest.fixture
def ledger(tmp_path):
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def begun(serving):
    """600 messages are in a copy of the journal, ten more came after it was made."""
    with serving.open() as journal:
        journal.append([message(n) for n in range(600)])
    shutil.copytree(serving.folder, serving.folder.with_name("copy"))
    with serving.open() as journal:
        journal.append([message(n) for n in range(600, 610)])
    return serving


def put_back(serving):
    shutil.rmtree(serving.folder)
    shutil.copytree(serving.folder.with_name("copy"), serving.folder)


def reached(serving, name):
    return RemoteJournal(name, f"http://127.0.0.1:{serving.port}", token=TOKEN)


def test_what_is_asked_for_the_newest_message_is_what_the_journal_says_now(begun):
    with begun.open() as journal:
        remote = reached(begun, journal.journal_id)
        assert remote.ask_last() == 610

    put_back(begun)
    with begun.open() as journal:
        assert remote.ask_last() == 600
        assert remote.last_sequence == 600
        assert remote.wait_for(600, 0.05) is False
        journal.append([message(600)])
        assert remote.wait_for(600, 5) is True
        assert remote.last_sequence == 601
    remote.close()


def test_answers_that_overtake_each_other_do_not_lower_the_newest_message(begun):
    with begun.open() as journal:
        remote = reached(begun, journal.journal_id)
        asked_at = remote._answers
        remote.ask_last()
        remote._hear(605, asked_at)  # answered before the other, heard after it
        assert remote.last_sequence == 610
    remote.close()


def test_projector_of_a_journal_that_was_put_back_waits_and_goes_on(begun, ledger):
    store, context = MemoryStore(), Context({"park": {"E1": "native"}}, load_profiles())
    stop = threading.Event()
    with ExitStack() as stack:
        stack.callback(store.close)
        with begun.open() as journal:
            remote = reached(begun, journal.journal_id)
            stack.callback(remote.close)
            projector = Projector(remote, store, ledger, lambda: context)
            thread = threading.Thread(target=projector.run, args=(stop,))
            thread.start()
            stack.callback(thread.join, 30)
            stack.callback(stop.set)
            wait_until(lambda: projector.counts.position == 610)

        put_back(begun)
        ledger.save_position(600, store_id=store.store_id, journal=remote.journal_id)
        with begun.open() as journal:
            wait_until(lambda: (projector.counts.position, projector.lag) == (600, 0))
            begun.requests = 0
            time.sleep(1.2)
            assert begun.requests < 30  # it read and waited half a second, over and over

            journal.append([message(n) for n in range(700, 705)])
            wait_until(lambda: projector.counts.position == 605)
            assert projector.counts.last_error is None
