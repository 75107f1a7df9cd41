//! The words the chapters are written in.
//!
//! - [`said`]: packets as values, which a client says or expects; [`expected`]: how what comes is
//!   compared with them.
//! - [`odd`]: packets that no right client writes.
//! - [`client`]: one network connection in the hand of a test.
//! - [`world`]: where a test runs: [`real`], the binary over sockets, or [`clockwork`], the same
//!   rooms in this thread, whose time a test lets pass.

pub(crate) mod client;
pub(crate) mod clockwork;
pub(crate) mod expected;
pub(crate) mod odd;
pub(crate) mod property;
pub(crate) mod real;
pub(crate) mod said;
pub(crate) mod world;

#[path = "../../support/broker.rs"]
pub(crate) mod broker;
#[path = "../../support/connect.rs"]
pub(crate) mod connect;
#[path = "../../support/scram.rs"]
pub(crate) mod scram;
#[path = "../../support/wire.rs"]
pub(crate) mod wire;

pub(crate) use client::Client;
pub(crate) use connect::Will;
pub(crate) use odd::{altered, connect_with, packet};
pub(crate) use property::{
    assigned_client_identifier, authentication_data, authentication_method, content_type,
    correlation_data, maximum_packet_size, maximum_qos, message_expiry_interval,
    payload_format_indicator, reason_string, receive_maximum, request_problem_information,
    request_response_information, response_information, response_topic, retain_available,
    server_keep_alive, server_reference, session_expiry_interval, shared_subscription_available,
    subscription_identifier, subscription_identifier_available, topic_alias, topic_alias_maximum,
    user_property, wildcard_subscription_available, will_delay_interval,
};
pub(crate) use said::Said;
pub(crate) use said::{
    auth, connack, connect, disconnect, lasting, pingreq, pingresp, puback, pubcomp, publish,
    pubrec, pubrel, raw, suback, subscribe, unsuback, unsubscribe,
};
pub(crate) use wire::{Message, Packet, Value, Version};
pub(crate) use world::{
    World, everywhere, everywhere_in_both, everywhere_with, listener, really, really_with,
    with_clock, with_clock_and, with_clock_in_both,
};

pub(crate) use Version::{V5, V31, V311};

/// The versions that most rules have in common.
pub(crate) const BOTH: [Version; 2] = [V311, V5];
