"""Which token Grafana gets to read InfluxDB with."""

from __future__ import annotations

import pytest

from api.publishing import GrafanaRefused, datasource_document
from api.settings import load_settings

OWN, READ_ONLY = "may-write-too", "may-only-read"


def datasource(folder, **environ):
    settings = load_settings(folder, environ={"INFLUXDB_V2_ORG": "park", **environ})
    return datasource_document(settings)


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        ({"INFLUXDB_V2_TOKEN": OWN, "TANYUAN_GRAFANA_INFLUX_TOKEN": READ_ONLY}, READ_ONLY),
        ({"TANYUAN_GRAFANA_INFLUX_TOKEN": READ_ONLY}, READ_ONLY),
        ({"INFLUXDB_V2_TOKEN": OWN}, OWN),
    ],
    ids=["both", "its own alone", "ours alone"],
)
def test_grafana_gets_the_token_that_is_meant_for_it(tmp_path, environ, token):
    assert datasource(tmp_path, **environ)["secureJsonData"] == {"token": token}


def test_without_any_token_both_settings_are_named(tmp_path):
    with pytest.raises(GrafanaRefused) as caught:
        datasource(tmp_path)

    assert "TANYUAN_GRAFANA_INFLUX_TOKEN" in str(caught.value)
    assert "INFLUXDB_V2_TOKEN" in str(caught.value)
