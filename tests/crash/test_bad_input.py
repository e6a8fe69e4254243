"""Whatever comes in at the doors of a running `up`: told, counted, kept aside, and nothing else."""

import json
import math
import random
import signal
import socket
import ssl
import threading
import time

import pytest

from tests.acceptance.running import call
from tests.crash.clients import reading
from tests.crash.running import Up
from tests.ingest.raw_mqtt import RawClient, connect_packet, puback, publish_packet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEED = 20240301
TOPIC = "tanyuan/park/gw/readings"
SPAN = {"first": "2024-03-01", "to": "2024-03-02"}
MIB = 1 << 20
FUZZED = 3000
SLOWEST_ACK_S = 5.0
"""An acknowledgement takes some ms; other work may share the machine with this test."""

SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
factors: {provisional: true}
buildings:
  - id: a
    use: office
    points:
"""
METER = (
    "      - {{id: p-{0}, carrier: electricity, role: main, meter: "
    "{{serial: {0}, profile: native, capacity: 1000000, max_power_kw: 2000}}}}\n"
)


def site_yaml(*serials):
    return SITE + "".join(METER.format(serial) for serial in serials)


def quarter_hours(serial, *, first=1000.0, count=97):
    """A day of readings, a quarter of an hour apart, each 2 kWh more than the one before."""
    return [
        reading(serial, f"2024-03-01T{n // 4:02d}:{n % 4 * 15:02d}:00+08:00", first + 2 * n)
        for n in range(count - 1)
    ] + [reading(serial, "2024-03-02T00:00:00+08:00", first + 2 * (count - 1))]


def publish(up, *payloads, topic=TOPIC, version=5):
    """Publish with QoS 1; return when everything is acknowledged."""
    with RawClient(up.mqtt_port, version=version, client_id="test") as client:
        for number, payload in enumerate(payloads, 1):
            client.publish(topic, payload, number)
        for number in range(1, len(payloads) + 1):
            assert client.packet() == puback(number)


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    home = tmp_path_factory.mktemp("bad") / "home"
    home.mkdir()
    (home / "site.yaml").write_text(site_yaml("good-1", "good-2", "odd", "live", "mutant"))
    with Up(home) as running:
        publish(running, *quarter_hours("good-1"), *quarter_hours("good-2", first=5000.0))
        yield running


def figures(up, *points):
    """Everything that is said about points, as bytes."""
    asked = [
        ("/energy", {**SPAN, "every": "hour"}),
        ("/energy", {**SPAN, "every": "15min"}),
        ("/emissions", {**SPAN, "every": "hour"}),
    ]
    found = [
        up.get("/api/v1" + path, point=point, **query) for point in points for path, query in asked
    ]
    found += [
        up.get("/api/v1/series", **SPAN, meter=point[2:], register="active_import")
        for point in points
    ]
    assert all(status == 200 and b'"behind"' not in body for status, body in found), found
    return found


@pytest.fixture(autouse=True)
def others_untouched(up):
    """What is known of the good meters is the same to the byte after each test."""
    before = figures(up, "p-good-1", "p-good-2")
    # 96 quarter hours of 2 kWh
    day = up.ask("/energy", **SPAN, every="day", point="p-good-1")["series"][0]["rows"][0]
    assert (day["value"], day["coverage"]) == (192.0, 1.0)
    yield
    assert figures(up, "p-good-1", "p-good-2") == before
    assert up.get("/readyz")[0] == 200


@pytest.fixture
def counted(up):
    """Tells by how much a metric has grown since the test began."""
    before = up.metrics()
    return lambda name: up.metrics().get(name, 0) - before.get(name, 0)


def said_by(up, data, *, hang_up=False):
    """Send bytes to the MQTT door; what comes back until it closes."""
    with socket.create_connection(("127.0.0.1", up.mqtt_port), timeout=15) as door:
        answer = b""
        try:
            door.sendall(data)
            if hang_up:
                door.shutdown(socket.SHUT_WR)
            while more := door.recv(4096):
                answer += more
        except ConnectionError:
            pass
        return answer


# -- the wrong protocol -----------------------------------------------------------------------


def tls_hello():
    """The first bytes of a TLS connection."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="park.example")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    return outgoing.read()


WRONG = {
    "HTTP": b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "TLS": tls_hello(),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "Modbus": bytes.fromhex("000100000006010300000002"),
}


@pytest.mark.parametrize("protocol", WRONG)
def test_another_protocol_is_turned_away_told_and_counted(up, counted, protocol):
    assert said_by(up, WRONG[protocol]) == b""
    assert counted("tanyuan_listener_malformed_total") == 1
    assert "closed: the first packet is" in up.log.splitlines()[-1]


