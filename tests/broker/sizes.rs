//! What just fits is let through, and what does not fit a client is kept from it.

use crate::support::{
    Broker, Client, Connect, Value, Version, join, taker, wire::MAXIMUM_PACKET_SIZE,
};

/// PRODUCT: 4,096 bytes and 128 levels. Beyond them it is refused, as the corpus shows.
#[tokio::test]
async fn a_topic_name_at_the_limits_is_delivered() {
    let broker = Broker::start();
    for topic in ["t".repeat(4_096), "/".repeat(127)] {
        let mut client = taker(broker.address, Version::V5, "client", &topic, 0).await;
        client.publish(&topic, "fits", 0);
        assert_eq!(client.message().await.text(), "fits");
    }
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: what the client cannot take is not sent, and is not waited
/// for.
#[tokio::test]
async fn a_message_above_the_clients_maximum_packet_size_is_left_out() {
    let broker = Broker::start();
    let connect =
        Connect::new(Version::V5, "small").property(MAXIMUM_PACKET_SIZE, Value::Four(1_000));
    let mut small = Client::connect(broker.address, &connect).await;
    small.subscribe("sizes", 2).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;

    for qos in [0, 1, 2] {
        publisher.publish_and_wait("sizes", vec![b'x'; 1_000], qos).await;
        publisher.publish_and_wait("sizes", "small", qos).await;
        assert_eq!(small.message().await.text(), "small");
    }
}
