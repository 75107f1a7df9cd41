//! What a record's bytes mean.
//!
//! ```text
//! format (1)  kind (1)  body  checksum (4)
//! ```
//!
//! The checksum covers the record's family and key too, so that a record in the wrong place is
//! found out. Numbers in bodies are LEB128, moments are store time. Nothing here panics on any
//! bytes: they come from a disk.

mod message;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::clock::{Clock, KeptClock, StoreTime, WallTime};
use super::keys::{Family, MessageNumber};
use crate::change::{Owed, SessionExpiry, Subscription};
use crate::message::Message;
use crate::packet::{ClientId, Identity, PacketId, SubscriptionId, SubscriptionOptions, UserName};
use crate::topic::SubscriptionFilter;

pub(super) use message::OwedRecord;
use message::{put_message, put_owed, read_message, read_owed};
pub(super) use reader::DecodeError;
use reader::{Reader, put_duration, put_number, put_signed, put_text};

/// The format of records. One that is newer is refused as a whole, by the schema of the store.
const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// The numbers below which all were given, or may have been.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Numbers {
    pub(super) sessions: u64,
    pub(super) groups: u64,
    pub(super) messages: u64,
}

/// How the last run of the broker went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Run {
    /// It ended in order: all it submitted was kept.
    Ended,
    /// It acknowledges only what is on disk.
    Synced,
    /// It acknowledges more than is on disk, so a power cut may have lost some.
    Unsynced,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct SessionRecord {
    pub(super) client_id: ClientId,
    pub(super) identity: Identity,
    pub(super) expiry: SessionExpiry,
    /// Since when it has no Network Connection.
    pub(super) away: Option<StoreTime>,
    /// The last message that was sent to it: its place in the order of sending, and its identifier.
    pub(super) last_sent: (u64, u16),
}

#[derive(Clone, Debug)]
pub(super) struct OutgoingRecord<M> {
    /// In the order in which they were first sent.
    pub(super) order: u64,
    pub(super) stage: OutgoingStage<M>,
}

#[derive(Clone, Debug)]
pub(super) enum OutgoingStage<M> {
    /// The message lies in the queue, at this position, until the client has it.
    Queued(u64),
    /// It never waited.
    Own(M),
    Released {
        place: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct WillRecord {
    pub(super) message: Arc<Message>,
    pub(super) expiry: Option<u32>,
    pub(super) delay: Duration,
    pub(super) patience: Duration,
}

/// A value to be kept.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Clock(KeptClock),
    Numbers(Numbers),
    Run(Run),
    Session(SessionRecord),
    Subscription(SubscriptionFilter, Subscription),
    Queued(Owed, Option<MessageNumber>),
    Outgoing(OutgoingRecord<(Owed, Option<MessageNumber>)>),
    Incoming,
    Will(WillRecord),
    Retained(Arc<Message>),
    Group(Arc<SubscriptionFilter>),
    GroupQueued(u8, Arc<Message>),
    Message(Arc<Message>),
}

/// A value that was kept.
#[derive(Debug)]
pub(super) enum Record {
    Clock(KeptClock),
    Numbers(Numbers),
    Run(Run),
    Session(SessionRecord),
    Subscription(SubscriptionFilter, Subscription),
    Queued(OwedRecord),
    Outgoing(OutgoingRecord<OwedRecord>),
    Incoming,
    Will(WillRecord),
    Retained(Message),
    Group(SubscriptionFilter),
    GroupQueued(u8, Message),
    Message(Message),
}

/// The kinds of records, as their second byte.
mod kind {
    pub(super) const CLOCK: u8 = 1;
    pub(super) const NUMBERS: u8 = 2;
    pub(super) const RUN: u8 = 3;
    pub(super) const SESSION: u8 = 4;
    pub(super) const SUBSCRIPTION: u8 = 5;
    pub(super) const QUEUED: u8 = 6;
    pub(super) const OUTGOING: u8 = 7;
    pub(super) const INCOMING: u8 = 8;
    pub(super) const WILL: u8 = 9;
    pub(super) const RETAINED: u8 = 10;
    pub(super) const GROUP: u8 = 11;
    pub(super) const GROUP_QUEUED: u8 = 12;
    pub(super) const MESSAGE: u8 = 13;
}

/// Appends the record for `value` under this key.
pub(super) fn encode(family: Family, key: &[u8], value: &Value, clock: &Clock, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(FORMAT);
    put_body(value, clock, out);
    let checksum = checksum(family, key, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum);
}

fn checksum(family: Family, key: &[u8], record: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Xxh3::new();
    hash.update(&[family as u8]);
    hash.update(key);
    hash.update(record);
    let [a, b, c, d, ..] = hash.digest().to_le_bytes();
    [a, b, c, d]
}

/// What the bytes under this key mean.
pub(super) fn decode(
    family: Family,
    key: &[u8],
    bytes: &[u8],
    clock: &Clock,
) -> Result<Record, DecodeError> {
    let body = checked(family, key, bytes)?;
    let mut reader = Reader::new(body);
    let record = read_body(&mut reader, clock)?;
    reader.finish()?;
    if record.family() != family {
        return Err(DecodeError::WrongKind);
    }
    Ok(record)
}

/// The kind and the body, if format and checksum are right.
fn checked<'a>(family: Family, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let (record, sum) = bytes.split_last_chunk().ok_or(DecodeError::TooShort)?;
    if *sum != checksum(family, key, record) {
        return Err(DecodeError::Checksum);
    }
    let (format, body) = record.split_first().ok_or(DecodeError::TooShort)?;
    if *format != FORMAT {
        return Err(DecodeError::Format(*format));
    }
    Ok(body)
}

