"""Every profile decodes its own golden payloads; a wrong file is refused with its line."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.context import Context, check_profiles
from ingest.decoding import decode_batch
from ingest.golden import failed_examples
from ingest.journal_records import Record
from ingest.profile_model import Profiles
from ingest.profiles import SHIPPED, ProfileErrors, load_profile, load_profiles
from ingest.rejections import CODES
from metering.readings import Flag
from metering.site_files import load_site

README = Path(__file__).parents[2] / "ingest" / "README.md"
VECTORS = Path(__file__).parents[2] / ".." / "shared" / "data" / "mqtt-json" / "vectors.json"
ALL = load_profiles()
ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)
ARRIVED_US = (ARRIVED - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

MINIMAL = """\
profile: plug
title: A plug
source: {title: Manual, publisher: Plugs, edition: "1", locator: p. 3}
transport: mqtt
decoder: json
topics: ["plugs/{device}"]
readings:
  - meter: "{device}"
    registers:
      active_import: {path: e, unit: Wh}
tests:
  - what: one
    topic: plugs/p1
    payload: '{"e": 1500}'
    expect: [{meter: p1, register: active_import, value: 1.5, flags: [stamped]}]
"""


@pytest.mark.parametrize("profile", list(ALL), ids=lambda profile: profile.name)
def test_a_profile_decodes_its_own_golden_payloads(profile):
    assert failed_examples(profile, ALL) == []


def test_every_profile_names_its_source():
    for profile in ALL:
        assert {"title", "publisher", "edition", "locator"} <= profile.source.keys(), profile.file


def test_a_profile_of_the_home_stands_beside_the_shipped_ones(tmp_path):
    (tmp_path / "plug.yaml").write_text(MINIMAL)

    profiles = load_profiles(tmp_path)

    assert set(profiles.names) == {*ALL.names, "plug"}
    assert failed_examples(profiles.by_name["plug"], profiles) == []
    assert profiles.fingerprint != ALL.fingerprint


def test_a_golden_payload_that_means_something_else_is_told(tmp_path):
    (tmp_path / "plug.yaml").write_text(MINIMAL.replace("value: 1.5", "value: 1500"))
    profile = load_profile(tmp_path / "plug.yaml")

    (sentence,) = failed_examples(profile, Profiles([profile]))

    assert "plug.yaml: one" in sentence
    assert "1500" in sentence
    assert "1.5" in sentence


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("transport: mqtt", "transport: pigeon", 4, "pigeon"),
        ("transport: mqtt", "transport: mqtt\nspeed: 9600", 5, "speed"),
        ("decoder: json", "decoder: jsonn", 5, "json"),
        ("topics: [", 'topics: ["a/#", ', 6, "#"),
        ('meter: "{device}"', 'meter: "{serial}"', 8, "serial"),
        ("active_import: {path", "active_imprt: {path", 10, "active_imprt"),
        ("unit: Wh", "unit: m3", 10, "m3"),
        ("unit: Wh", "unit: Wh, factor: 3", 10, "factor"),
        (', locator: p. 3', "", 3, "locator"),
        ("value: 1.5", "value: much", 15, "much"),
        ("flags: [stamped]", "flags: [stamp]", 15, "stamp"),
        ("    expect: [{", "    expect_quarantine: nonsense\n    expect: [{", 15, "nonsense"),
        ("title: A plug", "title: A plug\ntitle: Another", 3, "title"),
        ("decoder: json", "decoder: [", 7, "YAML"),
    ],
)  # fmt: skip
def test_a_wrong_profile_is_refused_with_file_and_line(tmp_path, old, new, line, word):
    assert old in MINIMAL
    (tmp_path / "plug.yaml").write_text(MINIMAL.replace(old, new))

    with pytest.raises(ProfileErrors) as refusal:
        load_profiles(tmp_path)

    assert f"plug.yaml:{line}:" in str(refusal.value)
    assert word in str(refusal.value)


def test_an_added_register_needs_unit_and_kind(tmp_path):
    text = MINIMAL.replace("readings:", "registers:\n  reactive_import: {unit: kWh}\nreadings:")
    (tmp_path / "plug.yaml").write_text(text)

    with pytest.raises(ProfileErrors, match="kind"):
        load_profiles(tmp_path)


def test_an_added_register_is_decoded_and_known_to_native_gateways(tmp_path):
    text = MINIMAL.replace(
        "readings:",
        "registers:\n  co2_level: {unit: '1', kind: instantaneous}\nreadings:",
    ).replace("{path: e, unit: Wh}", "{path: e, unit: Wh}\n      co2_level: {path: c, unit: '1'}")
    (tmp_path / "plug.yaml").write_text(text)
    context = Context({"s": {"p1": "plug", "n1": "native"}}, load_profiles(tmp_path))

    decoded = decode_batch(
        [
            Record(1, ARRIVED_US, "plugs/p1", b'{"e": 1, "c": -3}', "mqtt", "c"),
            Record(
                2, ARRIVED_US, "tanyuan/s/g/readings",
                b'{"meter": "n1", "registers": {"co2_level": 5}}', "mqtt", "c",
            ),
        ],
        context,
        journal="j",
    )  # fmt: skip

    found = {(r.meter, r.register): (r.value, r.flags) for r in decoded.readings.rows()}
    assert found == {
        ("s/p1", "active_import"): (0.001, Flag.STAMPED),
        # an instantaneous register may be negative
        ("s/p1", "co2_level"): (-3.0, Flag.STAMPED),
        ("s/n1", "co2_level"): (5.0, Flag.STAMPED),
    }


def test_one_register_name_has_one_meaning_in_all_profiles(tmp_path):
    for name, unit in (("plug", "kWh"), ("socket", "kW")):
        text = MINIMAL.replace("profile: plug", f"profile: {name}").replace(
            "readings:", f"registers:\n  reactive: {{unit: {unit}, kind: cumulative}}\nreadings:"
        )
        (tmp_path / f"{name}.yaml").write_text(text)

    with pytest.raises(ProfileErrors, match="another name"):
        load_profiles(tmp_path)


def test_two_profiles_of_one_name_are_refused(tmp_path):
    (tmp_path / "native.yaml").write_text((SHIPPED / "native.yaml").read_text())

    with pytest.raises(ProfileErrors, match="name of its own"):
        load_profiles(tmp_path)


def test_a_message_without_a_register_is_quarantined_unless_the_profile_is_sparse(tmp_path):
    (tmp_path / "a.yaml").write_text(MINIMAL)
    (tmp_path / "b.yaml").write_text(
        MINIMAL.replace("profile: plug", "profile: quiet\nsparse: true").replace("plugs/", "quiet/")
    )
    context = Context({"s": {"p1": "plug", "q1": "quiet"}}, load_profiles(tmp_path))
    records = [
        Record(1, ARRIVED_US, "plugs/p1", b'{"state": "on"}', "mqtt", "c"),
        Record(2, ARRIVED_US, "quiet/q1", b'{"state": "on"}', "mqtt", "c"),
    ]

    decoded = decode_batch(records, context, journal="j")

    assert [(e.sequence, e.code) for e in decoded.rejected] == [(1, "no_registers")]
    assert decoded.ignored == 1


def test_a_meter_with_a_profile_that_is_not_there_is_a_finding():
    text = """
