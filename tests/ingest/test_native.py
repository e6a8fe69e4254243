"""Native JSON: what goes through, what is quarantined and why, and that both ways agree."""

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.columns import DecodeSettings
from ingest.context import Context
from ingest.decoding import decode_batch
from ingest.journal_records import Record
from ingest.profiles import load_profiles
from ingest.rejections import CODES
from metering.readings import Flag
from metering.units import REGISTERS, Kind, UnknownUnit, unit_ratio

PROFILES = load_profiles()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ARRIVED = datetime(2024, 1, 1, 0, 20, tzinfo=UTC)
AT = "2024-01-01T08:15:00+08:00"
AT_UTC = datetime(2024, 1, 1, 0, 15, tzinfo=UTC)
SITES = {
    "estate": {"E27": "native", "H1": "native", "计-3": "native"},
    "park": {"E99": "native"},
}


def us(instant):
    return (instant - EPOCH) // timedelta(microseconds=1)


def record(payload, *, topic="tanyuan/estate/gw1/readings", sequence=1, arrived=ARRIVED):
    if not isinstance(payload, bytes):
        payload = json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Record(sequence, us(arrived), topic, payload, "mqtt", "gw1")


def decode(*records, limits=None):
    return decode_batch(records, Context(SITES, PROFILES, limits), journal="j")


def found(decoded):
    return {(r.meter, r.register): r.value for r in decoded.readings.rows()}


def codes(decoded):
    return [(entry.part, entry.code) for entry in decoded.rejected]


def reading(registers=None, **more):
    return {"meter": "E27", "at": AT, "registers": registers or {"active_import": 1.5}, **more}


def test_one_reading_becomes_a_row_with_where_it_came_from():
    decoded = decode(record(reading({"active_import": 1234.5}), sequence=7))

    (row,) = decoded.readings.rows()
    assert (row.meter, row.register, row.value) == ("estate/E27", "active_import", 1234.5)
    assert (row.read_at, row.received_at) == (AT_UTC, ARRIVED)
    assert (row.journal, row.sequence, row.flags) == ("j", 7, Flag.NONE)
    assert decoded.rejected == []


def test_units_are_converted_once_and_per_register():
    # 1.8 GJ = 500 kWh, 2.5 MWh = 2500 kWh, 90 L/min = 5.4 m3/h
    decoded = decode(
        record(
            reading(
                {"heat": 1.8, "active_import": 2.5, "flow": 90, "volume": 3},
                units={"heat": "GJ", "active_import": "MWh", "flow": "L/min", "unused": "x"},
            )
        )
    )

    assert found(decoded) == {
        ("estate/E27", "heat"): pytest.approx(500.0),
        ("estate/E27", "active_import"): 2500.0,
        ("estate/E27", "flow"): pytest.approx(5.4),
        ("estate/E27", "volume"): 3.0,
    }


def test_a_bad_reading_among_many_is_quarantined_alone():
    decoded = decode(
        record(
            {
                "readings": [
                    reading({"active_import": 1}),
                    reading({"active_import": 2}, at="2024-01-01T00:15:00"),
                    reading({"active_import": 3}, meter="nobody"),
                    {"meter": "H1", "at": AT, "registers": {"heat": 4}},
                ]
            }
        )
    )

    assert found(decoded) == {("estate/E27", "active_import"): 1.0, ("estate/H1", "heat"): 4.0}
    assert codes(decoded) == [(1, "time_without_offset"), (2, "unknown_meter")]


def test_a_bad_register_spares_the_others_of_its_reading():
    decoded = decode(
        record(
            reading(
                {"active_import": 1, "activ_power": 2, "heat": None, "volume": 3},
                units={"volume": "kWh"},
            )
        )
    )

    assert found(decoded) == {("estate/E27", "active_import"): 1.0}
    (entry,) = decoded.rejected
    assert (entry.part, entry.code) == (0, "unknown_register")
    for word in ("activ_power", "heat", "null", "volume", "kWh"):
        assert word in entry.message


