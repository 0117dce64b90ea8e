//! The memory of the flow table: one mapping with a layout version, in a memory file.
//!
//! Header, then the buckets of the index, then the entries; everything is addressed by number. The
//! mapping is shared and has a descriptor, so that a successor process can take it over; a successor that
//! knows another layout sees so by the header.
//!
//! Unsafe, because a mapping is a raw address. All that is ever made of it are shared references to
//! structures of atomics, for which every bit pattern is valid.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::entry::Entry;
use super::index::Bucket;

/// Says that this is a flow table.
const MAGIC: u64 = u64::from_le_bytes(*b"sluiceFT");
/// Changes whenever the layout of header, bucket or entry does.
pub(super) const LAYOUT: u32 = 1;
/// Bytes of the header, so that what follows begins on a huge page.
const HEADER: usize = 2 << 20;
const HUGE: usize = 2 << 20;

/// What the mapping begins with.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Header {
    magic: AtomicU64,
    layout: AtomicU32,
    entries: AtomicU32,
    buckets: AtomicU32,
    /// Entries from here on have never been used.
    pub(super) fresh: AtomicU32,
    /// Seed of the hashing.
    seed: AtomicU64,
}

/// The mapping.
#[derive(Debug)]
pub(super) struct Memory {
    base: NonNull<u8>,
    bytes: usize,
    /// Address space that the mapping lies in, a huge page longer.
    reservation: NonNull<u8>,
    reserved: usize,
    file: OwnedFd,
    entries: u32,
    buckets: u32,
    first_entry: usize,
}

// SAFETY: the mapping belongs to this value for its whole life; all access is through shared references
// to atomics, which any thread may hold.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeroed memory for so many entries (one more is reserved: number 0 is no entry) and buckets.
    pub(super) fn new(entries: u32, buckets: u32, seed: u64) -> Result<Self, std::io::Error> {
        let index = (buckets as usize * size_of::<Bucket>()).next_multiple_of(HUGE);
        let first_entry = HEADER + index;
        let bytes =
            (first_entry + (entries as usize + 1) * size_of::<Entry>()).next_multiple_of(HUGE);
        let file = memfd_create("sluice-flows", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, bytes as u64)?;
        let reserved = bytes + HUGE;
        // SAFETY: a new reservation at an address of the kernel's choice.
        let reservation = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                reserved,
                ProtFlags::empty(),
                MapFlags::PRIVATE,
            )?
        };
        let reservation =
            NonNull::new(reservation.cast::<u8>()).ok_or(std::io::ErrorKind::OutOfMemory)?;
        // From here on dropping the value gives everything back.
        // SAFETY: `align_offset` of a byte pointer is less than `HUGE`, and the reservation has that
        // much more than `bytes`.
        let base = unsafe { reservation.add(reservation.align_offset(HUGE)) };
        let memory = Self {
            base,
            bytes,
            reservation,
            reserved,
            file,
            entries,
            buckets,
            first_entry,
        };
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the range lies in the reservation made above, which nobody else uses.
        unsafe {
            mmap(
                base.as_ptr().cast(),
                bytes,
                protection,
                flags,
                &memory.file,
                0,
            )?
        };
        let header = memory.header();
        header.layout.store(LAYOUT, Ordering::Relaxed);
        header.entries.store(entries, Ordering::Relaxed);
        header.buckets.store(buckets, Ordering::Relaxed);
        header.seed.store(seed, Ordering::Relaxed);
        header.fresh.store(1, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(memory)
    }

    /// Has the kernel make huge pages of the mapping: a look-up touches two or three places in it, and with
    /// small pages each is a walk of the page tables too. This also takes the memory, so that a flood
    /// later finds it there. Where the kernel cannot (before 6.1, or out of huge pages), small pages serve.
    /// It takes a quarter of a second for a gigabyte, and may be done while the table is used.
    pub(super) fn use_huge_pages(&self) {
        if (self.entries as usize) * size_of::<Entry>() < HUGE {
            return;
        }
        for at in (0..self.bytes).step_by(HUGE) {
            // SAFETY: `at` is less than `bytes` and a multiple of `HUGE`; an atomic lies there.
            let word = unsafe { self.base.add(at).cast::<AtomicU64>().as_ref() };
            // The kernel wants one page to be there, and writable. This writes what is there; adding 0 would
            // be made a load.
            let _as_it_was = word.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
            // SAFETY: the range lies in the mapping, whose length is a multiple of `HUGE`; its
            // contents stay.
            let done = unsafe {
                libc::madvise(self.base.add(at).as_ptr().cast(), HUGE, libc::MADV_COLLAPSE)
            };
            // A page that is in use just now (EAGAIN) stays as it is.
            if done != 0 && std::io::Error::last_os_error().kind() != std::io::ErrorKind::WouldBlock
            {
                return;
            }
        }
    }

    /// The memory file.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the mapping has at least `HEADER` bytes and is aligned to a page; a header is atomics.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// Entries, without number 0.
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    pub(super) fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Bytes of the mapping.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// An entry.
    #[inline(always)]
    pub(super) fn entry(&self, index: u32) -> &Entry {
        debug_assert!(index != 0);
        let index = if index <= self.entries { index } else { 0 };
        // SAFETY: the number is at most `entries` and the mapping has room for `entries + 1` entries
        // from `first_entry` on, which is a multiple of 64; an entry is atomics.
        unsafe {
            self.base
                .add(self.first_entry)
                .cast::<Entry>()
                .add(index as usize)
                .as_ref()
        }
    }

    /// A bucket.
    #[inline(always)]
    pub(super) fn bucket(&self, number: u32) -> &Bucket {
        let number = if number < self.buckets { number } else { 0 };
        // SAFETY: the number is less than `buckets`, for which the mapping has room behind the header,
        // whose size is a multiple of 64; a bucket is atomics.
        unsafe {
            self.base
                .add(HEADER)
                .cast::<Bucket>()
                .add(number as usize)
                .as_ref()
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the reservation made in `new`, the mapping in it included; no reference to it outlives
        // this value.
        let _gone = unsafe { munmap(self.reservation.as_ptr().cast(), self.reserved) };
    }
}

/// Asks the processor to fetch the cache line of something that will be read soon.
#[inline(always)]
pub(super) fn prefetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees and never faults; the pointer comes
    // from a reference.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
            std::ptr::from_ref(what).cast(),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}