site: {id: s, name: S, timezone: UTC}
buildings:
  - id: b
    points:
      - {id: o, carrier: heat, role: main, meter: {serial: A, profile: native}}
      - {id: p, carrier: heat, role: sub, upstream: o, meter: {serial: B, profile: nativ}}
"""
    site = load_site(text.encode(), file="site.yaml")

    (finding,) = check_profiles([site], ALL)

    assert finding.code == "site.unknown_profile"
    assert finding.data == {"site": "s", "point": "p", "meter": "B", "profile": "nativ"}
    assert "'nativ'" in finding.message


def test_the_profile_in_the_readme_is_one(tmp_path):
    example = re.search(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    (tmp_path / "plug.yaml").write_text(example.group(1), encoding="utf-8")
    profiles = load_profiles(tmp_path)

    assert failed_examples(profiles.by_name["plug"], profiles) == []


def test_every_reason_code_is_in_the_readme():
    text = README.read_text(encoding="utf-8")

    assert [code for code in CODES if f"| `{code}` |" not in text] == []


def vectors():
    if not VECTORS.exists():
        return []
    return json.loads(VECTORS.read_text())


def vector(key):
    for each in vectors():
        if each["id"] == key:
            return each
    pytest.skip(f"{key} is missing: ../shared/data/mqtt-json is not here")


def decoded_vector(key, profile, meters, payload=None):
    each = vector(key)
    text = payload(each["payload"]) if payload else each["payload"]
    context = Context({"s": dict.fromkeys(meters, profile)}, ALL)
    record = Record(1, ARRIVED_US, each["topic"], text.encode(), "mqtt", "c")
    decoded = decode_batch([record], context, journal="j")
    found = {(r.meter[2:], r.register): r.value for r in decoded.readings.rows()}
    return each["expected"], found, decoded


@pytest.mark.parametrize(
    ("key", "meters"),
    [
        ("mqtt/tasmota04", ["plug"]),
        ("mqtt/tasmota05", ["tasmota:1", "tasmota:2"]),
        ("mqtt/tasmota07", ["sonoff-pow-2"]),
        ("mqtt/tasmota10", ["sdm230"]),
    ],
)
def test_a_captured_tasmota_payload_gives_its_energy(key, meters):
    expected, found, decoded = decoded_vector(key, "tasmota-energy", meters)

    assert decoded.rejected == []
    for meter, channel in zip(meters, expected["registers"], strict=True):
        assert found[meter, "active_import"] == channel["energy_total_kwh"]
        assert found[meter, "active_power"] == pytest.approx(channel["power_w"] / 1000)


def test_a_captured_tasmota_state_message_is_no_reading_and_no_fault():
    _, found, decoded = decoded_vector("mqtt/tasmota12", "tasmota-energy", ["shellyA"])

    assert (found, decoded.rejected, decoded.ignored) == ({}, [], 1)


def test_a_captured_linky_payload_gives_its_index():
    expected, found, _ = decoded_vector("mqtt/tasmota03", "tasmota-teleinfo", ["061964xxxxxx"])

    (channel,) = expected["registers"]
    assert found == {("061964xxxxxx", "active_import"): channel["energy_total_kwh"]}


@pytest.mark.parametrize(
    ("key", "meter"),
    [
        ("mqtt/shelly03", "shellyplugus-083af2018c80:0"),
        ("mqtt/shelly04", "shelly:0"),
        ("mqtt/shelly07", "shelly-aabbccddeeff:0"),
    ],
)
def test_a_captured_shelly_status_gives_energy_and_power(key, meter):
    expected, found, decoded = decoded_vector(key, "shelly-switch", [meter])

    (channel,) = expected["registers"]
    assert decoded.rejected == []
    assert found[meter, "active_import"] == pytest.approx(channel["energy_import_wh"] / 1000)
    assert found[meter, "active_power"] == pytest.approx(channel["power_w"] / 1000)


def test_a_captured_shelly_notification_gives_energy_both_ways_at_its_own_time():
    meter = "shellypro3em-1234567890ab:1"
    expected, found, decoded = decoded_vector("mqtt/shelly01", "shelly-em1data", [meter])

    (channel,) = expected["registers"]
    assert found[meter, "active_import"] == pytest.approx(channel["energy_import_wh"] / 1000)
    assert found[meter, "active_export"] == pytest.approx(channel["energy_export_wh"] / 1000)
    assert {r.read_at for r in decoded.readings.rows()} == {
        datetime.fromisoformat(expected["event_time_utc"])
    }


@pytest.mark.parametrize("number", ["01", "02", "03", "07"])
def test_a_captured_wmbusmeters_telegram_gives_its_totals(number):
    # the upstream test suite puts 1111-11-11T11:11:11Z in the place of the time
    expected, found, decoded = decoded_vector(
        f"mqtt/wmbusmeters{number}",
        "wmbusmeters-heat",
        ["32022703", "78152801", "67051653", "93573086"],
        payload=lambda text: text.replace("1111-11-11T11:11:11Z", "2025-12-31T23:59:00Z"),
    )

    meter, totals = expected["meter_id"], expected["totals"]
    assert decoded.rejected == []
    assert found[meter, "heat"] == totals["total_energy_consumption_kwh"]
    assert found[meter, "volume"] == totals["total_volume_m3"]
    assert found.get((meter, "cooling")) == totals.get("total_cooling_consumption_kwh")