@pytest.mark.parametrize(
    ("name", "near"), [("suply_temperature", "supply_temperature"), ("activ_power", "active_power")]
)
def test_the_register_that_was_probably_meant_is_named(name, near):
    (entry,) = decode(record(reading({name: 1}))).rejected

    assert f'found "{name}". Did you mean {near}' in entry.message


def test_a_name_like_no_register_gets_no_guess():
    for name in ("zzz", "active_import" * 100_000):
        (entry,) = decode(record(reading({name: 1}))).rejected
        assert "Did you mean" not in entry.message


def test_an_entry_says_what_was_wanted_where_and_what_to_do():
    (entry,) = decode(record(reading(meter="E28"), sequence=9)).rejected

    assert (entry.journal, entry.sequence, entry.part, entry.state) == ("j", 9, 0, "open")
    assert (entry.topic, entry.meter) == ("tanyuan/estate/gw1/readings", "estate/E28")
    assert entry.received_at == ARRIVED
    assert entry.message == (
        'Wanted a meter of site "estate", found "E28". '
        "Add it to the site file, then replay the quarantine."
    )


@pytest.mark.parametrize(
    ("payload", "part", "code"),
    [
        (b"", -1, "bad_json"),
        (b"{", -1, "bad_json"),
        (b'{"meter": "E27", "registers": {"heat": nan}}', -1, "bad_json"),
        (b"[" * 100_000, -1, "bad_json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, -1, "bad_json"),
        (b'{"meter": "\xff"}', -1, "invalid_utf8"),
        (b"\xff\xfe{\x00}\x00", -1, "invalid_utf8"),
        (b"[]", -1, "not_an_object"),
        (b"null", -1, "not_an_object"),
        (b"12", -1, "not_an_object"),
        (b'"readings"', -1, "not_an_object"),
        (b'["readings"]', -1, "not_an_object"),
        (b'{"readings": {}}', -1, "not_an_object"),
        (b'{"readings": null}', -1, "not_an_object"),
        (b'{"readings": "meter"}', -1, "not_an_object"),
        (b'{"readings": [[]]}', 0, "not_an_object"),
        (b'{"readings": [7]}', 0, "not_an_object"),
        (b"{}", 0, "missing_meter"),
        (b'{"meter": 27, "registers": {"heat": 1}}', 0, "missing_meter"),
        (b'{"meter": "", "registers": {"heat": 1}}', 0, "missing_meter"),
        (b'{"meter": ["E27"], "registers": {"heat": 1}}', 0, "missing_meter"),
        (b'{"meter": "e27", "registers": {"heat": 1}}', 0, "unknown_meter"),
        (b'{"meter": "\\ud800", "registers": {"heat": 1}}', 0, "unknown_meter"),
        (b'{"meter": "a\\u0000b", "registers": {"heat": 1}}', 0, "unknown_meter"),
        (b'{"meter": "E99", "registers": {"heat": 1}}', 0, "wrong_site"),
        (b'{"meter": "E27"}', 0, "no_registers"),
        (b'{"meter": "E27", "registers": {}}', 0, "no_registers"),
        (b'{"meter": "E27", "registers": []}', 0, "no_registers"),
        (b'{"meter": "E27", "registers": ["heat"]}', 0, "no_registers"),
        (b'{"meter": "E27", "registers": "heat"}', 0, "no_registers"),
        (b'{"meter": "E27", "value": 3}', 0, "no_registers"),
        (b'{"meter": "E27", "registers": {"Heat": 1}}', 0, "unknown_register"),
        (b'{"meter": "E27", "registers": {"": 1}}', 0, "unknown_register"),
        (b'{"meter": "E27", "registers": {"heat": 1}, "units": {"heat": "m3"}}', 0, "unknown_unit"),
        (b'{"meter": "E27", "registers": {"heat": 1}, "units": {"heat": 3}}', 0, "unknown_unit"),
        (b'{"meter": "E27", "registers": {"heat": 1}, "units": {"heat": {}}}', 0, "unknown_unit"),
        (b'{"meter": "E27", "registers": {"heat": 1}, "units": "kWh"}', 0, "unknown_unit"),
        (b'{"meter": "E27", "at": "soon", "registers": {"heat": 1}}', 0, "bad_time"),
        (b'{"meter": "E27", "at": 1704067200, "registers": {"heat": 1}}', 0, "bad_time"),
        (b'{"meter": "E27", "at": true, "registers": {"heat": 1}}', 0, "bad_time"),
        (b'{"meter": "E27", "at": {}, "registers": {"heat": 1}}', 0, "bad_time"),
        (b'{"meter": "E27", "at": "", "registers": {"heat": 1}}', 0, "bad_time"),
    ],
)  # fmt: skip
def test_what_is_no_reading_is_quarantined_with_its_reason(payload, part, code):
    decoded = decode(record(payload, sequence=1), record(reading(), sequence=2))

    assert [(e.sequence, e.part, e.code) for e in decoded.rejected] == [(1, part, code)]
    assert found(decoded) == {("estate/E27", "active_import"): 1.5}
    decoded.rejected[0].message.encode()
    assert "\x00" not in decoded.rejected[0].message + decoded.rejected[0].meter


@pytest.mark.parametrize(
    "value",
    [
        "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "null", "true", "false", '"12.5"',
        '"NaN"', "[1]", '{"v": 1}', "9" * 400, "9" * 5000, "-" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_finite_number_is_quarantined_and_spares_the_rest_of_the_message(value):
    text = (
        '{"readings": ['
        f'{{"meter": "E27", "at": "{AT}", "registers": {{"heat": {value}, "volume": 2}}}},'
        f'{{"meter": "H1", "at": "{AT}", "registers": {{"heat": 3}}}}]}}'
    )

    decoded = decode(record(text.encode()))

    assert codes(decoded) == [(0, "not_finite")]
    assert found(decoded) == {("estate/E27", "volume"): 2.0, ("estate/H1", "heat"): 3.0}


def test_a_number_written_as_text_is_refused_with_the_remedy():
    (entry,) = decode(record(reading({"heat": "12.5"}))).rejected

    assert 'found "12.5"' in entry.message
    assert "without quotes" in entry.message


def test_a_value_that_overflows_in_its_canonical_unit_is_quarantined():
    # 1e308 GWh = 1e314 kWh, more than a double can hold
    decoded = decode(record(reading({"heat": 1e308, "volume": 1}, units={"heat": "GWh"})))

    assert codes(decoded) == [(0, "not_finite")]
    assert found(decoded) == {("estate/E27", "volume"): 1.0}


def test_whole_numbers_of_any_size_are_numbers():
    decoded = decode(record(reading({"active_import": 7, "heat": 2**64, "volume": 10**300})))

    assert found(decoded)["estate/E27", "heat"] == 2.0**64
    assert found(decoded)["estate/E27", "volume"] == 1e300


def test_the_last_of_a_key_written_twice_counts():
    text = f'{{"meter":"H1","meter":"E27","at":"{AT}","registers":{{"heat":1,"heat":2}}}}'

    assert found(decode(record(text.encode()))) == {("estate/E27", "heat"): 2.0}


def test_keys_that_mean_nothing_are_ignored():
    decoded = decode(record(reading(rssi=-70, ok=True, note={"a": [1, None]}, units=None)))

    assert found(decoded) == {("estate/E27", "active_import"): 1.5}
    assert decoded.rejected == []


def test_a_byte_order_mark_is_no_fault():
    payload = b"\xef\xbb\xbf" + json.dumps(reading()).encode()

    assert found(decode(record(payload))) == {("estate/E27", "active_import"): 1.5}


def test_an_empty_list_of_readings_is_neither_a_reading_nor_a_fault():
    decoded = decode(record({"readings": []}))

    assert (len(decoded.readings), decoded.rejected) == (0, [])


def test_more_readings_than_allowed_are_quarantined_as_one_message():
    limits = DecodeSettings(max_readings=2)

    assert codes(decode(record({"readings": [reading()] * 3}), limits=limits)) == [
        (-1, "too_many_readings")
    ]
    assert decode(record({"readings": [reading()] * 2}), limits=limits).rejected == []


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("tanyuan/elsewhere/gw1/readings", "unknown_site"),
        ("tanyuan/estate/gw1/status", "unknown_topic"),
        ("zigbee2mqtt/plug", "unknown_topic"),
        ("", "unknown_topic"),
    ],
)
def test_a_topic_that_nobody_claims_is_quarantined(topic, code):
    decoded = decode(record(reading(), topic=topic), record(reading(), sequence=2))

    assert [(e.sequence, e.part, e.code) for e in decoded.rejected] == [(1, -1, code)]
    assert len(decoded.readings) == 1


# -- times ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T08:15:00+08:00",
        "2024-01-01T00:15:00Z",
        "2024-01-01t00:15:00z",
        "2024-01-01 00:15:00 Z",
        "2024-01-01T08:15:00+0800",
        "2024-01-01T08:15:00+08",
        "2023-12-31T18:45:00-05:30",
        "2024-01-01T00:15Z",
        "2024-01-01T00:15:00.000Z",
        "2024-01-01T00:15:00,0000009Z",
    ],
)
def test_every_common_way_to_write_an_instant_is_the_same_instant(text):
    (row,) = decode(record(reading(at=text))).readings.rows()

    assert row.read_at == AT_UTC