def test_random_bytes_are_turned_away_and_counted(up, counted):
    rng = random.Random(SEED)
    for _ in range(100):
        assert said_by(up, rng.randbytes(4096)) == b""

    # now and then the bytes begin like a CONNECT, and then its length is beyond all measure
    refused = [counted(f"tanyuan_listener_{why}_total") for why in ("malformed", "oversize")]
    assert sum(refused) == 100


def test_mqtt_at_the_http_door_is_turned_away(up):
    with socket.create_connection(("127.0.0.1", up.http_port), timeout=15) as door:
        door.sendall(connect_packet(5))
        assert door.recv(4096).startswith(b"HTTP/1.1 400")


# -- too much ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [5, 4])
def test_a_payload_of_100_mb_is_refused_and_takes_no_memory(up, counted, version):
    before_mb = up.memory_peak_mb()
    packet = publish_packet(version, TOPIC, bytes(100_000_000), 1)

    with RawClient(up.mqtt_port, version=version) as client:
        client.send(packet[:10_000])
        farewell = client.packet()
        with pytest.raises(ConnectionError):
            client.send(packet[10_000:])

    # E0h, length, 95h: DISCONNECT, packet too large; 3.1.1 has no word for it
    assert farewell[:1] + farewell[2:3] == (b"\xe0\x95" if version == 5 else b"")
    assert counted("tanyuan_listener_oversize_total") == 1
    assert "1048576 are allowed" in up.log
    assert up.memory_peak_mb() - before_mb < 20


def test_100_mb_in_one_go_take_no_memory_either(up, counted):
    before_mb = up.memory_peak_mb()

    said_by(up, connect_packet(5) + publish_packet(5, TOPIC, bytes(100_000_000), 1))

    assert counted("tanyuan_listener_oversize_total") == 1
    assert up.memory_peak_mb() - before_mb < 20


def test_many_clients_that_promise_much_and_send_nothing_take_no_memory(up):
    before_mb = up.memory_peak_mb()
    promise = connect_packet(4) + b"\x32" + b"\xfb\xff\x3f" + b"\0\1a"  # 1 MiB - 5 bytes to come
    doors = [socket.create_connection(("127.0.0.1", up.mqtt_port)) for _ in range(200)]
    for door in doors:
        door.sendall(promise)
    publish(up, reading("live", "2024-03-01T00:00:00Z", 1.0))
    for door in doors:
        door.close()

    assert up.memory_peak_mb() - before_mb < 20


# -- what cannot be read ----------------------------------------------------------------------

NOON = "2024-03-01T12:00:00Z"
UNREADABLE = {
    "NaN": (reading("odd", NOON, math.nan), "not_finite"),
    "infinity": (reading("odd", NOON, math.inf), "not_finite"),
    "minus infinity": (reading("odd", NOON, -math.inf), "not_finite"),
    "a number too large": (reading("odd", NOON, 0).replace(b": 0}", b": 1e999}"), "not_finite"),
    "a text for a number": (reading("odd", NOON, "12.5"), "not_finite"),
    "null": (reading("odd", NOON, None), "not_finite"),
    "true": (reading("odd", NOON, True), "not_finite"),
    "no UTF-8": (reading("odd", NOON, 1.0) + b"\xff\xfe", "invalid_utf8"),
    "half of a JSON": (reading("odd", NOON, 1.0)[:-9], "bad_json"),
    "nothing": (b"", "bad_json"),
    "brackets without end": (b"[" * 500_000, "bad_json"),
    "a list": (b"[1, 2]", "not_an_object"),
    "an unknown meter": (reading("nobody", NOON, 1.0), "unknown_meter"),
    "a number for a meter": (reading(7, NOON, 1.0), "missing_meter"),
    "an unknown register": (reading("odd", NOON, 1.0, "kilowatts"), "unknown_register"),
    "an unknown unit": (reading("odd", NOON, 1.0, units={"active_import": "m3"}), "unknown_unit"),
    "a time without offset": (reading("odd", NOON[:-1], 1.0), "time_without_offset"),
    "a day that is none": (reading("odd", "2024-02-30T00:00:00Z", 1.0), "bad_time"),
    "the year 9999": (reading("odd", "9999-12-31T23:59:59Z", 1.0), "bad_time"),
    "10,001 readings": (b'{"readings":[{}' + b",{}" * 10_000 + b"]}", "too_many_readings"),
}


