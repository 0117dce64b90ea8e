//! Frames and rulesets of the measurements.

use sluice_dataplane::packet::checksum::checksum;
use sluice_dataplane::port::memory::Packet;

/// Destination port of every frame; no rule asks for it.
const PORT: u16 = 443;
/// First port that rules ask for.
const FIRST: usize = 10_000;

/// A UDP frame of `size` bytes; flows differ in source address and source port.
pub(super) fn frame(flow: usize, size: usize) -> Packet {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let length = (size - 14) as u16;
    bytes.extend([0x45, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    bytes.extend([10, (flow >> 16) as u8, (flow >> 8) as u8, flow as u8]);
    bytes.extend([192, 0, 2, 1]);
    let sum = checksum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    bytes.extend((1024 + (flow % 60_000) as u16).to_be_bytes());
    bytes.extend(PORT.to_be_bytes());
    bytes.extend((length - 20).to_be_bytes());
    bytes.resize(size, 0);
    Packet::from(bytes)
}

/// What the rules of a measured chain look at; no frame matches one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `udp dport N drop`: the same key in every rule.
    OneKey,
    /// `ip saddr A drop` and `udp dport N drop` in turn.
    Mixed,
    /// `ip saddr 10.0.0.0/8 udp dport N drop`: the first match holds.
    TwoMatches,
    /// `udp dport N-M drop`.
    Ranges,
}

impl Shape {
    pub(super) const ALL: [Self; 4] = [Self::OneKey, Self::Mixed, Self::TwoMatches, Self::Ranges];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OneKey => "one key",
            Self::Mixed => "mixed keys",
            Self::TwoMatches => "two matches",
            Self::Ranges => "ranges",
        }
    }

    fn rule(self, number: usize) -> String {
        let port = FIRST + number;
        match self {
            Self::Mixed if number.is_multiple_of(2) => {
                let (high, low) = (number >> 8 & 255, number & 255);
                format!("ip saddr 172.16.{high}.{low} drop")
            }
            Self::OneKey | Self::Mixed => format!("udp dport {port} drop"),
            Self::TwoMatches => format!("ip saddr 10.0.0.0/8 udp dport {port} drop"),
            Self::Ranges => format!("udp dport {port}-{} drop", port + 5),
        }
    }

    /// A table with one chain of `count` such rules.
    pub(super) fn ruleset(self, count: usize) -> String {
        let rules: Vec<String> = (0..count).map(|number| self.rule(number)).collect();
        format!(
            "table ip bench {{\n chain forward {{\n  type filter hook forward priority 0; policy accept;\n  {}\n }}\n}}\n",
            rules.join("\n  ")
        )
    }
}