def test_fractions_are_kept_to_the_microsecond():
    (row,) = decode(record(reading(at="2024-01-01T00:15:00.1234567Z"))).readings.rows()

    assert row.read_at == AT_UTC + timedelta(microseconds=123_456)


def test_a_leap_second_is_the_first_second_of_the_next_minute():
    (row,) = decode(record(reading(at="2016-12-31T23:59:60Z"))).readings.rows()

    assert row.read_at == datetime(2017, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+08:00",
        "1111-11-11T11:11:11Z",
        "9999-12-31T23:59:59-08:00",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+08:60",
        "2024-01-01",
        "20240101T000000Z",
        "2024-01-01T00:00:00Z ",
        "٢٠٢٤-01-01T00:00:00Z",
        "2024-01-01T00:00:00." + "1" * 1000 + "Z",
    ],
)
def test_an_instant_that_cannot_be_is_quarantined(text):
    assert codes(decode(record(reading(at=text)))) == [(0, "bad_time")]


def test_without_a_time_a_reading_is_stamped_with_its_arrival():
    for payload in (
        {"meter": "E27", "registers": {"heat": 1}},
        {"meter": "E27", "at": None, "registers": {"heat": 1}},
    ):
        (row,) = decode(record(payload)).readings.rows()
        assert (row.read_at, row.flags) == (ARRIVED, Flag.STAMPED)


