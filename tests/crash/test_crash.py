"""Killed ten times while foreign clients publish: nothing acknowledged is lost or counted twice."""

import logging
import random
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.acceptance.running import PROGRAM, call, environment, run
from tests.crash.clients import MosquittoPub, Paho
from tests.crash.fleet import make_fleet, messages_of, site_yaml
from tests.crash.running import Up
from tests.shape import lose_store, settings_of

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 20230301
KILLS = 10
HOURS = 9 * 24
SPAN = {"first": "2023-03-01", "to": "2023-03-10"}
"""2,500 readings five minutes apart are 8.7 days."""
PER_MESSAGE, BURST = 20, 40
HOURLY = ("energy", "--from", SPAN["first"], "--to", SPAN["to"], "--every", "hour", "--json")
EVERY = ("15min", "hour", "day", "month", "year")
CLIENTS = {"paho, MQTT 5": Paho, "mosquitto_pub, MQTT 3.1.1": MosquittoPub}
QUESTIONS = {
    **{f"energy, {each}": ("/energy", {**SPAN, "every": each}) for each in EVERY},
    **{f"emissions, {each}": ("/emissions", {**SPAN, "every": each}) for each in EVERY},
    "energy of a point": ("/energy", {**SPAN, "every": "hour", "point": "p-E00"}),
    "quota": ("/quota", {"on": "2023-03-09"}),
    "latest": ("/latest", {}),
    "quarantine": ("/quarantine", {"state": "all"}),
    "series": ("/series", {**SPAN, "meter": "E07", "register": "active_import"}),
    "trace": ("/trace/energy", {"point": "p-E03", "at": "2023-03-04T10:00:00Z"}),
}
UNREADABLE = [
    b'{"meter": "E00", "at": "2023-03-01T00:01:00Z", "registers": {"active_import": NaN}}',
    b'{"meter": "nobody", "at": "2023-03-01T00:01:00Z", "registers": {"active_import": 1}}',
    b"\xff\xfe no text",
]


@dataclass
class Survivor:
    """An installation that was killed again and again while a client published."""

    up: Up
    fleet: list
    moments: list = field(default_factory=list)
    """When it was killed: seconds after it was up, messages acknowledged, meter looked at."""
    lost: list = field(default_factory=list)
    """What was acknowledged before a kill and not there after it."""
    acked: int = 0
    messages: int = 0


@pytest.fixture(scope="module", params=sorted(CLIENTS))
def survivor(request, tmp_path_factory):
    if "mosquitto" in request.param and shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto_pub is not installed here")
    folder = tmp_path_factory.mktemp("crash")
    home = folder / "home"
    home.mkdir()
    fleet = make_fleet(SEED)
    (home / "site.yaml").write_text(site_yaml(fleet))
    with Up(home) as up:
        client = CLIENTS[request.param](up.mqtt_port, folder)
        found = Survivor(up, fleet)
        try:
            kill_while_publishing(found, client, random.Random(SEED))
        finally:
            client.close()
        log.warning("seed %d; killed at (s, messages acknowledged): %s", SEED, found.moments)
        yield found


def kill_while_publishing(found, client, rng):
    """Hand the client a share of the messages in each life, and end the life at some moment."""
    messages = [*UNREADABLE, *messages_of(found.fleet, per_message=PER_MESSAGE)]
    found.messages = len(messages)
    shares = np.array_split(np.arange(len(messages)), KILLS + 1)
    for life, share in enumerate(shares):
        own = [messages[number] for number in share]
        feeder = threading.Thread(target=feed, args=(client, own, rng.random()))
        feeder.start()
        if life < KILLS:
            moment = rng.uniform(0.02, 1.0)
            time.sleep(moment)
            found.up.kill()
            before = client.acked()
            found.moments.append((round(moment, 3), len(before)))
            found.up.spawn()
            if rng.random() < 0.3:
                time.sleep(rng.uniform(0.1, 2.0))
                found.up.kill()
                found.up.spawn()
            found.up.wait_until_up()
            found.lost += missing(found, before, rng.choice(found.fleet))
        feeder.join()
    client.finish()
    found.acked = len(client.acked())


def feed(client, messages, pace):
    for start in range(0, len(messages), BURST):
        client.feed(messages[start : start + BURST])
        time.sleep(pace / 10)


