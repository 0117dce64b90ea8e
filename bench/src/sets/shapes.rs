//! The shapes that are measured, with elements and keys made from a seed.

use sluice_dataplane::sets::{Element, Key, SetSpec, Shape};

/// A sequence of well mixed numbers.
#[derive(Debug)]
pub struct Mix(pub u64);

impl Mix {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A shape to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// IPv4 addresses.
    Address,
    /// IPv4 addresses with a word of data.
    AddressMap,
    /// IPv4 addresses that packets add, with timeouts.
    AddressDynamic,
    /// Ten words: two IPv6 addresses, ports, protocol.
    Tuple,
    /// A bitmap of ports.
    Ports,
    /// IPv4 prefixes of mixed length, nested.
    Prefix,
    /// IPv6 prefixes of mixed length.
    Prefix6,
    /// IPv4 intervals.
    Interval,
    /// IPv4 prefix and port range.
    PrefixPort,
    /// Two IPv4 prefixes and a port range.
    PrefixPortPrefix,
}

impl Case {
    /// All of them.
    pub const ALL: [Case; 10] = [
        Case::Address,
        Case::AddressMap,
        Case::AddressDynamic,
        Case::Tuple,
        Case::Ports,
        Case::Prefix,
        Case::Prefix6,
        Case::Interval,
        Case::PrefixPort,
        Case::PrefixPortPrefix,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Case::Address => "address",
            Case::AddressMap => "address : word",
            Case::AddressDynamic => "address, dynamic, timeout",
            Case::Tuple => "40-byte tuple",
            Case::Ports => "port bitmap",
            Case::Prefix => "prefix",
            Case::Prefix6 => "IPv6 prefix",
            Case::Interval => "interval",
            Case::PrefixPort => "prefix . ports",
            Case::PrefixPortPrefix => "prefix . ports . prefix",
        }
    }

    /// What its set is made from.
    pub fn spec(self) -> SetSpec {
        let boxes = |fields: &[u8]| Shape::Boxes {
            fields: fields.iter().copied().collect(),
            nested: false,
        };
        let mut spec = SetSpec::new(match self {
            Case::Address | Case::AddressMap | Case::AddressDynamic => Shape::Exact { words: 1 },
            Case::Tuple => Shape::Exact { words: 10 },
            Case::Ports => Shape::Bitmap {
                first: 0,
                last: 65_535,
            },
            Case::Prefix => Shape::Prefix { words: 1 },
            Case::Prefix6 => Shape::Prefix { words: 4 },
            Case::Interval => Shape::Interval { words: 1 },
            Case::PrefixPort => boxes(&[1, 1]),
            Case::PrefixPortPrefix => boxes(&[1, 1, 1]),
        });
        match self {
            Case::AddressMap => spec.data_words = 1,
            Case::AddressDynamic => (spec.dynamic, spec.timed) = (true, true),
            _ => {}
        }
        spec
    }

    /// Most elements that make sense.
    pub fn most(self) -> usize {
        if self == Case::Ports {
            65_536
        } else {
            usize::MAX
        }
    }

    /// The `index`-th element of a set of `count`; all are different, and disjoint where they must be.
    pub fn element(self, index: usize, count: usize, mix: &mut Mix) -> Element {
        let number = index as u32;
        // A bijection of 32-bit numbers: scattered, and different for different indices.
        let scattered = number.wrapping_mul(0x9e37_79b1) ^ 0x5bd1_e995;
        let step = ((1u64 << 32) / count as u64).max(1);
        let base = (index as u64 * step) as u32;
        match self {
            Case::Address | Case::AddressDynamic => Element::exact(&[scattered]),
            Case::AddressMap => Element::exact(&[scattered]).with_data(&[number]),
            Case::Tuple => Element::exact(&[
                0x2001_0db8,
                1,
                2,
                scattered,
                0x2001_0db8,
                3,
                4,
                number,
                443,
                6,
            ]),
            Case::Ports => Element::exact(&[(index * (65_536 / count.min(65_536)).max(1)) as u32]),
            Case::Prefix => {
                // Mostly /24 and longer; one in eight is a shorter one around others.
                let length = if index.is_multiple_of(8) {
                    20
                } else {
                    24 + (mix.next() % 9) as u8
                };
                let address = if length == 20 {
                    (number / 8) << 12
                } else {
                    scattered
                };
                Element::new(Key::prefix(&[address], length))
            }
            Case::Prefix6 => {
                let address = [0x2001_0000 | number >> 16, scattered, number, 0];
                Element::new(Key::prefix(&address, 48 + (mix.next() % 5) as u8 * 16))
            }
            Case::Interval => {
                let size = mix.next() % (step / 2).max(1);
                Element::new(Key::range(&[base], &[base + size as u32]))
            }
            Case::PrefixPort => {
                let (net, ports) = self.policy(index, count);
                Element::new(Key::range(&[net.0, ports.0], &[net.1, ports.1]))
            }
            Case::PrefixPortPrefix => {
                let (net, ports) = self.policy(index, count);
                let to = scattered & 0xffff_ff00;
                Element::new(Key::range(
                    &[net.0, ports.0, to],
                    &[net.1, ports.1, to | 0xff],
                ))
            }
        }
    }

    /// A network of mixed length and a service: several services for each network.
    fn policy(self, index: usize, count: usize) -> ((u32, u32), (u32, u32)) {
        const SERVICES: [(u32, u32); 4] = [(22, 22), (80, 80), (443, 443), (8000, 8999)];
        let networks = count.div_ceil(4) as u64;
        let room = ((1u64 << 32) / networks).ilog2().min(24);
        let net = index / 4;
        let bits = if net.is_multiple_of(3) {
            room.min(8)
        } else if net % 3 == 1 {
            room
        } else {
            0
        };
        let low = ((net as u64) << room) as u32;
        (
            (low, low | ((1u64 << bits) - 1) as u32),
            SERVICES[index % 4],
        )
    }

    /// A key that an element holds.
    pub fn key_in(element: &Element, mix: &mut Mix) -> Vec<u32> {
        let Key::Range { low, high } = &element.key else {
            return Vec::new();
        };
        low.iter()
            .zip(high)
            .map(|(&low, &high)| {
                let span = u64::from(high.wrapping_sub(low)) + 1;
                if low <= high {
                    low + (mix.next() % span) as u32
                } else {
                    low
                }
            })
            .collect()
    }

    /// A random key, most likely in no element.
    pub fn key_out(self, words: usize, mix: &mut Mix) -> Vec<u32> {
        let mut key: Vec<u32> = (0..words).map(|_| mix.next() as u32).collect();
        if matches!(
            self,
            Case::PrefixPort | Case::PrefixPortPrefix | Case::Ports
        ) {
            let last = if self == Case::Ports { 0 } else { 1 };
            key[last] = 10_000 + key[last] % 50_000;
        }
        key
    }
}
