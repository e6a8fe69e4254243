"""Factor files of a home: what they may say, and what is said when they are wrong."""

from datetime import date
from textwrap import dedent

import numpy as np
import pytest

from carbon.factor_files import FactorFileError, check, load_registry
from carbon.factors import Verification
from carbon.registry import FactorNotFound

GOOD = """\
key: electricity.grid.location
region: GB
unit: kgCO2/kWh
versions:
  - {value: 0.2, valid_from: 2019-01-01, valid_until: 2020-01-01, published: 2020-06-01, source: b}
sources:
  b: {title: Bulletin, publisher: Ministry, edition: 2020, locator: table 1}
"""
SERIES = GOOD.replace("value: 0.2", "series: grid.csv")
CSV = "start,value\n2019-01-01T00:00:00Z,0.1\n2019-01-01T01:00:00+00:00,0.3\n"
C_ROW = "electricity.market.beijing/CN-BJ/2021-01-01..@2020-12-24"


@pytest.fixture
def home(tmp_path):
    def write(text, name="own.yaml", csv=None):
        raw = text if isinstance(text, bytes) else dedent(text).encode()
        (tmp_path / name).write_bytes(raw)
        if csv is not None:
            (tmp_path / "grid.csv").write_text(csv, encoding="utf-8")
        return tmp_path

    return write


def problems(folder):
    return [str(problem) for problem in check(folder)]


def test_an_own_file_is_used_and_its_row_is_marked_own(home):
    found = load_registry(home(GOOD)).at("electricity.grid.location", "GB", on=date(2019, 5, 1))

    assert found.factor.value == 0.2
    assert found.factor.verification is Verification.OWN
    assert found.factor.id == "electricity.grid.location/GB/2019@2020-06-01+own"
    assert found.factor.source.document == "Bulletin, 2020"


def test_a_home_without_the_folder_has_the_shipped_factors(tmp_path):
    assert load_registry(tmp_path / "factors").by_id(C_ROW).value == 0.604
    assert check(tmp_path / "factors") == []


def test_one_file_may_hold_many_factors(home):
    folder = home(
        """\
        factors:
          - key: heat.purchased
            unit: kgCO2/GJ
            versions:
              - {value: 61.7, region: CN-BJ, valid_from: 2023-01-01, published: 2024-01-01,
                 source: b}
          - key: steam.purchased
            unit: kgCO2e/t
            region: any
            versions:
              - {value: 200, valid_from: 2023-01-01, published: 2024-01-01, source: b}
        sources:
          b: {title: Supplier's letter, publisher: Heat Ltd, edition: "7", locator: p. 1}
        """
    )
    registry = load_registry(folder)

    # the supplier's own value counts before the shipped countrywide 110
    assert registry.at("heat.purchased", "CN-BJ", on=date(2023, 5, 1)).factor.value == 61.7
    assert registry.at("heat.purchased", "CN-TJ", on=date(2023, 5, 1)).factor.value == 110
    assert registry.at("steam.purchased", None, on=date(2023, 5, 1)).factor.region is None


def test_a_series_is_read_in_utc_from_the_file_beside_it(home):
    csv = "start,value\r\n2019-01-01T00:00:00+08:00,0.1\r\n\r\n2018-12-31T17:00:00Z,0\r\n"
    series = load_registry(home(SERIES, csv=csv)).versions("electricity.grid.location")[-1].series

    assert series.file == "grid.csv"
    assert series.starts.tolist() == [
        np.datetime64("2018-12-31T16:00:00", "us").item(),
        np.datetime64("2018-12-31T17:00:00", "us").item(),
    ]
    assert series.values.tolist() == [0.1, 0.0]


def test_norway_is_a_region_and_a_byte_order_mark_does_no_harm(home):
    folder = home(b"\xef\xbb\xbf" + GOOD.replace("region: GB", "region: NO").encode())

    assert load_registry(folder).versions("electricity.grid.location")[-1].region == "NO"


