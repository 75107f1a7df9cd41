"""paho for Python behind the commands of drivers/process.rs: client.py HOST PORT VERSION."""

import queue
import sys
import threading
from urllib.parse import quote, unquote_to_bytes

try:
    import paho.mqtt.client as mqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
except ImportError as error:
    sys.exit(f"paho-mqtt is missing ({error}): run tests/run.sh, which installs it")

HOST, PORT, VERSION = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PROTOCOL = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}[VERSION]
V5 = PROTOCOL == mqtt.MQTTv5
PATIENCE = 20
# The commands' names, paho's, and what makes a value of bytes.
PROPERTIES = {
    "topic_alias": ("TopicAlias", int),
    "message_expiry": ("MessageExpiryInterval", int),
    "content_type": ("ContentType", bytes.decode),
    "response_topic": ("ResponseTopic", bytes.decode),
    "correlation_data": ("CorrelationData", bytes),
}


class Fields(dict):
    """A command's fields as bytes; User Properties may come more than once."""

    def __init__(self, fields):
        super().__init__()
        self.user_properties = []
        for name, _, value in (field.partition("=") for field in fields):
            if name == "user_property":
                pair = tuple(unquote_to_bytes(part).decode() for part in value.split("="))
                self.user_properties.append(pair)
            else:
                self[name] = unquote_to_bytes(value)

    def text(self, name):
        return self[name].decode()


printing = threading.Lock()


def encode(value):
    return quote(value if isinstance(value, bytes) else str(value).encode(), safe="")


def say(word, fields=(), user_properties=()):
    line = [word, *(f"{name}={encode(value)}" for name, value in fields)]
    line += (f"user_property={encode(name)}={encode(value)}" for name, value in user_properties)
    # Messages come from paho's thread.
    with printing:
        print(*line, sep="\t", flush=True)


class Client:
    """Each command is a method; paho's callbacks are events in queues."""

    def __init__(self):
        self.connected, self.subscribed = queue.Queue(), queue.Queue()
        self.unsubscribed, self.ended = queue.Queue(), queue.Queue()
        self.sent = []

    def connect(self, fields):
        clean = fields["clean"] == b"1"
        session = {} if V5 else {"clean_session": clean}
        self.inner = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, fields.text("client_id"), protocol=PROTOCOL, **session
        )
        self.inner.on_connect = lambda c, u, flags, code, p: self.connected.put((flags, code))
        self.inner.on_subscribe = lambda c, u, mid, codes, p: self.subscribed.put(codes)
        self.inner.on_unsubscribe = lambda c, u, mid, codes, p: self.unsubscribed.put(codes)
        self.inner.on_disconnect = lambda c, u, flags, code, p: self.ended.put(code)
        self.inner.on_message = self.on_message
        # Whatever a scenario hands over at once is also sent at once.
        self.inner.max_inflight_messages_set(1_000)
        self.set_will(fields)
        arguments = {}
        if V5:
            arguments["clean_start"] = clean
            arguments["properties"] = Properties(PacketTypes.CONNECT)
            if int(fields["session_expiry"]):
                arguments["properties"].SessionExpiryInterval = int(fields["session_expiry"])
            if "topic_alias_maximum" in fields:
                arguments["properties"].TopicAliasMaximum = int(fields["topic_alias_maximum"])
        self.inner.connect(HOST, PORT, **arguments)
        self.inner.loop_start()
        flags, code = self.connected.get(timeout=PATIENCE)
        if code == 0:
            say("connected", [("session_present", int(flags.session_present))])
        else:
            say("refused", [("code", code.value)])

    def set_will(self, fields):
        if "will_topic" in fields:
            will = (fields.text("will_topic"), fields["will_payload"], int(fields["will_qos"]))
            properties = Properties(PacketTypes.WILLMESSAGE) if V5 else None
            if "will_delay" in fields:
                properties.WillDelayInterval = int(fields["will_delay"])
            self.inner.will_set(*will, properties=properties)

    def subscribe(self, fields):
        self.inner.subscribe(fields.text("filter"), int(fields["qos"]))
        (code,) = self.subscribed.get(timeout=PATIENCE)
        say("subscribed", [("code", code.value)])

    def unsubscribe(self, fields):
        self.inner.unsubscribe(fields.text("filter"))
        self.unsubscribed.get(timeout=PATIENCE)
        say("unsubscribed")

    def publish(self, fields):
        properties = None
        if V5:
            properties = Properties(PacketTypes.PUBLISH)
            for field in PROPERTIES.keys() & fields.keys():
                name, kind = PROPERTIES[field]
                setattr(properties, name, kind(fields[field]))
            if fields.user_properties:
                properties.UserProperty = fields.user_properties
        sent = self.inner.publish(
            fields.text("topic"),
            fields["payload"],
            int(fields["qos"]),
            fields["retain"] == b"1",
            properties,
        )
        self.sent.append(sent)

    def wait(self, fields):
        for sent in self.sent:
            sent.wait_for_publish(PATIENCE)
            assert sent.is_published()
        self.sent.clear()
        say("acknowledged")

    def disconnect(self, fields):
        properties = Properties(PacketTypes.DISCONNECT) if V5 else None
        if "session_expiry" in fields:
            properties.SessionExpiryInterval = int(fields["session_expiry"])
        self.inner.disconnect(properties=properties)
        self.ended.get(timeout=PATIENCE)
        self.inner.loop_stop()
        say("disconnected")

    def on_message(self, client, userdata, message):
        fields = [("topic", message.topic), ("payload", message.payload)]
        fields += [("qos", message.qos), ("retain", int(message.retain))]
        for field, (name, _) in PROPERTIES.items():
            if hasattr(message.properties, name):
                fields.append((field, getattr(message.properties, name)))
        say("message", fields, getattr(message.properties, "UserProperty", []))


client = Client()
for line in sys.stdin:
    command, *arguments = line.rstrip("\n").split("\t")
    getattr(client, command)(Fields(arguments))