/// Of a record in `queue` only what is needed before its message is: how it is accounted, and the
/// number under which the message is kept for several takers.
pub(super) fn decode_queued_head(
    key: &[u8],
    bytes: &[u8],
) -> Result<(u32, Option<MessageNumber>), DecodeError> {
    let mut reader = Reader::new(checked(Family::Queue, key, bytes)?);
    if reader.byte()? != kind::QUEUED {
        return Err(DecodeError::WrongKind);
    }
    message::read_owed_head(&mut reader)
}

impl Record {
    pub(super) fn family(&self) -> Family {
        match self {
            Self::Clock(_) | Self::Numbers(_) | Self::Run(_) => Family::Meta,
            Self::Session(_) => Family::Sessions,
            Self::Subscription(..) => Family::Subscriptions,
            Self::Queued(_) => Family::Queue,
            Self::Outgoing(_) | Self::Incoming => Family::Inflight,
            Self::Will(_) => Family::Wills,
            Self::Retained(_) => Family::Retained,
            Self::Group(_) | Self::GroupQueued(..) => Family::Groups,
            Self::Message(_) => Family::Messages,
        }
    }
}

fn put_body(value: &Value, clock: &Clock, out: &mut Vec<u8>) {
    match value {
        Value::Clock(KeptClock { store, wall }) => {
            out.push(kind::CLOCK);
            put_signed(out, store.0);
            put_signed(out, wall.0);
        }
        Value::Numbers(Numbers { sessions, groups, messages }) => {
            out.push(kind::NUMBERS);
            put_number(out, *sessions);
            put_number(out, *groups);
            put_number(out, *messages);
        }
        Value::Run(run) => {
            out.push(kind::RUN);
            out.push(match run {
                Run::Ended => 0,
                Run::Synced => 1,
                Run::Unsynced => 2,
            });
        }
        Value::Session(record) => {
            out.push(kind::SESSION);
            put_session(record, out);
        }
        Value::Subscription(filter, Subscription { options, id }) => {
            out.push(kind::SUBSCRIPTION);
            out.push(options.to_byte());
            put_number(out, id.map_or(0, |id| id.value().into()));
            put_text(out, &filter.to_string());
        }
        Value::Queued(owed, shared) => {
            out.push(kind::QUEUED);
            put_owed(owed, *shared, clock, out);
        }
        Value::Outgoing(record) => {
            out.push(kind::OUTGOING);
            put_outgoing(record, clock, out);
        }
        Value::Incoming => out.push(kind::INCOMING),
        Value::Will(WillRecord { message, expiry, delay, patience }) => {
            out.push(kind::WILL);
            put_number(out, expiry.map_or(0, |expiry| u64::from(expiry) + 1));
            put_duration(out, *delay);
            put_duration(out, *patience);
            put_message(message, clock, out);
        }
        Value::Retained(message) => {
            out.push(kind::RETAINED);
            put_message(message, clock, out);
        }
        Value::Group(filter) => {
            out.push(kind::GROUP);
            put_text(out, &filter.to_string());
        }
        Value::GroupQueued(lane, message) => {
            out.push(kind::GROUP_QUEUED);
            out.push(*lane);
            put_message(message, clock, out);
        }
        Value::Message(message) => {
            out.push(kind::MESSAGE);
            put_message(message, clock, out);
        }
    }
}

