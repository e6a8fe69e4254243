"""What deploy/README.md names is there: commands, files, settings, metrics; a recipe is run."""

from __future__ import annotations

import re
import shutil
from types import SimpleNamespace

import click

from api.cli import cli
from api.services import open_services
from api.settings import Settings, load_settings
from api.status import metrics_text
from ingest.journal import Journal
from ingest.listener import ListenerCounts
from ingest.projector import ProjectorCounts
from ingest.subscriber import SubscriberCounts
from tests.acceptance.running import call, make_home
from tests.api.test_backup import FACTORS, SITE, answers, fill, message, saved, verified
from tests.deploy.brokers import DEPLOY

README = (DEPLOY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]


def test_every_command_and_option_is_one():
    asked = [
        re.sub(r"--home \S+ ", "", line[found.end() :]).split()
        for line in LINES
        if (
            found := re.search(
                r"(?:^|bin/|run --rm --no-deps tanyuan |exec tanyuan )tanyuan ", line
            )
        )
    ]

    assert {words[0] for words in asked} >= {"init", "check", "doctor", "backup", "restore"}
    for words in asked:
        command = cli.commands[words[0]]
        for word in words[1:]:
            if isinstance(command, click.Group):
                command = command.commands[word]
        known = {text for option in command.params for text in option.opts}
        assert {word for word in words[1:] if word.startswith("--")} <= known


def test_what_runs_as_the_user_of_the_service_reads_nothing_of_the_checkout():
    """Which may be in /root; and a minimal Debian has no sudo."""
    as_user = [line for line in LINES if re.match("(sudo|runuser|su|setpriv) ", line)]
    as_user = [line for line in as_user if not line.startswith("runuser -u postgres -- ")]

    assert len(as_user) >= 3
    assert all(line.startswith("runuser -u tanyuan -- /opt/tanyuan/bin/") for line in as_user)
    assert "deploy/" not in " ".join(as_user)
    assert "sudo" not in README


def test_every_file_it_names_is_there():
    named = re.findall(r"deploy/([a-z*./-]+\.(?:sh|yaml|toml|service|timer))(?!\.)", README)
    named += re.findall(r"`((?:mosquitto|nginx|systemd)/[a-z./]*)`", README)
    made = {"home/site.yaml"}

    assert len(named) > 10
    for name in set(named) - made:
        assert list(DEPLOY.glob(name.rstrip("/"))), name


def test_every_setting_it_names_is_one():
    known = {f"TANYUAN_{name.upper()}" for name in Settings.model_fields}
    known |= {
        name
        for file in DEPLOY.glob("compose*.yaml")
        for name in re.findall(r"\$\{(TANYUAN_[A-Z_]+):-", file.read_text(encoding="utf-8"))
    }

    assert set(re.findall(r"TANYUAN_[A-Z_]+[A-Z]", README)) <= known


def test_settings_of_servers_it_shows_are_ones_that_are_taken(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "tanyuan.toml").write_text(block, encoding="utf-8")

    found = load_settings(tmp_path, environ={})

    assert (found.store, found.influx_org) == ("influxdb", "tanyuan")
    assert found.ledger_url == "postgresql://tanyuan:PASSWORD@127.0.0.1/tanyuan"


def test_first_readme_has_each_setting_in_one_row():
    text = (DEPLOY.parent / "README.md").read_text(encoding="utf-8")
    rows = re.search(r"\| setting \|.*?\n\n", text, re.DOTALL)[0].splitlines()[2:]
    named = [
        name for row in rows if row for name in re.findall("`(TANYUAN_[A-Z_]+)`", row.split("|")[1])
    ]

    assert len(named) > 30
    assert sorted(named) == sorted(set(named))


def test_ledger_is_put_back_before_the_home_and_after_the_settings():
    (block,) = [block for block in BLOCKS if "pg_restore -d tanyuan" in block]
    order = ["systemctl stop", "tanyuan.toml /var/lib/tanyuan/tanyuan.toml", "pg_restore",
             "--home /var/lib/tanyuan restore", "systemctl start"]  # fmt: skip

    found = [block.index(words) for words in order]
    assert found == sorted(found)


def test_every_metric_it_names_is_given(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    with open_services(load_settings(home, environ={})) as given:
        given.listener = SimpleNamespace(counts=ListenerCounts())
        given.subscriber = SimpleNamespace(counts=SubscriberCounts(), connected=True)
        given.leading = SimpleNamespace(leads=True)
        given.indicators = SimpleNamespace(last_error="")
        given.projecting = SimpleNamespace(counts={"j": ProjectorCounts()}, conflicts=0, errors=0)
        text = metrics_text(given).decode()
    only_later = {"tanyuan_journal_days_left"}  # once there is an hour of messages

    rows = re.search(r"## What to watch\n(.*?)\n## ", README, re.DOTALL)[1]
    named = set(re.findall(r"tanyuan_[a-z_]+[a-z]", rows))
    assert len(named) > 12
    assert {n for n in named - only_later if f"# TYPE {n} " not in text} == set()


def test_pace_of_the_journal_is_a_metric_too(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    fill(home, 300)
    with open_services(load_settings(home, environ={})) as given:
        assert "\ntanyuan_journal_days_left " in metrics_text(given).decode()


def test_sealed_segments_copied_after_the_backup_extend_what_was_restored(tmp_path):
    home = make_home(tmp_path / "home", SITE, factors={"own.yaml": FACTORS})
    fill(home, 300)
    saved(home, tmp_path / "b.tar.zst")
    with Journal(home / "journal", min_free_bytes=0) as journal:
        for start in range(300, 600, 150):
            journal.append([message(n) for n in range(start, start + 150)])
            journal.roll()
        journal.seal_pending()
    before, whole = answers(home), verified(home)
    copies = tmp_path / "elsewhere"
    copies.mkdir()
    for path in (home / "journal").glob("*.sealed"):
        shutil.copy(path, copies)
    shutil.rmtree(home)

    assert call(home, "restore", str(tmp_path / "b.tar.zst")).status == 0
    for path in copies.iterdir():
        if not (home / "journal" / path.name).exists():
            shutil.copy(path, home / "journal")
    assert call(home, "rebuild").status == 0

    assert verified(home).head == whole.head
    assert (verified(home).messages, verified(home).problems) == (600, ())
    assert answers(home) == before
