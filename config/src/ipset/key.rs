//! From the parts of an element to the keys of the engine, as the kernel walks ranges.

use arrayvec::ArrayVec;
use sluice_dataplane::sets::Words;

use super::address::{self, Addresses, networks};
use super::create::{Cut, Header};
use super::element::{Parts, Verb};
use super::kind::{Family, Kind};
use super::port::{Ports, has_numbers, has_ports};
use super::refusal::Kernel;

/// First and last key of an element; equal but for prefixes and names with a wildcard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First key.
    pub low: Words,
    /// Last key.
    pub high: Words,
}

impl Bounds {
    fn word(&mut self, word: u32) {
        self.low.push(word);
        self.high.push(word);
    }

    fn address(&mut self, low: u128, high: u128, family: Family) {
        for at in (0..u32::from(family.words())).rev() {
            self.low.push((low >> (32 * at)) as u32);
            self.high.push((high >> (32 * at)) as u32);
        }
    }

    fn mac(&mut self, mac: [u8; 6]) {
        let [a, b, c, d, e, f] = mac;
        self.word(u32::from_be_bytes([0, 0, a, b]));
        self.word(u32::from_be_bytes([c, d, e, f]));
    }

    fn iface(&mut self, name: &str, wildcard: bool) {
        let padded = |fill: u8| {
            let mut bytes = [fill; 16];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            u128::from_be_bytes(bytes)
        };
        let low = padded(0);
        let high = if wildcard { padded(0xff) } else { low };
        self.address(low, high, Family::Inet6);
    }

    /// Protocol and port in one word.
    fn ports(&mut self, protocol: u8, port: u16) {
        self.word(u32::from(protocol) << 16 | u32::from(port));
    }
}

/// Is handed the keys of an element one after the other.
pub type EachKey<'a> = dyn FnMut(Bounds) -> Result<(), Kernel> + 'a;

/// Hands over every key that an element stands for, in the kernel's order, until one is refused. A test
/// has one key: that of the first.
///
/// # Errors
/// What the kernel refuses, or what `each` does.
pub fn each_key(
    header: &Header,
    parts: &Parts,
    wildcard: bool,
    verb: Verb,
    each: &mut EachKey<'_>,
) -> Result<(), Kernel> {
    match header.kind {
        Kind::BitmapIp | Kind::BitmapIpMac | Kind::BitmapPort => bitmap(header, parts, verb, each),
        Kind::HashMac => {
            let mac = parts.mac.filter(|mac| *mac != [0; 6]).ok_or(Kernel::Null)?;
            let mut bounds = Bounds::default();
            bounds.mac(mac);
            each(bounds)
        }
        Kind::ListSet => Ok(()),
        _ => Walk {
            header,
            parts,
            wildcard,
            verb,
        }
        .run(each),
    }
}

/// Numbers in a bitmap.
fn bitmap(
    header: &Header,
    parts: &Parts,
    verb: Verb,
    each: &mut EachKey<'_>,
) -> Result<(), Kernel> {
    let span = header.span.ok_or(Kernel::OutOfRange)?;
    let (raw, first, last) = match (&parts.ip, parts.bare) {
        (Some(ip), _) => {
            let inside = (span.first..=span.last).contains(&(ip.from as u32));
            if inside && ip.cidr == Some(0) && verb != Verb::Test {
                return Err(Kernel::Cidr);
            }
            let (first, last) = ip.bounds(32);
            (ip.from as u32, first as u32, last as u32)
        }
        (None, Some((from, to))) => {
            let to = u32::from(to.unwrap_or(from));
            let from = u32::from(from);
            (from, from.min(to), from.max(to))
        }
        (None, None) => return Err(Kernel::OutOfRange),
    };
    let inside = |number: u32| (span.first..=span.last).contains(&number);
    if !inside(raw) || !inside(first) || !inside(last) {
        return Err(Kernel::OutOfRange);
    }
    let number = |address: u32| (u64::from(address - span.first) / header.hosts()) as u32;
    let last = if verb == Verb::Test { raw } else { last };
    let first = if verb == Verb::Test { raw } else { first };
    for number in number(first)..=number(last) {
        let mut bounds = Bounds::default();
        bounds.word(number);
        each(bounds)?;
    }
    Ok(())
}

