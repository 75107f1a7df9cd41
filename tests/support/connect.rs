//! What a test's client says in its CONNECT.

use super::wire::{Properties, SESSION_EXPIRY_INTERVAL, Value, Version, binary, packet, text};

/// A CONNECT under construction: Clean Start, no keep alive, no Will until told otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    client_id: String,
    clean_start: bool,
    keep_alive: u16,
    will: Option<Will>,
    properties: Properties,
    username: Option<String>,
}

/// A Will Message; `retain` makes it a Retained Message.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
}

impl Will {
    pub(crate) fn new(topic: &str, payload: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            qos: 1,
            retain: false,
            properties: Properties::default(),
        }
    }

    pub(crate) fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn property(mut self, id: u8, value: Value) -> Self {
        self.properties.0.push((id, value));
        self
    }
}

impl Connect {
    pub(crate) fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean_start: true,
            keep_alive: 0,
            will: None,
            properties: Properties::default(),
            username: None,
        }
    }

    /// A Session that outlives its connection, resumed if it is there.
    pub(crate) fn lasting(version: Version, client_id: &str) -> Self {
        let connect = Self { clean_start: false, ..Self::new(version, client_id) };
        match version {
            Version::V5 => connect.property(SESSION_EXPIRY_INTERVAL, Value::Four(3_600)),
            Version::V31 | Version::V311 => connect,
        }
    }

    pub(crate) fn clean_start(mut self) -> Self {
        self.clean_start = true;
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    pub(crate) fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// With a password, whatever it is.
    pub(crate) fn username(mut self, username: &str) -> Self {
        self.username = Some(username.to_owned());
        self
    }

    pub(crate) fn property(mut self, id: u8, value: Value) -> Self {
        self.properties.0.push((id, value));
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (name, level) = match self.version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        let v5 = self.version == Version::V5;
        let mut flags = if self.clean_start { 0x02 } else { 0 };
        let mut payload = text(&self.client_id);
        if let Some(will) = &self.will {
            flags |= 0x04 | (will.qos << 3) | if will.retain { 0x20 } else { 0 };
            if v5 {
                payload.extend(will.properties.encode());
            }
            payload.extend(text(&will.topic));
            payload.extend(binary(will.payload.as_bytes()));
        }
        if let Some(username) = &self.username {
            flags |= 0xC0;
            payload.extend(text(username));
            payload.extend(binary(b"password"));
        }
        let mut body = text(name);
        body.extend([level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if v5 {
            body.extend(self.properties.encode());
        }
        body.extend(payload);
        packet(0x10, &body)
    }
}
