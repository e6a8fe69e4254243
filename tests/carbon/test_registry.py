"""Which factor counts: by region, day of activity and day of knowledge."""

from datetime import date

import pytest

from carbon.factors import EmissionFactor, Source, Verification
from carbon.registry import FactorNotFound, Registry

BULLETIN = Source("Bulletin", "Ministry", "2024-1", "table 1")
KEY = "electricity.grid.location"


def row(value, year, *, region="CN-BJ", published=None, own=False, **more):
    return EmissionFactor(
        key=KEY,
        region=region,
        unit="kgCO2/kWh",
        value=value,
        valid_from=date(year, 1, 1),
        valid_until=date(year + 1, 1, 1),
        published=published or date(year + 1, 6, 1),
        source=BULLETIN,
        verification=Verification.OWN if own else Verification.SECOND_HAND,
        **more,
    )


def found(rows, region, on, **more):
    return Registry(rows).at(KEY, region, on=on, **more)


def test_the_end_of_a_validity_belongs_to_the_next_version():
    rows = [row(0.58, 2022), row(0.55, 2023)]

    assert found(rows, "CN-BJ", date(2022, 12, 31)).factor.value == 0.58
    assert found(rows, "CN-BJ", date(2023, 1, 1)).factor.value == 0.55


def test_the_day_of_knowledge_reproduces_an_old_answer_after_a_correction():
    rows = [
        row(0.58, 2022, published=date(2023, 5, 1)),
        row(0.57, 2022, published=date(2024, 5, 1)),
    ]
    on = date(2022, 7, 1)

    assert found(rows, "CN-BJ", on, known_by=date(2024, 4, 30)).factor.value == 0.58
    assert found(rows, "CN-BJ", on, known_by=date(2024, 5, 1)).factor.value == 0.57
    assert found(rows, "CN-BJ", on).factor.value == 0.57


def test_before_anything_was_published_the_answer_says_when_more_came():
    with pytest.raises(FactorNotFound, match="More was published from 2023-06-01 on"):
        found([row(0.58, 2022)], "CN-BJ", date(2022, 7, 1), known_by=date(2023, 1, 1))


def test_a_province_is_never_replaced_by_the_national_average():
    rows = [row(0.53, 2023, region="CN"), row(0.55, 2023)]

    with pytest.raises(FactorNotFound, match="Regions with this key: CN, CN-BJ"):
        found(rows, "CN-XZ", date(2023, 7, 1))


def test_a_row_set_countrywide_by_its_document_serves_every_province():
    rows = [row(0.61, 2023, region="CN", countrywide=True)]

    assert found(rows, "CN-XZ", date(2023, 7, 1)).factor.value == 0.61
    with pytest.raises(FactorNotFound):
        found(rows, "CNX", date(2023, 7, 1))


def test_an_own_row_wins_over_a_shipped_one_of_its_region_where_it_covers_the_day():
    rows = [row(0.55, 2023), row(0.50, 2023, own=True), row(0.56, 2022)]

    assert found(rows, "CN-BJ", date(2023, 7, 1)).factor.value == 0.50
    assert found(rows, "CN-BJ", date(2022, 7, 1)).factor.value == 0.56


def test_an_own_row_for_any_region_wins_over_what_was_shipped():
    rows = [row(0.55, 2023), row(0.40, 2023, region=None, own=True)]

    assert found(rows, "CN-BJ", date(2023, 7, 1)).factor.value == 0.40
    assert found(rows, "GB", date(2023, 7, 1)).factor.value == 0.40
    assert found(rows, None, date(2023, 7, 1)).factor.value == 0.40


def test_an_own_row_of_the_region_wins_over_an_own_row_for_any():
    rows = [row(0.50, 2023, own=True), row(0.40, 2023, region=None, own=True)]

    assert found(rows, "CN-BJ", date(2023, 7, 1)).factor.value == 0.50


def test_a_site_without_a_region_is_told_to_name_it():
    with pytest.raises(FactorNotFound, match="region: CN-BJ"):
        found([row(0.55, 2023)], None, date(2023, 7, 1))


def test_a_missing_year_lists_what_is_covered_and_what_to_do():
    with pytest.raises(FactorNotFound) as caught:
        found([row(0.58, 2022), row(0.55, 2023)], "CN-BJ", date(2024, 7, 1))

    assert "Covered there: 2022, 2023." in str(caught.value)
    assert "`factors: {provisional: true}`" in str(caught.value)
    assert (caught.value.key, caught.value.on) == (KEY, date(2024, 7, 1))


def test_the_newest_earlier_value_stands_in_only_when_allowed_and_says_so():
    rows = [row(0.58, 2022), row(0.55, 2023)]

    later = found(rows, "CN-BJ", date(2025, 7, 1), provisional=True)
    covered = found(rows, "CN-BJ", date(2023, 7, 1), provisional=True)

    assert (later.factor.value, later.provisional) == (0.55, True)
    assert (covered.factor.value, covered.provisional) == (0.55, False)


def test_nothing_stands_in_backwards_or_across_a_hole():
    rows = [row(0.60, 2020), row(0.55, 2023)]

    for year in (2019, 2021, 2022):
        with pytest.raises(FactorNotFound):
            found(rows, "CN-BJ", date(year, 7, 1), provisional=True)


def test_what_stood_in_depends_on_what_was_known():
    # the value of 2023 came out on 2024-06-01; a day earlier 2022 was the newest
    rows = [row(0.58, 2022), row(0.55, 2023)]
    on = date(2024, 2, 1)

    before = found(rows, "CN-BJ", on, known_by=date(2024, 5, 31), provisional=True)
    after = found(rows, "CN-BJ", on, known_by=date(2024, 6, 1), provisional=True)

    assert (before.factor.value, after.factor.value) == (0.58, 0.55)


def test_two_rows_of_one_id_are_refused():
    with pytest.raises(ValueError, match="two factors have the id"):
        Registry([row(0.58, 2022), row(0.59, 2022)])


def test_the_list_holds_plain_values_with_document_and_verification():
    assert Registry([row(0.58, 2022)]).list() == [
        {
            "id": "electricity.grid.location/CN-BJ/2022@2023-06-01",
            "key": KEY,
            "region": "CN-BJ",
            "value": 0.58,
            "series": None,
            "unit": "kgCO2/kWh",
            "gas_basis": "kgCO2",
            "valid_from": "2022-01-01",
            "valid_until": "2023-01-01",
            "published": "2023-06-01",
            "publisher": "Ministry",
            "document": "Bulletin, 2024-1",
            "locator": "table 1",
            "verification": "second-hand",
            "usable": True,
            "reference": None,
            "note": "",
            "adopted": None,
        }
    ]
