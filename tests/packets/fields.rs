//! What a packet says, as a table: only what differs from the default of its field.

use dunlin::packet::{
    Auth, ConnAck, ConnAckCode, ConnAckProperties, Connect, ConnectProperties, Delivery,
    Disconnect, Forwarded, Packet, PacketId, Publish, QoS, ReasonCode, ReasonCodes, RetainHandling,
    Subscribe, SubscriptionOptions, UserProperties, Will,
};
use toml::{Table, Value};

pub(super) fn of(packet: &Packet<'_>) -> Table {
    match packet {
        Packet::Connect(connect) => self::connect(connect),
        Packet::ConnAck(connack) => self::connack(connack),
        Packet::Publish(publish) => self::publish(publish),
        Packet::PubAck(ack) => {
            acknowledgement("PUBACK", ack.id, ack.reason, ack.reason_string, &ack.user_properties)
        }
        Packet::PubRec(ack) => {
            acknowledgement("PUBREC", ack.id, ack.reason, ack.reason_string, &ack.user_properties)
        }
        Packet::PubRel(ack) => {
            acknowledgement("PUBREL", ack.id, ack.reason, ack.reason_string, &ack.user_properties)
        }
        Packet::PubComp(ack) => {
            acknowledgement("PUBCOMP", ack.id, ack.reason, ack.reason_string, &ack.user_properties)
        }
        Packet::Subscribe(subscribe) => self::subscribe(subscribe),
        Packet::SubAck(ack) => {
            codes("SUBACK", ack.id, &ack.codes, ack.reason_string, &ack.user_properties)
        }
        Packet::Unsubscribe(unsubscribe) => {
            let mut fields = Fields::new("UNSUBSCRIBE");
            fields.number("id", u32::from(unsubscribe.id.value()));
            fields.list("filters", unsubscribe.filters.clone());
            fields.user_properties(&unsubscribe.user_properties);
            fields.0
        }
        Packet::UnsubAck(ack) => {
            codes("UNSUBACK", ack.id, &ack.codes, ack.reason_string, &ack.user_properties)
        }
        Packet::PingReq => Fields::new("PINGREQ").0,
        Packet::PingResp => Fields::new("PINGRESP").0,
        Packet::Disconnect(disconnect) => self::disconnect(disconnect),
        Packet::Auth(auth) => self::auth(auth),
    }
}

struct Fields(Table);

impl Fields {
    fn new(packet: &str) -> Self {
        let mut table = Table::new();
        table.insert("packet".to_owned(), packet.into());
        Self(table)
    }

    fn some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    fn number(&mut self, name: &str, value: u32) {
        self.some(name, (value > 0).then_some(i64::from(value)));
    }

    fn text(&mut self, name: &str, value: &str) {
        self.some(name, (!value.is_empty()).then_some(value));
    }

    fn bytes(&mut self, name: &str, value: Option<&[u8]>) {
        self.some(name, value.map(readable));
    }

    fn when(&mut self, name: &str, expected: bool, value: bool) {
        self.some(name, (value == expected).then_some(value));
    }

    fn list(&mut self, name: &str, values: impl Iterator<Item = impl Into<Value>>) {
        let values: Vec<Value> = values.map(Into::into).collect();
        self.some(name, (!values.is_empty()).then_some(values));
    }

    fn reason(&mut self, reason: ReasonCode) {
        self.some("reason", (reason != ReasonCode::Success).then(|| reason.to_string()));
    }

    fn user_properties(&mut self, user_properties: &UserProperties<'_>) {
        let pairs = user_properties.clone().map(|(name, value)| vec![name, value]);
        self.list("user_properties", pairs);
    }

    fn forwarded(&mut self, forwarded: Forwarded<'_>) {
        let indicator = forwarded.payload_format_indicator();
        self.some("payload_format_indicator", indicator.map(|indicator| indicator as i64));
        self.some("content_type", forwarded.content_type());
        self.some("response_topic", forwarded.response_topic());
        self.bytes("correlation_data", forwarded.correlation_data());
        self.user_properties(&forwarded.user_properties());
    }
}

