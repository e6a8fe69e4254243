"""The console can be mounted again in the same process, for another home."""

from __future__ import annotations

import httpx2
import pytest

from api.running import doors
from api.services import open_services
from api.settings import load_settings
from tests.acceptance.running import make_home
from tests.api.live_park import MEWS, PARK


@pytest.mark.parametrize(("site", "name"), [(PARK, "模拟园区"), (MEWS, "Mews")])
def test_each_mount_shows_its_own_home_and_leaves_no_files(tmp_path, monkeypatch, site, name):
    monkeypatch.chdir(tmp_path)
    home = make_home(tmp_path / "home", site)
    settings = load_settings(home, environ={}, given={"mqtt_port": 0, "http_port": 0})
    with open_services(settings) as services, doors(services) as running:
        page = httpx2.get(f"http://127.0.0.1:{running.http_port}/", trust_env=False, timeout=30)

    assert page.status_code == 200
    assert name in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