/// Addresses as an element has them.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Ip {
    /// One after the other.
    Hosts(u128, u128),
    /// Networks.
    Nets(ArrayVec<(u128, u8), 260>),
}

struct Walk<'a> {
    header: &'a Header,
    parts: &'a Parts,
    wildcard: bool,
    verb: Verb,
}

impl Walk<'_> {
    fn bits(&self) -> u8 {
        self.header.family.bits()
    }

    /// In the order in which the kernel looks at the parts: of an element with several mistakes it names
    /// the first.
    fn run(&self, each: &mut EachKey<'_>) -> Result<(), Kernel> {
        let kind = self.header.kind;
        let ip = self.parts.ip.ok_or(Kernel::InvalidArgument)?;
        let first_is_net = matches!(
            kind,
            Kind::HashNet
                | Kind::HashNetNet
                | Kind::HashNetPort
                | Kind::HashNetPortNet
                | Kind::HashNetIface
        );
        let second = self.parts.ip2.map(|ip| (ip, kind != Kind::HashIpPortIp));
        self.nulls(&ip)?;
        if first_is_net {
            self.prefix(&ip)?;
        }
        if let Some((ip, true)) = &second {
            self.prefix(ip)?;
        }
        let ports = self.ports()?;
        let first = if first_is_net {
            self.nets(&ip)?
        } else {
            self.hosts(&ip)?
        };
        let second = match second {
            Some((ip, true)) => Some(self.nets(&ip)?),
            Some((ip, false)) => Some(Ip::Hosts(ip.from, ip.from)),
            None => None,
        };
        self.over_first(&first, ports, second.as_ref(), each)
    }

    /// Values that a hash does not store.
    fn nulls(&self, ip: &Addresses) -> Result<(), Kernel> {
        let cut = self.header.cut(ip.from);
        let mark = self.parts.mark.map(|mark| mark & self.markmask());
        match self.header.kind {
            Kind::HashIp if cut == 0 => Err(Kernel::Null),
            // A range that is written the wrong way round, down to 0.
            Kind::HashIp if self.verb != Verb::Test && ip.to == Some(0) => Err(Kernel::Null),
            Kind::HashIpPort if cut == 0 => Err(Kernel::InvalidArgument),
            Kind::HashIpMark if ip.from == 0 && mark == Some(0) => Err(Kernel::Null),
            Kind::HashIpMac if self.parts.mac == Some([0; 6]) => Err(Kernel::Null),
            _ => Ok(()),
        }
    }

    /// A network of all addresses is stored by the types of which ipset(8) says so.
    fn prefix(&self, ip: &Addresses) -> Result<(), Kernel> {
        let zero_may = matches!(self.header.kind, Kind::HashNetPortNet | Kind::HashNetIface);
        if ip.cidr == Some(0) && !zero_may {
            return Err(Kernel::Cidr);
        }
        Ok(())
    }

    /// First and last port of a protocol.
    fn ports(&self) -> Result<Option<(u8, u16, u16)>, Kernel> {
        let Some(ports) = &self.parts.ports else {
            return Ok(None);
        };
        let Ports { protocol, .. } = *ports;
        if protocol == 0 {
            return Err(Kernel::Protocol);
        }
        Ok(Some(if self.verb == Verb::Test || !has_ports(protocol) {
            let port = if has_numbers(protocol) { ports.from } else { 0 };
            (protocol, port, port)
        } else {
            let (from, to) = ports.bounds();
            (protocol, from, to)
        }))
    }

    fn hosts(&self, ip: &Addresses) -> Result<Ip, Kernel> {
        let cut = self.header.cut(ip.from);
        if self.verb == Verb::Test {
            return Ok(Ip::Hosts(cut, cut));
        }
        if ip.cidr == Some(0) {
            return Err(Kernel::Cidr);
        }
        let (first, last) = ip.bounds(self.bits());
        Ok(Ip::Hosts(first, last))
    }

    fn nets(&self, ip: &Addresses) -> Result<Ip, Kernel> {
        let bits = self.bits();
        let mut nets = ArrayVec::new();
        match ip.to.filter(|_| self.verb != Verb::Test) {
            Some(_) => {
                let (first, last) = ip.bounds(bits);
                if first == 0 && last == address::host_mask(0, bits) {
                    return Err(Kernel::WholeRange);
                }
                networks(first, last, bits, |net, cidr| {
                    nets.try_push((net, cidr)).is_ok()
                });
            }
            None => {
                let cidr = ip.cidr.unwrap_or(bits);
                let net = address::network(self.header.cut(ip.from), cidr, bits).0;
                nets.push((net, cidr));
            }
        }
        Ok(Ip::Nets(nets))
    }

    fn markmask(&self) -> u32 {
        self.header.markmask.unwrap_or(u32::MAX)
    }

    fn over_first(
        &self,
        first: &Ip,
        ports: Option<(u8, u16, u16)>,
        second: Option<&Ip>,
        each: &mut EachKey<'_>,
    ) -> Result<(), Kernel> {
        let header = self.header;
        let family = header.family;
        match first {
            Ip::Nets(nets) => {
                for &(net, cidr) in nets {
                    let (low, high) = address::network(net, cidr, self.bits());
                    let mut bounds = Bounds::default();
                    bounds.address(low, high, family);
                    self.over_ports(&bounds, ports, second, each)?;
                }
            }
            &Ip::Hosts(first, last) => {
                let step = match header.cut {
                    Cut::Netmask(netmask) => address::host_mask(netmask, self.bits()) + 1,
                    _ => 1,
                };
                let mut at = match header.cut {
                    Cut::Netmask(_) => header.cut(first),
                    _ => first,
                };
                loop {
                    let address = header.cut(at);
                    let mut bounds = Bounds::default();
                    bounds.address(address, address, family);
                    self.over_ports(&bounds, ports, second, each)?;
                    match at.checked_add(step) {
                        Some(next) if next <= last => at = next,
                        _ => break,
                    }
                }
            }
        }
        Ok(())
    }

    fn over_ports(
        &self,
        front: &Bounds,
        ports: Option<(u8, u16, u16)>,
        second: Option<&Ip>,
        each: &mut EachKey<'_>,
    ) -> Result<(), Kernel> {
        let Some((protocol, from, to)) = ports else {
            return self.over_second(front, second, each);
        };
        for port in from..=to {
            let mut bounds = front.clone();
            bounds.ports(protocol, port);
            self.over_second(&bounds, second, each)?;
        }
        Ok(())
    }

    fn over_second(
        &self,
        front: &Bounds,
        second: Option<&Ip>,
        each: &mut EachKey<'_>,
    ) -> Result<(), Kernel> {
        let family = self.header.family;
        match second {
            Some(&Ip::Hosts(one, _)) => {
                let mut bounds = front.clone();
                bounds.address(one, one, family);
                each(bounds)
            }
            Some(Ip::Nets(nets)) => nets.iter().try_for_each(|&(net, cidr)| {
                let (low, high) = address::network(net, cidr, self.bits());
                let mut bounds = front.clone();
                bounds.address(low, high, family);
                each(bounds)
            }),
            None => {
                let mut bounds = front.clone();
                if let Some(mac) = self.parts.mac {
                    bounds.mac(mac);
                }
                if let Some(mark) = self.parts.mark {
                    bounds.word(mark & self.markmask());
                }
                if let Some((name, physical)) = &self.parts.iface {
                    bounds.word(u32::from(*physical));
                    bounds.iface(name, self.wildcard);
                }
                each(bounds)
            }
        }
    }
}

/// Whether a tested element is a host in all its networks: the most specific network that has it
/// is looked for; else just this network is.
pub fn is_host(header: &Header, parts: &Parts) -> bool {
    let bits = header.family.bits();
    let host = |ip: &Option<Addresses>| ip.is_none_or(|ip| ip.cidr.is_none_or(|cidr| cidr == bits));
    host(&parts.ip) && host(&parts.ip2)
}
