//! The flood: small UDP frames of many flows, as fast as one CPU sends them.
#![allow(unsafe_code)] // sendmmsg of prepared frames

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::bed::{Bed, CONTESTANT_CPU, GENERATOR_CPU, busy_us, pin};

/// Flows of a flood that says nothing else.
pub(super) const FLOWS: usize = 1024;
/// Frames that are sent before they are made anew, when each is to begin a flow.
const FRESH: usize = 4096;
/// Frames of one system call.
const AT_ONCE: usize = 64;
const FRAME: usize = 60;
/// Time before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(150);

/// What a flood has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood {
    pub(super) delivered_per_second: f64,
    pub(super) cpu_us_per_packet: f64,
}

/// What a flood consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flows {
    /// So many flows, a frame of each in turn.
    Same(usize),
    /// Every frame begins another one.
    New,
}

/// Floods the contestant for a while and measures what arrives in that time.
pub(super) fn flood(bed: &Bed, flows: Flows, length: Duration) -> anyhow::Result<Flood> {
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| bed.source.run(|| send_until(flows, &stop)));
        std::thread::sleep(WARM_UP);
        let (from, cpu, begun) = (bed.delivered()?, busy_us(CONTESTANT_CPU)?, Instant::now());
        std::thread::sleep(length);
        let (to, cpu_end, seconds) = (bed.delivered()?, busy_us(CONTESTANT_CPU)?, begun.elapsed());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        sender
            .join()
            .map_err(|_| anyhow::anyhow!("the generator failed"))???;
        let delivered = (to - from) as f64;
        Ok(Flood {
            delivered_per_second: delivered / seconds.as_secs_f64(),
            cpu_us_per_packet: (cpu_end - cpu) as f64 / delivered.max(1.0),
        })
    })
}

fn send_until(flows: Flows, stop: &std::sync::atomic::AtomicBool) -> io::Result<()> {
    pin(GENERATOR_CPU)?;
    let count = match flows {
        Flows::Same(count) => count,
        Flows::New => FRESH,
    };
    let mut next = count;
    let mut frames: Vec<[u8; FRAME]> = (0..count).map(frame).collect();
    let socket = socket()?;
    let mut pieces: Vec<libc::iovec> = frames
        .iter_mut()
        .map(|frame| libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: FRAME,
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
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        for (at, some) in messages.chunks_mut(AT_ONCE).enumerate() {
            if flows == Flows::New {
                let first = at * AT_ONCE;
                for slot in &mut frames[first..first + some.len()] {
                    *slot = frame(next);
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

/// A UDP frame of a flow, to an address that nobody has: the sink counts and forgets it.
fn frame(flow: usize) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 9, 1]);
    frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    let [.., high, middle, low] = (flow as u32).to_be_bytes();
    frame[26..30].copy_from_slice(&[10, high, middle, low]);
    frame[30..34].copy_from_slice(&[10, 2, 0, 1]);
    let sum: u32 = frame[14..34]
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    // Another port each time that the addresses are through.
    let port = 1024 + (flow >> 24) as u16;
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[36..38].copy_from_slice(&7u16.to_be_bytes());
    frame[38..40].copy_from_slice(&26u16.to_be_bytes());
    frame
}

/// The driver's own way to send past the queueing discipline, without virtio-net headers.
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
        let option = libc::PACKET_QDISC_BYPASS;
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
