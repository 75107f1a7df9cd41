"""What paho for Python does with the broker: scenarios.py HOST PORT VERSION SCENARIO."""

import queue
import socket
import struct
import sys
import time

try:
    import paho.mqtt.client as mqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
except ImportError as error:
    sys.exit(f"paho-mqtt is missing ({error}): run tests/run.sh, which installs it")

HOST, PORT, VERSION, SCENARIO = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
V5 = VERSION == "5.0"
PATIENCE = 20


class Client:
    """A client whose callbacks are events in queues."""

    def __init__(self, name, lasting=False, will=None, inflight=20, aliases=0, expiry=3600):
        settings = {"protocol": mqtt.MQTTv5 if V5 else mqtt.MQTTv311}
        if not V5:
            settings["clean_session"] = not lasting
        self.inner = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, **settings)
        self.connected, self.subscribed = queue.Queue(), queue.Queue()
        self.messages, self.ended = queue.Queue(), queue.Queue()
        self.inner.on_connect = lambda c, u, flags, code, p: self.connected.put((flags, code))
        self.inner.on_subscribe = lambda c, u, mid, codes, p: self.subscribed.put(codes)
        self.inner.on_message = lambda c, u, message: self.messages.put(message)
        self.inner.on_disconnect = lambda c, u, flags, code, p: self.ended.put(code)
        self.inner.max_inflight_messages_set(inflight)
        if will:
            self.inner.will_set(*will)
        arguments = {}
        if V5:
            arguments["clean_start"] = not lasting
            arguments["properties"] = Properties(PacketTypes.CONNECT)
            if lasting:
                arguments["properties"].SessionExpiryInterval = expiry
            if aliases:
                arguments["properties"].TopicAliasMaximum = aliases
        self.inner.connect(HOST, PORT, **arguments)
        self.inner.loop_start()
        flags, code = self.connected.get(timeout=PATIENCE)
        assert code == 0, code
        self.session_present = flags.session_present

    def subscribe(self, topic_filter, qos):
        self.inner.subscribe(topic_filter, qos)
        codes = self.subscribed.get(timeout=PATIENCE)
        assert [code.value for code in codes] == [qos], codes

    def publish(self, topic, payload, qos, **more):
        info = self.inner.publish(topic, payload, qos, **more)
        info.wait_for_publish(PATIENCE)
        assert info.is_published()

    def message(self):
        return self.messages.get(timeout=PATIENCE)

    def expect(self, topic, payload, qos, retain=False):
        message = self.message()
        seen = (message.topic, message.payload, message.qos, message.retain)
        wanted = (topic, payload.encode(), qos, retain)
        assert seen == wanted, f"{seen} instead of {wanted}"
        return message

    def kill(self):
        """Without a DISCONNECT, and so that paho does not connect again by itself."""
        self.inner.loop_stop()
        end = self.inner.socket()
        # Reset instead of closed: the client's own code cannot send anything any more.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()

    def disconnect(self, **more):
        self.inner.disconnect(**more)
        self.ended.get(timeout=PATIENCE)
        self.inner.loop_stop()


def delayed_will(topic, seconds):
    properties = Properties(PacketTypes.WILLMESSAGE)
    properties.WillDelayInterval = seconds
    return (topic, "gone", 1, False, properties)


def wait(seconds):
    """Until a Will with this delay arrives: so much time has passed at the broker too."""
    watcher = Client("clock watcher")
    watcher.subscribe("clock", 1)
    Client("clock", lasting=True, will=delayed_will("clock", seconds)).kill()
    watcher.expect("clock", "gone", 1)
    watcher.disconnect()


def every_qos():
    for granted in (0, 1, 2):
        subscriber, publisher = Client("subscriber"), Client("publisher")
        subscriber.subscribe("plain", granted)
        for sent in (0, 1, 2):
            publisher.publish("plain", f"at {sent}", sent)
            subscriber.expect("plain", f"at {sent}", min(sent, granted))
        subscriber.disconnect()
        publisher.disconnect()


def retained():
    publisher = Client("publisher")
    publisher.publish("kept", "value", 1, retain=True)
    late = Client("late")
    late.subscribe("kept", 1)
    late.expect("kept", "value", 1, retain=True)
    publisher.publish("kept", "", 1, retain=True)
    late.expect("kept", "", 1)
    later = Client("later")
    later.subscribe("kept", 1)
    publisher.publish("kept", "marker", 1)
    later.expect("kept", "marker", 1)


