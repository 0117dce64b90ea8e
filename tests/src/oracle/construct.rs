//! The constructs that the oracle asks about: for each a piece of rule text with frames that it
//! is aimed at, hits and misses at its boundaries.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng, seq::IndexedRandom};

use crate::frames::{Frame, Layer, icmp, tcp, udp};

/// A part of a rule, with frames aimed at it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name of the construct, for the matrix.
    pub construct: String,
    /// The text, one or more matches or statements without verdict.
    pub text: String,
    /// Frames just inside and just outside of what it matches.
    pub frames: Vec<Frame>,
}

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
}

const IP4: &[&str] = &["ip", "inet", "bridge", "netdev"];
const IP6: &[&str] = &["ip6", "inet", "bridge", "netdev"];
const LINK: &[&str] = &["bridge", "netdev"];

fn udp4() -> Frame {
    Frame::ipv4(17, &[], &udp(1000, 2000, b"payload of a test"))
}
fn udp6() -> Frame {
    Frame::ipv6(17, &[], &udp(1000, 2000, b"payload of a test"))
}
fn tcp4() -> Frame {
    Frame::ipv4(6, &[], &tcp(1000, 2000, 0x10, &[], b"payload of a test"))
}
fn tcp6() -> Frame {
    Frame::ipv6(6, &[], &tcp(1000, 2000, 0x10, &[], b"payload of a test"))
}
fn echo4() -> Frame {
    Frame::ipv4(1, &[], &icmp(8, 0, [0, 1, 0, 2], b"ping"))
}
fn echo6() -> Frame {
    Frame::ipv6(58, &[], &icmp(128, 0, [0, 1, 0, 2], b"ping"))
}
fn too_big6() -> Frame {
    Frame::ipv6(58, &[], &icmp(2, 0, [0, 0, 5, 0], &[0x60; 40]))
}
fn arp() -> Frame {
    Frame::arp(1)
}
fn vlan() -> Frame {
    udp4().tagged(0x8100, 5)
}
fn sctp() -> Frame {
    Frame::ipv4(
        132,
        &[],
        &[
            3, 0xe8, 7, 0xd0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 17, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0, 0,
            4, 65, 0, 0, 0,
        ],
    )
}
fn dccp() -> Frame {
    Frame::ipv4(
        33,
        &[],
        &[3, 0xe8, 7, 0xd0, 4, 0, 0, 0, 0x05, 0, 0, 1, 0, 0, 0, 2],
    )
}
fn udplite() -> Frame {
    Frame::ipv4(136, &[], &udp(1000, 2000, b"payload"))
}
fn esp() -> Frame {
    Frame::ipv4(50, &[], &[0, 0, 1, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8])
}
fn ah() -> Frame {
    Frame::ipv4(
        51,
        &[],
        &[
            17, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 1, 0, 2,
            0, 8, 0, 0,
        ],
    )
}
fn comp() -> Frame {
    Frame::ipv4(108, &[], &[17, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8])
}
fn igmp() -> Frame {
    Frame::ipv4(2, &[], &[0x16, 0, 0, 0, 224, 0, 0, 9])
}
fn frag6() -> Frame {
    Frame::ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 9], &udp(1000, 2000, &[7; 32]))
}
fn hop6() -> Frame {
    Frame::ipv6(0, &[17, 0, 1, 4, 0, 0, 0, 0], &udp(1000, 2000, b"x"))
}
fn dst6() -> Frame {
    Frame::ipv6(60, &[17, 0, 1, 4, 0, 0, 0, 0], &udp(1000, 2000, b"x"))
}
fn rt6() -> Frame {
    Frame::ipv6(
        43,
        &[
            17, 2, 0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
        ],
        &udp(1000, 2000, b"x"),
    )
}

macro_rules! fields {
    ($($text:literal $layer:ident $offset:literal $bits:literal $form:ident $base:ident $families:ident;)*) => {
        const FIELDS: &[Field] = &[$(Field {
            text: $text, layer: Layer::$layer, offset: $offset, bits: $bits, form: Form::$form,
            base: $base, families: $families,
        },)*];
    };
}

fields! {
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
}

