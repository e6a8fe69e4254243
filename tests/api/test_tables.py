"""What people read instead of JSON: whole cells, units, the site's days, what is missing."""

from __future__ import annotations

from datetime import date

import pytest

from api.output import print_behind, print_series, print_table, site_days


@pytest.mark.parametrize(
    ("starts", "first", "days"),
    [
        # Shanghai: midnight is 16:00 UTC of the day before
        (
            ["2026-11-19T16:00:00Z", "2026-11-20T16:00:00Z"],
            "2026-11-20",
            ["2026-11-20", "2026-11-21"],
        ),
        # London: British summer time begins on 30 March and ends on 26 October 2025
        (
            ["2025-03-30T00:00:00Z", "2025-03-30T23:00:00Z"],
            "2025-03-30",
            ["2025-03-30", "2025-03-31"],
        ),
        (
            ["2025-10-25T23:00:00Z", "2025-10-27T00:00:00Z"],
            "2025-10-26",
            ["2025-10-26", "2025-10-27"],
        ),
        # months from mid-January on: the first is clipped
        (
            ["2025-01-15T00:00:00Z", "2025-02-01T00:00:00Z", "2025-03-31T23:00:00Z"],
            "2025-01-15",
            ["2025-01-15", "2025-02-01", "2025-04-01"],
        ),
        ([], "2025-01-15", []),
    ],
)
def test_intervals_are_named_by_the_day_of_the_site_they_begin_on(starts, first, days):
    assert site_days(starts, first=date.fromisoformat(first)) == days


def series(*starts):
    row = {"value": 1.5, "coverage": 1.0, "measured": 1.0, "flags": []}
    return {
        "series": [
            {
                "subject": "park",
                "carrier": "heat",
                "unit": "kWh",
                "rows": [{"start": start, **row} for start in starts],
            }
        ]
    }


def test_table_has_the_unit_and_the_day_that_was_asked_for(capsys):
    print_series(series("2026-11-19T16:00:00Z"), every="day", first="2026-11-20")

    title, heading, row = capsys.readouterr().out.splitlines()
    assert title == "park: heat [kWh]"
    assert heading.startswith("from day    value [kWh]  coverage")
    assert row.startswith("2026-11-20  1.5 ")


def test_hours_keep_their_instants(capsys):
    print_series(series("2026-11-19T16:00:00Z"), every="hour", first="2026-11-20")

    _, heading, row = capsys.readouterr().out.splitlines()
    assert heading.startswith("start  ")
    assert row.startswith("2026-11-19T16:00:00Z  1.5 ")


def test_cells_are_neither_cut_nor_read_as_markup(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")

    print_table("[red]", ("name", "n"), [("中文 [/x]", 1), ("a" * 50, 2), ("two\nlines", None)])

    assert capsys.readouterr().out.splitlines() == [
        "[red]",
        "name" + 48 * " " + "n",
        "中文 [/x]" + 43 * " " + "1",  # 9 columns wide: 4 and 5
        "a" * 50 + "  2",
        "two lines" + 43 * " " + "–",
    ]


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        ({"messages": 3, "oldest": None}, ["Behind: 3 messages are not included yet."]),
        (
            {"messages": 0, "oldest": None, "unknown": ["j1"]},
            ["Behind: journal j1 does not answer; what it holds may be missing."],
        ),
    ],
)
def test_journal_that_does_not_answer_is_named_and_nothing_is_counted_as_none(capsys, behind, said):
    print_behind({"behind": behind})

    assert capsys.readouterr().err.splitlines() == said
