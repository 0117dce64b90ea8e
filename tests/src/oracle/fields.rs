//! Header fields compared in every way, with frames at the boundaries of the comparison.

use rand::rngs::SmallRng;
use rand::{Rng, seq::IndexedRandom};

use super::bases::*;
use super::construct::Sample;
use crate::frames::{Frame, Layer};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Number,
    Hex,
    Ipv4,
    Ipv6,
    Mac,
}

impl Form {
    fn write(self, value: u128) -> String {
        match self {
            Self::Number => value.to_string(),
            Self::Hex => format!("{value:#x}"),
            Self::Ipv4 => std::net::Ipv4Addr::from(value as u32).to_string(),
            Self::Ipv6 => std::net::Ipv6Addr::from(value).to_string(),
            Self::Mac => {
                let bytes = (value as u64).to_be_bytes();
                bytes[2..]
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<Vec<_>>()
                    .join(":")
            }
        }
    }
}

/// A header field that takes any value without making the frame malformed.
struct Field {
    text: &'static str,
    layer: Layer,
    offset: usize,
    bits: usize,
    form: Form,
    base: fn() -> Frame,
    /// The families whose chains see the base frame.
    families: &'static [&'static str],
    /// Whether another value makes the frame malformed: only what it is compared with changes.
    fixed: bool,
}

macro_rules! fields {
    ($name:ident $fixed:literal
     $($text:literal $layer:ident $offset:literal $bits:literal $form:ident $base:ident $families:ident;)*) => {
        const $name: &[Field] = &[$(Field {
            text: $text, layer: Layer::$layer, offset: $offset, bits: $bits, form: Form::$form,
            base: $base, families: $families, fixed: $fixed,
        },)*];
    };
}