/// A sample of a header field compared in a random way.
pub fn field(rng: &mut SmallRng, family: &str) -> Option<Sample> {
    let fields: Vec<&Field> = FIELDS
        .iter()
        .filter(|field| field.families.contains(&family))
        .collect();
    let field = fields.choose(rng)?;
    let limit = if field.bits == 128 {
        u128::MAX
    } else {
        (1 << field.bits) - 1
    };
    let present = (field.base)().get(field.layer, field.offset, field.bits);
    let (way, text, values) = compare(rng, field, limit, present)?;
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
        if rng.random_bool(0.3) {
            present
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
    Some(match rng.random_range(0..9) {
        0 => ("eq", format!("{name} {}", write(a)), around(a)),
        1 => ("ne", format!("{name} != {}", write(a)), around(a)),
        2 if low < high => {
            let text = format!("{name} {}-{}", write(low), write(high));
            ("range", text, [around(low), around(high)].concat())
        }
        3 if low < high => {
            let text = format!("{name} != {}-{}", write(low), write(high));
            ("not range", text, [around(low), around(high)].concat())
        }
        4 => {
            let mut values: Vec<u128> = (0..rng.random_range(1..6)).map(|_| any(rng)).collect();
            values.sort_unstable();
            values.dedup();
            let text = values
                .iter()
                .map(|&value| write(value))
                .collect::<Vec<_>>()
                .join(", ");
            let not = if rng.random() { "!= " } else { "" };
            let way = if not.is_empty() { "set" } else { "not set" };
            (
                way,
                format!("{name} {not}{{ {text} }}"),
                values.into_iter().flat_map(around).collect(),
            )
        }
        5 if !matches!(field.form, Form::Mac) => {
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
        // nft 1.0.6 compares a masked field that does not fill its bytes with a value that it
        // has forgotten to shift (docs/compatibility.md).
        7 if matches!(field.form, Form::Number | Form::Hex)
            && field.bits <= 32
            && field.bits % 8 == 0 =>
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
            let bounds = distinct(rng, limit);
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

/// A construct that is more than a comparison of a field.
type Maker = fn(&mut SmallRng) -> (String, Vec<Frame>);

/// Name, families that see its frames, maker.
const OTHERS: &[(&str, &[&str], Maker)] = &[
    ("meta l4proto", IP4, |rng| {
        let wanted = *[1, 6, 17, 50, 132].choose(rng).unwrap_or(&6);
        (
            format!("meta l4proto {wanted}"),
            vec![tcp4(), udp4(), echo4(), esp(), sctp()],
        )
    }),
    ("meta l4proto set", IP6, |_| {
        (
            "meta l4proto { tcp, udp }".into(),
            vec![tcp6(), udp6(), echo6(), hop6(), frag6()],
        )
    }),
    ("meta length", IP4, |rng| {
        let length = 45 + rng.random_range(0..3);
        (
            format!("meta length {}", length),
            vec![udp4(), tcp4(), echo4()],
        )
    }),
    ("meta protocol", LINK, |_| {
        (
            "meta protocol ip".into(),
            vec![udp4(), udp6(), arp(), vlan()],
        )
    }),
    ("meta protocol arp", LINK, |_| {
        (
            "meta protocol { arp, ip6 }".into(),
            vec![udp4(), udp6(), arp()],
        )
    }),
    ("meta nfproto", &["inet"], |_| {
        ("meta nfproto ipv4".into(), vec![udp4(), udp6()])
    }),
    ("meta mark", IP4, |rng| {
        let mark = rng.random_range(0..3);
        (
            format!("meta mark set {mark} meta mark {}", rng.random_range(0..3)),
            vec![udp4(), tcp4()],
        )
    }),
    ("meta mark arithmetic", IP4, |rng| {
        let mark: u32 = rng.random();
        (
            format!(
                "meta mark set {mark} meta mark & 0xff00 != 0 meta mark set meta mark | 0x1 meta mark & 0x1 == 1"
            ),
            vec![udp4()],
        )
    }),
    ("meta pkttype", LINK, |_| {
        let mut broadcast = udp4();
        broadcast.bytes[..6].fill(0xff);
        ("meta pkttype broadcast".into(), vec![udp4(), broadcast])
    }),
    ("tcp flags list", IP4, |_| {
        ("tcp flags syn,ack".into(), flag_frames())
    }),
    ("tcp flags mask", IP4, |_| {
        (
            "tcp flags & (fin | syn | rst | ack) == syn".into(),
            flag_frames(),
        )
    }),
    ("tcp flags slash", IP4, |_| {
        ("tcp flags syn / syn,ack".into(), flag_frames())
    }),
    ("tcp flags not", IP4, |_| {
        ("tcp flags != syn".into(), flag_frames())
    }),
    ("tcp flags bang", IP4, |_| {
        ("tcp flags ! syn,rst".into(), flag_frames())
    }),
    ("tcp option maxseg", IP4, |rng| {
        let size = 1460 + rng.random_range(0..2);
        (
            format!("tcp option maxseg size {size}"),
            vec![mss(1459), mss(1460), mss(1461), tcp4(), udp4()],
        )
    }),
    ("tcp option exists", IP4, |_| {
        (
            "tcp option sack-perm exists".into(),
            vec![options(&[4, 2]), options(&[1, 1, 4, 2]), tcp4(), mss(1460)],
        )
    }),
    ("tcp option missing", IP4, |_| {
        (
            "tcp option window missing".into(),
            vec![options(&[3, 3, 7]), tcp4(), mss(9)],
        )
    }),
    ("tcp option window count", IP4, |_| {
        (
            "tcp option window count 7".into(),
            vec![options(&[1, 3, 3, 7]), options(&[3, 3, 8]), tcp4()],
        )
    }),
    ("tcp option timestamp", IP4, |_| {
        (
            "tcp option timestamp tsval > 256".into(),
            vec![
                options(&[8, 10, 0, 0, 1, 1, 0, 0, 0, 0]),
                options(&[8, 10, 0, 0, 1, 0, 0, 0, 0, 0]),
                tcp4(),
            ],
        )
    }),
    ("tcp option truncated", IP4, |_| {
        (
            "tcp option maxseg exists".into(),
            vec![
                options(&[2]),
                options(&[2, 40, 0, 0]),
                options(&[2, 0, 0, 0]),
            ],
        )
    }),
    ("ip option ra", IP4, |_| {
        (
            "ip option ra exists".into(),
            vec![Frame::ipv4(17, &[148, 4, 0, 0], &udp(1, 2, b"x")), udp4()],
        )
    }),
    ("ip option rr", IP4, |_| {
        let rr = Frame::ipv4(17, &[7, 7, 4, 0, 0, 0, 0, 0], &udp(1, 2, b"x"));
        ("ip option rr ptr 4".into(), vec![rr, udp4()])
    }),
    ("exthdr hbh", IP6, |_| {
        ("exthdr hbh exists".into(), vec![hop6(), dst6(), udp6()])
    }),
    ("exthdr frag", IP6, |_| {
        ("exthdr frag missing".into(), vec![hop6(), udp6(), rt6()])
    }),
    ("exthdr dst behind rt", IP6, |_| {
        ("exthdr dst exists".into(), vec![dst6(), hop6(), udp6()])
    }),
    ("sctp chunk", IP4, |_| {
        ("sctp chunk data exists".into(), vec![sctp(), udp4()])
    }),
    ("sctp chunk field", IP4, |_| {
        ("sctp chunk data stream 2".into(), vec![sctp(), udp4()])
    }),
    ("concatenation", IP4, |rng| {
        let port = 2000 + rng.random_range(0..2);
        (
            format!("ip saddr . udp dport {{ 10.1.0.1 . {port}, 10.1.0.2 . 2000 }}"),
            vec![udp4(), tcp4()],
        )
    }),
    ("concatenation of intervals", IP4, |rng| {
        let low = 1999 + rng.random_range(0..3);
        (
            format!("ip saddr . tcp dport {{ 10.1.0.0/24 . {low}-2005, 10.9.0.0/16 . 1-65535 }}"),
            vec![udp4(), tcp4()],
        )
    }),
    ("concatenation with meta", IP6, |_| {
        (
            "meta l4proto . th dport { 6 . 2000, 17 . 2001 }".into(),
            vec![udp6(), tcp6(), echo6()],
        )
    }),
    ("map", IP4, |rng| {
        let value = rng.random_range(0..3);
        (
            format!("meta mark set udp dport map {{ 2000 : {value}, 2001 : 7 }} meta mark {value}"),
            vec![udp4(), tcp4()],
        )
    }),
    ("map of prefixes", IP4, |_| {
        (
            "meta mark set ip saddr map { 10.1.0.0/16 : 5, 10.2.0.0/16 : 6 } meta mark 5".into(),
            vec![udp4(), tcp4()],
        )
    }),
    ("numgen inc", IP4, |_| {
        ("numgen inc mod 3 1".into(), vec![udp4(); 5])
    }),
    ("numgen inc offset", IP4, |_| {
        ("numgen inc mod 2 offset 10 11".into(), vec![udp4(); 5])
    }),
    ("jhash", IP4, |rng| {
        let seed: u32 = rng.random_range(1..1000);
        let frames = (0..8)
            .map(|port| Frame::ipv4(17, &[], &udp(port, 2000, b"x")))
            .collect();
        (
            format!("jhash ip saddr . udp sport mod 4 seed {seed:#x} < 2"),
            frames,
        )
    }),
    ("limit", IP4, |rng| {
        (
            format!("limit rate 1/day burst {} packets", rng.random_range(1..4)),
            vec![udp4(); 5],
        )
    }),
    ("limit over", IP4, |_| {
        (
            "limit rate over 1/day burst 2 packets".into(),
            vec![tcp4(); 5],
        )
    }),
    ("limit bytes", IP4, |_| {
        (
            "limit rate 1 bytes/day burst 100 bytes".into(),
            vec![udp4(); 4],
        )
    }),
    ("quota", IP4, |rng| {
        (
            format!("quota {} bytes", rng.random_range(40..140)),
            vec![udp4(); 4],
        )
    }),
    ("quota over", IP4, |_| {
        ("quota over 80 bytes".into(), vec![udp4(); 4])
    }),
    ("set ttl", IP4, |rng| {
        (
            format!("ip ttl set {}", rng.random::<u8>()),
            vec![udp4(), tcp4(), echo4()],
        )
    }),
    ("set dscp", IP4, |_| {
        ("ip dscp set af11".into(), vec![udp4(), tcp4()])
    }),
    ("set ip6 dscp", IP6, |_| {
        ("ip6 dscp set cs3".into(), vec![udp6(), tcp6()])
    }),
    ("set ip6 hoplimit", IP6, |_| {
        ("ip6 hoplimit set 3".into(), vec![udp6(), echo6()])
    }),
    ("set ip saddr", IP4, |_| {
        (
            "ip saddr set 192.0.2.1".into(),
            vec![udp4(), tcp4(), echo4(), sctp(), udplite()],
        )
    }),
    ("set ip6 saddr", IP6, |_| {
        (
            "ip6 saddr set 2001:db8::1".into(),
            vec![udp6(), tcp6(), echo6()],
        )
    }),
    ("set tcp dport", IP4, |_| {
        ("tcp dport set 8080".into(), vec![tcp4(), udp4(), mss(3)])
    }),
    ("set udp sport", IP6, |_| {
        ("udp sport set 4321".into(), vec![udp6(), tcp6()])
    }),
    ("set tcp option maxseg", IP4, |_| {
        (
            "tcp option maxseg size set 1200".into(),
            vec![mss(1460), mss(1000), tcp4()],
        )
    }),
    ("reset tcp option", IP4, |_| {
        (
            "reset tcp option sack-perm".into(),
            vec![options(&[2, 4, 5, 0xb4, 4, 2]), tcp4()],
        )
    }),
    ("set ether daddr", LINK, |_| {
        (
            "ether saddr set 02:11:22:33:44:55".into(),
            vec![udp4(), arp()],
        )
    }),
    ("frag-off", IP4, |_| {
        ("ip frag-off & 0x4000 != 0".into(), {
            let mut df = udp4();
            df.set(Layer::Network, 49, 1, 1);
            df.finish();
            vec![df, udp4()]
        })
    }),
];

fn flag_frames() -> Vec<Frame> {
    [0x02, 0x12, 0x10, 0x04, 0x11, 0x00, 0xff]
        .map(|flags| Frame::ipv4(6, &[], &tcp(1000, 2000, flags, &[], b"")))
        .into()
}

fn options(bytes: &[u8]) -> Frame {
    Frame::ipv4(6, &[], &tcp(1000, 2000, 0x02, bytes, b""))
}

fn mss(size: u16) -> Frame {
    let bytes = size.to_be_bytes();
    options(&[2, 4, bytes[0], bytes[1], 1, 1])
}

/// A sample of one of the other constructs.
pub fn other(rng: &mut SmallRng, family: &str) -> Option<Sample> {
    let makers: Vec<_> = OTHERS
        .iter()
        .filter(|(_, families, _)| families.contains(&family))
        .collect();
    let (name, _, make) = makers.choose(rng)?;
    let (text, frames) = make(rng);
    Some(Sample {
        construct: (*name).to_owned(),
        text,
        frames,
    })
}

/// A sample of any construct that a family knows.
pub fn any(rng: &mut SmallRng, family: &str) -> Sample {
    loop {
        let sample = if rng.random_bool(0.6) {
            field(rng, family)
        } else {
            other(rng, family)
        };
        if let Some(sample) = sample {
            return sample;
        }
    }
}

/// A generator of this seed.
pub fn seeded(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}