@pytest.mark.parametrize(
    ("read_at", "flags"),
    [
        (ARRIVED + timedelta(minutes=5), Flag.NONE),
        (ARRIVED + timedelta(minutes=5, microseconds=1), Flag.CLOCK),
        (datetime(2000, 1, 1, tzinfo=UTC), Flag.NONE),
        (datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), Flag.CLOCK),
        (datetime(1970, 1, 1, tzinfo=UTC), Flag.CLOCK),
        (datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC), Flag.CLOCK),
        (datetime(2023, 1, 1, tzinfo=UTC), Flag.NONE),
    ],
)
def test_a_clock_that_cannot_be_right_is_marked(read_at, flags):
    (row,) = decode(record(reading(at=read_at.isoformat()))).readings.rows()

    assert (row.read_at, row.flags) == (read_at, flags)


@pytest.mark.parametrize(
    ("register", "value", "flags"),
    [
        ("active_import", -0.001, Flag.IMPLAUSIBLE),
        ("active_import", 0.0, Flag.NONE),
        ("active_import", -0.0, Flag.NONE),
        ("active_power", -5.0, Flag.NONE),
        ("air_temperature", -20.0, Flag.NONE),
        ("active_import", 1e15, Flag.NONE),
        ("active_import", 1.1e15, Flag.IMPLAUSIBLE),
        ("active_power", -1.1e15, Flag.IMPLAUSIBLE),
    ],
)
def test_a_value_no_register_shows_is_kept_with_a_mark(register, value, flags):
    (row,) = decode(record(reading({register: value}))).readings.rows()

    assert (row.value, row.flags) == (value, flags)


