"""What went wrong is titled for who asked."""

from __future__ import annotations

import pytest

from api.problems import problem_of
from ingest.remote_journal import JournalUnavailable
from ingest.segments import JournalError


@pytest.mark.parametrize(
    ("error", "title", "code"),
    [
        (JournalUnavailable("away"), "The journal does not answer", "journal-unavailable"),
        (JournalError("full"), "The journal does not accept more", "journal-error"),
    ],
)
def test_journal_that_is_away_for_a_reader_is_not_said_to_refuse_messages(error, title, code):
    problem = problem_of(error)

    assert (problem["status"], problem["title"]) == (503, title)
    assert problem["type"] == f"urn:tanyuan:problem:{code}"