def missing(found, acked, meter):
    """Readings of a meter whose message was acknowledged and that are not in the store."""
    stored = {(row["at"], row["value"]) for row in readings_of(found.up, meter)}
    place = found.fleet.index(meter)
    sent_in = [
        len(UNREADABLE) + (slot * len(found.fleet) + place) // PER_MESSAGE
        for slot in range(len(meter.at_s))
    ]
    rows = zip(sent_in, meter.rows(), strict=True)
    return [(meter.serial, *row) for number, row in rows if number in acked and row not in stored]


def readings_of(up, meter):
    return up.ask("/series", meter=meter.serial, register=meter.register, **SPAN)["readings"]


def series(up, **query):
    """The rows of each carrier."""
    return {each["carrier"]: each["rows"] for each in up.ask("/energy", **SPAN, **query)["series"]}


def answers(up):
    """Every question's answer, as bytes."""
    found = {}
    for name, (path, query) in QUESTIONS.items():
        status, body = up.get("/api/v1" + path, **query)
        assert status == 200, (path, body)
        assert b'"behind"' not in body, (path, body[-200:])
        found[name] = body
    return found


def test_everything_was_acknowledged_in_the_end(survivor):
    assert survivor.acked == survivor.messages == 5000 + len(UNREADABLE)
    assert len(survivor.moments) == KILLS


def test_after_each_restart_what_was_acknowledged_before_is_there(survivor):
    assert survivor.lost == []


def test_every_reading_is_in_the_store_exactly_once(survivor):
    for meter in survivor.fleet:
        stored = [(row["at"], row["value"]) for row in readings_of(survivor.up, meter)]

        assert stored == meter.rows(), meter.serial


def test_the_hourly_energy_of_every_point_is_right(survivor):
    for meter in survivor.fleet:
        rows = series(survivor.up, every="hour", point=meter.point)[meter.carrier]

        truth = meter.hourly_kwh(HOURS)
        # 2,500 × 300 s are 208.3 hours: the 209th is known in part, and nothing after it
        known = [row["value"] for row in rows if row["value"] is not None]
        assert len(rows) == HOURS
        assert len(known) in (208, 209)
        np.testing.assert_allclose(known, truth[: len(known)], atol=1e-6)
        assert all(row["coverage"] == 1 for row in rows[:208])


def test_the_command_beside_it_gives_the_hours_of_the_whole_site(survivor):
    done = run(survivor.up.home, *HOURLY)

    assert done.status == 0, done.err
    for carrier in ("electricity", "heat", "gas"):
        own = [meter for meter in survivor.fleet if meter.carrier == carrier]
        rows = next(s for s in done.document["series"] if s["carrier"] == carrier)["rows"]
        truth = np.sum([meter.hourly_kwh(HOURS) for meter in own], axis=0)
        values = [row["value"] for row in rows[:208]]
        np.testing.assert_allclose(values, truth[:208], atol=1e-6 * len(own))


def test_what_could_not_be_read_is_listed_once_each(survivor):
    entries = survivor.up.ask("/quarantine")["entries"]

    assert len({entry["sequence"] for entry in entries}) >= len(UNREADABLE)
    assert {entry["code"] for entry in entries} == {"not_finite", "unknown_meter", "invalid_utf8"}
    assert len({(entry["sequence"], entry["part"]) for entry in entries}) == len(entries)


def test_without_its_store_it_is_made_again_and_every_answer_is_the_same_to_the_byte(survivor):
    up, rng = survivor.up, random.Random(SEED)
    before = answers(up)
    up.kill()
    lose_store(up.home)

    # a rebuild that is killed itself, at some moments, is begun again
    killed = [rebuild_killed_after(up.home, rng.uniform(0.5, 3.0)) for _ in range(3)]
    rebuilt = run(up.home, "rebuild", "--json", timeout_s=300)

    log.warning("rebuilds killed after (s, how it had ended): %s", killed)
    assert rebuilt.status == 0, rebuilt.err
    assert rebuilt.document["readings"] == 100_000
    # without a running process: the command opens the home itself
    alone = call(up.home, *HOURLY)
    assert alone.out == before["energy, hour"]
    up.start()
    after = answers(up)
    assert [name for name in before if before[name] != after[name]] == []


def rebuild_killed_after(home, seconds):
    """Begin a rebuild and kill it; how it ended, None if it was still at work then."""
    process = subprocess.Popen(
        [str(PROGRAM), "--home", str(home), "rebuild"],
        env=environment(**settings_of(home)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    ended = process.poll()
    process.kill()
    process.wait()
    return round(seconds, 2), ended
