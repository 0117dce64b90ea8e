//! A mapped TPACKET_V2 ring: slots that belong in turn to the kernel and to us.
#![allow(unsafe_code)] // maps kernel memory and hands out slots of it

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Geometry;

/// What the kernel says about the frame in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotInfo {
    /// `TP_STATUS_*`.
    pub status: u32,
    /// Length of the frame when it arrived.
    pub frame_len: u32,
    /// Bytes of it in the slot.
    pub stored_len: u32,
    /// Where it begins in the slot.
    pub at: u16,
    /// The tag that the kernel took off.
    pub vlan_tci: u16,
    /// The type of that tag.
    pub vlan_tpid: u16,
}

/// The mapping. Slot `n` is `memory[n * SLOT..][..SLOT]`.
#[derive(Debug)]
pub(super) struct Ring {
    memory: NonNull<u8>,
    geometry: Geometry,
}

// SAFETY: the mapping belongs to this value alone; it may move to another thread with it.
unsafe impl Send for Ring {}

impl Ring {
    pub(super) fn map(socket: BorrowedFd<'_>, geometry: Geometry) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                geometry.ring_bytes(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                socket.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, geometry })
    }

    pub(super) fn slots(&self) -> usize {
        self.geometry.slots as usize
    }

    #[inline]
    fn slot(&self, number: usize) -> *mut u8 {
        debug_assert!(number < self.slots());
        // SAFETY: callers pass a number below `slots`, so the offset lies in the mapping.
        unsafe { self.memory.as_ptr().add(number * Geometry::SLOT) }
    }

    #[inline]
    fn status(&self, number: usize) -> &AtomicU32 {
        // SAFETY: a slot begins with its 32-bit status, aligned to the slot's 2048 bytes; both
        // sides access it atomically only.
        unsafe { AtomicU32::from_ptr(self.slot(number).cast()) }
    }

    /// What is in the slot, or `None` while it belongs to the kernel.
    #[inline]
    pub(super) fn look(&self, number: usize) -> Option<SlotInfo> {
        let status = self.status(number).load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let header = self.slot(number).cast::<libc::tpacket2_hdr>();
        // SAFETY: the header lies at the start of the slot, which is ours while its status says
        // so (acquired above); it is read only, field by field.
        unsafe {
            Some(SlotInfo {
                status,
                frame_len: (*header).tp_len,
                stored_len: (*header).tp_snaplen,
                at: (*header).tp_mac,
                vlan_tci: (*header).tp_vlan_tci,
                vlan_tpid: (*header).tp_vlan_tpid,
            })
        }
    }

    /// Asks for the first lines of a slot ahead of their use.
    #[inline]
    pub(super) fn prefetch(&self, number: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let slot = self.slot(number);
            // SAFETY: a prefetch reads nothing architecturally; the offsets lie in the slot.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(slot.cast());
                _mm_prefetch::<_MM_HINT_T0>(slot.add(128).cast());
                _mm_prefetch::<_MM_HINT_T0>(slot.add(192).cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = number;
    }

    /// The memory of a slot from the headroom on.
    ///
    /// # Safety
    /// The slot's status says that it is ours, no other reference to it lives, and
    /// [`give_back`](Self::give_back) is not called before the reference is gone.
    #[inline]
    pub(super) unsafe fn memory<'a>(&self, number: usize) -> &'a mut [u8] {
        // SAFETY: the range lies in the slot; exclusive use is the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.slot(number).add(Geometry::HEADROOM_AT),
                Geometry::SLOT - Geometry::HEADROOM_AT,
            )
        }
    }

    /// The slot belongs to the kernel again.
    #[inline]
    pub(super) fn give_back(&self, number: usize) {
        self.status(number)
            .store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this size and ends with this value. No
        // frame borrows from it: they borrow from the queue that owns the ring.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.geometry.ring_bytes()) };
    }
}
