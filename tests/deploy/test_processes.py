"""An installation in several processes: what each does, and what happens when one is killed."""

from __future__ import annotations

import json
import shutil

import pytest

from ingest.journal import Journal
from tests import postgres_server
from tests.acceptance.running import make_home, run
from tests.api.test_backup import FACTORS, SITE, message
from tests.crash.running import Up
from tests.deploy.brokers import PASSWORDS, ShippedMosquitto, wait_until
from tests.deploy.parts import Installation
from tests.influx_server import own_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOPIC = "tanyuan/park/gw1/readings"
SPAN = {"first": "2024-01-01", "to": "2024-02-01"}
QUESTIONS = (
    ("/energy", {**SPAN, "every": "hour"}),
    ("/emissions", {**SPAN, "every": "day"}),
    ("/quota", {"on": "2024-01-20"}),
)
GOOD = [n for n in range(700) if n % 50 != 49]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servers")
    influx = own_server()
    broker = ShippedMosquitto(folder)
    broker.start()
    yield influx, broker
    broker.kill()
    influx.end()


@pytest.fixture(scope="module")
def installation(servers, tmp_path_factory):
    influx, broker = servers
    folder = tmp_path_factory.mktemp("installation")
    config = make_home(folder / "config", SITE, factors={"own.yaml": FACTORS})
    ledgers, name = postgres_server.server(), postgres_server.name_for(folder)
    made = Installation(
        folder,
        config,
        influx,
        ledgers.new_database(name),
        TANYUAN_BROKER=f"mqtts://collector@localhost:{broker.port}",
        TANYUAN_BROKER_PASSWORD=PASSWORDS["collector"],
        TANYUAN_BROKER_CA=str(broker.folder / "ca.crt"),
        TANYUAN_BROKER_SHARE="collectors",
    )
    yield made
    made.end()
    ledgers.drop(name)


