//! A thousand connections at once.

use tokio::task::JoinSet;

use crate::support::{Broker, Client, Version, join, taker};

const CLIENTS: usize = 1_000;

/// A thousand subscribed clients of both versions, connected as fast as they come.
async fn crowd(broker: &Broker, filter: fn(usize) -> String, qos: u8) -> Vec<Client> {
    let address = broker.address;
    let mut joining = JoinSet::new();
    for number in 0..CLIENTS {
        joining.spawn(async move {
            let version = if number % 2 == 0 { Version::V5 } else { Version::V311 };
            let id = format!("crowd-{number}");
            (number, taker(address, version, &id, &filter(number), qos).await)
        });
    }
    let mut clients = joining.join_all().await;
    clients.sort_unstable_by_key(|(number, _)| *number);
    clients.into_iter().map(|(_, client)| client).collect()
}

#[tokio::test]
async fn a_thousand_connections_each_receive_their_own_message() {
    let broker = Broker::start();
    let mut clients = crowd(&broker, |number| format!("crowd/{number}"), 1).await;
    let mut publisher = join(broker.address, Version::V311, "publisher").await;

    for number in 0..CLIENTS {
        publisher.publish(&format!("crowd/{number}"), number.to_string(), 1);
    }
    publisher.wait_for_window(0).await;

    for (number, client) in clients.iter_mut().enumerate() {
        let message = client.message().await;
        assert_eq!(message.topic, format!("crowd/{number}"));
        assert_eq!(message.text(), number.to_string());
    }
    // A second round: nobody was lost, and nobody received anything else.
    for number in 0..CLIENTS {
        publisher.publish(&format!("crowd/{number}"), "again", 1);
    }
    publisher.wait_for_window(0).await;
    for client in &mut clients {
        assert_eq!(client.message().await.text(), "again");
    }
}

#[tokio::test]
async fn one_message_fans_out_to_a_thousand_subscribers_at_each_qos() {
    let broker = Broker::start();
    let mut clients = crowd(&broker, |_| "news/+".to_owned(), 2).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;

    for qos in [0, 1, 2] {
        for number in 0..5 {
            publisher.publish("news/today", number.to_string(), qos);
        }
        publisher.wait_for_window(0).await;

        for client in &mut clients {
            for number in 0..5 {
                let message = client.message().await;
                assert_eq!((message.number(), message.qos), (number, qos));
            }
        }
    }
}
