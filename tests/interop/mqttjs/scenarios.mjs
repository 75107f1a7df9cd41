// What MQTT.js does with the broker: scenarios.mjs HOST PORT VERSION SCENARIO.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const [host, port, version, scenario] = process.argv.slice(2);
const V5 = version === "5.0";
const PATIENCE_MS = 20_000;

let mqtt;
try {
  mqtt = createRequire(join(process.env.MQTTJS_FOLDER ?? ".", "package.json"))("mqtt");
} catch (error) {
  console.error(`MQTT.js is missing (${error.code}): run tests/run.sh, which installs it`);
  process.exit(1);
}

/** A client whose messages wait in a queue. */
class Client {
  static async connect(clientId, options = {}) {
    const client = new Client();
    const { lasting = false, ...more } = options;
    client.messages = [];
    client.waiting = [];
    client.inner = mqtt.connect({
      host,
      port: Number(port),
      clientId,
      protocolVersion: V5 ? 5 : 4,
      clean: !lasting,
      reconnectPeriod: 0,
      ...(V5 && lasting ? { properties: { sessionExpiryInterval: 3600 } } : {}),
      ...more,
    });
    client.inner.on("message", (topic, payload, packet) => {
      // In the packet it stays empty if it was named by an alias alone.
      packet.resolvedTopic = topic;
      const next = client.waiting.shift();
      next ? next(packet) : client.messages.push(packet);
    });
    const connack = await new Promise((resolve, reject) => {
      client.inner.once("connect", resolve);
      client.inner.once("error", reject);
    });
    client.sessionPresent = connack.sessionPresent;
    return client;
  }

  async subscribe(filter, qos) {
    const granted = await this.inner.subscribeAsync(filter, { qos });
    assert.deepEqual(granted.map((grant) => grant.qos), [qos]);
  }

  publish(topic, payload, qos, options = {}) {
    return this.inner.publishAsync(topic, payload, { qos, ...options });
  }

  message() {
    return this.messages.length > 0
      ? Promise.resolve(this.messages.shift())
      : new Promise((resolve) => this.waiting.push(resolve));
  }

  async expect(topic, payload, qos, retain = false) {
    const packet = await this.message();
    assert.deepEqual(
      [packet.resolvedTopic, packet.payload.toString(), packet.qos, packet.retain],
      [topic, payload, qos, retain],
    );
    return packet;
  }

  /** Without a DISCONNECT. */
  kill() {
    this.inner.on("error", () => {});
    this.inner.stream.resetAndDestroy();
  }

  disconnect(properties = {}) {
    return this.inner.endAsync(false, { reasonCode: 0, properties });
  }
}

const delayedWill = (topic, seconds) => ({
  topic,
  payload: Buffer.from("gone"),
  qos: 1,
  properties: { willDelayInterval: seconds },
});

/** Until a Will with this delay arrives: so much time has passed at the broker too. */
async function wait(seconds) {
  const watcher = await Client.connect("clock watcher");
  await watcher.subscribe("clock", 1);
  const clock = { lasting: true, will: delayedWill("clock", seconds) };
  (await Client.connect("clock", clock)).kill();
  await watcher.expect("clock", "gone", 1);
  await watcher.disconnect();
}