# -- both ways agree --------------------------------------------------------------------------


def plain_decode(rec):
    """The rules once more, row by row, without any of the decoder's code."""
    rows, rejected = set(), set()
    _, site, _, _ = rec.topic.split("/")
    if site not in SITES:
        return rows, {(-1, "unknown_site")}
    try:
        message = json.loads(rec.payload.decode())
    except UnicodeDecodeError:
        return rows, {(-1, "invalid_utf8")}
    except ValueError:
        return rows, {(-1, "bad_json")}
    if not isinstance(message, dict):
        return rows, {(-1, "not_an_object")}
    items = message.get("readings", [message])
    if not isinstance(items, list):
        return rows, {(-1, "not_an_object")}
    for part, item in enumerate(items):
        got, code = plain_item(item, site, rec)
        rows |= got
        if code:
            rejected.add((part, code))
    return rows, rejected


def plain_item(item, site, rec):
    if not isinstance(item, dict):
        return set(), "not_an_object"
    serial = item.get("meter")
    if not isinstance(serial, str) or not serial:
        return set(), "missing_meter"
    if serial not in SITES[site]:
        known = any(serial in meters for meters in SITES.values())
        return set(), "wrong_site" if known else "unknown_meter"
    code, read_at, flags = plain_time(item.get("at"), EPOCH + timedelta(microseconds=rec[1]))
    if code:
        return set(), code
    registers, units = item.get("registers"), item.get("units") or {}
    if not isinstance(registers, dict) or not registers:
        return set(), "no_registers"
    if not isinstance(units, dict):
        return set(), "unknown_unit"
    return plain_registers(f"{site}/{serial}", read_at, registers, units, flags)


def plain_time(at, arrived):
    if at is None:
        return None, arrived, 4
    try:
        read_at = datetime.fromisoformat(at)
    except (TypeError, ValueError):
        return "bad_time", None, 0
    if read_at.tzinfo is None:
        return "time_without_offset", None, 0
    wrong = read_at > arrived + timedelta(minutes=5) or read_at.year < 2000
    return None, read_at, 1 if wrong else 0


def plain_registers(meter, read_at, registers, units, flags):
    rows, first = set(), None
    for name, value in registers.items():
        code, number = plain_value(name, value, units.get(name))
        first = first or code
        if code is None:
            negative = number < 0 and REGISTERS[name].kind is Kind.CUMULATIVE
            mark = 2 if negative or abs(number) > 1e15 else 0
            rows.add((meter, name, read_at.astimezone(UTC), number, flags | mark))
    return rows, first


def plain_value(name, value, unit):
    if name not in REGISTERS:
        return "unknown_register", 0
    try:
        ratio = 1.0 if unit is None else unit_ratio(unit, to=REGISTERS[name].unit)
    except (UnknownUnit, TypeError):
        return "unknown_unit", 0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "not_finite", 0
    number = float(value) * ratio
    return (None, number) if math.isfinite(number) else ("not_finite", 0)


