//! What a test's client says in its CONNECT.

#![allow(dead_code, reason = "no test says everything that can be said")]

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
    password: Option<Vec<u8>>,
    /// Another Protocol Name and Level than those of the version.
    protocol: Option<(String, u8)>,
    toggled_flags: u8,
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

    pub(crate) fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub(crate) fn property(self, id: u8, value: Value) -> Self {
        self.with((id, value))
    }

    pub(crate) fn with(mut self, property: (u8, Value)) -> Self {
        self.properties.0.push(property);
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
            password: None,
            protocol: None,
            toggled_flags: 0,
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

    pub(crate) fn no_clean_start(mut self) -> Self {
        self.clean_start = false;
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
        self.password(b"password")
    }

    pub(crate) fn password(mut self, password: &[u8]) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    pub(crate) fn property(self, id: u8, value: Value) -> Self {
        self.with((id, value))
    }

    pub(crate) fn with(mut self, property: (u8, Value)) -> Self {
        self.properties.0.push(property);
        self
    }

    /// Another Protocol Name and Level than those of the version.
    pub(crate) fn protocol(mut self, name: &str, level: u8) -> Self {
        self.protocol = Some((name.to_owned(), level));
        self
    }

    /// Connect Flags other than those that fit the payload.
    pub(crate) fn toggle_flags(mut self, bits: u8) -> Self {
        self.toggled_flags = bits;
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
            flags |= 0x80;
            payload.extend(text(username));
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            payload.extend(binary(password));
        }
        let (name, level) =
            self.protocol.as_ref().map_or((name, level), |(name, level)| (name, *level));
        let mut body = text(name);
        body.extend([level, flags ^ self.toggled_flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if v5 {
            body.extend(self.properties.encode());
        }
        body.extend(payload);
        packet(0x10, &body)
    }
}