fn read_body(reader: &mut Reader<'_>, clock: &Clock) -> Result<Record, DecodeError> {
    Ok(match reader.byte()? {
        kind::CLOCK => Record::Clock(KeptClock {
            store: StoreTime(reader.signed()?),
            wall: WallTime(reader.signed()?),
        }),
        kind::NUMBERS => Record::Numbers(Numbers {
            sessions: reader.number()?,
            groups: reader.number()?,
            messages: reader.number()?,
        }),
        kind::RUN => Record::Run(match reader.byte()? {
            0 => Run::Ended,
            1 => Run::Synced,
            2 => Run::Unsynced,
            _ => return Err(DecodeError::Value("run")),
        }),
        kind::SESSION => Record::Session(read_session(reader)?),
        kind::SUBSCRIPTION => {
            let options = SubscriptionOptions::from_byte(reader.byte()?)
                .map_err(|_| DecodeError::Value("subscription options"))?;
            let id = reader.number()?;
            let id = u32::try_from(id).map_err(|_| DecodeError::Value("subscription id"))?;
            let filter = read_filter(reader)?;
            Record::Subscription(filter, Subscription { options, id: SubscriptionId::new(id) })
        }
        kind::QUEUED => Record::Queued(read_owed(reader, clock)?),
        kind::OUTGOING => Record::Outgoing(read_outgoing(reader, clock)?),
        kind::INCOMING => Record::Incoming,
        kind::WILL => Record::Will(WillRecord {
            expiry: reader
                .number()?
                .checked_sub(1)
                .map(|expiry| u32::try_from(expiry).map_err(|_| DecodeError::Value("expiry")))
                .transpose()?,
            delay: reader.duration()?,
            patience: reader.duration()?,
            message: Arc::new(read_message(reader, clock)?),
        }),
        kind::RETAINED => Record::Retained(read_message(reader, clock)?),
        kind::GROUP => Record::Group(read_filter(reader)?),
        kind::GROUP_QUEUED => Record::GroupQueued(reader.byte()?, read_message(reader, clock)?),
        kind::MESSAGE => Record::Message(read_message(reader, clock)?),
        _ => return Err(DecodeError::WrongKind),
    })
}

const NEVER: u8 = 0;
const AFTER: u8 = 1;
const AT_DISCONNECT: u8 = 2;

fn put_session(record: &SessionRecord, out: &mut Vec<u8>) {
    let SessionRecord { client_id, identity, expiry, away, last_sent: (order, id) } = record;
    put_text(out, client_id.as_str());
    // A User Name is never empty.
    put_text(
        out,
        match identity {
            Identity::Anonymous => "",
            Identity::User(name) => name.as_str(),
        },
    );
    match expiry {
        SessionExpiry::Never => out.push(NEVER),
        SessionExpiry::After(after) => {
            out.push(AFTER);
            put_duration(out, *after);
        }
        SessionExpiry::AtDisconnect => out.push(AT_DISCONNECT),
    }
    match away {
        None => out.push(0),
        Some(since) => {
            out.push(1);
            put_signed(out, since.0);
        }
    }
    put_number(out, *order);
    put_number(out, u64::from(*id));
}

fn read_session(reader: &mut Reader<'_>) -> Result<SessionRecord, DecodeError> {
    Ok(SessionRecord {
        client_id: ClientId::new(reader.text()?).ok_or(DecodeError::Value("client id"))?,
        identity: UserName::new(reader.text()?).map_or(Identity::Anonymous, Identity::User),
        expiry: match reader.byte()? {
            NEVER => SessionExpiry::Never,
            AFTER => SessionExpiry::After(reader.duration()?),
            AT_DISCONNECT => SessionExpiry::AtDisconnect,
            _ => return Err(DecodeError::Value("session expiry")),
        },
        away: match reader.byte()? {
            0 => None,
            1 => Some(StoreTime(reader.signed()?)),
            _ => return Err(DecodeError::Value("away")),
        },
        last_sent: (
            reader.number()?,
            u16::try_from(reader.number()?).map_err(|_| DecodeError::Value("packet id"))?,
        ),
    })
}

const QUEUED: u8 = 0;
const OWN: u8 = 1;
const RELEASED: u8 = 2;

fn put_outgoing(
    record: &OutgoingRecord<(Owed, Option<MessageNumber>)>,
    clock: &Clock,
    out: &mut Vec<u8>,
) {
    put_number(out, record.order);
    match &record.stage {
        OutgoingStage::Queued(position) => {
            out.push(QUEUED);
            put_number(out, *position);
        }
        OutgoingStage::Own((owed, shared)) => {
            out.push(OWN);
            put_owed(owed, *shared, clock, out);
        }
        OutgoingStage::Released { place } => {
            out.push(RELEASED);
            put_number(out, *place);
        }
    }
}

fn read_outgoing(
    reader: &mut Reader<'_>,
    clock: &Clock,
) -> Result<OutgoingRecord<OwedRecord>, DecodeError> {
    let order = reader.number()?;
    let stage = match reader.byte()? {
        QUEUED => OutgoingStage::Queued(reader.number()?),
        OWN => OutgoingStage::Own(read_owed(reader, clock)?),
        RELEASED => OutgoingStage::Released { place: reader.number()? },
        _ => return Err(DecodeError::Value("stage")),
    };
    Ok(OutgoingRecord { order, stage })
}

fn read_filter(reader: &mut Reader<'_>) -> Result<SubscriptionFilter, DecodeError> {
    SubscriptionFilter::parse(reader.text()?).map_err(|_| DecodeError::Value("topic filter"))
}

/// Half of the ring of Packet Identifiers ahead: what was given out and lost with the power is
/// behind it.
pub(super) fn skip_ahead(last: u16) -> u16 {
    last.wrapping_add(1 << 15)
}

/// The identifier's number, or 0 for none.
pub(super) fn last_of(id: Option<PacketId>) -> u16 {
    id.map_or(0, PacketId::value)
}
