// MQTT.js behind the commands of drivers/process.rs: client.mjs HOST PORT VERSION.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [host, port, version] = process.argv.slice(2);
const V5 = version === "5.0";
const PROTOCOL = {
  "3.1": { protocolId: "MQIsdp", protocolVersion: 3 },
  "3.1.1": { protocolVersion: 4 },
  "5.0": { protocolVersion: 5 },
}[version];
// The commands' names and MQTT.js's.
const PROPERTIES = {
  topic_alias: "topicAlias",
  message_expiry: "messageExpiryInterval",
  content_type: "contentType",
  response_topic: "responseTopic",
  correlation_data: "correlationData",
};
const NUMBERS = ["topic_alias", "message_expiry"];

let mqtt;
try {
  mqtt = createRequire(join(process.env.MQTTJS_FOLDER ?? ".", "package.json"))("mqtt");
} catch (error) {
  console.error(`MQTT.js is missing (${error.code}): run tests/run.sh, which installs it`);
  process.exit(1);
}

const isPlain = (byte) => /[0-9A-Za-z._~-]/.test(String.fromCharCode(byte));
const escapes = Array.from({ length: 256 }, (_, byte) =>
  isPlain(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, "0")}`,
);

const encode = (value) =>
  Array.from(Buffer.isBuffer(value) ? value : Buffer.from(String(value)), (byte) => escapes[byte])
    .join("");

const decode = (value) =>
  Buffer.from(
    value.replace(/%(..)/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16))),
    "latin1",
  );

function say(word, fields = {}, userProperties = {}) {
  const line = [word];
  for (const [name, value] of Object.entries(fields)) line.push(`${name}=${encode(value)}`);
  for (const [name, values] of Object.entries(userProperties)) {
    for (const value of [values].flat()) {
      line.push(`user_property=${encode(name)}=${encode(value)}`);
    }
  }
  console.log(line.join("\t"));
}

function read(line) {
  const [command, ...rest] = line.split("\t");
  const fields = {};
  for (const field of rest) {
    const [name, ...values] = field.split("=");
    if (name === "user_property") {
      const [key, value] = values.map((part) => decode(part).toString());
      fields.userProperties ??= {};
      (fields.userProperties[key] ??= []).push(value);
    } else {
      fields[name] = name.endsWith("payload") || name === "correlation_data"
        ? decode(values[0])
        : decode(values[0]).toString();
    }
  }
  return [command, fields];
}

let client;
const sent = [];

const commands = {
  async connect(fields) {
    const properties = {};
    if (V5 && Number(fields.session_expiry)) {
      properties.sessionExpiryInterval = Number(fields.session_expiry);
    }
    if (fields.topic_alias_maximum) {
      properties.topicAliasMaximum = Number(fields.topic_alias_maximum);
    }
    client = mqtt.connect({
      ...PROTOCOL,
      host,
      port: Number(port),
      clientId: fields.client_id,
      clean: fields.clean === "1",
      reconnectPeriod: 0,
      autoAssignTopicAlias: fields.chooses_aliases === "1",
      ...(V5 ? { properties } : {}),
      ...will(fields),
    });
    client.on("message", report);
    client.on("packetsend", ({ cmd, topic }) => {
      if (cmd === "publish" && topic === "") say("alias_alone");
    });
    await new Promise((resolve) => {
      client.once("connect", ({ sessionPresent }) => {
        say("connected", { session_present: Number(sessionPresent) });
        resolve();
      });
      client.once("error", (error) => {
        say("refused", { code: error.code });
        process.exit(0);
      });
    });
  },

  async subscribe({ filter, qos }) {
    const granted = await client.subscribeAsync(filter, { qos: Number(qos) });
    say("subscribed", { code: granted[0].qos });
  },

  async unsubscribe({ filter }) {
    await client.unsubscribeAsync(filter);
    say("unsubscribed");
  },

  async publish(fields) {
    const { topic, payload, qos, retain, userProperties } = fields;
    const properties = userProperties ? { userProperties } : {};
    for (const [field, name] of Object.entries(PROPERTIES)) {
      if (field in fields) {
        properties[name] = NUMBERS.includes(field) ? Number(fields[field]) : fields[field];
      }
    }
    const options = { qos: Number(qos), retain: retain === "1", ...(V5 ? { properties } : {}) };
    sent.push(client.publishAsync(topic, payload, options));
  },

  async wait() {
    await Promise.all(sent.splice(0));
    say("acknowledged");
  },

  async disconnect({ session_expiry }) {
    const properties = session_expiry ? { sessionExpiryInterval: Number(session_expiry) } : {};
    await client.endAsync(false, { reasonCode: 0, properties });
    say("disconnected");
    process.exit(0);
  },
};

const will = (fields) => {
  if (!fields.will_topic) return {};
  const { will_topic: topic, will_payload: payload, will_qos: qos, will_delay: delay } = fields;
  const properties = delay ? { properties: { willDelayInterval: Number(delay) } } : {};
  return { will: { topic, payload, qos: Number(qos), ...properties } };
};

function report(topic, payload, packet) {
  // In the packet the topic stays empty if it was named by an alias alone.
  const fields = { topic: packet.topic, resolved: topic, payload };
  for (const [field, name] of Object.entries(PROPERTIES)) {
    const value = packet.properties?.[name];
    if (value !== undefined) fields[field] = value;
  }
  const flags = { qos: packet.qos, retain: Number(packet.retain) };
  say("message", { ...fields, ...flags }, packet.properties?.userProperties);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, fields] = read(line);
  await commands[command](fields);
}
