//! A PUBLISH encoded once for each kind of taker, then copied and patched for each.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::link::Link;
use super::outbound::Spare;
use crate::message::Publication;
use crate::packet::{
    Delivery, PacketId, ProtocolVersion, Publish, PublishHead, PublishProperties,
    SubscriptionIds as SubscriptionIdsView, encode_publish_head, publish_first_byte,
};
use crate::session::SubscriptionIds;

/// Up to here a payload is copied to each taker: cheaper than a slice of its own in a `writev`,
/// which measured equal at about 1 KiB.
pub(super) const COPIED_PAYLOAD_MAX: usize = 1024;

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
    publication: &'a Publication<'a>,
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
        let small = came.packet.len() <= COPIED_PAYLOAD_MAX;
        (same && small && (!is_v5 || subscription_ids.is_empty())).then_some(came.packet.len())
    }

    fn encode(
        &mut self,
        version: ProtocolVersion,
        delivery: Delivery,
        subscription_ids: &SubscriptionIds,
    ) -> usize {
        let publication = self.publication;
        let payload = publication.payload.as_slice();
        let publish = Publish {
            delivery,
            retain: false,
            topic: publication.topic.as_str().as_bytes(),
            properties: PublishProperties {
                topic_alias: None,
                message_expiry: publication.expiry,
                subscription_ids: SubscriptionIdsView::from_slice(subscription_ids),
                forwarded: publication.properties,
            },
            payload,
        };
        if self.scratch.variants.len() == VARIANTS_MAX
            && let Some(last) = self.scratch.variants.pop()
        {
            self.scratch.bytes.truncate(last.range.start);
        }
        let start = self.scratch.bytes.len();
        let head = encode_publish_head(&publish, version, &mut self.scratch.bytes);
        if payload.len() <= COPIED_PAYLOAD_MAX {
            self.scratch.bytes.extend_from_slice(payload);
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

    /// Appends the packet to a connection's outbound buffer, as this taker gets it.
    pub(super) fn append(
        &mut self,
        chosen: Chosen,
        delivery: Delivery,
        retain: bool,
        link: &mut Link,
        spare: &mut Spare,
    ) {
        let tail = link.outbound.tail(spare);
        let start = tail.len();
        self.write_encoded(chosen, delivery, retain, tail);
        let appended = tail.len() - start;
        link.outbound.grew(appended);
        if let Encoding::Variant(_) = chosen.encoding
            && self.publication.payload.as_slice().len() > COPIED_PAYLOAD_MAX
        {
            let shared = self.shared.get_or_insert_with(|| self.publication.payload.to_bytes());
            link.outbound.append_shared(shared.clone());
        }
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
        let payload = self.publication.payload.as_slice();
        if payload.len() > COPIED_PAYLOAD_MAX {
            out.extend_from_slice(payload);
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