fields! {
    FREE false
    "ether saddr" Link 48 48 Mac udp4 LINK;
    "ether type" Link 96 16 Hex udp4 LINK;
    "vlan id" Link 116 12 Number vlan LINK;
    "vlan pcp" Link 112 3 Number vlan LINK;
    "vlan dei" Link 115 1 Number vlan LINK;
    "arp htype" Network 0 16 Number arp LINK;
    "arp ptype" Network 16 16 Hex arp LINK;
    "arp hlen" Network 32 8 Number arp LINK;
    "arp plen" Network 40 8 Number arp LINK;
    "arp operation" Network 48 16 Number arp LINK;
    "arp saddr ether" Network 64 48 Mac arp LINK;
    "arp saddr ip" Network 112 32 Ipv4 arp LINK;
    "arp daddr ether" Network 144 48 Mac arp LINK;
    "arp daddr ip" Network 192 32 Ipv4 arp LINK;
    "ip dscp" Network 8 6 Hex udp4 IP4;
    "ip ecn" Network 14 2 Number udp4 IP4;
    "ip id" Network 32 16 Number udp4 IP4;
    "ip ttl" Network 64 8 Number udp4 IP4;
    "ip saddr" Network 96 32 Ipv4 udp4 IP4;
    "ip daddr" Network 128 32 Ipv4 udp4 IP4;
    "ip protocol" Network 72 8 Number esp IP4;
    "icmp type" Transport 0 8 Number echo4 IP4;
    "icmp code" Transport 8 8 Number echo4 IP4;
    "icmp id" Transport 32 16 Number echo4 IP4;
    "icmp sequence" Transport 48 16 Number echo4 IP4;
    "igmp mrt" Transport 8 8 Number igmp IP4;
    "igmp group" Transport 32 32 Number igmp IP4;
    "ip6 dscp" Network 4 6 Hex udp6 IP6;
    "ip6 ecn" Network 10 2 Number udp6 IP6;
    "ip6 flowlabel" Network 12 20 Number udp6 IP6;
    "ip6 hoplimit" Network 56 8 Number udp6 IP6;
    "ip6 saddr" Network 64 128 Ipv6 udp6 IP6;
    "ip6 daddr" Network 192 128 Ipv6 udp6 IP6;
    "icmpv6 type" Transport 0 8 Number echo6 IP6;
    "icmpv6 code" Transport 8 8 Number echo6 IP6;
    "icmpv6 id" Transport 32 16 Number echo6 IP6;
    "icmpv6 sequence" Transport 48 16 Number echo6 IP6;
    "icmpv6 mtu" Transport 32 32 Number too_big6 IP6;
    "tcp sport" Transport 0 16 Number tcp4 IP4;
    "tcp dport" Transport 16 16 Number tcp4 IP4;
    "tcp sequence" Transport 32 32 Number tcp4 IP4;
    "tcp ackseq" Transport 64 32 Number tcp4 IP4;
    "tcp flags" Transport 104 8 Hex tcp4 IP4;
    "tcp window" Transport 112 16 Number tcp4 IP4;
    "tcp urgptr" Transport 144 16 Number tcp4 IP4;
    "tcp dport" Transport 16 16 Number tcp6 IP6;
    "tcp flags" Transport 104 8 Hex tcp6 IP6;
    "udp sport" Transport 0 16 Number udp4 IP4;
    "udp dport" Transport 16 16 Number udp4 IP4;
    "udp dport" Transport 16 16 Number udp6 IP6;
    "th sport" Transport 0 16 Number udp4 IP4;
    "th dport" Transport 16 16 Number tcp4 IP4;
    "udplite dport" Transport 16 16 Number udplite IP4;
    "sctp sport" Transport 0 16 Number sctp IP4;
    "sctp dport" Transport 16 16 Number sctp IP4;
    "sctp vtag" Transport 32 32 Number sctp IP4;
    "dccp sport" Transport 0 16 Number dccp IP4;
    "dccp dport" Transport 16 16 Number dccp IP4;
    "dccp type" Transport 67 4 Number dccp IP4;
    "esp spi" Transport 0 32 Number esp IP4;
    "esp sequence" Transport 32 32 Number esp IP4;
    "ah hdrlength" Transport 8 8 Number ah IP4;
    "ah spi" Transport 32 32 Number ah IP4;
    "ah sequence" Transport 64 32 Number ah IP4;
    "comp cpi" Transport 16 16 Number comp IP4;
    "dst nexthdr" Network 320 8 Number dst6 IP6;
    "rt type" Network 336 8 Number rt6 IP6;
    "rt seg-left" Network 344 8 Number rt6 IP6;
    "@nh,64,8" Network 64 8 Number udp4 IP4;
    "@th,16,16" Transport 16 16 Number udp4 IP4;
    "@ll,48,48" Link 48 48 Hex udp4 LINK;
    "udplite sport" Transport 0 16 Number udplite IP4;
    "comp flags" Transport 8 8 Hex comp IP4;
    "frag id" Network 352 32 Number frag6 IP6;
    "mh type" Network 336 8 Number mobility6 IP6;
    "mh checksum" Network 352 16 Number mobility6 IP6;
}

fields! {
    FIXED true
    "vlan type" Link 128 16 Hex vlan LINK;
    "ip version" Network 0 4 Number udp4 IP4;
    "ip hdrlength" Network 4 4 Number udp4 IP4;
    "ip length" Network 16 16 Number udp4 IP4;
    "ip frag-off" Network 48 16 Number udp4 IP4;
    "ip checksum" Network 80 16 Number udp4 IP4;
    "ip6 version" Network 0 4 Number udp6 IP6;
    "ip6 length" Network 32 16 Number udp6 IP6;
    "ip6 nexthdr" Network 48 8 Number udp6 IP6;
    "icmp checksum" Transport 16 16 Number echo4 IP4;
    "icmp mtu" Transport 48 16 Number too_big4 IP4;
    "icmp gateway" Transport 32 32 Number redirect4 IP4;
    "igmp type" Transport 0 8 Number igmp IP4;
    "igmp checksum" Transport 16 16 Number igmp IP4;
    "icmpv6 checksum" Transport 16 16 Number echo6 IP6;
    "icmpv6 max-delay" Transport 32 16 Number query6 IP6;
    "tcp reserved" Transport 100 4 Number tcp4 IP4;
    "tcp doff" Transport 96 4 Number tcp4 IP4;
    "tcp checksum" Transport 128 16 Number tcp4 IP4;
    "udp length" Transport 32 16 Number udp4 IP4;
    "udp checksum" Transport 48 16 Number udp4 IP4;
    "udplite checksum" Transport 48 16 Number udplite IP4;
    "sctp checksum" Transport 64 32 Number sctp IP4;
    "ah reserved" Transport 16 16 Number ah IP4;
    "hbh nexthdr" Network 320 8 Number hop6 IP6;
    "hbh hdrlength" Network 328 8 Number hop6 IP6;
    "dst hdrlength" Network 328 8 Number dst6 IP6;
    "rt nexthdr" Network 320 8 Number rt6 IP6;
    "rt hdrlength" Network 328 8 Number rt6 IP6;
    "rt0 addr[1]" Network 384 128 Ipv6 rt6 IP6;
    "srh last-entry" Network 352 8 Number segments6 IP6;
    "srh flags" Network 360 8 Number segments6 IP6;
    "srh tag" Network 368 16 Number segments6 IP6;
    "srh sid[1]" Network 384 128 Ipv6 segments6 IP6;
    "frag nexthdr" Network 320 8 Number frag6 IP6;
    "frag reserved" Network 328 8 Number frag6 IP6;
    "frag frag-off" Network 336 13 Number frag6 IP6;
    "frag reserved2" Network 349 2 Number frag6 IP6;
    "frag more-fragments" Network 351 1 Number frag6 IP6;
    "mh nexthdr" Network 320 8 Number mobility6 IP6;
    "mh hdrlength" Network 328 8 Number mobility6 IP6;
    "mh reserved" Network 344 8 Number mobility6 IP6;
}

