//! AF_PACKET: any Linux network device as a port.
//!
//! Receiving: a mapped TPACKET_V2 ring with small slots. A frame that does not fit a slot (jumbo,
//! super-frame) comes whole through `recv` (`PACKET_COPY_THRESH`), in its place in the order.
//! The virtio-net header stands right in front of each frame, so that a frame can be sent from
//! the slot in which it came, without a copy in user space.
//!
//! Sending: `sendmmsg` from the frame's memory, on one of two sockets: past the queueing
//! discipline for what the device takes as it is, through the kernel for what must be cut first.
//!
//! Opening needs privileges and happens in [`open_queues`]; using the descriptors does not.

mod ethtool;
mod receive;
mod ring;
mod socket;
mod transmit;

pub use ethtool::offloads;
pub use receive::AfPacketRx;
pub use socket::{QueueSockets, open_queues};
pub use transmit::AfPacketTx;

use std::io;
use std::sync::Arc;

use super::{LinkState, PortId};

/// Size of a queue's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Slots of the ring.
    pub slots: u32,
    /// Kernel memory for frames that do not fit a slot, in bytes.
    pub large_bytes: usize,
}

impl Default for Geometry {
    fn default() -> Self {
        Self {
            slots: 2048,
            large_bytes: 16 << 20,
        }
    }
}

impl Geometry {
    /// Bytes of a slot.
    pub const SLOT: usize = 2048;
    /// Free bytes that the kernel leaves before the frame (`PACKET_RESERVE`). Chosen so that the
    /// virtio-net header begins a cache line and the frame lies at [`Self::FRAME_AT`].
    const RESERVE: usize = 62;
    /// Where an untagged Ethernet frame begins in its slot:
    /// align16(`tpacket2_hdr` 32 + `sockaddr_ll` 20 + 16) + reserve + vnet 10 - Ethernet 14.
    const FRAME_AT: usize = 138;
    /// Where a frame's headroom begins in its slot: behind what the kernel tells about it.
    const HEADROOM_AT: usize = 64;
    /// Bytes of a block of the ring (one allocation of the kernel).
    const BLOCK: usize = 64 << 10;

    /// Bytes of the whole ring.
    pub fn ring_bytes(&self) -> usize {
        self.slots as usize * Self::SLOT
    }

    fn request(&self) -> libc::tpacket_req {
        libc::tpacket_req {
            tp_block_size: Self::BLOCK as u32,
            tp_block_nr: (self.ring_bytes() / Self::BLOCK) as u32,
            tp_frame_size: Self::SLOT as u32,
            tp_frame_nr: self.slots,
        }
    }
}

// Room for a tag, a tunnel header and the virtio-net header in front of every frame.
const _: () = assert!(
    Geometry::FRAME_AT - Geometry::HEADROOM_AT
        >= crate::packet::frame::HEADROOM + crate::packet::VnetHeader::LEN
);

/// Makes the two halves of a queue from its descriptors; needs no privilege.
///
/// # Errors
/// When the ring cannot be mapped.
pub fn attach(
    port: PortId,
    sockets: QueueSockets,
    geometry: Geometry,
    link: Arc<LinkState>,
) -> io::Result<(AfPacketRx, AfPacketTx)> {
    let rx = AfPacketRx::new(port, sockets.rx, geometry)?;
    let tx = AfPacketTx::new(sockets.bypass, sockets.plain, link);
    Ok((rx, tx))
}
