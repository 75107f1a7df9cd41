//! Messages in records, by themselves and as what a Session is owed.

use std::sync::Arc;

use bytes::Bytes;

use super::super::clock::{Clock, StoreTime};
use super::super::keys::MessageNumber;
use super::reader::{DecodeError, Reader, put_bytes, put_number, put_signed, put_text};
use crate::change::{Owed, SubscriptionIds, Ticket, TicketStanding};
use crate::message::Message;
use crate::packet::{ForwardedProperties, QoS, SubscriptionId};
use crate::topic::{SubscriptionFilter, TopicName};

/// What is owed, as it was kept.
#[derive(Clone, Debug)]
pub(in super::super) struct OwedRecord {
    pub(in super::super) payload: Payload,
    qos: QoS,
    retain: bool,
    subscription_ids: SubscriptionIds,
    ticket: Option<Ticket>,
}

/// Where the message is.
#[derive(Clone, Debug)]
pub(in super::super) enum Payload {
    Inline(Arc<Message>),
    Shared(MessageNumber),
}

impl OwedRecord {
    pub(in super::super) fn shared(&self) -> Option<MessageNumber> {
        match self.payload {
            Payload::Inline(_) => None,
            Payload::Shared(number) => Some(number),
        }
    }

    pub(in super::super) fn inline(&self) -> Option<&Message> {
        match &self.payload {
            Payload::Inline(message) => Some(message),
            Payload::Shared(_) => None,
        }
    }

    pub(in super::super) fn qos(&self) -> QoS {
        self.qos
    }

    /// Together with its message.
    pub(in super::super) fn with(
        self,
        find: impl FnOnce(MessageNumber) -> Option<Arc<Message>>,
    ) -> Result<Owed, DecodeError> {
        let Self { payload, qos, retain, subscription_ids, ticket, .. } = self;
        let message = match payload {
            Payload::Inline(message) => message,
            Payload::Shared(number) => find(number).ok_or(DecodeError::NoMessage)?,
        };
        Ok(Owed { message, qos, retain, subscription_ids, ticket })
    }
}

/// The bits of the first byte of what is owed and of a message; the lowest two are the QoS.
const RETAIN: u8 = 1 << 2;
const TICKET: u8 = 1 << 3;
const TICKET_KEPT: u8 = 1 << 4;
const SHARED: u8 = 1 << 5;
const EXPIRES: u8 = 1 << 3;
const PROPERTIES: u8 = 1 << 4;
const QOS: u8 = 0b11;

pub(super) fn put_owed(
    owed: &Owed,
    shared: Option<MessageNumber>,
    clock: &Clock,
    out: &mut Vec<u8>,
) {
    let Owed { message, qos, retain, subscription_ids, ticket } = owed;
    let ticket_flags = match ticket {
        None => 0,
        Some(Ticket { standing: TicketStanding::Fleeting, .. }) => TICKET,
        Some(Ticket { standing: TicketStanding::Kept, .. }) => TICKET | TICKET_KEPT,
    };
    let shared_flag = if shared.is_some() { SHARED } else { 0 };
    out.push(qos.bits() | if *retain { RETAIN } else { 0 } | ticket_flags | shared_flag);
    put_number(out, message.bytes() as u64);
    if let Some(MessageNumber(number)) = shared {
        put_number(out, number);
    }
    put_number(out, subscription_ids.len() as u64);
    for id in subscription_ids {
        put_number(out, id.value().into());
    }
    if let Some(Ticket { group, position, lane, standing: _ }) = ticket {
        put_text(out, &group.to_string());
        put_number(out, *position);
        out.push(*lane);
    }
    if shared.is_none() {
        put_message(message, clock, out);
    }
}

/// How it is accounted, and under which number its message is kept for several takers.
pub(super) fn read_owed_head(
    reader: &mut Reader<'_>,
) -> Result<(u32, Option<MessageNumber>), DecodeError> {
    let flags = reader.byte()?;
    read_rest_of_head(flags, reader)
}

fn read_rest_of_head(
    flags: u8,
    reader: &mut Reader<'_>,
) -> Result<(u32, Option<MessageNumber>), DecodeError> {
    let bytes = u32::try_from(reader.number()?).map_err(|_| DecodeError::Number)?;
    let shared = if flags & SHARED == 0 { None } else { Some(MessageNumber(reader.number()?)) };
    Ok((bytes, shared))
}

pub(super) fn read_owed(reader: &mut Reader<'_>, clock: &Clock) -> Result<OwedRecord, DecodeError> {
    let flags = reader.byte()?;
    let (_, shared) = read_rest_of_head(flags, reader)?;
    let mut subscription_ids = SubscriptionIds::new();
    for _ in 0..reader.number()? {
        let id = u32::try_from(reader.number()?).ok().and_then(SubscriptionId::new);
        subscription_ids.push(id.ok_or(DecodeError::Value("subscription id"))?);
    }
    let ticket = if flags & TICKET == 0 {
        None
    } else {
        let group = SubscriptionFilter::parse(reader.text()?)
            .map_err(|_| DecodeError::Value("topic filter"))?;
        let standing =
            if flags & TICKET_KEPT == 0 { TicketStanding::Fleeting } else { TicketStanding::Kept };
        let (position, lane) = (reader.number()?, reader.byte()?);
        Some(Ticket { group: Arc::new(group), position, lane, standing })
    };
    let payload = match shared {
        Some(number) => Payload::Shared(number),
        None => Payload::Inline(Arc::new(read_message(reader, clock)?)),
    };
    Ok(OwedRecord {
        payload,
        qos: qos(flags)?,
        retain: flags & RETAIN != 0,
        subscription_ids,
        ticket,
    })
}

pub(super) fn put_message(message: &Message, clock: &Clock, out: &mut Vec<u8>) {
    let Message { topic, payload, qos, retain, properties, expires_at } = message;
    let expires = if expires_at.is_some() { EXPIRES } else { 0 };
    let has_properties = if properties.is_empty() { 0 } else { PROPERTIES };
    out.push(qos.bits() | if *retain { RETAIN } else { 0 } | expires | has_properties);
    put_text(out, topic.as_str());
    if let Some(expires_at) = expires_at {
        put_signed(out, clock.store_time(*expires_at).0);
    }
    if !properties.is_empty() {
        put_bytes(out, properties.as_bytes());
    }
    put_bytes(out, payload);
}

pub(super) fn read_message(reader: &mut Reader<'_>, clock: &Clock) -> Result<Message, DecodeError> {
    let flags = reader.byte()?;
    let topic = TopicName::parse(reader.text()?).map_err(|_| DecodeError::Value("topic name"))?;
    let expires_at =
        if flags & EXPIRES == 0 { None } else { Some(clock.instant(StoreTime(reader.signed()?))) };
    let properties = if flags & PROPERTIES == 0 {
        ForwardedProperties::default()
    } else {
        ForwardedProperties::from_bytes(reader.bytes()?)
            .map_err(|_| DecodeError::Value("properties"))?
    };
    let payload = Bytes::copy_from_slice(reader.bytes()?);
    let (qos, retain) = (qos(flags)?, flags & RETAIN != 0);
    Ok(Message { topic, payload, qos, retain, properties, expires_at })
}

fn qos(flags: u8) -> Result<QoS, DecodeError> {
    QoS::from_bits(flags & QOS).ok_or(DecodeError::Value("QoS"))
}
