//! Names of ports, protocols and labels that the system's files define.
//!
//! Read once, when the first name is asked for; a missing file means no names.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::symbols;

struct Services {
    by_name: HashMap<String, u16>,
    by_port: HashMap<u16, String>,
}

static SERVICES: LazyLock<Services> = LazyLock::new(|| {
    let mut services = Services {
        by_name: HashMap::new(),
        by_port: HashMap::new(),
    };
    let Ok(text) = std::fs::read_to_string("/etc/services") else {
        return services;
    };
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else {
            continue;
        };
        let Some(port) = port.split('/').next().and_then(|p| p.parse::<u16>().ok()) else {
            continue;
        };
        for alias in std::iter::once(name).chain(words) {
            services.by_name.entry(alias.to_owned()).or_insert(port);
        }
        services
            .by_port
            .entry(port)
            .or_insert_with(|| name.to_owned());
    }
    services
});

static LABELS: LazyLock<Vec<(String, u8)>> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/etc/connlabel.conf")
        .or_else(|_| std::fs::read_to_string("/etc/xtables/connlabel.conf"))
        .unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let bit = words.next()?.parse::<u8>().ok().filter(|b| *b < 128)?;
            Some((words.next()?.to_owned(), bit))
        })
        .collect()
});

/// The port of a service.
pub fn port_number(name: &str) -> Option<u16> {
    SERVICES.by_name.get(name).copied()
}

/// The service of a port, for `-S`.
pub fn port_name(port: u16) -> Option<&'static str> {
    SERVICES.by_port.get(&port).map(String::as_str)
}

/// The number of a protocol; names and the aliases of `/etc/protocols`.
pub fn protocol_number(name: &str) -> Option<u8> {
    let alias = match name {
        "icmpv6" => Some(58),
        "comp" => Some(108),
        _ => None,
    };
    symbols::value_of(symbols::INET_PROTO, name)
        .or_else(|| symbols::value_of(symbols::INET_PROTO, &name.to_ascii_lowercase()))
        .and_then(|v| u8::try_from(v).ok())
        .or(alias)
}

/// The bit of a connection label.
pub fn label_bit(name: &str) -> Option<u8> {
    LABELS
        .iter()
        .find(|(label, _)| label == name)
        .map(|(_, bit)| *bit)
}

/// The name of a connection label.
pub fn label_name(bit: u8) -> Option<&'static str> {
    LABELS
        .iter()
        .find(|(_, b)| *b == bit)
        .map(|(label, _)| label.as_str())
}