def test_an_adopted_row_is_a_dated_row_of_ones_own(home):
    folder = home(
        f"""\
        adopt:
          - {{id: "{C_ROW}", document: DB11/T 1785-2020, page: 31, person: Wang Li, on: 2025-03-01}}
        """
    )
    registry = load_registry(folder)
    key, on = "electricity.market.beijing", date(2023, 5, 1)

    found = registry.at(key, "CN-BJ", on=on).factor

    assert (found.value, found.verification) == (0.604, Verification.OWN)
    assert (found.adoption.person, found.adoption.page) == ("Wang Li", "31")
    assert not registry.by_id(C_ROW).usable
    with pytest.raises(FactorNotFound):
        registry.at(key, "CN-BJ", on=on, known_by=date(2025, 2, 28))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (("region: GB", "regoin: GB"), [":2:", "unknown key `regoin`", "mean `region`?"]),
        (("value: 0.2", "valeu: 0.2"), [":5:", "versions[0].valeu", "mean `value`?"]),
        ((", locator: table 1", ""), [":7:", "`sources.b.locator`", "found nothing", "Add it."]),
        (("kgCO2/kWh", "tCO2/MWh"), [":3:", "kgCO2/kWh", "'tCO2/MWh'", "same number"]),
        (("kgCO2/kWh", "kgCO2/m3"), ["`reference`", "20 degC 101.325 kPa"]),
        (("value: 0.2", "value: 0.2, series: g.csv"), [":5:", "value and series", "Keep one"]),
        (("value: 0.2, ", ""), [":5:", "found none of them"]),
        (("value: 0.2", "value: .nan"), [":5:", "found nan"]),
        (("value: 0.2", "value: -1"), [":5:", "greater than or equal to 0", "found -1"]),
        (("value: 0.2", "value: yes"), [":5:", "found 'yes'", "plain number"]),
        (("source: b}", "source: c}"), [":5:", "source under `sources` (b)", "found c"]),
        (("published: 2020-06-01, ", ""), [":5:", "published`", "found nothing"]),
        (("2020-06-01", "2020-06-31"), [":5:", "date of the calendar", "2020-06-31"]),
        (("2020-06-01", "'2020-06-01'"), [":5:", "without quotes"]),
        (("2020-06-01", "20200601"), [":5:", "2024-01-31"]),
        (("valid_until: 2020", "valid_until: 2018"), [":5:", "`valid_until`", "to 2018-01-01"]),
        (("title: Bulletin", "title: http://a.example/b"), [":7:", "title", "into `url`"]),
        (("locator", "url: http://a.example, locator"), [":7:", "`retrieved`"]),
        (("unit:", "region: FR\nunit:"), [":3:", "`region` once", "first on line 2"]),
        (("versions:", "versions"), [":5:", "valid YAML"]),
        (("value: 0.2", "series: ../grid.csv"), [":5:", "plain name"]),
        (("value: 0.2", "series: none.csv"), [":5:", "no such file", "none.csv"]),
        (("kgCO2/kWh", "kgCO2/GJ\nreference: cold"), [":4:", "state of gas"]),
        (("value: 0.2", "blend: {a: 0.5, b: 0.5}"), [":5:", "no single electricity.grid.a"]),
        (("key: electricity.grid", "key: electricity/grid"), [":1:", "without spaces"]),
    ],
    ids=lambda case: str(case[-1]),
)
def test_a_wrong_file_is_named_with_line_wish_and_remedy(home, wrong, says):
    assert wrong[0] in GOOD
    folder = home(GOOD.replace(*wrong, 1))

    (problem,) = problems(folder)

    for part in ["own.yaml", *says]:
        assert part in problem
    with pytest.raises(FactorFileError, match=r"own\.yaml:\d"):
        load_registry(folder)


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ("time,value\n", [":1:", "header `start,value`", "found time,value"]),
        ("", [":1:", "found nothing"]),
        ("start,value\n", [":2:", "at least one row"]),
        ("start,value\n2019-01-01T00:00:00,1\n", [":2:", "offset or Z"]),
        ("start,value\nyesterday,1\n", [":2:", "'yesterday'"]),
        ("start,value\n2019-01-01T00:00:00Z\n", [":2:", "two columns"]),
        ("start,value\n2019-01-01T00:00:00Z,nan\n", [":2:", "a number", "'nan'"]),
        ("start,value\n2019-01-01T00:00:00Z,\n", [":2:", "a number", "''"]),
        (CSV + "2019-01-01T02:00:00+01:00,0.2\n", [":4:", "Sort the rows"]),
        (CSV + "2018-01-01T00:00:00Z,0.2\n", [":4:", "later than the one before"]),
    ],
)
def test_a_wrong_series_is_named_with_its_own_file_and_line(home, csv, says):
    (problem,) = problems(home(SERIES, csv=csv))

    for part in ["grid.csv", *says]:
        assert part in problem