@pytest.fixture(scope="module")
def started(installation):
    """Two of each that may be there twice."""
    for name in ("one", "two"):
        part = installation.part(
            f"collect-{name}", "collect", TANYUAN_BROKER_CLIENT_ID=f"tanyuan-{name}"
        )
        wait_until(lambda part=part: part.ask("/status")["broker"]["connected"])
    for name in (
        "schedule-one",
        "schedule-two",
        "project-one",
        "project-two",
        "serve-one",
        "serve-two",
    ):
        installation.part(name, name.partition("-")[0])
    return installation


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same messages in one process with the embedded parts: what answers are held against."""
    home = make_home(tmp_path_factory.mktemp("alone") / "home", SITE, factors={"own.yaml": FACTORS})

    def answers(count):
        with Journal(home / "journal", min_free_bytes=0) as journal:
            journal.append([message(n) for n in range(journal.last_sequence, count)])
        with Up(home, min_free_mb=16) as up:
            return [up.ask(path, **query) for path, query in QUESTIONS]

    return answers


def publish(broker, numbers):
    with broker.client("gw1") as gateway:
        sent = gateway.flood(TOPIC, [message(n).payload for n in numbers])
    assert len(sent) == len(numbers)


def answers_of(part):
    return [part.ask(path, **query) for path, query in QUESTIONS]


def lags_of(part):
    """How far behind each journal is that a process projects."""
    name = "tanyuan_journal_lag_messages"
    return [value for key, value in part.metrics().items() if key.startswith(name)]


def journals(installation):
    """The payloads of every journal on disk."""
    return [
        [record.payload for record in Journal.open_read_only(home / "journal").read(0)]
        for home in sorted(installation.folder.glob("collect-*"))
        if home.is_dir()
    ]


def test_what_two_collectors_divide_is_answered_as_one_process_would(started, servers, alone):
    publish(servers[1], range(300))
    parts = started.parts
    wait_until(lambda: sum(map(len, journals(started))) == 300)
    assert all(len(each) > 20 for each in journals(started))

    expected = alone(300)

    assert answers_of(parts["serve-one"]) == expected
    assert answers_of(parts["serve-two"]) == expected
    status = parts["serve-one"].ask("/status")
    assert status["role"] == "serve"
    assert status["lag"]["messages"] == 0
    assert {each["role"] for each in status["journals"]} == {"collect"}


def test_the_doctor_finds_every_part_well(started):
    for name, part in started.parts.items():
        status, out, said = started.run(name, "doctor", "--json")
        found = {check["name"]: check for check in json.loads(out)["checks"]}
        assert status == 0, [name, said, [c for c in found.values() if c["status"] == "fail"]]
        assert f"`{part.command}`" in found["process"]["message"]
        assert ("broker" in found) == (part.command == "collect")
        assert found["store"]["status"] == "ok"
        others = 1 if part.command == "collect" else 2
        assert found["journals"]["message"].startswith(f"{others} of {others}")
        roles = {key for key in part.metrics() if key.startswith("tanyuan_build_info")}
        assert f'role="{part.command}"' in str(roles)


def test_a_figure_leads_to_the_telegrams_of_both_journals(started):
    serve = started.parts["serve-one"]
    ids = {each["journal"] for each in serve.ask("/status")["journals"]}
    found = set()
    for hour in range(1, 12):
        at = f"2024-01-02T{hour:02}:30:00Z"
        told = serve.ask("/trace/energy", point="a-main", at=at)
        assert [json.loads(t["text"])["meter"] for t in told["telegrams"]] == ["E1", "E1"]
        found |= {t["journal"] for t in told["telegrams"]}
    assert found == ids


def test_a_journal_is_served_to_those_who_have_the_token_only(started):
    part = started.parts["collect-one"]
    name = part.ask("/status")["journal"]["journal_id"]
    status, body = part.get(f"/journal/{name}/1")
    assert status == 200
    assert bytes.fromhex(json.loads(body)["hex"]) == journals(started)[0][0]
    assert part.get(f"/journal/{name}/100000")[0] == 404
    assert part.get("/journal/another/1")[0] == 404
    assert Up.get(part, f"/journal/{name}/1")[0] == 401
    assert Up.get(part, f"/journal/{name}/records", after=0)[0] == 401


def test_what_could_not_be_read_is_shown_wherever_it_is_kept(started):
    serve = started.parts["serve-two"]
    listed = serve.ask("/quarantine")
    assert listed["open"] == 6  # every fiftieth of 300 is garbage
    for entry in listed["entries"]:
        shown = serve.ask(f"/quarantine/{entry['sequence']}", journal=entry["journal"])
        assert shown["text"] == "{"
    assert serve.post("/quarantine/replay", {})["still_open"] == 6


def test_one_of_two_leads_and_the_other_takes_over_when_it_is_killed(started, servers, alone):
    one, two = (started.parts[f"schedule-{name}"] for name in ("one", "two"))
    leads = {part: part.metrics()["tanyuan_leads"] for part in (one, two)}
    assert sorted(leads.values()) == [0, 1]
    leader, other = sorted((one, two), key=lambda part: -leads[part])

    leader.kill()
    publish(servers[1], range(300, 400))
    wait_until(lambda: other.metrics()["tanyuan_leads"] == 1, seconds=60)

    assert answers_of(started.parts["serve-one"]) == alone(400)
    leader.start()
    assert leader.metrics()["tanyuan_leads"] == 0


def test_a_journal_whose_projector_is_killed_is_taken_over(started, servers, alone):
    one, two = (started.parts[f"project-{name}"] for name in ("one", "two"))
    killed, other = (one, two) if lags_of(one) else (two, one)

    killed.kill()
    publish(servers[1], range(400, 500))

    wait_until(lambda: len(lags_of(other)) == 2, seconds=60)
    assert answers_of(started.parts["serve-one"]) == alone(500)
    killed.start()


def test_while_nobody_projects_answers_say_what_they_miss(started, servers, alone):
    projectors = [started.parts[f"project-{name}"] for name in ("one", "two")]
    for part in projectors:
        part.kill()
    publish(servers[1], range(500, 510))

    status, body = started.parts["serve-one"].get("/api/v1/quota", on="2024-01-20")
    assert status == 200
    assert json.loads(body)["behind"]["messages"] == 10
    assert started.parts["serve-one"].ask("/status")["lag"]["messages"] == 10

    for part in projectors:
        part.start()
    wait_until(lambda: sum(len(lags_of(part)) for part in projectors) == 2, seconds=60)
    assert answers_of(started.parts["serve-one"]) == alone(510)


def test_a_collector_that_is_killed_loses_and_doubles_nothing(started, servers, alone):
    collector = started.parts["collect-two"]
    publish(servers[1], range(510, 550))
    collector.kill()
    publish(servers[1], range(550, 650))
    collector.start()
    publish(servers[1], range(650, 700))

    sent = {message(n).payload for n in range(700)}
    wait_until(lambda: {p for each in journals(started) for p in each} == sent, seconds=60)
    wait_until(
        lambda: started.parts["serve-one"].ask("/status")["lag"]["messages"] == 0, seconds=60
    )

    assert answers_of(started.parts["serve-one"]) == alone(700)


def test_what_a_silent_collector_may_still_hold_is_said_with_every_answer(started):
    collector, serve = started.parts["collect-one"], started.parts["serve-one"]
    name = collector.ask("/status")["journal"]["journal_id"]
    collector.kill()

    status, body = serve.get("/api/v1/quota", on="2024-01-20")
    assert status == 200
    assert json.loads(body)["behind"] == {"messages": 0, "oldest": None, "unknown": [name]}

    status, out, _ = started.run("serve-one", "doctor", "--json")
    silent = [c for c in json.loads(out)["checks"] if c["name"] == "journals"]
    assert status == 0
    assert [check["status"] for check in silent] == ["warn"]
    assert name in silent[0]["message"]
    _, out, said = started.run("serve-one", "quota", "--on", "2024-01-20")
    assert f"journal {name} does not answer" in " ".join(said.split())

    collector.start()
    assert serve.ask("/quota", on="2024-01-20")["quotas"]


def test_a_collector_that_ended_in_order_is_not_waited_for(started):
    collector, serve = started.parts["collect-one"], started.parts["serve-one"]
    assert collector.stop() == 0
    assert serve.ask("/quota", on="2024-01-20")["quotas"]
    collector.start()


def test_home_of_a_collector_is_restored_while_the_others_go_on(started, tmp_path, alone):
    collector, file = started.parts["collect-two"], tmp_path / "b.tar.zst"
    before = journals(started)
    status, out, said = started.run("collect-two", "backup", str(file), "--json")
    assert status == 0, said
    assert json.loads(out)["shared"] is True
    assert collector.stop() == 0
    shutil.rmtree(collector.home)

    status, out, said = started.run("collect-two", "restore", str(file), "--json")

    assert status == 0, said
    assert json.loads(out)["store"]["rebuilt"] is False
    assert journals(started) == before
    collector.start()
    assert answers_of(started.parts["serve-one"]) == alone(700)


def test_everything_is_made_again_from_all_journals_once_nobody_works_on_it(started, alone):
    before = answers_of(started.parts["serve-one"])
    for name in ("schedule-one", "schedule-two"):
        assert started.parts[name].stop() == 0
    status, _, said = started.run("schedule-one", "rebuild", "--json")
    assert status == 1, said
    assert "project/" in said

    for name in ("project-one", "project-two"):
        assert started.parts[name].stop() == 0
    status, out, said = started.run("schedule-one", "rebuild", "--json")

    assert status == 0, said
    assert json.loads(out)["readings"] == len(GOOD)
    assert json.loads(out)["messages"] == sum(map(len, journals(started)))
    # Who was there before is told once that the store is another one now.
    serve = started.parts["serve-one"]
    wait_until(lambda: serve.get("/api/v1/quota", on="2024-01-20")[0] == 200)
    assert answers_of(serve) == before == alone(700)


@pytest.mark.parametrize("command", ["listen", "project", "serve", "schedule"])
def test_a_part_says_what_settings_it_needs(tmp_path, command):
    make_home(tmp_path / "home", SITE)
    told = run(tmp_path / "home", command)
    assert told.status == 1
    for name in ("TANYUAN_STORE=influxdb", "TANYUAN_LEDGER", "TANYUAN_HTTP_TOKEN"):
        assert name in told.err
