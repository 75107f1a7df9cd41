//! Words that explain a Reason Code, and clients that have no room for them.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Broker, Client, Connect, End, Packet, Properties, Value, Version,
    wire::{MAXIMUM_PACKET_SIZE, publish},
};

const SIZE_MAX: usize = 30;

/// Of a client that takes only small packets.
fn narrow(client_id: &str) -> Connect {
    Connect::new(Version::V5, client_id).property(MAXIMUM_PACKET_SIZE, Value::Four(30))
}

/// How the broker refuses; each connection ends with the last of it.
async fn be_refused(broker: &Broker, connect: &dyn Fn(&str) -> Connect) -> Vec<usize> {
    let mut longest = Vec::new();
    let mut client = Client::connect(broker.address, &connect("refused")).await;
    client.send(&publish(Version::V5, 0x32, "$SYS/x", 5, &Properties::default(), b"x"));
    let Packet::PubAck { packet_id: 5, code: 0x80.., .. } = client.packet().await else {
        panic!("something else than a refusal");
    };
    longest.push(std::mem::take(&mut client.longest_packet));
    client.send(&publish(Version::V5, 0x34, "$SYS/x", 6, &Properties::default(), b"x"));
    let Packet::PubRec { packet_id: 6, code: 0x80.., .. } = client.packet().await else {
        panic!("something else than a refusal");
    };
    longest.push(std::mem::take(&mut client.longest_packet));
    assert_eq!(client.subscribe("a/#/b", 0).await, 0x8F);
    longest.push(std::mem::take(&mut client.longest_packet));
    // A second CONNECT is a Protocol Error.
    client.send(&connect("refused").encode());
    assert_eq!(client.end().await, End::Disconnect(0x82));
    longest.push(client.longest_packet);

    let mut old = Client::connect(broker.address, &connect("taken over")).await;
    old.longest_packet = 0;
    let _new = Client::connect(broker.address, &connect("taken over")).await;
    assert_eq!(old.end().await, End::Disconnect(0x8E));
    longest.push(old.longest_packet);

    let mut unwanted = Client::open(broker.address, Version::V5).await;
    unwanted.send(&connect(&"x".repeat(2_000)).encode());
    assert_eq!(unwanted.end().await, End::Refused(0x85));
    longest.push(unwanted.longest_packet);

    let mut stopped = Client::connect(broker.address, &connect("stopped")).await;
    stopped.longest_packet = 0;
    let id = i32::try_from(broker.process.id()).expect("a process id");
    kill_process(Pid::from_raw(id).expect("not 0"), Signal::TERM).expect("the broker runs");
    assert_eq!(stopped.end().await, End::Disconnect(0x8B));
    longest.push(stopped.longest_packet);
    longest
}

/// [MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.4.2-2] [MQTT-3.9.2-1] [MQTT-3.14.2-3]
#[tokio::test]
async fn reason_strings_never_exceed_the_maximum_packet_size_of_a_client() {
    let broker = Broker::start();

    let longest = be_refused(&broker, &narrow).await;

    assert!(longest.iter().all(|length| *length <= SIZE_MAX), "{longest:?}");
}

/// Without a limit the same refusals come with words, so the test above is about something.
#[tokio::test]
async fn refusals_come_with_words_to_who_has_room_for_them() {
    let broker = Broker::start();

    let longest = be_refused(&broker, &|id| Connect::new(Version::V5, id)).await;

    assert!(longest.iter().all(|length| *length > SIZE_MAX), "{longest:?}");
}

/// [MQTT-3.1.2-24]: a Client Identifier has to be told, and does not fit.
#[tokio::test]
async fn a_client_without_room_for_its_connack_is_refused_in_few_bytes() {
    let broker = Broker::start();
    let mut client = Client::open(broker.address, Version::V5).await;

    client.send(&narrow("").encode());

    assert_eq!(client.end().await, End::Refused(0x95));
    assert!(client.longest_packet <= SIZE_MAX, "{}", client.longest_packet);
}

/// [MQTT-3.1.2-24]: it applies to the CONNACK too.
#[tokio::test]
async fn the_connack_itself_fits() {
    let broker = Broker::start();

    let client = Client::connect(broker.address, &narrow("small")).await;

    assert!(client.longest_packet <= SIZE_MAX, "{}", client.longest_packet);
}
