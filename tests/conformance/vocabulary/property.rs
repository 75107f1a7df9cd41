//! The properties of 5.0 by their names (5.0 s2.2.2.2).

use super::wire::{self, Value};

/// What a packet is said or expected `with`.
pub(crate) type Property = (u8, Value);

pub(crate) fn payload_format_indicator(value: u8) -> Property {
    (wire::PAYLOAD_FORMAT_INDICATOR, Value::Byte(value))
}

pub(crate) fn message_expiry_interval(value: u32) -> Property {
    (wire::MESSAGE_EXPIRY_INTERVAL, Value::Four(value))
}

pub(crate) fn content_type(value: &str) -> Property {
    (wire::CONTENT_TYPE, Value::Text(value.to_owned()))
}

pub(crate) fn response_topic(value: &str) -> Property {
    (wire::RESPONSE_TOPIC, Value::Text(value.to_owned()))
}

pub(crate) fn correlation_data(value: &[u8]) -> Property {
    (wire::CORRELATION_DATA, Value::Binary(value.to_owned()))
}

pub(crate) fn subscription_identifier(value: u32) -> Property {
    (wire::SUBSCRIPTION_IDENTIFIER, Value::Variable(value))
}

pub(crate) fn session_expiry_interval(value: u32) -> Property {
    (wire::SESSION_EXPIRY_INTERVAL, Value::Four(value))
}

pub(crate) fn assigned_client_identifier(value: &str) -> Property {
    (wire::ASSIGNED_CLIENT_IDENTIFIER, Value::Text(value.to_owned()))
}

pub(crate) fn server_keep_alive(value: u16) -> Property {
    (wire::SERVER_KEEP_ALIVE, Value::Two(value))
}

pub(crate) fn authentication_method(value: &str) -> Property {
    (wire::AUTHENTICATION_METHOD, Value::Text(value.to_owned()))
}

pub(crate) fn authentication_data(value: &[u8]) -> Property {
    (wire::AUTHENTICATION_DATA, Value::Binary(value.to_owned()))
}

pub(crate) fn request_problem_information(value: u8) -> Property {
    (wire::REQUEST_PROBLEM_INFORMATION, Value::Byte(value))
}

pub(crate) fn will_delay_interval(value: u32) -> Property {
    (wire::WILL_DELAY_INTERVAL, Value::Four(value))
}

pub(crate) fn request_response_information(value: u8) -> Property {
    (wire::REQUEST_RESPONSE_INFORMATION, Value::Byte(value))
}

pub(crate) fn response_information(value: &str) -> Property {
    (wire::RESPONSE_INFORMATION, Value::Text(value.to_owned()))
}

pub(crate) fn server_reference(value: &str) -> Property {
    (wire::SERVER_REFERENCE, Value::Text(value.to_owned()))
}

pub(crate) fn reason_string(value: &str) -> Property {
    (wire::REASON_STRING, Value::Text(value.to_owned()))
}

pub(crate) fn receive_maximum(value: u16) -> Property {
    (wire::RECEIVE_MAXIMUM, Value::Two(value))
}

pub(crate) fn topic_alias_maximum(value: u16) -> Property {
    (wire::TOPIC_ALIAS_MAXIMUM, Value::Two(value))
}

pub(crate) fn topic_alias(value: u16) -> Property {
    (wire::TOPIC_ALIAS, Value::Two(value))
}

pub(crate) fn maximum_qos(value: u8) -> Property {
    (wire::MAXIMUM_QOS, Value::Byte(value))
}

pub(crate) fn retain_available(value: u8) -> Property {
    (wire::RETAIN_AVAILABLE, Value::Byte(value))
}

pub(crate) fn maximum_packet_size(value: u32) -> Property {
    (wire::MAXIMUM_PACKET_SIZE, Value::Four(value))
}

pub(crate) fn wildcard_subscription_available(value: u8) -> Property {
    (wire::WILDCARD_SUBSCRIPTION_AVAILABLE, Value::Byte(value))
}

pub(crate) fn subscription_identifier_available(value: u8) -> Property {
    (wire::SUBSCRIPTION_IDENTIFIER_AVAILABLE, Value::Byte(value))
}

pub(crate) fn shared_subscription_available(value: u8) -> Property {
    (wire::SHARED_SUBSCRIPTION_AVAILABLE, Value::Byte(value))
}

pub(crate) fn user_property(name: &str, value: &str) -> Property {
    (wire::USER_PROPERTY, Value::Pair(name.to_owned(), value.to_owned()))
}