const scenarios = {
  async every_qos() {
    const publisher = await Client.connect("publisher");
    for (const granted of [0, 1, 2]) {
      const subscriber = await Client.connect("subscriber");
      await subscriber.subscribe("plain", granted);
      for (const sent of [0, 1, 2]) {
        await publisher.publish("plain", `at ${sent}`, sent);
        await subscriber.expect("plain", `at ${sent}`, Math.min(sent, granted));
      }
      await subscriber.disconnect();
    }
  },

  async retained() {
    const publisher = await Client.connect("publisher");
    await publisher.publish("kept", "value", 1, { retain: true });
    const late = await Client.connect("late");
    await late.subscribe("kept", 1);
    await late.expect("kept", "value", 1, true);
    await publisher.publish("kept", "", 1, { retain: true });
    await late.expect("kept", "", 1);
    const later = await Client.connect("later");
    await later.subscribe("kept", 1);
    await publisher.publish("kept", "marker", 1);
    await later.expect("kept", "marker", 1);
  },

  async will() {
    const watcher = await Client.connect("watcher");
    await watcher.subscribe("will", 2);
    const will = (payload) => ({ will: { topic: "will", payload: Buffer.from(payload), qos: 2 } });
    const victim = await Client.connect("victim", will("gone"));
    victim.kill();
    await watcher.expect("will", "gone", 2);
    await (await Client.connect("polite", will("never"))).disconnect();
    await watcher.publish("will", "marker", 2);
    await watcher.expect("will", "marker", 2);
  },

  async resume() {
    const publisher = await Client.connect("publisher");
    let client = await Client.connect("sleeper", { lasting: true });
    assert.equal(client.sessionPresent, false);
    await client.subscribe("mail", 2);
    await client.disconnect();
    for (let number = 0; number < 50; number += 1) {
      await publisher.publish("mail", String(number), 1 + (number % 2));
    }
    client = await Client.connect("sleeper", { lasting: true });
    assert.equal(client.sessionPresent, true);
    // MQTT.js hands a QoS 2 message over at its PUBREL, so the order shows for each QoS by itself.
    const seen = [[], []];
    const sent = [[], []];
    for (let number = 0; number < 50; number += 1) {
      const packet = await client.message();
      seen[packet.qos - 1].push(Number(packet.payload));
      sent[number % 2].push(number);
    }
    assert.deepEqual(seen, sent);
    await client.disconnect();
    client = await Client.connect("sleeper");
    assert.equal(client.sessionPresent, false);
  },

  async wildcards() {
    const client = await Client.connect("client");
    await client.subscribe("house/+/light", 1);
    await client.subscribe("garden/#", 1);
    const topics = ["house/light", "house/hall/light", "house/a/b/light", "garden", "garden/a/b"];
    for (const topic of topics) await client.publish(topic, "x", 1);
    for (const topic of ["house/hall/light", "garden", "garden/a/b"]) {
      await client.expect(topic, "x", 1);
    }
    await client.inner.unsubscribeAsync("garden/#");
    await client.publish("garden", "unseen", 1);
    await client.publish("house/hall/light", "seen", 1);
    await client.expect("house/hall/light", "seen", 1);
  },

  async mebibyte() {
    const client = await Client.connect("client");
    await client.subscribe("large", 2);
    let payload = "";
    for (let number = 0; number < 131_072; number += 1) payload += String(number).padStart(8, "0");
    for (const qos of [0, 1, 2]) {
      await client.publish("large", payload, qos);
      const packet = await client.message();
      assert.equal(packet.qos, qos);
      assert.ok(packet.payload.equals(Buffer.from(payload)), `QoS ${qos}`);
    }
  },

  async burst() {
    const subscriber = await Client.connect("subscriber");
    const publisher = await Client.connect("publisher");
    await subscriber.subscribe("burst", 2);
    const sent = [];
    for (let number = 0; number < 200; number += 1) {
      sent.push(publisher.publish("burst", String(number), 2));
    }
    for (let number = 0; number < 200; number += 1) {
      await subscriber.expect("burst", String(number), 2);
    }
    await Promise.all(sent);
    await publisher.publish("burst", "marker", 2);
    await subscriber.expect("burst", "marker", 2);
  },

  async user_properties() {
    const client = await Client.connect("client");
    await client.subscribe("rich", 2);
    const properties = {
      userProperties: { b: ["1", "3"], a: "2" },
      contentType: "text/plain",
      responseTopic: "answers",
      correlationData: Buffer.from([0, 255]),
    };
    for (const qos of [0, 1, 2]) {
      await client.publish("rich", "x", qos, { properties });
      const seen = (await client.expect("rich", "x", qos)).properties;
      assert.deepEqual({ ...seen.userProperties }, properties.userProperties);
      assert.equal(seen.contentType, "text/plain");
      assert.equal(seen.responseTopic, "answers");
      assert.ok(seen.correlationData.equals(properties.correlationData));
    }
  },

  // Members leave and join while messages come: none of QoS 1 is lost.
  async shared_group() {
    const count = 2_000;
    const seen = new Set();
    let wake = () => {};
    const member = async (name) => {
      const client = await Client.connect(name);
      client.inner.on("message", (topic, payload) => {
        seen.add(Number(payload));
        wake();
      });
      await client.subscribe("$share/group/work/#", 1);
      return client;
    };
    const have = async (wanted) => {
      while (seen.size < wanted) await new Promise((resolve) => { wake = resolve; });
    };
    const members = [];
    for (let number = 0; number < 3; number += 1) members.push(await member(`member-${number}`));
    const publisher = await Client.connect("publisher");
    const sent = [];
    for (let number = 0; number < count; number += 1) {
      sent.push(publisher.publish("work/item", String(number), 1));
    }
    for (let round = 0; round < 8; round += 1) {
      await have(round * 100);
      // Reset in the middle of the stream: what it did not acknowledge goes to the others.
      members.shift().kill();
      members.push(await member(`member-${3 + round}`));
    }
    await Promise.all(sent);
    await have(count);
  },

  async retained_user_properties() {
    const publisher = await Client.connect("publisher");
    const userProperties = { b: ["1", "3", "1"], a: "2" };
    for (const qos of [1, 2]) {
      const properties = { userProperties };
      await publisher.publish(`kept/${qos}`, "x", qos, { retain: true, properties });
      const late = await Client.connect("late");
      await late.subscribe(`kept/${qos}`, qos);
      const seen = await late.expect(`kept/${qos}`, "x", qos, true);
      assert.deepEqual({ ...seen.properties.userProperties }, userProperties);
      await late.disconnect();
    }
  },

  async message_expiry() {
    const publisher = await Client.connect("publisher");
    for (const qos of [1, 2]) {
      const [name, topic] = [`sleeper ${qos}`, `mail/${qos}`];
      let client = await Client.connect(name, { lasting: true });
      await client.subscribe(topic, qos);
      await client.disconnect();
      for (const [payload, messageExpiryInterval] of [["kept", 100], ["expired", 1]]) {
        await publisher.publish(topic, payload, qos, { properties: { messageExpiryInterval } });
      }
      await publisher.publish(topic, "marker", qos);
      await wait(2);
      client = await Client.connect(name, { lasting: true });
      const left = (await client.expect(topic, "kept", qos)).properties.messageExpiryInterval;
      assert.ok(100 - PATIENCE_MS / 1000 <= left && left <= 98, `${left} s are left`);
      const marker = await client.expect(topic, "marker", qos);
      assert.equal(marker.properties?.messageExpiryInterval, undefined);
      await client.disconnect();
    }
  },

  async will_delay() {
    const watcher = await Client.connect("watcher");
    await watcher.subscribe("will", 1);
    const victim = { lasting: true, will: delayedWill("will", 2) };
    const client = await Client.connect("victim", victim);
    const killed = performance.now();
    client.kill();
    await watcher.expect("will", "gone", 1);
    assert.ok(performance.now() - killed >= 2_000);
  },

  async will_delay_ended_by_reconnecting() {
    const watcher = await Client.connect("watcher");
    await watcher.subscribe("will", 1);
    const victim = { lasting: true, will: delayedWill("will", 2) };
    (await Client.connect("victim", victim)).kill();
    assert.ok((await Client.connect("victim", { lasting: true })).sessionPresent);
    await wait(3);
    await watcher.publish("will", "marker", 1);
    await watcher.expect("will", "marker", 1);
  },

  async session_expiry() {
    const watcher = await Client.connect("watcher");
    await watcher.subscribe("ended", 1);
    const lasting = (sessionExpiryInterval, more = {}) =>
      Client.connect("client", { lasting: true, properties: { sessionExpiryInterval }, ...more });
    // A Will whose delay is longer than the Session's expiry tells when it ends (5.0 s3.1.3.2.2).
    for (const [expiry, present] of [[3600, true], [0, false]]) {
      (await lasting(expiry)).kill();
      let client = await lasting(1, { will: delayedWill("ended", 3600) });
      assert.equal(client.sessionPresent, present);
      const killed = performance.now();
      client.kill();
      await watcher.expect("ended", "gone", 1);
      assert.ok(performance.now() - killed >= 1_000);
      client = await lasting(3600);
      assert.equal(client.sessionPresent, false);
      // It may also end it by DISCONNECT.
      await client.disconnect({ sessionExpiryInterval: 0 });
      client = await lasting(3600);
      assert.equal(client.sessionPresent, false);
      await client.disconnect({ sessionExpiryInterval: 0 });
    }
  },

  // MQTT.js refuses an alias above its maximum and one that it was not given a topic for.
  async aliases_to_the_client() {
    const publisher = await Client.connect("publisher");
    const subscriber = await Client.connect("subscriber", { properties: { topicAliasMaximum: 3 } });
    await subscriber.subscribe("alias/+", 2);
    let alone = 0;
    for (let round = 0; round < 6; round += 1) {
      for (const topic of ["alias/a", "alias/b", "alias/c", "alias/d", "alias/e"]) {
        const qos = round % 3;
        await publisher.publish(topic, `${topic} ${round}`, qos);
        const packet = await subscriber.expect(topic, `${topic} ${round}`, qos);
        alone += packet.topic === "" ? 1 : 0;
      }
    }
    // Three topics in four rounds, less the first one, which sets; rounds of QoS 2 use none.
    assert.equal(alone, 9);
  },

  async aliases_from_the_client() {
    const publisher = await Client.connect("publisher", { autoAssignTopicAlias: true });
    const subscriber = await Client.connect("subscriber");
    await subscriber.subscribe("alias/+", 2);
    let alone = 0;
    publisher.inner.on("packetsend", ({ cmd, topic }) => {
      alone += cmd === "publish" && topic === "" ? 1 : 0;
    });
    for (let round = 0; round < 3; round += 1) {
      // Then 40, which is more than the broker allows: MQTT.js gives numbers to other topics.
      for (let number = 0; number < (round < 2 ? 20 : 40); number += 1) {
        await publisher.publish(`alias/${number}`, String(round), round);
        await subscriber.expect(`alias/${number}`, String(round), round);
      }
    }
    assert.ok(alone >= 40, `${alone} messages had their alias alone`);
  },
};

setTimeout(() => {
  console.error(`${scenario} did not finish within ${PATIENCE_MS} ms`);
  process.exit(1);
}, PATIENCE_MS).unref();
await scenarios[scenario]();
process.exit(0);