/// The fields that a family knows.
fn of_family(family: &str) -> Vec<&'static Field> {
    FREE.iter()
        .chain(FIXED)
        .filter(|field| field.families.contains(&family))
        .collect()
}

/// For each field of a family samples of many comparisons, for the matrix.
pub fn directed(rng: &mut SmallRng, family: &str) -> Vec<Vec<Sample>> {
    let fields = of_family(family);
    let rounds = fields.into_iter().flat_map(|field| [field; 16]);
    rounds
        .map(|field| (0..24).filter_map(|_| compared(rng, field)).collect())
        .collect()
}

/// A sample of a header field compared in a random way.
pub fn field(rng: &mut SmallRng, family: &str) -> Option<Sample> {
    let fields = of_family(family);
    let field = fields.choose(rng)?;
    compared(rng, field)
}

fn compared(rng: &mut SmallRng, field: &Field) -> Option<Sample> {
    let limit = if field.bits == 128 {
        u128::MAX
    } else {
        (1 << field.bits) - 1
    };
    let present = (field.base)().get(field.layer, field.offset, field.bits);
    let (way, text, mut values) = compare(rng, field, limit, present)?;
    if field.fixed {
        values.clear();
    }
    let mut frames: Vec<Frame> = Vec::new();
    for value in values {
        let mut frame = (field.base)();
        // A bridge drops frames from group addresses, and would learn the right host at the left.
        let from_group = 0x0100_0000_0000;
        let keep = if field.layer == Layer::Link && field.bits == 48 {
            limit & !from_group
        } else {
            limit
        };
        frame.set(field.layer, field.offset, field.bits, value & keep);
        if may_finish(field) {
            frame.finish();
        } else {
            frame.finish_network();
        }
        frames.push(frame);
    }
    frames.push((field.base)());
    Some(Sample {
        construct: format!("{} {way}", field.text),
        declaration: String::new(),
        text,
        frames,
    })
}

/// Whether checksums can be made right again after the field has been set.
fn may_finish(field: &Field) -> bool {
    !(field.text.starts_with("arp")
        || field.text == "ether type"
        || field.text == "ip protocol"
        || field.text.starts_with("hbh")
        || field.text.starts_with("dst")
        || field.text.starts_with("rt ")
        || field.text == "ah hdrlength")
}