NUMBERS = st.one_of(
    st.floats(-1e16, 1e16), st.integers(-5, 10**15), st.sampled_from([0, -0.0, 1e15, 5e-324])
)
ODD = st.sampled_from(
    [None, True, False, "1", "", [], {}, float("nan"), float("inf"), 1e308, "kWh", "GWh"]
)
NAMES = st.sampled_from(["active_import", "active_power", "heat", "volume", "nonsense"])
TIMES = st.sampled_from(
    [AT, "2024-01-01T00:15:00Z", "2024-01-01T00:15:00.25+00:00", "2106-02-07T06:28:15Z",
     "1970-01-01T00:00:00Z", "2024-01-01T00:15:00", "soon", 17, None, True, [], {}]
)  # fmt: skip
UNITS = st.dictionaries(NAMES, st.sampled_from(["kWh", "MWh", "GWh", "W", "m3", "L", "x", None, 1]))
ITEMS = st.one_of(
    st.fixed_dictionaries(
        {
            "meter": st.sampled_from(["E27", "H1", "计-3", "E99", "nobody", "", 27, None]),
            "registers": st.one_of(
                st.dictionaries(NAMES, st.one_of(NUMBERS, NUMBERS, ODD), min_size=1), ODD
            ),
        },
        optional={"at": TIMES, "units": st.one_of(UNITS, ODD), "extra": ODD},
    ),
    st.fixed_dictionaries(
        {
            "meter": st.sampled_from(["E27", "H1"]),
            "at": st.just(AT),
            "registers": st.dictionaries(NAMES.filter(lambda n: n != "nonsense"), NUMBERS),
        }
    ),
    ODD,
)
MESSAGES = st.one_of(
    ITEMS,
    st.fixed_dictionaries({"readings": st.lists(ITEMS, max_size=4)}),
    st.fixed_dictionaries({"readings": ODD}),
)
TOPICS = st.sampled_from(["tanyuan/estate/gw/readings"] * 4 + ["tanyuan/nowhere/gw/readings"])


@pytest.mark.parametrize("units", [None, {}, {"active_import": "kWh"}])
def test_a_reading_without_registers_is_set_aside_whatever_units_it_names(units):
    message = {"meter": "E27", "at": AT, "registers": {}} | ({"units": units} if units else {})
    decoded = decode(record(message))
    assert [entry.code for entry in decoded.rejected] == ["no_registers"]
    assert len(decoded.readings) == 0


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(TOPICS, MESSAGES), max_size=6))
def test_the_fast_way_and_a_plain_one_agree_on_any_mix(messages):
    records = [
        record(message, topic=topic, sequence=n) for n, (topic, message) in enumerate(messages, 1)
    ]
    decoded = decode(*records)

    rows = {}
    for r in decoded.readings.rows():
        row = (r.meter, r.register, r.read_at, r.value, int(r.flags))
        rows.setdefault(r.sequence, set()).add(row)
    rejected = {}
    for entry in decoded.rejected:
        rejected.setdefault(entry.sequence, set()).add((entry.part, entry.code))
    for rec in records:
        wanted_rows, wanted_rejected = plain_decode(rec)
        assert rows.get(rec.sequence, set()) == wanted_rows
        assert rejected.get(rec.sequence, set()) == wanted_rejected


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.floats(), st.text(), st.integers()),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.dictionaries(
                    st.one_of(st.sampled_from(["meter", "at", "registers", "units", "readings"]),
                              st.text(max_size=3)),
                    inner, max_size=5,
                ),
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    st.sampled_from(
        ["tanyuan/estate/gw/readings", "tele/plug/SENSOR", "plug/status/switch:0", "a/events/rpc",
         "wmbusmeters/Heat", "x"]
    ),
)  # fmt: skip
def test_no_payload_on_any_topic_stops_the_decoder(payload, topic):
    decoded = decode(record(payload, topic=topic), record(reading(), sequence=2))

    assert {r.sequence for r in decoded.readings.rows()} >= {2}
    for entry in decoded.rejected:
        assert entry.code in CODES
        entry.message.encode()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_reading_never_becomes_a_value_nobody_sent(data):
    payload = bytearray(json.dumps({"readings": [reading({"active_import": 12})] * 2}).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

    decoded = decode(record(bytes(payload)))

    assert all(math.isfinite(r.value) for r in decoded.readings.rows())
    assert len(decoded.readings) + len(decoded.rejected) >= 1


def test_one_batch_and_many_give_the_same():
    records = [
        record(reading({"active_import": n, "heat": None if n % 7 == 0 else n}), sequence=n)
        for n in range(1, 60)
    ]
    together = decode(*records)
    apart = [decode(one) for one in records]

    def rows(parts):
        return {(r.sequence, r.register, r.value) for p in parts for r in p.readings.rows()}

    assert rows([together]) == rows(apart)
    assert together.rejected == [entry for part in apart for entry in part.rejected]
