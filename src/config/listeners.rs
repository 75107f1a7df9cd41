//! The listeners: those written, those that `--listen` puts in their place, or the default ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use toml::Spanned;

use super::checked::{Anonymous, Config, Credential, Features, Listener, MQTT_PORT, Protocol};
use super::credentials;
use super::document::default_name;
use super::environment::LISTEN;
use super::mistake::{Problem, Warning};
use super::raw;
use super::reader::Reader;
use super::source::Span;
use crate::packet::{ProtocolVersion, QoS};

pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[("mqtt", Protocol::Mqtt)];
pub(super) const VERSIONS: &[(&str, ProtocolVersion)] = &[
    ("3.1", ProtocolVersion::V31),
    ("3.1.1", ProtocolVersion::V311),
    ("5.0", ProtocolVersion::V5),
];

const NAME_CHARS_MAX: usize = 32;
const NAME_ALLOWED: &str = "up to 32 lower-case letters, digits and \"-\", beginning with a \
                            letter, such as \"public-tls\"";
const ADDRESS_ALLOWED: &str = "an IP address and a port, such as \"0.0.0.0:1883\" or \"[::]:1883\"";
const LISTEN_ALLOWED: &str =
    "a port, or an IP address with or without one: 1884, 0.0.0.0:1883, [::]:1883";

/// A listener and where its name and address were written.
struct Written {
    name: String,
    name_span: Span,
    /// `None` when it is missing or none, which has been reported.
    address: Option<SocketAddr>,
    address_span: Span,
    protocol: Protocol,
    anonymous: Anonymous,
    features: Features,
    credentials: Vec<Credential>,
}

impl Written {
    fn into_listener(self) -> Option<Listener> {
        let Self { name, address, protocol, anonymous, features, credentials, .. } = self;
        Some(Listener { name, address: address?, protocol, anonymous, features, credentials })
    }
}

pub(super) fn check(
    raw: &[Spanned<raw::Listener>],
    reader: &mut Reader<'_>,
    warnings: &mut Vec<Warning>,
) -> Vec<Listener> {
    let written: Vec<Written> =
        raw.iter().enumerate().map(|(at, raw)| listener(at, raw, reader)).collect();
    report_collisions(&written, reader);
    let arguments = from_arguments(reader);
    report_collisions(&arguments, reader);

    let chosen = if arguments.is_empty() {
        written
    } else {
        if !raw.is_empty() {
            warnings.push(Warning::ListenersReplaced { count: raw.len() });
        }
        arguments
    };
    let listeners: Vec<Listener> = chosen.into_iter().filter_map(Written::into_listener).collect();
    if listeners.is_empty() {
        return Config::default().listeners;
    }
    warnings.extend(listeners.iter().filter_map(warning));
    listeners
}

fn warning(listener: &Listener) -> Option<Warning> {
    let (name, address) = (listener.name.clone(), listener.address);
    match listener.anonymous {
        Anonymous::Refused if !listener.credentials.is_empty() => None,
        Anonymous::Refused => Some(Warning::NobodyAdmitted { listener: name, address }),
        Anonymous::Allowed if listener.is_loopback() => None,
        Anonymous::Allowed => Some(Warning::EverybodyAdmitted { listener: name, address }),
    }
}

fn listener(at: usize, raw: &Spanned<raw::Listener>, reader: &mut Reader<'_>) -> Written {
    let (span, raw) = (raw.span(), raw.get_ref());
    let name = reader.text("listener.name", &raw.name, NAME_ALLOWED, parse_name);
    let address = reader.text("listener.address", &raw.address, ADDRESS_ALLOWED, parse_address);
    let protocol = reader.choice("listener.protocol", &raw.protocol, PROTOCOLS);
    let anonymous = reader.boolean("listener.anonymous", &raw.anonymous).unwrap_or(false);
    if raw.address.is_none() {
        let (key, allowed) = ("listener.address".to_owned(), ADDRESS_ALLOWED.to_owned());
        reader.report(&span, Problem::Missing { key, allowed });
    }
    Written {
        name: name.unwrap_or_else(|| default_name(at)),
        name_span: raw.name.as_ref().map_or_else(|| span.clone(), Spanned::span),
        address,
        address_span: raw.address.as_ref().map_or(span, Spanned::span),
        protocol: protocol.unwrap_or(Protocol::Mqtt),
        anonymous: if anonymous { Anonymous::Allowed } else { Anonymous::Refused },
        features: features(raw, reader),
        credentials: credentials::check(&raw.credential, reader),
    }
}

fn features(raw: &raw::Listener, reader: &mut Reader<'_>) -> Features {
    let default = Features::default();
    let protocols = reader.choices("listener.protocols", &raw.protocols, VERSIONS);
    let qos_max = reader.number("listener.qos_max", &raw.qos_max, 0..=2);
    let retain = reader.boolean("listener.retain", &raw.retain);
    let wildcards = reader.boolean("listener.wildcards", &raw.wildcards);
    let shared = reader.boolean("listener.shared", &raw.shared);
    let subscription_ids = reader.boolean("listener.subscription_ids", &raw.subscription_ids);
    Features {
        protocols: protocols.map_or(default.protocols, |it| it.into_iter().collect()),
        qos_max: qos_max.and_then(QoS::from_bits).unwrap_or(default.qos_max),
        retain: retain.unwrap_or(default.retain),
        wildcards: wildcards.unwrap_or(default.wildcards),
        shared: shared.unwrap_or(default.shared),
        subscription_ids: subscription_ids.unwrap_or(default.subscription_ids),
    }
}

