//! The kernel's side of the oracle: a bridge between two hosts in namespaces, with br_netfilter.
//!
//! Nothing waits for a time to pass. veth hands frames on by the backlog of the processor that sends,
//! in order, so a mark that is sent behind the frames on the same processor, by a wire of its own that
//! no ruleset sees, arrives when they have been judged; a second mark, when what the bridge
//! made of them has arrived too.

use std::cell::Cell;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use sluice_control::netns::Namespace;

use super::conversation::Side;
use crate::frames::{LEFT_MAC, RIGHT_MAC};
use crate::raw::RawSocket;

/// Frames as they came out.
type Frames = Vec<Vec<u8>>;

/// Marks behind the frames: one until the bridge has judged them, one until what it sent has
/// arrived, one until answers to that have.
const MARKS: usize = 3;

/// A bridge `br0` with the ports `left` and `right`, and a raw socket behind each.
#[derive(Debug)]
pub struct KernelBridge {
    bridge: Namespace,
    left: RawSocket,
    right: RawSocket,
    /// Where marks are sent and where they arrive.
    marks: [RawSocket; 2],
    next_mark: Cell<u32>,
    /// The hosts' namespaces live as long as their sockets are used.
    _hosts: [Namespace; 3],
}

/// What one side said about a ruleset and its frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames that came out at the right.
    pub right: Vec<Vec<u8>>,
    /// Frames that came out at the left (answers).
    pub left: Vec<Vec<u8>>,
    /// Packets and bytes of each counter, in the order of the listing.
    pub counters: Vec<(u64, u64)>,
    /// The ruleset as it is listed afterwards.
    pub listing: String,
    /// That listing loaded again, and listed again; where it was asked.
    pub again: Option<String>,
}

impl KernelBridge {
    /// Builds the bridge.
    ///
    /// # Errors
    /// When namespaces cannot be made.
    pub fn new() -> io::Result<Self> {
        let bridge = Namespace::new("bridge")?;
        bridge.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        // Its own reports would be counted too.
        bridge.sysctl("net/ipv4/igmp_link_local_mcast_reports", "0")?;
        let host = |name: &str, mac| -> io::Result<(Namespace, RawSocket)> {
            let host = Namespace::new(name)?;
            host.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
            host.add_veth("eth0", &bridge, name)?;
            host.set_mac("eth0", mac)?;
            host.set_up("eth0")?;
            let socket = RawSocket::open(&host, "eth0")?;
            Ok((host, socket))
        };
        let (left_host, left) = host("left", LEFT_MAC)?;
        let (right_host, right) = host("right", RIGHT_MAC)?;
        bridge.add_bridge("br0", &["left", "right"])?;
        let marks_host = Namespace::new("marks")?;
        marks_host.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        left_host.add_veth("mark", &marks_host, "mark")?;
        left_host.set_up("mark")?;
        marks_host.set_up("mark")?;
        let marks = [
            RawSocket::open(&left_host, "mark")?,
            RawSocket::open(&marks_host, "mark")?,
        ];
        let this = Self {
            bridge,
            left,
            right,
            marks,
            next_mark: Cell::new(0),
            _hosts: [left_host, right_host, marks_host],
        };
        this.learn()?;
        Ok(this)
    }

    /// The bridge's namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.bridge
    }

    /// Sends a frame each way until both arrive: the bridge forwards and knows both hosts.
    fn learn(&self) -> io::Result<()> {
        let greet =
            |to: [u8; 6], from: [u8; 6]| [&to[..], &from[..], &[0x88, 0xb5], &[0; 46]].concat();
        let (to_right, to_left) = (greet(RIGHT_MAC, LEFT_MAC), greet(LEFT_MAC, RIGHT_MAC));
        for _ in 0..200 {
            self.left.send(&to_right)?;
            let there = self.right.receive(Duration::from_millis(20))?;
            self.right.send(&to_left)?;
            if there.is_some() && self.left.receive(Duration::from_millis(20))?.is_some() {
                self.right.drain(Duration::from_millis(5))?;
                self.left.drain(Duration::from_millis(5))?;
                return Ok(());
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the kernel's bridge does not forward",
        ))
    }

    /// Runs `nft` in the bridge's namespace with this text as its input.
    ///
    /// # Errors
    /// With what nft printed, when it refuses.
    pub fn nft(&self, text: &str) -> io::Result<String> {
        let mut command = Command::new("nft");
        command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.bridge.spawn(&mut command)?;
        child
            .stdin
            .take()
            .ok_or(io::ErrorKind::BrokenPipe)?
            .write_all(text.as_bytes())?;
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }

    /// Sends frames; what came out at the right and at the left.
    pub(super) fn exchange<'f>(
        &self,
        frames: impl Iterator<Item = (Side, &'f Vec<u8>)>,
    ) -> io::Result<(Frames, Frames)> {
        let held = Held::new()?;
        for (side, frame) in frames {
            match side {
                Side::Left => self.left.send(frame)?,
                Side::Right => self.right.send(frame)?,
            }
        }
        for _ in 0..MARKS {
            self.mark()?;
        }
        drop(held);
        let now = Duration::ZERO;
        let (mut right, mut left) = (self.right.drain(now)?, self.left.drain(now)?);
        right.retain(|frame| !is_hosts_own(frame));
        left.retain(|frame| !is_hosts_own(frame));
        Ok((right, left))
    }

    /// Sends a mark and waits until it arrives.
    fn mark(&self) -> io::Result<()> {
        let number = self.next_mark.replace(self.next_mark.get().wrapping_add(1));
        let mark = [
            &RIGHT_MAC[..],
            &LEFT_MAC,
            &[0x88, 0xb6],
            &number.to_be_bytes(),
            &[0; 42],
        ]
        .concat();
        self.marks[0].send(&mark)?;
        while let Some(frame) = self.marks[1].receive(Duration::from_secs(20))? {
            if frame == mark {
                return Ok(());
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "a mark did not arrive",
        ))
    }

    /// Puts `ruleset` in force, sends `frames` from the left and says what came of it.
    ///
    /// # Errors
    /// When nft refuses the ruleset (`InvalidInput`) or a socket fails.
    pub fn judge(&self, ruleset: &str, frames: &[Vec<u8>]) -> io::Result<Outcome> {
        self.nft(&format!("flush ruleset\n{ruleset}"))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let from_left = frames.iter().map(|frame| (Side::Left, frame));
        let (right, left) = self.exchange(from_left)?;
        let listing = self.nft("list ruleset")?;
        Ok(Outcome {
            right,
            left,
            counters: counters(&listing),
            listing,
            again: None,
        })
    }
}

/// Holds the thread on the processor where it is until it is dropped.
struct Held(CpuSet);

impl Held {
    fn new() -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        sched_setaffinity(None, &here)?;
        Ok(Self(before))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A thread may always be let go to where it was.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// Whether the kernel made this frame by itself: a report of the multicast groups that it is in.
fn is_hosts_own(frame: &[u8]) -> bool {
    frame.starts_with(&[0x01, 0x00, 0x5e, 0x00, 0x00, 0x16]) && frame.get(23) == Some(&2)
}

/// Packets and bytes of every `counter` of a listing, in order.
pub fn counters(listing: &str) -> Vec<(u64, u64)> {
    let words: Vec<&str> = listing.split_whitespace().collect();
    words
        .windows(5)
        .filter(|window| window[0] == "counter" && window[1] == "packets" && window[3] == "bytes")
        .filter_map(|window| Some((window[2].parse().ok()?, window[4].parse().ok()?)))
        .collect()
}
