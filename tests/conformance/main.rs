//! Every normative statement of MQTT 3.1.1 and 5.0, each shown by a test, and a table of which by
//! which: `requirements.toml`.
//!
//! A file is a chapter of the standards. A test is named after the statement it shows, with the
//! version (`v5_mqtt_3_3_1_1_...`, `v311_...`); what it shows besides it cites in a comment, as the
//! sources do: `[MQTT-3.3.1-1]` of 5.0, `[MQTT3-3.3.1-1]` of 3.1.1. Where both versions say the same,
//! one test tells it of both.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::wildcard_imports,
    reason = "a panic is a failed test, and the vocabulary is what the chapters are written in"
)]

mod acknowledgements;
mod authentication;
mod connack;
mod connack_properties;
mod connect;
mod connect_payload;
mod connect_properties;
mod connect_response;
mod connect_will;
mod coverage;
mod data_representation;
mod disconnect;
mod expiry;
mod flow_control;
mod handling_errors;
mod mqtt_3_1;
mod ordering;
mod packet_format;
mod ping;
mod practice;
mod properties;
mod publish;
mod publish_flow;
mod publish_properties;
mod quality_of_service;
mod retained;
mod session_expiry;
mod session_state;
mod shared_subscriptions;
mod subscribe;
mod subscriptions;
mod topic_aliases;
mod topics;
mod unsubscribe;
mod vocabulary;
mod will;
