//! A PUBLISH encoded once for each kind of taker, then copied and patched for each. Only a taker
//! that has Topic Aliases of its own gets an encoding of its own.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::link::Link;
use super::outbound::Spare;
use crate::message::Publication;
use crate::packet::{
    Delivery, PacketId, ProtocolVersion, Publish, PublishHead, PublishProperties,
    SubscriptionIds as SubscriptionIdsView, encode_publish_head, publish_first_byte,
    publish_length,
};
use crate::session::SubscriptionIds;

/// Up to here a payload is copied to each taker: cheaper than a slice of its own in a `writev`,
/// which measured equal at about 1 KiB.
pub(super) const COPIED_PAYLOAD_MAX: usize = 1024;

/// A packet that is handed on as it came is copied to each taker up to here. It is one copy, and of a
/// run only one, where a shared payload takes two slices: 0.45 against 0.70 µs in a fan-out of 1 KiB.
pub const COPIED_PACKET_MAX: usize = 4 * 1024;

/// Encodings remembered; those of further kinds of takers are made for each of them.
const VARIANTS_MAX: usize = 8;

/// A worker's memory for encoding, reused from message to message.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    variants: SmallVec<[Variant; 2]>,
}

/// One encoding. QoS 1 and 2 differ in the first byte alone, which is patched.
#[derive(Debug)]
struct Variant {
    is_v5: bool,
    has_packet_id: bool,
    subscription_ids: SubscriptionIds,
    range: Range<usize>,
    head: PublishHead,
}

/// One publication being encoded.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    pub(super) publication: &'a Publication<'a>,
    scratch: &'a mut Scratch,
    /// The payload in memory of its own, made when the first taker shares it.
    shared: Option<Bytes>,
}

/// An encoding that fits one taker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    encoding: Encoding,
    /// Of the whole packet, in bytes.
    pub(super) length: usize,
}

/// A packet for one taker alone.
#[derive(Debug)]
pub(super) struct Own<'p> {
    publish: Publish<'p>,
    /// Of the whole packet with its Topic Name, in bytes.
    pub(super) length: usize,
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    /// The packet as it came in.
    AsItCame,
    /// The variant of this index.
    Variant(usize),
}

impl<'a> Encoder<'a> {
    pub(super) fn new(publication: &'a Publication<'a>, scratch: &'a mut Scratch) -> Self {
        scratch.bytes.clear();
        scratch.variants.clear();
        Self { publication, scratch, shared: None }
    }

    /// The encoding for a taker, made if nobody needed it before.
    #[inline]
    pub(super) fn choose(
        &mut self,
        version: ProtocolVersion,
        delivery: Delivery,
        subscription_ids: &SubscriptionIds,
    ) -> Chosen {
        let is_v5 = version.is_v5();
        if let Some(length) = self.as_it_came(is_v5, delivery, subscription_ids) {
            return Chosen { encoding: Encoding::AsItCame, length };
        }
        let has_packet_id = delivery.packet_id().is_some();
        let known = self.scratch.variants.iter().position(|variant| {
            variant.is_v5 == is_v5
                && variant.has_packet_id == has_packet_id
                && (!is_v5 || variant.subscription_ids == *subscription_ids)
        });
        let index = known.unwrap_or_else(|| self.encode(version, delivery, subscription_ids));
        let length = self.scratch.variants.get(index).map_or(0, |variant| variant.head.length);
        Chosen { encoding: Encoding::Variant(index), length }
    }

    /// The length of the packet that came in, if this taker may get it as it is.
    fn as_it_came(
        &self,
        is_v5: bool,
        delivery: Delivery,
        subscription_ids: &SubscriptionIds,
    ) -> Option<usize> {
        let came = self.publication.as_it_came?;
        let same = came.version.is_v5() == is_v5 && delivery == Delivery::AtMostOnce;
        let small = came.packet.len() <= COPIED_PACKET_MAX;
        (same && small && (!is_v5 || subscription_ids.is_empty())).then_some(came.packet.len())
    }

    fn encode(
        &mut self,
        version: ProtocolVersion,
        delivery: Delivery,
        subscription_ids: &SubscriptionIds,
    ) -> usize {
        let publish = self.publish(delivery, false, subscription_ids);
        if self.scratch.variants.len() == VARIANTS_MAX
            && let Some(last) = self.scratch.variants.pop()
        {
            self.scratch.bytes.truncate(last.range.start);
        }
        let start = self.scratch.bytes.len();
        let head = encode_publish_head(&publish, version, &mut self.scratch.bytes);
        if publish.payload.len() <= COPIED_PAYLOAD_MAX {
            self.scratch.bytes.extend_from_slice(publish.payload);
        }
        self.scratch.variants.push(Variant {
            is_v5: version.is_v5(),
            has_packet_id: delivery.packet_id().is_some(),
            subscription_ids: subscription_ids.clone(),
            range: start..self.scratch.bytes.len(),
            head,
        });
        self.scratch.variants.len() - 1
    }

