//! What the codec costs for the packets that a broker sees most: the nanoseconds of one packet.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use dunlin::packet::{
    Delivery, ForwardedParts, ForwardedProperties, Framing, PacketId, ProtocolVersion, PubAck,
    Publish, PublishProperties, ReasonCode, UserPropertyList, encode_publish_head, frame,
};

const TOPIC: &[u8] = b"site/7/meter/0042/kw";
const PAYLOAD: &[u8] = &[b'x'; 64];
const PACKET_BYTES_MAX: usize = 1024 * 1024;

fn publish(delivery: Delivery) -> Publish<'static> {
    Publish {
        delivery,
        retain: false,
        topic: TOPIC,
        properties: PublishProperties::default(),
        payload: PAYLOAD,
    }
}

fn some_properties() -> ForwardedProperties {
    let mut user_properties = UserPropertyList::default();
    user_properties.push("region", "north");
    ForwardedProperties::new(&ForwardedParts {
        content_type: Some("application/json"),
        user_properties: user_properties.as_view(),
        ..ForwardedParts::default()
    })
}

fn decode(bytes: &[u8], version: ProtocolVersion) {
    let Ok(Framing::Complete(frame)) = frame(black_box(bytes), PACKET_BYTES_MAX) else {
        return;
    };
    _ = black_box(frame.decode(version));
}

fn decoding(criterion: &mut Criterion) {
    let properties = some_properties();
    let id = PacketId::new(7);
    let Some(id) = id else { return };
    let at_least_once = Delivery::AtLeastOnce { id, dup: false };
    let mut with_properties = publish(at_least_once);
    with_properties.properties.message_expiry = Some(60);
    with_properties.properties.forwarded = properties.as_view();

    let mut group = criterion.benchmark_group("decode");
    for (name, version, publish) in [
        ("publish_v311_qos0", ProtocolVersion::V311, publish(Delivery::AtMostOnce)),
        ("publish_v311_qos1", ProtocolVersion::V311, publish(at_least_once)),
        ("publish_v5_qos0", ProtocolVersion::V5, publish(Delivery::AtMostOnce)),
        ("publish_v5_qos1", ProtocolVersion::V5, publish(at_least_once)),
        ("publish_v5_qos1_properties", ProtocolVersion::V5, with_properties),
    ] {
        let mut bytes = Vec::new();
        publish.encode(version, &mut bytes);
        group.bench_function(name, |bencher| bencher.iter(|| decode(&bytes, version)));
    }
    let mut puback = Vec::new();
    PubAck::new(id, ReasonCode::Success).encode(ProtocolVersion::V5, &mut puback);
    group.bench_function("puback_v5", |bencher| {
        bencher.iter(|| decode(&puback, ProtocolVersion::V5));
    });
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let properties = some_properties();
    let Some(id) = PacketId::new(7) else { return };
    let at_least_once = Delivery::AtLeastOnce { id, dup: false };
    let mut with_properties = publish(at_least_once);
    with_properties.properties.message_expiry = Some(60);
    with_properties.properties.forwarded = properties.as_view();

    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(4096);
    for (name, version, publish) in [
        ("publish_head_v311_qos0", ProtocolVersion::V311, publish(Delivery::AtMostOnce)),
        ("publish_head_v311_qos1", ProtocolVersion::V311, publish(at_least_once)),
        ("publish_head_v5_qos0", ProtocolVersion::V5, publish(Delivery::AtMostOnce)),
        ("publish_head_v5_qos1", ProtocolVersion::V5, publish(at_least_once)),
        ("publish_head_v5_qos1_properties", ProtocolVersion::V5, with_properties),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(encode_publish_head(black_box(&publish), version, &mut out))
            });
        });
    }
    group.bench_function("puback_v5", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(PubAck::new(id, ReasonCode::Success)).encode(ProtocolVersion::V5, &mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, decoding, encoding);
criterion_main!(benches);
