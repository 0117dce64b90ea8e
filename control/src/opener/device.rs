//! A device: what it is, whether the kernel itself uses it, making it usable and undoing that.

use std::io;

use super::netlink::{Message, Netlink, attributes, text, word};
use super::{OpenError, Use};

const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ETHERNET: u16 = 1;
/// Kinds of devices that sit on another one and would go on using it.
const UPPER_KINDS: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];

/// A device as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) hardware: u16,
    pub(super) flags: u32,
    pub(super) mtu: u32,
    pub(super) mac: [u8; 6],
    /// The bridge or bond that it belongs to.
    pub(super) master: Option<u32>,
    /// The device that it sits on.
    lower: Option<u32>,
    pub(super) kind: String,
}

impl Device {
    /// Up, and with a carrier.
    pub(super) fn is_running(&self) -> bool {
        let wanted = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
        self.flags & wanted == wanted
    }

    pub(super) fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// Reads the body of a link message.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let header = body.get(..LINK_HEADER)?;
        let mut device = Self {
            hardware: u16::from_ne_bytes([header[2], header[3]]),
            index: word(&header[4..]),
            flags: word(&header[8..]),
            ..Self::default()
        };
        for (kind, value) in attributes(&body[LINK_HEADER..]) {
            match kind {
                libc::IFLA_IFNAME => device.name = text(value),
                libc::IFLA_MTU => device.mtu = word(value),
                libc::IFLA_MASTER => device.master = Some(word(value)),
                libc::IFLA_LINK => device.lower = Some(word(value)),
                libc::IFLA_ADDRESS => device.mac = value.try_into().unwrap_or_default(),
                libc::IFLA_LINKINFO => {
                    let kind = attributes(value).find(|(kind, _)| *kind == 1);
                    device.kind = kind.map(|(_, value)| text(value)).unwrap_or_default();
                }
                _ => {}
            }
        }
        Some(device)
    }
}

/// An address of a device: enough to name it and to give it back.
#[derive(Clone, Debug)]
struct Address {
    body: Vec<u8>,
    shown: String,
    is_automatic: bool,
}

/// Something that was changed, and how it is undone.
#[derive(Debug)]
enum Change {
    BroughtUp,
    TakenFromMaster(u32),
    RemovedAddress(Address),
    SwitchedOffIpv6(String),
}

/// What was changed at one device.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<Change>);

/// The devices of one namespace; the calling thread is in it.
#[derive(Debug)]
pub(super) struct Devices {
    netlink: Netlink,
}

