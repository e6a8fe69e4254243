"""Questions that must not keep anybody waiting."""

from __future__ import annotations

import threading
import time

import pytest

from api.asking import Bounded, Unanswered
from metering.store.port import StoreUnavailable


def test_an_answer_comes_and_a_refusal_too():
    bounded = Bounded()
    assert bounded.ask("q", lambda: 5) == 5
    assert bounded.known("q", lambda: 6) == 6

    def refused():
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        bounded.ask("q", refused)
    assert bounded.known("q", refused) is None


def test_nobody_waits_for_what_is_frozen_and_no_second_question_is_sent():
    frozen, sent = threading.Event(), []

    def question():
        sent.append(1)
        frozen.wait(30)
        return "at last"

    bounded = Bounded(wait_s=0.1)
    for _ in range(3):
        with pytest.raises(Unanswered):
            bounded.ask("the store", question)
    assert sent == [1]
    assert bounded.ask("the ledger", lambda: "well") == "well"
    frozen.set()
    assert bounded.ask("the store", question) == "at last"


def test_who_asks_the_same_at_once_gets_the_same_answer():
    go, asked, answers = threading.Event(), [], []

    def question():
        asked.append(1)
        go.wait(30)
        return len(asked)

    bounded = Bounded(wait_s=10)
    threads = [
        threading.Thread(target=lambda: answers.append(bounded.ask("q", question)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while not asked:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert sorted(answers)[0] == 1


def test_questions_that_are_sent_first_are_waited_for_together():
    frozen = threading.Event()
    bounded = Bounded(wait_s=0.5)
    began = time.monotonic()
    sent = [bounded.send(name, lambda: frozen.wait(30)) for name in "abcdef"]
    well = bounded.send("well", lambda: 7)

    assert [each.known() for each in sent] == [None] * 6
    assert time.monotonic() - began < 1.5  # one after the other: 6 × 0.5 s
    assert (well.known(), well.came(), sent[0].came()) == (7, True, False)
    frozen.set()