def will():
    watcher = Client("watcher")
    watcher.subscribe("will", 2)
    victim = Client("victim", will=("will", "gone", 2, False))
    victim.kill()
    watcher.expect("will", "gone", 2)
    polite = Client("polite", will=("will", "never", 2, False))
    polite.disconnect()
    watcher.inner.publish("will", "marker", 2)
    watcher.expect("will", "marker", 2)


def resume():
    client = Client("sleeper", lasting=True)
    assert not client.session_present
    client.subscribe("mail", 2)
    client.disconnect()
    publisher = Client("publisher")
    for number in range(50):
        publisher.publish("mail", str(number), 1 + number % 2)
    client = Client("sleeper", lasting=True)
    assert client.session_present
    # paho hands a QoS 2 message over at its PUBREL, so the order shows for each QoS by itself.
    seen = [client.message() for _ in range(50)]
    for qos in (1, 2):
        numbers = [int(message.payload) for message in seen if message.qos == qos]
        assert numbers == list(range(qos - 1, 50, 2)), numbers
    client.disconnect()
    client = Client("sleeper")
    assert not client.session_present
    client.disconnect()


def wildcards():
    client = Client("client")
    client.subscribe("house/+/light", 1)
    client.subscribe("garden/#", 1)
    for topic in ("house/light", "house/hall/light", "house/a/b/light", "garden", "garden/a/b"):
        client.publish(topic, "x", 1)
    for topic in ("house/hall/light", "garden", "garden/a/b"):
        client.expect(topic, "x", 1)
    client.inner.unsubscribe("garden/#")
    client.publish("garden", "unseen", 1)
    client.publish("house/hall/light", "seen", 1)
    client.expect("house/hall/light", "seen", 1)


def mebibyte():
    client = Client("client")
    client.subscribe("large", 2)
    payload = "".join(f"{number:08}" for number in range(131_072))
    for qos in (0, 1, 2):
        client.publish("large", payload, qos)
        message = client.message()
        assert message.qos == qos and message.payload == payload.encode(), f"QoS {qos}"


def burst():
    subscriber, publisher = Client("subscriber"), Client("publisher", inflight=1_000)
    subscriber.subscribe("burst", 2)
    sent = [publisher.inner.publish("burst", str(number), 2) for number in range(200)]
    for number in range(200):
        subscriber.expect("burst", str(number), 2)
    for info in sent:
        info.wait_for_publish(PATIENCE)
        assert info.is_published()
    publisher.publish("burst", "marker", 2)
    subscriber.expect("burst", "marker", 2)


def user_properties():
    client = Client("client")
    client.subscribe("rich", 2)
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("b", "1"), ("a", "2"), ("b", "1")]
    properties.ContentType = "text/plain"
    properties.ResponseTopic = "answers"
    properties.CorrelationData = b"\x00\xff"
    for qos in (0, 1, 2):
        client.publish("rich", "x", qos, properties=properties)
        seen = client.expect("rich", "x", qos).properties
        assert seen.UserProperty == properties.UserProperty, seen
        assert seen.ContentType == "text/plain" and seen.ResponseTopic == "answers", seen
        assert seen.CorrelationData == b"\x00\xff", seen


def shared_group():
    """Members leave and join while messages come: none of QoS 1 is lost."""
    count, seen = 2_000, set()

    def member(name):
        client = Client(name)
        client.inner.on_message = lambda c, u, message: arrived.put(int(message.payload))
        client.subscribe("$share/group/work/#", 1)
        return client

    arrived = queue.Queue()
    members = [member(f"member-{number}") for number in range(3)]
    publisher = Client("publisher", inflight=200)
    for number in range(count):
        publisher.inner.publish("work/item", str(number), 1)
    for round_number in range(8):
        for _ in range(100):
            seen.add(arrived.get(timeout=PATIENCE))
        # Reset in the middle of the stream: what it did not acknowledge goes to the others.
        members.pop(0).kill()
        members.append(member(f"member-{3 + round_number}"))
    while len(seen) < count:
        seen.add(arrived.get(timeout=PATIENCE))


def retained_user_properties():
    publisher = Client("publisher")
    pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("a", "1")]
    for qos in (1, 2):
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = pairs
        publisher.publish(f"kept/{qos}", "x", qos, retain=True, properties=properties)
        late = Client("late")
        late.subscribe(f"kept/{qos}", qos)
        seen = late.expect(f"kept/{qos}", "x", qos, retain=True).properties
        assert seen.UserProperty == pairs, seen
        late.disconnect()


