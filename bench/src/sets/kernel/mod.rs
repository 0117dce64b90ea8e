//! The kernel's sets on the same elements: what a packet costs with a set, less what it costs without.
//!
//! One namespace, one veth pair, one thread on one CPU: it sends prepared frames by sendmmsg, and the
//! kernel receives each of them in the sender's own time, so that wall time is all the work there is.
//! With a set, the only rule looks the frame up in it and drops it (every frame is in the set, which is
//! checked by counters); without, the only rule drops it. nft's rules stand at the ingress of the
//! device, ipset's (which only iptables knows) in the raw table's prerouting chain.

mod frames;
mod peers;
mod source;

use std::io::Write;
use std::process::Command;
use std::time::Instant;

use sluice_control::netns::Namespace;
use sluice_dataplane::sets::Element;

use super::shapes::{Case, Mix};
use crate::alternate::alternate;
use crate::report::Figure;
use frames::frames;
use peers::Peer;
use source::Source;

/// Different frames: so many elements are asked for.
const FRAMES: usize = 1 << 18;

/// Elements that are taken out and put back to measure changes.
const CHANGES: usize = 2_000;

/// What a kernel's structure has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// Nanoseconds a packet with the set less those without.
    pub(super) look_up_ns: Figure,
    /// Bytes an element, as far as the kernel says.
    pub(super) bytes: Option<f64>,
    /// Seconds from the command's start to its end.
    pub(super) load_s: f64,
    /// Changes a second, in thousands, many in one command.
    pub(super) changes: Option<f64>,
}

/// Why a peer has no figure: for the reader of the table.
pub(super) type Missing = String;

/// A namespace with a device pair.
struct Bed {
    space: Namespace,
    mac: [u8; 6],
}

impl Bed {
    fn new() -> anyhow::Result<Self> {
        let space = Namespace::new("sets")?;
        space.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        space.add_veth("a", &space, "b")?;
        space.set_up("a")?;
        space.set_up("b")?;
        let mac = space.mac("b")?;
        Ok(Self { space, mac })
    }

    /// Runs a program with a file of commands.
    fn feed(&self, program: &[&str], text: &str) -> anyhow::Result<f64> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        let started = Instant::now();
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(file.path());
        let output = self.space.output(&mut command)?;
        let seconds = started.elapsed().as_secs_f64();
        anyhow::ensure!(
            output.status.success(),
            "{program:?}: {}",
            String::from_utf8_lossy(&output.stderr)
                .chars()
                .take(300)
                .collect::<String>()
        );
        Ok(seconds)
    }
}

/// Measures one structure of the kernel with these elements; what it lacks is a reason, not an error.
///
/// # Errors
/// When the namespace cannot be had.
pub(super) fn measure(
    peer: Peer,
    case: Case,
    elements: &[Element],
    runs: usize,
) -> anyhow::Result<Result<Measured, Missing>> {
    let Some(kind) = peer.kind(case) else {
        return Ok(Err("no such structure".to_owned()));
    };
    if peer.is_slow(case, elements.len()) {
        return Ok(Err("loading takes minutes".to_owned()));
    }
    let bed = Bed::new()?;
    let before = peers::kernel_bytes()?;
    let load = peer.load(&kind, elements);
    let load_s = match bed.feed(peer.program(), &load) {
        Ok(seconds) => seconds,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let bytes = peer.bytes(&bed, before, elements.len())?;
    peer.open(&bed, &kind)?;
    let keys: Vec<Vec<u32>> = {
        let mut mix = Mix(11);
        (0..FRAMES)
            .map(|_| {
                let at = (mix.next() % elements.len() as u64) as usize;
                Case::key_in(&elements[at], &mut mix)
            })
            .collect()
    };
    let frames = frames(case, &keys, bed.mac);
    let source = bed.space.run(|| Source::open("a"))??;
    let mut sample = |with: &mut bool| -> anyhow::Result<f64> {
        peer.rule(&bed, *with, &kind)?;
        let ns = bed.space.run(|| source.send(&frames))??;
        if *with {
            let missed = peer.missed(&bed, &kind, FRAMES as u64)?;
            anyhow::ensure!(
                missed < FRAMES as u64 / 100,
                "{missed} frames were not found"
            );
        }
        Ok(ns)
    };
    let samples = match alternate(&mut [true, false], runs, &mut sample) {
        Ok(samples) => samples,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let differences: Vec<f64> = samples[0]
        .iter()
        .zip(&samples[1])
        .map(|(with, without)| with - without)
        .collect();
    let some = &elements[..elements.len().min(CHANGES)];
    let rate = |seconds: f64| 2.0 * some.len() as f64 / seconds / 1000.0;
    let changes = match peer.changes(&kind, some) {
        Some(commands) => Some(rate(bed.feed(peer.program(), &commands)?)),
        None => None,
    };
    Ok(Ok(Measured {
        look_up_ns: Figure::of(&differences),
        bytes,
        load_s,
        changes,
    }))
}

pub(super) use peers::{PEERS, Peer as KernelPeer};
