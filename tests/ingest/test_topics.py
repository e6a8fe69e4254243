"""Which site, gateway and meter a topic names."""

import pytest

from ingest.topics import BadPattern, NativeTopic, TopicPattern, native_topic, parse_native


def test_a_native_topic_names_site_and_gateway():
    assert parse_native("tanyuan/estate/gw-1/readings") == NativeTopic("estate", "gw-1")
    assert native_topic("estate", "gw-1") == "tanyuan/estate/gw-1/readings"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "tanyuan",
        "tanyuan/estate/readings",
        "tanyuan/estate/gw/readings/more",
        "tanyuan/estate/gw/status",
        "tanyuan//gw/readings",
        "tanyuan/estate//readings",
        "Tanyuan/estate/gw/readings",
        "/tanyuan/estate/gw/readings",
    ],
)
def test_anything_else_is_no_native_topic(topic):
    assert parse_native(topic) is None


def test_a_pattern_takes_names_from_whole_levels_and_from_parts_of_them():
    pattern = TopicPattern.of("+/{device}/status/switch:{switch}")

    assert pattern.names == ("device", "switch")
    assert pattern.match("home/plug-7/status/switch:0") == {"device": "plug-7", "switch": "0"}
    assert pattern.match("plug-7/status/switch:0") is None
    assert pattern.match("home/plug-7/status/switch:") is None
    assert pattern.match("home/a/b/status/switch:0") is None


def test_dots_in_a_pattern_are_dots():
    assert TopicPattern.of("a.b/{x}").match("aXb/1") is None


@pytest.mark.parametrize("text", ["", "tele/#", "tele/{device", "tele/{}/x", "{a}/{a}", "{A b}/x"])
def test_a_pattern_that_cannot_be_read_is_refused(text):
    with pytest.raises(BadPattern, match="found"):
        TopicPattern.of(text)
