//! Packets for the tracker's tests, and a walk without rules.

use std::sync::Arc;

use super::{PacketCt, Settings, TrackContext, Tracker, TrackerWorker, Zone};
use crate::packet::{BATCH, Burst, Frame, Headers};
use crate::port::PortId;
use crate::program::Packets;
use crate::program::lanes::lanes;

pub(crate) const SECOND: u64 = 1_000_000_000;

/// Ends of a datagram or segment: addresses in 10/8, ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ends {
    pub(crate) src: u16,
    pub(crate) dst: u16,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
}

impl Ends {
    pub(crate) fn answer(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
        }
    }
}

/// An Ethernet frame with an IPv4 packet of a protocol.
fn ipv4(ends: Ends, protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((20 + transport.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 2]);
    frame.extend(ends.src.to_be_bytes());
    frame.extend([10, 2]);
    frame.extend(ends.dst.to_be_bytes());
    frame.extend(transport);
    frame
}

/// Bytes of the IP packet that [`udp`] makes.
pub(crate) const UDP_BYTES: u64 = 32;

pub(crate) fn udp(ends: Ends) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ends.sport.to_be_bytes());
    bytes.extend(ends.dport.to_be_bytes());
    bytes.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    ipv4(ends, 17, &bytes)
}

/// A TCP segment without data; `flags` as in the header (2 SYN, 16 ACK, 4 RST, 1 FIN).
pub(crate) fn tcp(ends: Ends, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ends.sport.to_be_bytes());
    bytes.extend(ends.dport.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    ipv4(ends, 6, &bytes)
}

/// An ICMP port unreachable from the destination of `about` to its source.
pub(crate) fn unreachable(about: Ends, offending: &[u8]) -> Vec<u8> {
    let mut bytes = vec![3, 3, 0, 0, 0, 0, 0, 0];
    bytes.extend(&offending[14..]);
    ipv4(about.answer(), 1, &bytes)
}

/// Settings of a small table whose packets need no right checksums.
pub(crate) fn settings(max: u32) -> Settings {
    let mut settings = Settings {
        max,
        ..Settings::default()
    };
    settings.rules.checksum = false;
    settings
}

/// A worker with what surrounds it in a walk.
pub(crate) struct Stand {
    pub(crate) worker: TrackerWorker,
    pub(crate) packets: Box<Packets>,
    pub(crate) now: u64,
    pub(crate) exact: bool,
    pub(crate) zone: Zone,
}

impl Stand {
    pub(crate) fn new(tracker: &Arc<Tracker>, number: u16) -> Self {
        Self {
            worker: tracker.worker(number),
            packets: Box::default(),
            now: SECOND,
            exact: false,
            zone: Zone::default(),
        }
    }

    /// Begins a batch of these frames.
    pub(crate) fn begin<'f>(&mut self, frames: &[Vec<u8>]) -> Burst<'f> {
        let mut burst = Burst::new();
        self.packets.ended = 0;
        for (lane, bytes) in frames.iter().enumerate() {
            let memory = bytes.clone().into_boxed_slice();
            burst.push(Frame::owned(memory, 0, bytes.len(), PortId(0)));
            self.packets.headers[lane] = Headers::dissect(bytes);
            self.packets.ct[lane] = PacketCt::NONE;
            self.packets.zones[lane] = self.zone;
        }
        self.worker.begin(self.now, self.now);
        burst
    }

    pub(crate) fn context(&self) -> TrackContext {
        TrackContext {
            now_ns: self.now,
            wall_ns: self.now,
            domain: 0,
            exact: self.exact,
        }
    }

    /// Takes frames through a walk whose rules keep the lanes of `keep`; yields how each stood.
    pub(crate) fn pass(&mut self, frames: &[Vec<u8>], keep: u64) -> Vec<PacketCt> {
        assert!(frames.len() <= BATCH);
        let burst = self.begin(frames);
        let context = self.context();
        let mut todo = u64::MAX >> (BATCH - frames.len());
        while todo != 0 {
            let deferred = self.worker.track(todo, &mut self.packets, &burst, &context);
            assert_ne!(deferred, todo, "somebody has to go on");
            let through = todo & !deferred;
            let kept = through & keep & !self.packets.ended;
            self.worker.confirm(kept, &mut self.packets, &context);
            self.worker
                .drop_unconfirmed(through & !kept, &mut self.packets);
            todo = deferred;
        }
        self.worker.end();
        lanes(u64::MAX >> (BATCH - frames.len()))
            .map(|lane| self.packets.ct[lane])
            .collect()
    }

    /// One frame that is kept.
    pub(crate) fn one(&mut self, frame: &[u8]) -> PacketCt {
        self.pass(&[frame.to_vec()], 1)[0]
    }
}
