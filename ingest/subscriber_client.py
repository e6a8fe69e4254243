"""The paho client of a collector's connection: how it is made, connected and subscribed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from typing_extensions import override

from ingest.mqtt_packets import MQTT_5
from ingest.subscriber_socket import Connected, PublishSocket

if TYPE_CHECKING:
    from ingest.subscriber import Broker, SubscriberSettings


class Client(paho.Client):
    """paho's client, with a socket that keeps plain messages from it.

    The one place that overrides what paho does inside. Where a later paho makes its socket in
    another way, it reads the messages itself: slower, and all the same.
    """

    wrap: Callable[[Connected], PublishSocket]

    @override
    def _create_socket(self) -> PublishSocket:
        return self.wrap(super()._create_socket())


def make_client(
    settings: SubscriberSettings, broker: Broker, wrap: Callable[[Connected], PublishSocket]
) -> Client:
    """Make the client of one connection."""
    mqtt5 = settings.version == MQTT_5
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id,
        clean_session=None if mqtt5 else False,
        protocol=paho.MQTTv5 if mqtt5 else paho.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.wrap = wrap
    if broker.user is not None:
        client.username_pw_set(broker.user, settings.password)
    if broker.tls:
        client.tls_set(ca_certs=str(settings.ca_file) if settings.ca_file else None)
    return client


def connect(client: paho.Client, settings: SubscriberSettings, broker: Broker) -> None:
    """Connect with a session that stays."""
    if settings.version != MQTT_5:
        client.connect(broker.host, broker.port, settings.keep_alive_s)
        return
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = settings.session_expiry_s
    properties.ReceiveMaximum = settings.receive_maximum
    client.connect(
        broker.host,
        broker.port,
        settings.keep_alive_s,
        clean_start=False,
        properties=properties,
    )


def subscribe(client: paho.Client, settings: SubscriberSettings) -> None:
    """Subscribe to all filters, as a member of the group if there is one."""
    prefix = f"$share/{settings.group}/" if settings.group else ""
    topics = [prefix + topic for topic in settings.filters]
    # Also with a session: its filters may be those of older settings. Retained messages then
    # come only for filters that are new, which MQTT 3.1.1 cannot ask for.
    if settings.version == MQTT_5:
        options = SubscribeOptions(qos=1, retainHandling=0 if prefix else 1)
        client.subscribe([(topic, options) for topic in topics])
    else:
        client.subscribe([(topic, 1) for topic in topics])