@pytest.mark.parametrize("version", [5, 4])
@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_quarantined_told_counted_and_shown(up, counted, case, version):
    payload, code = UNREADABLE[case]

    publish(up, payload, version=version)

    listed = call(up.home, "quarantine", "list", "--code", code, "--json").document
    entry = listed["entries"][-1]
    shown = call(up.home, "quarantine", "show", str(entry["sequence"]), "--json").document
    assert entry["sequence"] == up.ask("/status")["journal"]["last_sequence"]
    assert (entry["code"], entry["state"]) == (code, "open")
    assert entry["message"].startswith(("Wanted ", "There is no "))
    assert bytes.fromhex(shown["hex"]) == payload
    assert shown["topic"] == TOPIC
    assert counted(f'tanyuan_quarantine_open{{code="{code}"}}') == 1


@pytest.mark.parametrize(
    ("topic", "code"),
    [("tanyuan/elsewhere/gw/readings", "unknown_site"), ("sensors/7/state", "unknown_topic")],
)
def test_a_topic_that_is_not_ours_is_quarantined(up, counted, topic, code):
    publish(up, reading("odd", "2024-03-01T00:00:00Z", 1.0), topic=topic)

    up.ask("/quarantine")
    assert counted(f'tanyuan_quarantine_open{{code="{code}"}}') == 1


def test_a_bad_reading_spares_its_neighbours_in_the_same_message(up):
    good = {"meter": "live", "at": "2024-03-01T02:00:00Z", "registers": {"active_import": 7.5}}
    bad = {"meter": "nobody", "at": "2024-03-01T02:00:00Z", "registers": {"active_import": 7.5}}
    publish(up, json.dumps({"readings": [bad, good]}).encode())

    readings = up.ask("/series", **SPAN, meter="live", register="active_import")["readings"]
    assert ("2024-03-01T02:00:00Z", 7.5) in [(row["at"], row["value"]) for row in readings]


# -- what can be read and is not believed -----------------------------------------------------

