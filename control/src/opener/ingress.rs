//! Closing the kernel's ingress behind the tap: the way around the firewall.
//!
//! A device without an address is not enough: Linux answers ARP for the addresses of its *other*
//! devices through it. So each port gets a netdev chain at ingress whose policy is drop; the
//! packet tap sees the frames before it. The table belongs to this process and persists when it
//! dies, so that nobody's `flush ruleset` opens it, and the next start takes it over.

use std::io;

use super::netlink::{Message, Netlink};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NETDEV: u8 = 5;
/// Before every other chain at ingress.
const PRIORITY: i32 = -1000;
/// NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST
const OWNED_AND_PERSISTENT: u32 = 2 | 4;

/// The closed ingresses of one network namespace; they stay closed when this is dropped.
#[derive(Debug)]
pub(super) struct Ingress {
    netlink: Netlink,
}

impl Ingress {
    /// In the current namespace.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            netlink: Netlink::open(libc::NETLINK_NETFILTER)?,
        })
    }

    /// Closes a device's ingress; nothing changes when it is closed already.
    ///
    /// # Errors
    /// `EPERM` when another living process has closed it, `EOPNOTSUPP` or `ENOENT` when the
    /// kernel has no netdev tables.
    pub(super) fn close(&mut self, device: &str) -> io::Result<()> {
        match self.request(close(device, OWNED_AND_PERSISTENT)) {
            // Before Linux 6.9 tables could not be both owned and persistent.
            Err(error) if is_unsupported(&error) => self.request(close(device, 0)),
            outcome => outcome,
        }
    }

    /// Opens a device's ingress again.
    ///
    /// # Errors
    /// When it is not closed or another process has closed it.
    pub(super) fn reopen(&mut self, device: &str) -> io::Result<()> {
        let table = message(DELETE_TABLE, libc::NLM_F_ACK).text(1, &table_name(device));
        self.request(vec![table])
    }

    fn request(&mut self, mut messages: Vec<Message>) -> io::Result<()> {
        let border = |kind| Message::new(kind, 0, &[0, 0, 0, 10]);
        messages.insert(0, border(BATCH_BEGIN));
        messages.push(border(BATCH_END));
        self.netlink.ask(messages).map(|_| ())
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}

fn close(device: &str, flags: u32) -> Vec<Message> {
    let name = table_name(device);
    let mut device_name = device.as_bytes().to_vec();
    device_name.push(0);
    let flags_to_create = libc::NLM_F_CREATE | libc::NLM_F_ACK;
    vec![
        message(NEW_TABLE, flags_to_create)
            .text(1, &name)
            .attribute(2, &flags.to_be_bytes()),
        message(NEW_CHAIN, flags_to_create)
            .text(1, &name)
            .text(3, "closed")
            .nested(
                4,
                &[
                    (1, &0u32.to_be_bytes()),
                    (2, &PRIORITY.to_be_bytes()),
                    (3, &device_name),
                ],
            )
            .attribute(5, &0u32.to_be_bytes())
            .text(7, "filter"),
    ]
}

fn message(kind: u16, flags: i32) -> Message {
    Message::new(kind, flags, &[NETDEV, 0, 0, 0])
}

/// The table of a device. One for each, so that two daemons can each own theirs. What nft's
/// grammar does not take in a name is written in hexadecimal.
fn table_name(device: &str) -> String {
    let mut name = String::from("sluice-port-");
    for byte in device.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(byte.into()),
            other => name.push_str(&format!("/{other:02x}")),
        }
    }
    name
}