def test_text_that_is_not_utf8_is_refused_with_its_line(home):
    (problem,) = problems(home(GOOD.replace("Ministry", "环").encode("gbk")))

    assert problem.startswith(
        "own.yaml:7: wanted text in UTF-8, found the byte BBh, which is not UTF-8."
    )


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(home, text):
    (problem,) = problems(home(text))

    assert "own.yaml:1: wanted a mapping" in problem


def test_a_file_with_the_wrong_ending_is_not_silently_ignored(home):
    (problem,) = problems(home(GOOD, name="own.yml"))

    assert "Rename the file" in problem


def test_versions_of_one_day_of_publication_may_not_overlap_across_files(home):
    home(GOOD)
    folder = home(GOOD.replace("2019-01-01", "2019-12-31"), name="second.yaml")

    (problem,) = problems(folder)

    assert "second.yaml:5:" in problem
    assert "in own.yaml:5, both published 2020-06-01" in problem


def test_a_correction_published_later_may_overlap(home):
    home(GOOD)
    folder = home(GOOD.replace("2020-06-01", "2020-07-01"), name="second.yaml")

    assert problems(folder) == []


def test_everything_that_is_wrong_is_said_at_once(home):
    home(GOOD.replace("0.2", ".inf").replace("region", "regoin"))
    folder = home(GOOD.replace("GB", "FR").replace("source: b}", "source: x}"), name="z.yaml")

    with pytest.raises(FactorFileError) as caught:
        load_registry(folder)

    assert len(caught.value.problems) == 3
    assert {problem.file for problem in caught.value.problems} == {"own.yaml", "z.yaml"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("electricity.market.beijing/CN-BJ/2021", f"Of this key there are: {C_ROW}."),
        ("heat.purchased/CN/2000-01-01..@2000-01-01", "usable already"),
    ],
)
def test_only_an_unverified_row_can_be_adopted(home, row, says):
    wish = f'{{id: "{row}", document: d, page: 1, person: p, on: 2025-03-01}}'

    (problem,) = problems(home(f"adopt:\n  - {wish}\n"))

    assert "own.yaml:2:" in problem
    assert says in problem


def test_an_adoption_needs_its_document_page_and_person(home):
    found = problems(home(f'adopt:\n  - {{id: "{C_ROW}", on: 2025-03-01}}\n'))

    assert [line.split("`")[1] for line in found] == [
        "adopt[0].document",
        "adopt[0].page",
        "adopt[0].person",
    ]


def test_what_no_yaml_file_may_hold_is_refused_with_its_line(home):
    """An alias can blow a small file up, and a tag asks for a type that is not plain data."""
    alias = home(GOOD.replace("sources:", "sources: &all", 1) + "adopt: *all\n")
    (problem,) = problems(alias)
    assert "wanted no aliases" in problem

    tagged = home(GOOD.replace("value: 0.2", "value: !!python/none 0.2", 1))
    (problem,) = problems(tagged)
    assert problem.startswith("own.yaml:5: wanted plain YAML")
    assert problem.endswith("Remove the tag.")