/// A comparison, and the values at its boundaries.
fn compare(
    rng: &mut SmallRng,
    field: &Field,
    limit: u128,
    present: u128,
) -> Option<(&'static str, String, Vec<u128>)> {
    let write = |value: u128| field.form.write(value & limit);
    let name = field.text;
    let any = |rng: &mut SmallRng| {
        if rng.random_bool(if field.fixed { 0.2 } else { 0.3 }) {
            present
        } else if field.fixed && rng.random() {
            present.wrapping_add(rng.random_range(0..3)).wrapping_sub(1) & limit
        } else {
            rng.random::<u128>() & limit
        }
    };
    let a = any(rng);
    let (low, high) = {
        let b = any(rng);
        (a.min(b), a.max(b))
    };
    let around = |value: u128| vec![value, value.wrapping_sub(1), value.wrapping_add(1)];
    // nft lists sets of raw loads as it cannot read them again (docs/compatibility.md).
    let no_sets = name.starts_with("@nh") || name.starts_with("@ll");
    Some(match rng.random_range(0..9) {
        4 | 8 if no_sets => return None,
        0 => ("eq", format!("{name} {}", write(a)), around(a)),
        1 => ("ne", format!("{name} != {}", write(a)), around(a)),
        2 if low < high => {
            let text = format!("{name} {}-{}", write(low), write(high));
            ("range", text, [around(low), around(high)].concat())
        }
        3 if low < high && (low, high) != (0, limit) => {
            let text = format!("{name} != {}-{}", write(low), write(high));
            ("not range", text, [around(low), around(high)].concat())
        }
        4 => {
            let most = if field.fixed { 3 } else { 6 };
            let mut values: Vec<u128> = (0..rng.random_range(1..most)).map(|_| any(rng)).collect();
            values.sort_unstable();
            values.dedup();
            let text = values
                .iter()
                .map(|&value| write(value))
                .collect::<Vec<_>>()
                .join(", ");
            let not = if rng.random() { "!= " } else { "" };
            let way = match not {
                "" => "set",
                _ => "not set",
            };
            (
                way,
                format!("{name} {not}{{ {text} }}"),
                values.into_iter().flat_map(around).collect(),
            )
        }
        // Nothing is less than one bit's 0, and it is never more than 1.
        5 if !matches!(field.form, Form::Mac) && field.bits > 1 => {
            let (word, values) = if rng.random() {
                ("<", around(a))
            } else {
                (">=", around(a))
            };
            (
                if word == "<" { "lt" } else { "ge" },
                format!("{name} {word} {}", write(a)),
                values,
            )
        }
        6 if matches!(field.form, Form::Ipv4 | Form::Ipv6) => {
            let length = rng.random_range(1..field.bits);
            let host = field.bits - length;
            let network = a >> host << host;
            let last = network | ((1_u128 << host) - 1);
            let text = format!("{name} {}/{length}", write(network));
            ("prefix", text, [around(network), around(last)].concat())
        }
        // nft 1.0.6 lists the mask of a field that does not fill its bytes as one of the load, and
        // looks for the bits of one that straddles bytes elsewhere (docs/compatibility.md, 10 and 19).
        7 if matches!(field.form, Form::Number | Form::Hex)
            && field.bits <= 32
            && field.bits.is_multiple_of(8) =>
        {
            let mask = (rng.random::<u128>() & limit).max(1);
            let value = a & mask;
            let not = if rng.random() { "!=" } else { "==" };
            let text = format!("{name} & {mask:#x} {not} {value:#x}");
            (
                "mask",
                text,
                vec![
                    value,
                    value | (!mask & limit),
                    value ^ (mask & mask.wrapping_neg()),
                    a,
                ],
            )
        }
        8 if matches!(field.form, Form::Number | Form::Ipv4) && limit > 64 => {
            let bounds = match field.fixed {
                true => beside(rng, present, limit)?,
                false => distinct(rng, limit),
            };
            let text = format!(
                "{name} {{ {}-{}, {}-{} }}",
                write(bounds[0]),
                write(bounds[1]),
                write(bounds[2]),
                write(bounds[3])
            );
            (
                "interval set",
                text,
                bounds.into_iter().flat_map(around).collect(),
            )
        }
        _ => return None,
    })
}

/// Four values with room between them.
fn distinct(rng: &mut SmallRng, limit: u128) -> [u128; 4] {
    let step = limit / 5;
    std::array::from_fn(|at| step * at as u128 + rng.random_range(1..step))
}

/// Two intervals, the first around a value or just beside it.
fn beside(rng: &mut SmallRng, value: u128, limit: u128) -> Option<[u128; 4]> {
    let low = value.saturating_sub(rng.random_range(0..3)) + rng.random_range(0..2);
    let high = low + rng.random_range(1..4);
    (high + 4 < limit).then_some([low, high, high + 2, high + 4])
}
