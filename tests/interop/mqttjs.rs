//! MQTT.js: each scenario of `mqttjs/scenarios.mjs` in both versions.

use crate::{
    broker::Broker,
    tool::{Tool, libraries, script},
};

fn scenario(name: &str) {
    let broker = Broker::start();
    for version in ["3.1.1", "5.0"] {
        run(&broker, version, name);
    }
}

fn run(broker: &Broker, version: &str, name: &str) {
    let file = script("mqttjs/scenarios.mjs");
    let port = broker.address.port().to_string();
    let host = broker.address.ip().to_string();
    let file = file.to_str().expect("a path of text");
    let environment = [("MQTTJS_FOLDER", libraries("node"))];
    Tool::start("node", [file, &host, &port, version, name], &environment).expect_success();
}

#[test]
fn mqttjs_passes_messages_at_every_qos_both_ways() {
    scenario("every_qos");
}

#[test]
fn mqttjs_sees_and_clears_retained_messages() {
    scenario("retained");
}

#[test]
fn mqttjs_will_is_sent_when_its_socket_dies() {
    scenario("will");
}

#[test]
fn mqttjs_session_keeps_what_it_missed() {
    scenario("resume");
}

#[test]
fn mqttjs_wildcards_select() {
    scenario("wildcards");
}

#[test]
fn mqttjs_passes_a_mebibyte_at_every_qos() {
    scenario("mebibyte");
}

#[test]
fn mqttjs_sends_two_hundred_qos_2_messages_at_once() {
    scenario("burst");
}

#[test]
fn mqttjs_understands_the_aliases_it_gets() {
    run(&Broker::start(), "5.0", "aliases_to_the_client");
}

#[test]
fn mqttjs_is_understood_when_it_sets_aliases() {
    run(&Broker::start(), "5.0", "aliases_from_the_client");
}

#[test]
fn mqttjs_passes_user_properties_on() {
    run(&Broker::start(), "5.0", "user_properties");
}

#[test]
fn mqttjs_shared_group_loses_nothing_while_members_leave() {
    scenario("shared_group");
}

#[test]
fn mqttjs_gets_the_user_properties_of_retained_messages() {
    run(&Broker::start(), "5.0", "retained_user_properties");
}

#[test]
fn mqttjs_gets_what_is_left_of_an_expiry_and_nothing_that_expired() {
    run(&Broker::start(), "5.0", "message_expiry");
}

#[test]
fn mqttjs_will_is_sent_after_its_delay() {
    run(&Broker::start(), "5.0", "will_delay");
}

#[test]
fn mqttjs_will_is_not_sent_if_it_reconnects_before_its_delay_has_passed() {
    run(&Broker::start(), "5.0", "will_delay_ended_by_reconnecting");
}

#[test]
fn mqttjs_session_lasts_as_long_as_its_expiry() {
    run(&Broker::start(), "5.0", "session_expiry");
}