ODD = {
    "a negative value": ("2024-03-01T12:37:00+08:00", -5.0, "implausible"),
    "an absurd value": ("2024-03-01T12:38:00+08:00", 1e18, "implausible"),
    "1970": ("1970-01-01T00:00:00Z", 1300.0, "clock"),
    "2106": ("2106-02-07T06:28:15Z", 1300.0, "clock"),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_not_believed_is_kept_with_its_flag_and_moves_no_figure(up, case):
    at, value, flag = ODD[case]
    publish(up, *quarter_hours("odd"))
    asked = {"every": "hour", "point": "p-odd", **SPAN}
    before, latest = hours_of(up, asked), of_meter(up, "odd")

    publish(up, reading("odd", at, value))

    after = hours_of(up, asked)
    amounts = ("start", "value", "coverage", "measured")
    assert [[row[n] for n in amounts] for row in after] == [
        [row[n] for n in amounts] for row in before
    ]
    # the hour that holds it says so; a time without readings around it is in no hour
    told = [row["start"] for row in after if flag in row["flags"]]
    assert told == (["2024-03-01T04:00:00Z"] if at.startswith("2024") else [])
    assert of_meter(up, "odd") == latest
    day = date_of(at)
    stored = up.ask("/series", **day, meter="odd", register="active_import")["readings"]
    assert [row["flags"] for row in stored if row["value"] == value] == [[flag]]


@pytest.mark.parametrize("case", ["1970", "2106"])
def test_a_wrong_clock_does_not_make_a_silent_meter_look_alive(up, case):
    publish(up, *quarter_hours("odd"))
    publish(up, reading("odd", *ODD[case][:2]))

    # its last believed reading is of 2 March 2024, and it used to speak every quarter of an hour
    meters = {row["meter"]: row for row in up.ask("/meters", at="2024-03-12T00:00:00Z")["meters"]}
    assert meters["good-1"]["silent"]
    assert meters["odd"]["silent"]


def hours_of(up, asked):
    """The rows of the only series."""
    (series,) = up.ask("/energy", **asked)["series"]
    return series["rows"]


def date_of(at):
    """The site day of a time, and the day after it."""
    return {
        "2024": SPAN,
        "1970": {"first": "1970-01-01", "to": "1970-01-02"},
        "2106": {"first": "2106-02-07", "to": "2106-02-08"},
    }[at[:4]]


def of_meter(up, serial):
    """What is said to be the newest of a meter."""
    latest = [row for row in up.ask("/latest")["latest"] if row["meter"] == serial]
    meters = [row for row in up.ask("/meters")["meters"] if row["meter"] == serial]
    return latest, [row["last_read_at"] for row in meters]


# -- the quarantine's commands ----------------------------------------------------------------


def test_showing_what_is_not_in_quarantine_is_refused(up):
    done = call(up.home, "quarantine", "show", "999999", "--json")

    assert done.status == 1
    assert done.document["status"] == 404
    assert "quarantine list" in done.document["detail"]
    assert done.document["detail"] in " ".join(done.err.split())


def test_a_state_that_does_not_exist_is_wrong_use(up):
    assert call(up.home, "quarantine", "list", "--state", "gone", "--json").status == 2


def test_replaying_what_is_still_wrong_leaves_it_open(up, counted):
    publish(up, reading("still nobody", "2024-03-01T00:00:00Z", 1.0))
    sequence = up.ask("/quarantine", code="unknown_meter")["entries"][-1]["sequence"]

    done = call(up.home, "quarantine", "replay", str(sequence), "--json")

    assert done.status == 0
    assert (done.document["messages"], done.document["still_open"]) == (1, 1)
    assert counted('tanyuan_quarantine_open{code="unknown_meter"}') == 1


@pytest.mark.parametrize("way", ["check --apply", "SIGHUP", "check --apply, then a kill"])
def test_a_meter_added_to_the_site_file_brings_its_quarantined_readings_in(up, way):
    serial = "new-" + "".join(c for c in way if c.isalpha())
    publish(up, *quarter_hours(serial))
    listed = call(up.home, "quarantine", "list", "--code", "unknown_meter", "--json").document
    waiting = [each["sequence"] for each in listed["entries"] if each["meter"] == f"park/{serial}"]
    assert len(waiting) == 97

    with (up.home / "site.yaml").open("a") as site:
        site.write(METER.format(serial))
    if way == "SIGHUP":
        up.process.send_signal(signal.SIGHUP)
        until(lambda: up.get("/api/v1/meters")[1].count(serial.encode()))
    else:
        done = call(up.home, "check", "--apply", "--json")
        assert (done.status, done.document["changed"]) == (0, ["park"])
    if "kill" in way:
        up.kill()
        up.start()

    until(lambda: not of_quarantine(up, serial, "open"))
    rows = up.ask("/energy", **SPAN, every="hour", point=f"p-{serial}")["series"][0]["rows"]
    # four quarter hours of 2 kWh
    assert [row["value"] for row in rows] == [8.0] * 24
    assert of_quarantine(up, serial, "replayed") == waiting


def of_quarantine(up, serial, state):
    entries = up.ask("/quarantine", state=state, limit=100_000)["entries"]
    return [each["sequence"] for each in entries if each["meter"] == f"park/{serial}"]


def until(done, *, wait_s=20):
    """Wait until something is so."""
    deadline = time.monotonic() + wait_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# -- broken packets while a good client is served ---------------------------------------------


class GoodClient:
    """Publishes one reading after the other, and notes how long each acknowledgement takes."""

    def __init__(self, up):
        self.waits, self._up, self._stop = [], up, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        with RawClient(self._up.mqtt_port, client_id="good") as client:
            while not self._stop.is_set():
                number = len(self.waits) + 1
                at = f"2024-03-01T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
                began = time.monotonic()
                client.publish(TOPIC, reading("live", at, float(number)), number)
                assert client.packet() == puback(number)
                self.waits.append(time.monotonic() - began)
                time.sleep(0.005)


def broken(rng, version):
    """The bytes of a session, cut off or with some of them changed."""
    payload = reading("mutant", "2024-03-01T00:00:00Z", 1.0)
    data = bytearray(connect_packet(version) + publish_packet(version, TOPIC, payload, 1))
    data += publish_packet(version, TOPIC, payload) + b"\xc0\0"
    if rng.random() < 0.3:
        return bytes(data[: rng.randrange(1, len(data))])
    for _ in range(rng.randrange(1, 5)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def test_broken_packets_harm_nobody_but_their_sender(up, counted):
    rng = random.Random(SEED)
    before_mb = up.memory_peak_mb()

    with GoodClient(up) as good:
        for number in range(FUZZED):
            said_by(up, broken(rng, 5 if number % 2 else 4), hang_up=True)

    assert len(good.waits) > 100
    assert max(good.waits) < SLOWEST_ACK_S
    assert counted("tanyuan_listener_malformed_total") > FUZZED / 10
    assert counted("tanyuan_listener_connections_total") == FUZZED + 1
    assert up.memory_peak_mb() - before_mb < 50
    rows = up.ask("/series", **SPAN, meter="live", register="active_import")["readings"]
    assert {float(n) for n in range(1, len(good.waits) + 1)} <= {row["value"] for row in rows}
    assert "Traceback" not in up.log
