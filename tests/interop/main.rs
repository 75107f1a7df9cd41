//! The MQTT clients that people use, unmodified, against the real binary. `tests/run.sh` installs
//! them; none of these tests is ever skipped: a client that is missing is a failure.
//!
//! Each scenario is written once (`scenarios`) in the terms of `client`; a driver (`drivers`) has
//! one client do it, in each version that both have. The table is below: one test for each client
//! and scenario, or the reason why there is none, which a test in `table` prints.

// Helpers of an integration test are test code too, but the lints see only `#[test]` functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a failed test is a panic"
)]

#[path = "../support/broker.rs"]
mod broker;
mod client;
mod drivers;
mod scenarios;
#[macro_use]
mod table;
mod tool;
mod world;

const ACKNOWLEDGES_FIRST: &str =
    "it acknowledges QoS 1 before it shows the message, which may be lost with it in between";
const LEAVES_ALIASES: &str = "it leaves the choice of Topic Aliases to its user";

table! {
    mosquitto {
        runs: connect refused every_qos between_versions retained will will_dropped_at_disconnect
            resume wildcards unsubscribe shared_group mebibyte burst sys_topics user_properties
            user_properties_in_order aliases_from_the_client message_expiry will_delay
            will_delay_ended_by_reconnecting session_expiry session_ended_by_disconnect;
        cannot:
            shared_group_while_members_die: ACKNOWLEDGES_FIRST;
            request_and_response:
                "mosquitto_pub takes Correlation Data as an argument, which has no zero byte";
            aliases_to_the_client:
                "mosquitto_sub 2.0.11 may announce a Topic Alias Maximum, but takes a PUBLISH \
                 without a topic for a protocol error";
            aliases_chosen_by_the_client: LEAVES_ALIASES;
    }
    paho_python {
        runs: connect refused every_qos between_versions retained will will_dropped_at_disconnect
            resume wildcards unsubscribe shared_group shared_group_while_members_die mebibyte burst
            sys_topics user_properties user_properties_in_order request_and_response
            aliases_to_the_client aliases_from_the_client message_expiry will_delay
            will_delay_ended_by_reconnecting session_expiry session_ended_by_disconnect;
        cannot:
            aliases_chosen_by_the_client: LEAVES_ALIASES;
    }
    mqttjs {
        runs: connect refused every_qos between_versions retained will will_dropped_at_disconnect
            resume wildcards unsubscribe shared_group shared_group_while_members_die mebibyte burst
            sys_topics user_properties request_and_response aliases_to_the_client
            aliases_from_the_client aliases_chosen_by_the_client message_expiry will_delay
            will_delay_ended_by_reconnecting session_expiry session_ended_by_disconnect;
        cannot:
            user_properties_in_order:
                "MQTT.js has them in an object, by name: the order between names is lost";
    }
    paho_c {
        runs: connect refused every_qos between_versions retained will will_dropped_at_disconnect
            resume wildcards unsubscribe shared_group mebibyte burst sys_topics user_properties
            user_properties_in_order request_and_response aliases_to_the_client
            aliases_from_the_client message_expiry will_delay will_delay_ended_by_reconnecting
            session_expiry session_ended_by_disconnect;
        cannot:
            shared_group_while_members_die: ACKNOWLEDGES_FIRST;
            aliases_chosen_by_the_client: LEAVES_ALIASES;
    }
    rumqttc {
        runs: connect refused every_qos between_versions retained will will_dropped_at_disconnect
            resume wildcards unsubscribe shared_group shared_group_while_members_die mebibyte burst
            sys_topics user_properties user_properties_in_order request_and_response
            aliases_to_the_client aliases_from_the_client message_expiry will_delay
            will_delay_ended_by_reconnecting session_expiry;
        cannot:
            aliases_chosen_by_the_client: LEAVES_ALIASES;
            session_ended_by_disconnect:
                "rumqttc 0.25.1 sends every DISCONNECT without properties";
    }
}