impl Devices {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            netlink: Netlink::open(libc::NETLINK_ROUTE)?,
        })
    }

    /// The device of this name.
    pub(super) fn by_name(&mut self, name: &str) -> io::Result<Device> {
        let request = Message::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &[0; LINK_HEADER])
            .text(libc::IFLA_IFNAME, name);
        self.one(request)
    }

    /// The device of this index.
    pub(super) fn by_index(&mut self, index: u32) -> io::Result<Device> {
        let header = link_header(index, 0, 0);
        self.one(Message::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &header))
    }

    fn one(&mut self, request: Message) -> io::Result<Device> {
        let answers = self.netlink.ask(vec![request])?;
        answers
            .iter()
            .find_map(|answer| Device::parse(&answer.body))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes the device usable: checks that the kernel does not use it itself, mends that where
    /// `prepare` allows, and brings it up. On failure everything is as before.
    pub(super) fn prepare(&mut self, device: &Device, prepare: bool) -> Result<Changes, OpenError> {
        let mut changes = Changes::default();
        match self.prepare_inner(device, prepare, &mut changes) {
            Ok(()) => Ok(changes),
            Err(error) => {
                self.undo(device, changes);
                Err(error)
            }
        }
    }

    fn prepare_inner(
        &mut self,
        device: &Device,
        prepare: bool,
        changes: &mut Changes,
    ) -> Result<(), OpenError> {
        let name = &device.name;
        if device.hardware != ETHERNET {
            return Err(OpenError::NotEthernet {
                device: name.clone(),
            });
        }
        if let Some(upper) = self.uppers(device)?.first() {
            return Err(served(
                name,
                Use::Upper(upper.clone()),
                format!("ip link delete {upper}"),
            ));
        }
        if let Some(master) = device.master {
            let shown = self.by_index(master).map(|m| m.name);
            let shown = shown.unwrap_or_else(|_| format!("device {master}"));
            if !prepare {
                let mend = format!("ip link set dev {name} nomaster");
                return Err(served(name, Use::Master(shown), mend));
            }
            self.set_master(device.index, 0)?;
            changes.0.push(Change::TakenFromMaster(master));
        }
        for address in self.addresses(device.index)? {
            if !prepare && !address.is_automatic {
                let mend = format!("ip address flush dev {name}");
                return Err(served(name, Use::Address(address.shown), mend));
            }
            if prepare {
                self.change_address(libc::RTM_DELADDR, &address)?;
                changes.0.push(Change::RemovedAddress(address));
            }
        }
        // The kernel would send its own multicast (router solicitations, MLD) into the segment.
        if prepare || !device.is_up() {
            changes.0.extend(switch_off_ipv6(name));
        }
        if !device.is_up() {
            self.set_up(device.index, true)?;
            changes.0.push(Change::BroughtUp);
        }
        Ok(())
    }

    /// Brings a device up that is ours.
    pub(super) fn bring_up(&mut self, device: &Device) -> io::Result<()> {
        self.set_up(device.index, true)
    }

    /// Undoes changes, the last one first; one that cannot be undone (the device is gone, the
    /// bridge is gone) is passed over.
    pub(super) fn undo(&mut self, device: &Device, changes: Changes) {
        let index = device.index;
        for change in changes.0.into_iter().rev() {
            let _ = match change {
                Change::BroughtUp => self.set_up(index, false),
                Change::TakenFromMaster(master) => self.set_master(index, master),
                Change::RemovedAddress(address) => self.change_address(libc::RTM_NEWADDR, &address),
                Change::SwitchedOffIpv6(path) => std::fs::write(path, "0"),
            };
        }
    }

    /// Names of the devices that sit on this one.
    fn uppers(&mut self, device: &Device) -> io::Result<Vec<String>> {
        let request = Message::new(libc::RTM_GETLINK, libc::NLM_F_DUMP, &[0; LINK_HEADER]);
        let links = self.netlink.ask(vec![request])?;
        Ok(links
            .iter()
            .filter_map(|answer| Device::parse(&answer.body))
            .filter(|other| other.lower == Some(device.index))
            .filter(|other| UPPER_KINDS.contains(&other.kind.as_str()))
            .map(|other| other.name)
            .collect())
    }

    fn addresses(&mut self, index: u32) -> io::Result<Vec<Address>> {
        let request = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS_HEADER]);
        let answers = self.netlink.ask(vec![request])?;
        Ok(answers
            .into_iter()
            .filter(|answer| answer.word(4) == index)
            .map(|answer| Address::new(answer.body))
            .collect())
    }

    fn change_address(&mut self, kind: u16, address: &Address) -> io::Result<()> {
        let flags = match kind {
            libc::RTM_NEWADDR => libc::NLM_F_ACK | libc::NLM_F_CREATE,
            _ => libc::NLM_F_ACK,
        };
        let request = Message::new(kind, flags, &address.body);
        match self.netlink.ask(vec![request]) {
            // It went with another one (secondary addresses go with their primary).
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    fn set_master(&mut self, index: u32, master: u32) -> io::Result<()> {
        let header = link_header(index, 0, 0);
        let request = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &header)
            .attribute(libc::IFLA_MASTER, &master.to_ne_bytes());
        self.netlink.ask(vec![request]).map(|_| ())
    }

    fn set_up(&mut self, index: u32, up: bool) -> io::Result<()> {
        let mask = libc::IFF_UP as u32;
        let header = link_header(index, if up { mask } else { 0 }, mask);
        let request = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &header);
        self.netlink.ask(vec![request]).map(|_| ())
    }
}

impl Address {
    fn new(body: Vec<u8>) -> Self {
        let (family, prefix) = (body[0], body[1]);
        let find = |wanted: u16| {
            let mut list = attributes(&body[ADDRESS_HEADER..]);
            list.find(|(kind, _)| *kind == wanted)
                .map(|(_, value)| value)
        };
        // IPv4: the local address, IPv6: the address.
        let bytes = find(2).or_else(|| find(1)).unwrap_or_default();
        let is_link_local = family == libc::AF_INET6 as u8 && bytes.starts_with(&[0xfe, 0x80]);
        let shown = match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(four), _) => format!("{}/{prefix}", std::net::Ipv4Addr::from(four)),
            (_, Ok(six)) => format!("{}/{prefix}", std::net::Ipv6Addr::from(six)),
            _ => format!("family {family}"),
        };
        Self {
            shown,
            is_automatic: is_link_local,
            body,
        }
    }
}

fn switch_off_ipv6(device: &str) -> Option<Change> {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    // No IPv6 in this kernel, or off already, or not ours to change (the tap sees the frames
    // and the ingress is closed all the same): nothing to undo then.
    let before = std::fs::read_to_string(&path).ok()?;
    (before.trim() == "0" && std::fs::write(&path, "1").is_ok())
        .then_some(Change::SwitchedOffIpv6(path))
}

fn served(device: &str, by: Use, mend: String) -> OpenError {
    OpenError::Served {
        device: device.to_owned(),
        by,
        mend,
    }
}

/// struct ifinfomsg
fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}
