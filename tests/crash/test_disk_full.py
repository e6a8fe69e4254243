"""The disk fills under a running `up`: it says so, acknowledges nothing, loses nothing, goes on."""

import os
import random
import shutil
import subprocess
import time

import pytest

from tests.acceptance.running import call
from tests.crash.clients import Paho
from tests.crash.fleet import make_fleet, messages_of, site_yaml
from tests.crash.running import Up
from tests.ingest.raw_mqtt import RawClient, puback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 1 << 20
SIZE_MIB, BALLAST_MIB, FREE_MIB = 48, 24, 8
TOPIC = "tanyuan/park/gw/readings"
SPAN = {"first": "2023-03-01", "to": "2023-03-10"}
QUOTA_EXCEEDED = 0x97
SEED = 7


@pytest.fixture
def small(tmp_path):
    """A small file system, in which something else takes much of the room."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root to mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a small file system")
    (place / "ballast").write_bytes(bytes(BALLAST_MIB * MIB))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def fleet():
    """Four meters."""
    return make_fleet(SEED, electricity=4, heat=0, gas=0, readings=2500)


@pytest.fixture
def up(small, tmp_path, fleet):
    home = small / "home"
    home.mkdir()
    (home / "site.yaml").write_text(site_yaml(fleet))
    # an answer waits 1 s, not 10, for what cannot be written meanwhile
    running = Up(home, min_free_mb=FREE_MIB, answer_wait_s=1)
    running.log_file = tmp_path / "up.log"
    with running:
        yield running


def padded(payload, rng, *, size):
    """The same message, longer by a field nobody reads, which no compression makes shorter."""
    return payload[:-1] + b', "note": "' + rng.randbytes(size // 2).hex().encode() + b'"}'


def publish_until_refused(up, payloads, *, version=5):
    """Publish one by one until one is refused; how many were acknowledged, and the last words."""
    with RawClient(up.mqtt_port, version=version, client_id="filler") as client:
        for number, payload in enumerate(payloads, 1):
            client.publish(TOPIC, payload, number)
            said = client.packet()
            if said != puback(number):
                return number - 1, said
    raise AssertionError("the disk never filled")


def stored(up, meter):
    readings = up.ask("/series", meter=meter.serial, register=meter.register, **SPAN)["readings"]
    return [(row["at"], row["value"]) for row in readings]


def until(done, *, wait_s=30):
    """Wait until something is so."""
    deadline = time.monotonic() + wait_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_disk_that_fills_is_told_and_room_is_all_it_takes(up, small, fleet, tmp_path):
    rng = random.Random(SEED)
    messages = messages_of(fleet, per_message=4)
    long = [padded(message, rng, size=200_000) for message in messages[:120]]

    acked, farewell = publish_until_refused(up, long)

    assert acked > 20
    assert (farewell[:1], farewell[2]) == (b"\xe0", QUOTA_EXCEEDED)
    assert publish_until_refused(up, long[acked:], version=4) == (0, b"")
    check_it_says_why(up)
    for meter in fleet:
        assert stored(up, meter) == meter.rows()[:acked]

    client = Paho(up.mqtt_port, tmp_path)
    try:
        client.feed([*long[acked:], *messages[len(long) :]])
        time.sleep(3)
        assert client.acked() == set()
        (small / "ballast").unlink()
        client.finish()
    finally:
        client.close()

    assert len(client.acked()) == len(messages) - acked
    assert up.process.poll() is None
    assert up.get("/readyz") == (200, b"ready\n")
    assert call(up.home, "status", "--json").document["problems"] == []
    for meter in fleet:
        assert stored(up, meter) == meter.rows()


def check_it_says_why(up):
    status, body = up.get("/readyz")
    assert status == 503
    assert b"make room" in body.lower()
    document = call(up.home, "status", "--json").document
    assert document["ready"] is False
    assert "make room" in " ".join(document["problems"]).lower()
    assert document["journal"]["refused_batches"] >= 1
    assert up.metrics()["tanyuan_listener_journal_refusals_total"] >= 1
    assert "messages are refused" in up.log


def test_it_is_ready_as_soon_as_there_is_room_whether_anyone_publishes_or_not(up, small, fleet):
    rng = random.Random(SEED)
    messages = messages_of(fleet, per_message=4)[:200]
    publish_until_refused(up, [padded(message, rng, size=200_000) for message in messages])
    assert up.get("/readyz")[0] == 503

    (small / "ballast").unlink()

    until(lambda: up.get("/readyz")[0] == 200, wait_s=5)


def test_a_disk_without_a_byte_left_loses_nothing_that_was_acknowledged(up, small, fleet, tmp_path):
    messages = messages_of(fleet, per_message=20)
    client = Paho(up.mqtt_port, tmp_path)
    try:
        client.feed(messages[:250])
        until(lambda: len(client.acked()) == 250)
        fill(small / "rest")
        # nothing can be written now; what is asked is answered, or refused with its reason
        for _ in range(5):
            status, body = up.get("/readyz")
            assert (status, b"room" in body.lower()) == (503, True)
            assert up.get("/api/v1/latest")[0] in (200, 503)
            time.sleep(0.5)
        client.feed(messages[250:])
        time.sleep(3)
        assert len(client.acked()) == 250
        (small / "rest").unlink()
        client.finish()
    finally:
        client.close()

    assert len(client.acked()) == len(messages)
    until(lambda: up.get("/readyz")[0] == 200)
    # the projector tries again every 10 s at the latest
    until(lambda: b'"behind"' not in up.get("/api/v1/latest")[1])
    for meter in fleet:
        assert stored(up, meter) == meter.rows()
        rows = up.ask("/energy", **SPAN, every="hour", point=meter.point)["series"][0]["rows"]
        truth = meter.hourly_kwh(9 * 24)
        values = [row["value"] for row in rows[:208]]
        assert values == pytest.approx(truth[:208].tolist(), abs=1e-6)


def fill(path):
    """Write until there is no room at all."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_killed_on_a_full_disk_it_starts_again_once_there_is_room(up, small, fleet, tmp_path):
    messages = messages_of(fleet, per_message=20)[:100]
    client = Paho(up.mqtt_port, tmp_path)
    try:
        client.feed(messages)
        client.finish()
    finally:
        client.close()
    fill(small / "rest")
    up.kill()

    up.spawn()
    assert up.process.wait(60) == 3
    (small / "rest").unlink()
    up.start()

    last = up.log.split("No room on the disk.")[1]
    assert "Make room on the disk of the home" in " ".join(last.split())
    assert "Traceback" not in up.log
    # 100 messages of 20 readings, four meters: 500 each
    for meter in fleet:
        assert stored(up, meter) == meter.rows()[:500]