/// Each `--listen`; a port alone stands for both loopback addresses.
fn from_arguments(reader: &mut Reader<'_>) -> Vec<Written> {
    let mut listeners = Vec::new();
    let source = reader.source;
    for setting in source.settings().iter().filter(|setting| setting.name == LISTEN) {
        let span = setting.value_span();
        let addresses = match parse_listen(&setting.value) {
            Ok(addresses) => addresses,
            Err(near) => {
                let (key, allowed) = (LISTEN.to_owned(), LISTEN_ALLOWED.to_owned());
                let found = format!("\"{}\"", setting.value);
                reader.report(&span, Problem::Value { key, found, allowed, near });
                continue;
            }
        };
        for address in addresses {
            listeners.push(Written {
                name: format!("listen-{}", listeners.len() + 1),
                name_span: span.clone(),
                address: Some(address),
                address_span: span.clone(),
                protocol: Protocol::Mqtt,
                anonymous: Anonymous::Allowed,
                features: Features::default(),
                credentials: Vec::new(),
            });
        }
    }
    listeners
}

fn report_collisions(written: &[Written], reader: &mut Reader<'_>) {
    for (at, later) in written.iter().enumerate() {
        let earlier = || written.iter().take(at);
        if earlier().any(|it| it.name == later.name) {
            reader.report(&later.name_span, Problem::NameTaken(later.name.clone()));
        }
        let taken = earlier().find_map(|it| {
            let address = it.address?;
            collide(address, later.address?).then(|| (it.name.clone(), address))
        });
        if let Some((other, address)) = taken {
            reader.report(&later.address_span, Problem::AddressTaken { other, address });
        }
    }
}

/// Whether the operating system would refuse the second: the same address, or one of them is all
/// addresses of that family. Port 0 is a different one each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a == b || (wildcard && a.is_ipv4() == b.is_ipv4()))
}

fn parse_name(text: &str) -> Result<String, Option<String>> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
    let right = |text: &str| {
        begins(text) && text.chars().all(allowed) && text.chars().count() <= NAME_CHARS_MAX
    };
    if right(text) {
        return Ok(text.to_owned());
    }
    let near = text.to_ascii_lowercase().replace(|c| !allowed(c), "-");
    Err(right(&near).then(|| format!("\"{near}\"")))
}

fn parse_address(text: &str) -> Result<SocketAddr, Option<String>> {
    let text = text.trim();
    text.parse().map_err(|_| near_address(text))
}

fn parse_listen(text: &str) -> Result<Vec<SocketAddr>, Option<String>> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, MQTT_PORT)]);
    }
    let port = text.strip_prefix(':').unwrap_or(text).parse();
    let port: u16 = port.map_err(|_| near_address(text))?;
    // Who wants to be reached from elsewhere says so with an address.
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    Ok(loopback.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// What an address that is none may mean: a port alone, an address alone, or a well-known name.
fn near_address(text: &str) -> Option<String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(format!("\"{}\"", SocketAddr::new(address, MQTT_PORT)));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(match text.parse::<u16>() {
        Ok(_) => ("", text),
        Err(_) => (text, ""),
    });
    let port = if port.is_empty() { MQTT_PORT } else { port.parse().ok()? };
    match host {
        "" | "*" => Some(format!("\"0.0.0.0:{port}\"")),
        "localhost" => Some(format!("\"127.0.0.1:{port}\"")),
        _ => {
            let address = host.parse::<Ipv6Addr>().ok()?;
            Some(format!("\"[{address}]:{port}\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Vec<String> {
        parse_listen(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_port_alone_is_reachable_from_this_machine_only() {
        assert_eq!(listen("1884"), ["127.0.0.1:1884", "[::1]:1884"]);
        assert_eq!(listen(":1884"), ["127.0.0.1:1884", "[::1]:1884"]);
    }

    #[test]
    fn an_address_alone_gets_the_port_of_mqtt() {
        assert_eq!(listen("0.0.0.0"), ["0.0.0.0:1883"]);
        assert_eq!(listen("::"), ["[::]:1883"]);
        assert_eq!(listen("[::1]"), ["[::1]:1883"]);
    }

    #[test]
    fn an_address_and_a_port_are_taken_as_they_are() {
        assert_eq!(listen("127.0.0.1:0"), ["127.0.0.1:0"]);
        assert_eq!(listen("[::]:1884"), ["[::]:1884"]);
    }

    #[test]
    fn a_name_is_no_address_but_a_well_known_one_is_translated() {
        assert_eq!(parse_address("localhost:1884"), Err(Some("\"127.0.0.1:1884\"".to_owned())));
        assert_eq!(parse_address("*:1884"), Err(Some("\"0.0.0.0:1884\"".to_owned())));
        assert_eq!(parse_address(":::1884"), Err(Some("\"[::]:1884\"".to_owned())));
        assert_eq!(parse_address("1884"), Err(Some("\"0.0.0.0:1884\"".to_owned())));
        assert_eq!(parse_address("broker.example:1884"), Err(None));
        assert_eq!(parse_address("127.0.0.1:99999"), Err(None));
    }

    #[test]
    fn all_addresses_of_a_family_include_each_one() {
        let collide = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());

        assert!(collide("0.0.0.0:1883", "127.0.0.1:1883"));
        assert!(collide("[::1]:1883", "[::]:1883"));
        assert!(!collide("0.0.0.0:1883", "[::]:1883"));
        assert!(!collide("0.0.0.0:1883", "127.0.0.1:1884"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
    }
}