def message_expiry():
    for qos in (1, 2):
        name, topic = f"sleeper {qos}", f"mail/{qos}"
        client, publisher = Client(name, lasting=True), Client("publisher")
        client.subscribe(topic, qos)
        client.disconnect()
        for payload, seconds in (("kept", 100), ("expired", 1), ("marker", None)):
            properties = Properties(PacketTypes.PUBLISH)
            if seconds:
                properties.MessageExpiryInterval = seconds
            publisher.publish(topic, payload, qos, properties=properties)
        wait(2)
        client = Client(name, lasting=True)
        left = client.expect(topic, "kept", qos).properties.MessageExpiryInterval
        assert 100 - PATIENCE <= left <= 98, left
        marker = client.expect(topic, "marker", qos).properties
        assert not hasattr(marker, "MessageExpiryInterval"), marker
        client.disconnect()


def will_delay():
    watcher = Client("watcher")
    watcher.subscribe("will", 1)
    victim = Client("victim", lasting=True, will=delayed_will("will", 2))
    killed = time.monotonic()
    victim.kill()
    watcher.expect("will", "gone", 1)
    assert time.monotonic() - killed >= 2


def will_delay_ended_by_reconnecting():
    watcher = Client("watcher")
    watcher.subscribe("will", 1)
    victim = Client("victim", lasting=True, will=delayed_will("will", 2))
    victim.kill()
    victim = Client("victim", lasting=True)
    assert victim.session_present
    wait(3)
    watcher.publish("will", "marker", 1)
    watcher.expect("will", "marker", 1)


def session_expiry():
    watcher = Client("watcher")
    watcher.subscribe("ended", 1)
    # A Will whose delay is longer than the Session's expiry tells when it ends (5.0 s3.1.3.2.2).
    for expiry, present in ((3600, True), (0, False)):
        Client("client", lasting=True, expiry=expiry).kill()
        client = Client("client", lasting=True, expiry=1, will=delayed_will("ended", 3600))
        assert client.session_present == present, expiry
        killed = time.monotonic()
        client.kill()
        watcher.expect("ended", "gone", 1)
        assert time.monotonic() - killed >= 1
        client = Client("client", lasting=True)
        assert not client.session_present
        # It may also end it by DISCONNECT.
        properties = Properties(PacketTypes.DISCONNECT)
        properties.SessionExpiryInterval = 0
        client.disconnect(properties=properties)
        client = Client("client", lasting=True)
        assert not client.session_present
        client.disconnect(properties=properties)


def aliases_to_the_client():
    """paho hands an alias over as a property beside an empty topic."""
    publisher, subscriber = Client("publisher"), Client("subscriber", aliases=3)
    subscriber.subscribe("alias/+", 1)
    topics, alone = {}, 0
    for number in range(6):
        for topic in ("alias/a", "alias/b", "alias/c", "alias/d", "alias/e"):
            publisher.publish(topic, topic, number % 2)
            message = subscriber.message()
            seen, alias = message.topic, getattr(message.properties, "TopicAlias", None)
            if alias is not None:
                assert 1 <= alias <= 3, alias
                alone += seen == ""
                seen = topics[alias] if seen == "" else topics.setdefault(alias, seen)
            assert (seen, message.payload.decode()) == (topic, topic), (seen, alias)
    assert alone == 15, f"{alone} instead of 15: three topics, set in the first round"


def aliases_from_the_client():
    publisher, subscriber = Client("publisher"), Client("subscriber")
    subscriber.subscribe("alias/+", 2)
    alias = Properties(PacketTypes.PUBLISH)
    alias.TopicAlias = 32
    for topic in ("alias/a", "alias/b"):
        for qos, name in ((0, topic), (0, ""), (1, ""), (2, "")):
            publisher.publish(name, "x", qos, properties=alias)
            subscriber.expect(topic, "x", qos)


SCENARIOS = [
    every_qos,
    retained,
    will,
    resume,
    wildcards,
    mebibyte,
    burst,
    user_properties,
    retained_user_properties,
    message_expiry,
    will_delay,
    will_delay_ended_by_reconnecting,
    session_expiry,
    aliases_to_the_client,
    aliases_from_the_client,
    shared_group,
]
{scenario.__name__: scenario for scenario in SCENARIOS}[SCENARIO]()
