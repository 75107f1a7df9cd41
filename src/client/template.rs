//! A PUBLISH that is sent again and again with other payloads.

use super::ClientError;
use crate::packet::{
    Delivery, ForwardedParts, ForwardedProperties, PacketId, ProtocolVersion, Publish,
    PublishProperties, QoS, UserPropertyList, encode_publish_head,
};
use crate::topic::TopicName;

/// Everything but the payload, encoded once; all payloads are equally long.
#[derive(Clone, Debug)]
pub struct Template {
    head: Vec<u8>,
    packet_id_at: Option<usize>,
    payload_bytes: usize,
}

/// What a [`Template`] says of its messages.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    pub qos: QoS,
    pub retain: bool,
    /// Names and values; left out before 5.0.
    pub user_properties: &'a [(&'a str, &'a str)],
}

impl Template {
    /// For payloads as long as `sample`.
    ///
    /// # Errors
    /// If the topic is no Topic Name.
    pub fn new(
        version: ProtocolVersion,
        outgoing: &Outgoing<'_>,
        sample: &[u8],
    ) -> Result<Self, ClientError> {
        let topic = TopicName::parse(outgoing.topic)?;
        let id = PacketId::MIN;
        let delivery = match outgoing.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
        };
        let mut user_properties = UserPropertyList::default();
        for (name, value) in outgoing.user_properties {
            user_properties.push(name, value);
        }
        let forwarded = ForwardedProperties::new(&ForwardedParts {
            user_properties: user_properties.as_view(),
            ..ForwardedParts::default()
        });
        let properties =
            PublishProperties { forwarded: forwarded.as_view(), ..PublishProperties::default() };
        let publish = Publish {
            delivery,
            retain: outgoing.retain,
            topic: topic.as_str().as_bytes(),
            properties,
            payload: sample,
        };
        let mut head = Vec::new();
        let packet_id_at = encode_publish_head(&publish, version, &mut head).packet_id_at;
        Ok(Self { head, packet_id_at, payload_bytes: sample.len() })
    }

    /// The length of a packet.
    #[must_use]
    pub fn length(&self) -> usize {
        self.head.len() + self.payload_bytes
    }

    pub(super) fn has_packet_id(&self) -> bool {
        self.packet_id_at.is_some()
    }

    /// Appends a packet; `payload`, in parts, has to be as long as the sample was.
    pub(super) fn write(&self, id: Option<PacketId>, payload: &[&[u8]], out: &mut Vec<u8>) {
        debug_assert_eq!(payload.iter().map(|part| part.len()).sum::<usize>(), self.payload_bytes);
        let start = out.len();
        out.extend_from_slice(&self.head);
        let place = self.packet_id_at.and_then(|at| out.get_mut(start + at..));
        if let (Some(id), Some(place)) = (id, place.and_then(|place| place.first_chunk_mut())) {
            *place = id.value().to_be_bytes();
        }
        for part in payload {
            out.extend_from_slice(part);
        }
    }
}
