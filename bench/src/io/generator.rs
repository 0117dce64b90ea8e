//! The flood: small UDP frames of many flows, as fast as one CPU sends them.
//!
//! One system call for each frame would make the sender the limit of what is measured. So it hands
//! the kernel super-frames (UDP segmentation), one for each flow, and the kernel cuts them on the
//! sender's CPU: the source's device is told to segment and to complete nothing itself. Where every
//! frame is to begin a flow of its own, each is sent alone.
#![allow(unsafe_code)] // sendmmsg of prepared frames

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use sluice_dataplane::packet::VnetHeader;
use sluice_dataplane::packet::checksum::checksum;

use super::bed::{Bed, CONTESTANT_CPU, GENERATOR_CPU, busy_us, pin};

/// Flows of a flood that says nothing else, one super-frame each.
pub(super) const FLOWS: usize = 1024;
/// Frames that are sent before they are made anew, when each is to begin a flow.
const FRESH: usize = 4096;
/// Super-frames of one system call.
const AT_ONCE: usize = 16;
/// Frames that a super-frame is cut into.
const SEGMENTS: usize = 32;
/// Ethernet, IPv4 and UDP header.
const HEADERS: usize = 42;
/// Payload of a frame, which is 60 bytes long with it.
const PAYLOAD: usize = 18;
const SUPER_FRAME: usize = VnetHeader::LEN + HEADERS + SEGMENTS * PAYLOAD;
/// Time before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(150);

/// What a flood has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood {
    pub(super) delivered_per_second: f64,
    /// What the source's device sent in that time: near the delivered ones, the generator is the
    /// limit and not the contestant.
    pub(super) offered_per_second: f64,
    pub(super) cpu_us_per_packet: f64,
}

/// What a flood consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flows {
    /// So many flows, a super-frame of each in turn.
    Same(usize),
    /// Every frame begins another one.
    New,
}

/// Floods the contestant for a while and measures what arrives in that time.
pub(super) fn flood(bed: &Bed, flows: Flows, length: Duration) -> anyhow::Result<Flood> {
    during(bed, flows, || {
        let offered = bed.offered()?;
        let (from, cpu, begun) = (bed.delivered()?, busy_us(CONTESTANT_CPU)?, Instant::now());
        std::thread::sleep(length);
        let (to, cpu_end, seconds) = (bed.delivered()?, busy_us(CONTESTANT_CPU)?, begun.elapsed());
        let offered = (bed.offered()? - offered) as f64;
        let delivered = (to - from) as f64;
        Ok(Flood {
            delivered_per_second: delivered / seconds.as_secs_f64(),
            offered_per_second: offered / seconds.as_secs_f64(),
            cpu_us_per_packet: (cpu_end - cpu) as f64 / delivered.max(1.0),
        })
    })
}

/// Does some work while the contestant is flooded.
pub(super) fn during<T>(
    bed: &Bed,
    flows: Flows,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    bed.source.sh("ethtool -K eth0 tx off")?;
    let stop = &std::sync::atomic::AtomicBool::new(false);
    let (begins, begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || bed.source.run(|| send_until(flows, stop, begins)));
        // A hundred thousand frames take a while to make. One that fails before has an error for us below.
        let _failed = begun.recv();
        std::thread::sleep(WARM_UP);
        let outcome = work();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        sender
            .join()
            .map_err(|_| anyhow::anyhow!("the generator failed"))???;
        outcome
    })
}

/// Sends from when it says that it begins until it is told to stop.
fn send_until(
    flows: Flows,
    stop: &std::sync::atomic::AtomicBool,
    begins: std::sync::mpsc::Sender<()>,
) -> io::Result<()> {
    pin(GENERATOR_CPU)?;
    let (count, segments) = match flows {
        Flows::Same(count) => (count, SEGMENTS),
        Flows::New => (FRESH, 1),
    };
    let mut next = count;
    let mut frames: Vec<[u8; SUPER_FRAME]> = (0..count).map(|flow| frame(flow, segments)).collect();
    let socket = socket()?;
    let mut pieces: Vec<libc::iovec> = frames
        .iter_mut()
        .map(|frame: &mut [u8; SUPER_FRAME]| libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: VnetHeader::LEN + HEADERS + segments * PAYLOAD,
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = pieces
        .iter_mut()
        .map(|piece| {
            // SAFETY: plain data for which all zeroes is a valid value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    begins.send(()).map_err(io::Error::other)?;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        for (at, some) in messages.chunks_mut(AT_ONCE).enumerate() {
            if flows == Flows::New {
                for slot in &mut frames[at * AT_ONCE..][..some.len()] {
                    *slot = frame(next, segments);
                    next += 1;
                }
            }
            // SAFETY: each message points to one piece and that to a frame; all of them outlive
            // the call. What the device does not take (ENOBUFS) is not a frame of the flood.
            unsafe { libc::sendmmsg(socket.as_raw_fd(), some.as_mut_ptr(), some.len() as u32, 0) };
        }
    }
    Ok(())
}

/// The UDP frame of a flow with its offload header, to an address that nobody has: the sink counts
/// and forgets it, or the segments that it is cut into.
fn frame(flow: usize, segments: usize) -> [u8; SUPER_FRAME] {
    let udp_len = 8 + (segments * PAYLOAD) as u16;
    let mut whole = [0; SUPER_FRAME];
    let frame = &mut whole[VnetHeader::LEN..];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 9, 1]);
    frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
    frame[16..18].copy_from_slice(&(20 + udp_len).to_be_bytes());
    let [.., high, middle, low] = (flow as u32).to_be_bytes();
    frame[26..30].copy_from_slice(&[10, high, middle, low]);
    frame[30..34].copy_from_slice(&[10, 2, 0, 1]);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    // Another port each time that the addresses are through.
    let port = 1024 + (flow >> 24) as u16;
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[36..38].copy_from_slice(&7u16.to_be_bytes());
    frame[38..40].copy_from_slice(&udp_len.to_be_bytes());
    if segments > 1 {
        // The sum of the pseudo-header: the rest is the kernel's to add for each segment.
        let pseudo = [&frame[26..34], &[0, 17], &frame[38..40]].concat();
        frame[40..42].copy_from_slice(&(!checksum(&pseudo)).to_be_bytes());
        let vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso_type: VnetHeader::GSO_UDP_L4,
            hdr_len: HEADERS as u16,
            gso_size: PAYLOAD as u16,
            csum_start: 34,
            csum_offset: 6,
        };
        whole[..VnetHeader::LEN].copy_from_slice(&vnet.to_bytes());
    }
    whole
}

/// A way to send frames through the kernel, which cuts super-frames.
fn socket() -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let index = rustix::net::netdevice::name_to_index(socket.as_fd(), "eth0")?;
    let one: libc::c_int = 1;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: pointers and lengths describe `one` and `address`, which outlive the calls.
    let done = unsafe {
        let option = libc::PACKET_VNET_HDR;
        let set = libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const one).cast(),
            4,
        );
        let len = size_of::<libc::sockaddr_ll>() as u32;
        set | libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len)
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}
