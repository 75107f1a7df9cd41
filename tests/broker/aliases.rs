//! Topic Aliases that the broker sets towards a client.

use std::collections::HashMap;

use crate::support::{
    BOTH, Broker, Client, Connect, Value, Version, join,
    wire::{TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM},
};

/// A subscriber that keeps what each alias stands for, as 5.0 s3.3.2.3.4 has it.
struct Resolving {
    client: Client,
    topics: HashMap<u16, String>,
    alone: usize,
}

impl Resolving {
    async fn connect(broker: &Broker, connect: Connect, maximum: u16) -> Self {
        let connect = connect.property(TOPIC_ALIAS_MAXIMUM, Value::Two(maximum));
        let client = Client::connect(broker.address, &connect).await;
        Self { client, topics: HashMap::new(), alone: 0 }
    }

    async fn subscriber(broker: &Broker, maximum: u16) -> Self {
        let connect = Connect::new(Version::V5, "subscriber");
        let mut resolving = Self::connect(broker, connect, maximum).await;
        assert_eq!(resolving.client.subscribe("alias/#", 2).await, 2);
        resolving
    }

    /// The topic and the text of the next message.
    async fn message(&mut self) -> (String, String) {
        let message = self.client.message().await;
        let text = message.text().to_owned();
        let alias = match message.properties.all(TOPIC_ALIAS)[..] {
            [] => None,
            [Value::Two(alias)] => Some(*alias),
            ref other => panic!("{other:?}"),
        };
        let topic = match (alias, message.topic) {
            (Some(alias), topic) if topic.is_empty() => {
                self.alone += 1;
                self.topics[&alias].clone()
            }
            (Some(alias), topic) => {
                self.topics.insert(alias, topic.clone());
                topic
            }
            (None, topic) => topic,
        };
        (topic, text)
    }

    /// Publishes to each topic and expects what arrives to be of that topic.
    async fn expect_in_turn(&mut self, publisher: &mut Client, topics: usize, qos: u8) {
        for number in 0..topics {
            publisher.publish_and_wait(&format!("alias/{number}"), number.to_string(), qos).await;
            let expected = (format!("alias/{number}"), number.to_string());
            assert_eq!(self.message().await, expected);
        }
    }

    fn aliases(&self) -> Vec<u16> {
        let mut aliases: Vec<u16> = self.topics.keys().copied().collect();
        aliases.sort_unstable();
        aliases
    }
}

/// [MQTT-3.1.2-26] [MQTT-3.3.2-8] [MQTT-3.3.2-11]
#[tokio::test]
async fn a_client_gets_aliases_up_to_its_maximum_from_every_version() {
    let broker = Broker::start();
    for version in BOTH {
        for qos in 0..=1 {
            let mut subscriber = Resolving::subscriber(&broker, 3).await;
            let mut publisher = join(broker.address, version, "publisher").await;

            for _ in 0..3 {
                subscriber.expect_in_turn(&mut publisher, 5, qos).await;
            }

            assert_eq!(subscriber.aliases(), [1, 2, 3]);
            assert_eq!(subscriber.alone, 6, "{version:?} at QoS {qos}");
        }
    }
}

/// [MQTT-3.1.2-27]
#[tokio::test]
async fn a_client_with_no_maximum_or_zero_gets_no_alias() {
    let broker = Broker::start();
    let silent = Client::connect(broker.address, &Connect::new(Version::V5, "subscriber")).await;
    let silent = Resolving { client: silent, topics: HashMap::new(), alone: 0 };
    let zero = Resolving::connect(&broker, Connect::new(Version::V5, "zero"), 0).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    for mut subscriber in [silent, zero] {
        subscriber.client.subscribe("alias/#", 2).await;

        subscriber.expect_in_turn(&mut publisher, 3, 1).await;
        subscriber.expect_in_turn(&mut publisher, 3, 1).await;

        assert_eq!(subscriber.aliases(), [0; 0]);
    }
}

#[tokio::test]
async fn the_configuration_limits_the_aliases_below_the_clients_maximum() {
    for (configuration, expected) in [
        ("", (1..=32).collect()),
        ("[limits]\ntopic_aliases_out_max = 2\n", vec![1, 2]),
        ("[limits]\ntopic_aliases_out_max = 0\n", vec![]),
    ] {
        let broker = Broker::start_with(configuration);
        let mut subscriber = Resolving::subscriber(&broker, u16::MAX).await;
        let mut publisher = join(broker.address, Version::V5, "publisher").await;

        subscriber.expect_in_turn(&mut publisher, 40, 0).await;
        subscriber.expect_in_turn(&mut publisher, 40, 0).await;

        assert_eq!(subscriber.aliases(), expected);
        assert_eq!(subscriber.alone, expected.len());
    }
}

/// [MQTT-3.3.2-7]
#[tokio::test]
async fn a_session_that_goes_on_begins_with_no_alias() {
    let broker = Broker::start();
    let lasting = || Connect::lasting(Version::V5, "subscriber");
    let mut first = Resolving::connect(&broker, lasting(), 4).await;
    first.client.subscribe("alias/#", 1).await;
    first.client.withhold_answers();
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    first.expect_in_turn(&mut publisher, 2, 1).await;
    first.expect_in_turn(&mut publisher, 2, 1).await;
    assert_eq!(first.alone, 2);

    let mut second = Resolving::connect(&broker, lasting(), 4).await;

    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(second.message().await.0);
    }
    assert_eq!(seen, ["alias/0", "alias/1", "alias/0", "alias/1"]);
    assert_eq!(second.alone, 2);
}