/// The text that the bytes are, or their digits, or of very many their number.
fn readable(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        _ if bytes.len() > 100 => format!("{} bytes", bytes.len()),
        Ok(text) => text.to_owned(),
        Err(_) => format!("{bytes:02X?}"),
    }
}

fn qos(qos: QoS) -> u32 {
    u32::from(qos.bits())
}

fn connect(connect: &Connect<'_>) -> Table {
    let mut fields = Fields::new("CONNECT");
    fields.text("version", &connect.version.to_string());
    fields.when("clean_start", true, connect.clean_start);
    fields.number("keep_alive", u32::from(connect.keep_alive));
    fields.text("client_id", connect.client_id);
    fields.some("will", connect.will.as_ref().map(will));
    fields.some("username", connect.username);
    fields.bytes("password", connect.password);

    let ConnectProperties {
        session_expiry,
        receive_maximum,
        maximum_packet_size,
        topic_alias_maximum,
        request_response_information,
        request_problem_information,
        authentication_method,
        authentication_data,
        user_properties,
    } = &connect.properties;
    fields.number("session_expiry", *session_expiry);
    fields.some("receive_maximum", receive_maximum.map(|maximum| i64::from(maximum.value())));
    fields.some("maximum_packet_size", maximum_packet_size.map(|size| i64::from(size.get())));
    fields.number("topic_alias_maximum", u32::from(*topic_alias_maximum));
    fields.when("request_response_information", true, *request_response_information);
    fields.when("request_problem_information", false, *request_problem_information);
    fields.some("authentication_method", *authentication_method);
    fields.bytes("authentication_data", authentication_data.map(|data| data.0));
    fields.user_properties(user_properties);
    fields.0
}

fn will(will: &Will<'_>) -> Table {
    let mut fields = Fields(Table::new());
    fields.text("topic", will.topic);
    fields.bytes("payload", Some(will.payload));
    fields.number("qos", qos(will.qos));
    fields.when("retain", true, will.retain);
    fields.number("delay", will.properties.delay);
    fields.some("message_expiry", will.properties.message_expiry);
    fields.forwarded(will.properties.forwarded);
    fields.0
}

fn connack(connack: &ConnAck<'_>) -> Table {
    let mut fields = Fields::new("CONNACK");
    fields.when("session_present", true, connack.session_present);
    match connack.code {
        ConnAckCode::V5(code) => fields.reason(code),
        ConnAckCode::V3(code) => fields.number("return_code", u32::from(code.value())),
    }

    let ConnAckProperties {
        session_expiry,
        receive_maximum,
        maximum_qos,
        retain_available,
        maximum_packet_size,
        assigned_client_id,
        topic_alias_maximum,
        reason_string,
        user_properties,
        wildcard_subscription_available,
        subscription_ids_available,
        shared_subscription_available,
        server_keep_alive,
        response_information,
        server_reference,
        authentication_method,
        authentication_data,
    } = &connack.properties;
    let maximum_qos = (*maximum_qos != QoS::ExactlyOnce).then_some(qos(*maximum_qos));
    fields.some("session_expiry", *session_expiry);
    fields.some("receive_maximum", receive_maximum.map(|maximum| i64::from(maximum.value())));
    fields.some("maximum_qos", maximum_qos);
    fields.when("retain_available", false, *retain_available);
    fields.some("maximum_packet_size", maximum_packet_size.map(|size| i64::from(size.get())));
    fields.some("assigned_client_id", *assigned_client_id);
    fields.number("topic_alias_maximum", u32::from(*topic_alias_maximum));
    fields.some("reason_string", *reason_string);
    fields.user_properties(user_properties);
    fields.when("wildcard_subscription_available", false, *wildcard_subscription_available);
    fields.when("subscription_ids_available", false, *subscription_ids_available);
    fields.when("shared_subscription_available", false, *shared_subscription_available);
    fields.some("server_keep_alive", server_keep_alive.map(i64::from));
    fields.some("response_information", *response_information);
    fields.some("server_reference", *server_reference);
    fields.some("authentication_method", *authentication_method);
    fields.bytes("authentication_data", authentication_data.map(|data| data.0));
    fields.0
}

