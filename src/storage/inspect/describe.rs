//! Records, readable by people and by programs.

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use super::super::clock::{Clock, StoreTime};
use super::super::keys::{self, Family};
use super::super::record::{
    DecodeError, Numbers, OutgoingRecord, OutgoingStage, Record, SessionRecord, WillRecord,
};
use crate::change::SessionExpiry;
use crate::message::Message;
use crate::packet::Identity;

/// A record, as names and values. Payloads are not shown, only how long they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dumped {
    pub family: &'static str,
    pub fields: Vec<(&'static str, Field)>,
}

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    Text(String),
    Number(i64),
    Truth(bool),
}

impl Dumped {
    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut line = format!("{{\"family\":\"{}\"", self.family);
        for (name, field) in &self.fields {
            let _ = write!(line, ",\"{name}\":");
            match field {
                Field::Text(text) => put_json_text(&mut line, text),
                Field::Number(number) => {
                    let _ = write!(line, "{number}");
                }
                Field::Truth(truth) => {
                    let _ = write!(line, "{truth}");
                }
            }
        }
        line.push('}');
        line
    }
}

fn put_json_text(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            control if control < ' ' || control == '\u{7f}' => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
    line.push('"');
}

/// For people: `family name=value name="text"`.
impl fmt::Display for Dumped {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.family)?;
        for (name, field) in &self.fields {
            match field {
                Field::Text(text) => write!(to, " {name}={text:?}")?,
                Field::Number(number) => write!(to, " {name}={number}")?,
                Field::Truth(truth) => write!(to, " {name}={truth}")?,
            }
        }
        Ok(())
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Collects the fields of a record.
struct Fields<'c> {
    fields: Vec<(&'static str, Field)>,
    clock: &'c Clock,
    now: Instant,
}

pub(super) fn describe(
    family: Family,
    key: &[u8],
    record: Result<Record, DecodeError>,
    clock: &Clock,
) -> Dumped {
    let mut fields = Fields { fields: Vec::new(), clock, now: Instant::now() };
    fields.key(family, key);
    match record {
        Ok(record) => fields.record(&record),
        Err(why) => {
            fields.text("key", &hex(key));
            fields.text("damaged", &why);
        }
    }
    Dumped { family: family.name(), fields: fields.fields }
}

impl Fields<'_> {
    fn text(&mut self, name: &'static str, text: &dyn fmt::Display) {
        self.fields.push((name, Field::Text(text.to_string())));
    }

    fn number(&mut self, name: &'static str, number: impl TryInto<i64>) {
        self.fields.push((name, Field::Number(number.try_into().unwrap_or(i64::MAX))));
    }

    fn truth(&mut self, name: &'static str, truth: bool) {
        self.fields.push((name, Field::Truth(truth)));
    }

    fn duration(&mut self, name: &'static str, duration: Duration) {
        self.number(name, duration.as_millis());
    }

    /// How long until then; what is past is negative.
    fn until(&mut self, name: &'static str, time: StoreTime) {
        let now = self.clock.store_time(self.now);
        self.number(name, time.0.saturating_sub(now.0));
    }

    fn key(&mut self, family: Family, key: &[u8]) {
        let owner = keys::owner(key).map_or(0, |(owner, _)| owner);
        match family {
            Family::Meta | Family::Retained => {}
            Family::Sessions | Family::Subscriptions | Family::Wills => {
                self.number("session", owner);
            }
            Family::Queue => {
                self.number("session", owner);
                self.number("position", keys::position(key).map_or(0, |(_, position)| position));
            }
            Family::Inflight => {
                self.number("session", owner);
                self.number("packet_id", keys::inflight(key).map_or(0, |(_, _, id)| id.value()));
            }
            Family::Groups => {
                self.number("group", owner);
                if let Some((_, position)) = keys::position(key) {
                    self.number("position", position);
                }
            }
            Family::Messages => self.number("message", owner),
        }
    }

    fn record(&mut self, record: &Record) {
        match record {
            Record::Clock(pair) => {
                self.text("what", &"clock");
                self.number("store_milliseconds", pair.store.0);
                self.number("wall_milliseconds", pair.wall.0);
            }
            Record::Numbers(Numbers { sessions, groups, messages }) => {
                self.text("what", &"numbers");
                self.number("sessions", *sessions);
                self.number("groups", *groups);
                self.number("messages", *messages);
            }
            Record::Run(run) => {
                self.text("what", &"run");
                self.text("run", &format!("{run:?}").to_lowercase());
            }
            Record::Session(record) => self.session(record),
            Record::Subscription(filter, subscription) => {
                self.text("filter", filter);
                self.number("options", subscription.options.to_byte());
                if let Some(id) = subscription.id {
                    self.number("subscription_id", id.value());
                }
            }
            Record::Queued(owed) => self.owed(owed),
            Record::Outgoing(OutgoingRecord { order, stage }) => {
                self.text("direction", &"to the client");
                self.number("order", *order);
                match stage {
                    OutgoingStage::Queued(position) => self.number("position", *position),
                    OutgoingStage::Own(owed) => self.owed(owed),
                    OutgoingStage::Released { place } => self.number("released", *place),
                }
            }
            Record::Incoming => self.text("direction", &"from the client"),
            Record::Will(WillRecord { message, expiry, delay, patience }) => {
                if let Some(expiry) = expiry {
                    self.number("expiry_seconds", *expiry);
                }
                self.duration("delay_milliseconds", *delay);
                self.duration("patience_milliseconds", *patience);
                self.message(message);
            }
            Record::Group(filter) => self.text("filter", filter),
            Record::GroupQueued(lane, message) => {
                self.number("lane", *lane);
                self.message(message);
            }
            Record::Retained(message) | Record::Message(message) => self.message(message),
        }
    }

    fn session(&mut self, record: &SessionRecord) {
        let SessionRecord { client_id, identity, expiry, away, last_sent: (_, id) } = record;
        self.text("client_id", client_id);
        if let Identity::User(name) = identity {
            self.text("user", name);
        }
        match expiry {
            SessionExpiry::Never => self.text("expiry", &"never"),
            SessionExpiry::AtDisconnect => self.text("expiry", &"at disconnect"),
            SessionExpiry::After(after) => self.duration("expiry_milliseconds", *after),
        }
        match away {
            Some(since) => self.until("away_since_milliseconds", *since),
            None => self.truth("connected", true),
        }
        self.number("last_packet_id", *id);
    }

    fn owed(&mut self, owed: &super::super::record::OwedRecord) {
        self.number("granted_qos", owed.qos().bits());
        if let Some(message) = owed.shared() {
            self.number("message", message.0);
        }
        if let Some(message) = owed.inline() {
            self.message(message);
        }
    }

    fn message(&mut self, message: &Message) {
        let Message { topic, payload, qos, retain, properties, expires_at } = message;
        self.text("topic", &topic.as_str());
        self.number("qos", qos.bits());
        self.truth("retain", *retain);
        self.number("payload_bytes", payload.len());
        self.number("properties_bytes", properties.len());
        if let Some(expires_at) = expires_at {
            let time = self.clock.store_time(*expires_at);
            self.until("expires_in_milliseconds", time);
        }
    }
}