    /// The packet with its Topic Name.
    fn publish<'p>(
        &self,
        delivery: Delivery,
        retain: bool,
        subscription_ids: &'p SubscriptionIds,
    ) -> Publish<'p>
    where
        'a: 'p,
    {
        let publication = self.publication;
        Publish {
            delivery,
            retain,
            topic: publication.topic.as_str().as_bytes(),
            properties: PublishProperties {
                topic_alias: None,
                message_expiry: publication.expiry,
                subscription_ids: SubscriptionIdsView::from_slice(subscription_ids),
                forwarded: publication.properties,
            },
            payload: publication.payload.as_slice(),
        }
    }

    /// The packet for a taker with Topic Aliases, which nobody else gets.
    pub(super) fn own<'p>(
        &self,
        version: ProtocolVersion,
        delivery: Delivery,
        retain: bool,
        subscription_ids: &'p SubscriptionIds,
    ) -> Own<'p>
    where
        'a: 'p,
    {
        let publish = self.publish(delivery, retain, subscription_ids);
        let length = self
            .as_it_came(version.is_v5(), delivery, subscription_ids)
            .unwrap_or_else(|| publish_length(&publish, version));
        Own { publish, length }
    }

    /// Appends it, by an alias if there is one: its length in bytes. An alias is set only by a
    /// packet that is appended.
    pub(super) fn append_own(&mut self, own: Own<'_>, link: &mut Link, spare: &mut Spare) -> usize {
        let Own { mut publish, length } = own;
        link.name_topic(self.publication.topic, length).apply(&mut publish);
        link.append_publish(&publish, || self.shared_payload(), spare)
    }

    /// Appends the packet to a connection's outbound buffer, as this taker gets it.
    pub(super) fn append(
        &mut self,
        chosen: Chosen,
        delivery: Delivery,
        retain: bool,
        link: &mut Link,
        spare: &mut Spare,
    ) {
        let more = if self.shares_payload(chosen) { 0 } else { chosen.length };
        let tail = link.outbound.tail(spare, more);
        let start = tail.len();
        self.write_encoded(chosen, delivery, retain, tail);
        let appended = tail.len() - start;
        link.outbound.grew(appended);
        if self.shares_payload(chosen) {
            link.outbound.append_shared(self.shared_payload());
        }
    }

    /// Whether what is encoded lacks the payload.
    fn shares_payload(&self, chosen: Chosen) -> bool {
        match chosen.encoding {
            Encoding::AsItCame => false,
            Encoding::Variant(_) => self.publication.payload.as_slice().len() > COPIED_PAYLOAD_MAX,
        }
    }

    fn shared_payload(&mut self) -> Bytes {
        self.shared.get_or_insert_with(|| self.publication.payload.to_bytes()).clone()
    }

    /// Writes the whole packet, with a payload of any size, as this taker gets it.
    pub(super) fn write(
        &self,
        chosen: Chosen,
        delivery: Delivery,
        retain: bool,
        out: &mut Vec<u8>,
    ) {
        self.write_encoded(chosen, delivery, retain, out);
        if self.shares_payload(chosen) {
            out.extend_from_slice(self.publication.payload.as_slice());
        }
    }

    /// The head, and the payload if it was copied to it.
    fn write_encoded(&self, chosen: Chosen, delivery: Delivery, retain: bool, out: &mut Vec<u8>) {
        let index = match (chosen.encoding, self.publication.as_it_came) {
            (Encoding::Variant(index), _) => index,
            (Encoding::AsItCame, came) => {
                return out.extend_from_slice(came.map_or(&[], |came| came.packet));
            }
        };
        let Some(variant) = self.scratch.variants.get(index) else { return };
        let Some(bytes) = self.scratch.bytes.get(variant.range.clone()) else { return };
        let start = out.len();
        out.extend_from_slice(bytes);
        if let Some(packet) = out.get_mut(start..) {
            patch(packet, variant.head.packet_id_at, delivery, retain);
        }
    }
}

fn patch(packet: &mut [u8], packet_id_at: Option<usize>, delivery: Delivery, retain: bool) {
    if let Some(first) = packet.first_mut() {
        *first = publish_first_byte(delivery, retain);
    }
    let id = delivery.packet_id().map(PacketId::value);
    if let Some(at) = packet_id_at
        && let Some(id) = id
        && let Some(place) = packet.get_mut(at..at + 2)
    {
        place.copy_from_slice(&id.to_be_bytes());
    }
}