fn publish(publish: &Publish<'_>) -> Table {
    let mut fields = Fields::new("PUBLISH");
    fields.number("qos", qos(publish.delivery.qos()));
    match publish.delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => {
            fields.number("id", u32::from(id.value()));
            fields.when("dup", true, dup);
        }
    }
    fields.when("retain", true, publish.retain);
    fields.text("topic", &readable(publish.topic));
    fields.text("payload", &readable(publish.payload));
    fields.some("topic_alias", publish.properties.topic_alias.map(i64::from));
    fields.some("message_expiry", publish.properties.message_expiry);
    let subscription_ids = publish.properties.subscription_ids.clone();
    fields.list("subscription_ids", subscription_ids.map(|id| i64::from(id.value())));
    fields.forwarded(publish.properties.forwarded);
    fields.0
}

fn acknowledgement(
    packet: &str,
    id: PacketId,
    reason: ReasonCode,
    reason_string: Option<&str>,
    user_properties: &UserProperties<'_>,
) -> Table {
    let mut fields = Fields::new(packet);
    fields.number("id", u32::from(id.value()));
    fields.reason(reason);
    fields.some("reason_string", reason_string);
    fields.user_properties(user_properties);
    fields.0
}

fn subscribe(subscribe: &Subscribe<'_>) -> Table {
    let mut fields = Fields::new("SUBSCRIBE");
    fields.number("id", u32::from(subscribe.id.value()));
    fields.some("subscription_id", subscribe.subscription_id.map(|id| i64::from(id.value())));
    fields.list(
        "filters",
        subscribe.filters.clone().map(|request| {
            let SubscriptionOptions { qos, no_local, retain_as_published, retain_handling } =
                request.options;
            let mut fields = Fields(Table::new());
            fields.text("filter", request.filter);
            fields.number("qos", self::qos(qos));
            fields.when("no_local", true, no_local);
            fields.when("retain_as_published", true, retain_as_published);
            let handling = match retain_handling {
                RetainHandling::Always => None,
                RetainHandling::IfNew => Some("if new"),
                RetainHandling::Never => Some("never"),
            };
            fields.some("retain_handling", handling);
            fields.0
        }),
    );
    fields.user_properties(&subscribe.user_properties);
    fields.0
}

fn codes(
    packet: &str,
    id: PacketId,
    codes: &ReasonCodes<'_>,
    reason_string: Option<&str>,
    user_properties: &UserProperties<'_>,
) -> Table {
    let mut fields = Fields::new(packet);
    fields.number("id", u32::from(id.value()));
    fields.list("codes", codes.clone().map(|code| i64::from(code.value())));
    fields.some("reason_string", reason_string);
    fields.user_properties(user_properties);
    fields.0
}

fn disconnect(disconnect: &Disconnect<'_>) -> Table {
    let mut fields = Fields::new("DISCONNECT");
    fields.reason(disconnect.reason);
    fields.some("session_expiry", disconnect.session_expiry);
    fields.some("reason_string", disconnect.reason_string);
    fields.some("server_reference", disconnect.server_reference);
    fields.user_properties(&disconnect.user_properties);
    fields.0
}

fn auth(auth: &Auth<'_>) -> Table {
    let mut fields = Fields::new("AUTH");
    fields.reason(auth.reason);
    fields.some("authentication_method", auth.authentication_method);
    fields.bytes("authentication_data", auth.authentication_data.map(|data| data.0));
    fields.some("reason_string", auth.reason_string);
    fields.user_properties(&auth.user_properties);
    fields.0
}
