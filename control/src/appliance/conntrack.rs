//! `[conntrack]`: the tracker's settings.

use std::ops::RangeInclusive;

use sluice_dataplane::conntrack::timeouts::GENERIC;
use sluice_dataplane::conntrack::{Settings, TimeoutClass, Timeouts};

use super::section::{Placed, Section};

/// Flows that the table may be made for.
const TABLE: RangeInclusive<i64> = 1024..=64_000_000;
/// Seconds that a timeout may have: up to ten years.
const SECONDS: RangeInclusive<u64> = 1..=315_360_000;

/// Protocols with timeouts, by the names of their sections.
pub const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("icmp", 1),
    ("icmpv6", 58),
    ("gre", 47),
    ("sctp", 132),
    ("dccp", 33),
    ("generic", GENERIC),
];

/// Names of the classes of a protocol.
pub fn class_names(protocol: u8) -> Vec<&'static str> {
    let own = TimeoutClass::ALL.iter();
    own.filter(|class| class.protocol() == protocol)
        .map(|class| class.name())
        .collect()
}

/// Reads the section.
pub(super) fn conntrack(mut section: Section<'_, '_>) -> Settings {
    let mut settings = Settings::default();
    let profiles = [
        ("linux", Timeouts::linux as fn() -> _),
        ("rfc", Timeouts::rfc),
    ];
    if let Some(profile) = section.word("profile", &profiles, &[]) {
        settings.timeouts = profile();
    }
    if let Some(max) = section.integer("max", TABLE) {
        settings.max = max.value as u32;
    }
    if let Some(loose) = section.boolean("loose") {
        settings.rules.loose = loose;
    }
    if let Some(liberal) = section.boolean("liberal") {
        settings.rules.liberal = liberal;
    }
    let zones = section.integers("liberal_zones", 0..=i64::from(u16::MAX));
    settings.liberal_zones = zones
        .unwrap_or_default()
        .iter()
        .map(|zone| zone.value as u16)
        .collect();
    if let Some(verify) = section.boolean("verify_checksums") {
        settings.rules.checksum = verify;
    }
    if let Some(most) = section.integer("max_expectations", 0..=1_000_000) {
        settings.max_expectations = most.value as u32;
    }
    if let Some(mut timeouts) = section.section("timeouts") {
        for (name, protocol) in PROTOCOLS {
            of_protocol(&mut timeouts, name, *protocol, &mut settings.timeouts);
        }
        timeouts.finish();
    }
    section.finish();
    settings
}

/// Timeouts of a protocol: one for each of its states, or a single one.
fn of_protocol(
    timeouts: &mut Section<'_, '_>,
    name: &'static str,
    protocol: u8,
    into: &mut Timeouts,
) {
    let classes = class_names(protocol);
    if let [only] = classes[..] {
        let seconds = timeouts
            .duration(name)
            .and_then(|value| allowed(timeouts, value));
        if let (Some(seconds), Some(class)) = (seconds, TimeoutClass::named(protocol, only)) {
            into.set(class, seconds);
        }
        return;
    }
    let Some(mut states) = timeouts.section(name) else {
        return;
    };
    for state in classes {
        let seconds = states
            .duration(state)
            .and_then(|value| allowed(&states, value));
        if let (Some(seconds), Some(class)) = (seconds, TimeoutClass::named(protocol, state)) {
            into.set(class, seconds);
        }
    }
    states.finish();
}

fn allowed(section: &Section<'_, '_>, seconds: Placed<u64>) -> Option<u32> {
    if SECONDS.contains(&seconds.value) {
        return u32::try_from(seconds.value).ok();
    }
    let message = format!(
        "{} seconds is out of range; allowed: {} to {} seconds",
        seconds.value,
        SECONDS.start(),
        SECONDS.end()
    );
    section.source.error(seconds.span, &seconds.key, message);
    None
}
