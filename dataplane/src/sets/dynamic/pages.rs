//! Pages and the directory that leads to them. What is in a page never changes once readers can
//! reach it, but for expiries.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::garbage::Link;
use crate::sets::epoch::Pin;
use crate::sets::line::Line;
use crate::sets::page::{self, Entry, Geometry};

/// Buckets of a page, as a power of two.
pub(super) const BUCKET_BITS: u32 = 4;
/// Buckets of a page.
pub(super) const BUCKETS: usize = 1 << BUCKET_BITS;

pub(super) struct Page {
    pub(super) buckets: [Line; BUCKETS],
    pub(super) rows: Box<[u32]>,
    /// One an entry, in the order of the rows; none in sets without timeouts.
    pub(super) expires: Box<[AtomicU64]>,
    pub(super) depth: u32,
}

pub(super) struct Directory {
    pub(super) depth: u32,
    pub(super) pages: Box<[Link<Page>]>,
}

impl Page {
    pub(super) fn empty(depth: u32) -> Self {
        Self {
            buckets: [Line::ZERO; BUCKETS],
            rows: Box::default(),
            expires: Box::default(),
            depth,
        }
    }

    pub(super) fn locate(
        &self,
        geometry: Geometry,
        hash: u64,
        key: &[u32],
    ) -> Option<(usize, usize)> {
        let bucket = page::bucket_of(hash, BUCKET_BITS);
        let line = &self.buckets[bucket];
        let fingerprint = geometry.fingerprint(key[0], hash);
        page::find(geometry, line, &self.rows, fingerprint, key).map(|at| (bucket, at))
    }

    pub(super) fn tail(&self, geometry: Geometry, index: usize) -> &[u32] {
        &self.rows[index * geometry.row..][..geometry.row][geometry.prefix..]
    }

    pub(super) fn expires(&self, index: usize) -> u64 {
        self.expires
            .get(index)
            .map_or(u64::MAX, |expires| expires.load(Ordering::Relaxed))
    }

    pub(super) fn expires_copy(&self, edit: impl FnOnce(&mut Vec<u64>)) -> Box<[AtomicU64]> {
        let mut copy: Vec<u64> = self
            .expires
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect();
        edit(&mut copy);
        copy.into_iter().map(AtomicU64::new).collect()
    }

    /// A page of entries (with their expiries), or more pages where they do not fit one.
    pub(super) fn of(
        geometry: Geometry,
        depth: u32,
        entries: &[(Entry<'_>, u64)],
        timed: bool,
        out: &mut Vec<Self>,
    ) {
        let mut page = Self::empty(depth);
        let plain: Vec<Entry<'_>> = entries.iter().map(|&(entry, _)| entry).collect();
        page.rows = vec![0; entries.len() * geometry.row].into();
        if page::fill(
            geometry,
            (&mut page.buckets, &mut page.rows),
            BUCKET_BITS,
            &plain,
        )
        .is_ok()
        {
            if timed {
                let mut order: Vec<(usize, u64)> = entries
                    .iter()
                    .map(|(entry, at)| (page::bucket_of(entry.hash, BUCKET_BITS), *at))
                    .collect();
                // Stable: `fill` keeps the order of entries within a bucket.
                order.sort_by_key(|&(bucket, _)| bucket);
                page.expires = order
                    .into_iter()
                    .map(|(_, at)| AtomicU64::new(at))
                    .collect();
            }
            out.push(page);
            return;
        }
        let bit = 1u64 << (63 - depth);
        let (ones, zeros): (Vec<_>, Vec<_>) =
            entries.iter().partition(|(entry, _)| entry.hash & bit != 0);
        Self::of(geometry, depth + 1, &zeros, timed, out);
        Self::of(geometry, depth + 1, &ones, timed, out);
    }
}

impl Directory {
    #[inline]
    pub(super) fn slot(&self, hash: u64) -> usize {
        hash.checked_shr(64 - self.depth).unwrap_or(0) as usize
    }

    #[inline]
    pub(super) fn page<'p>(&self, slot: usize, _pin: &'p Pin) -> &'p Page {
        let page = self.pages[slot].load();
        // SAFETY: links of directories are never null: `Dynamic::new` and `install` fill all of them with
        // leaked pages, and a page is only retired after every link that led to it was overwritten, so
        // under the pin it is alive.
        unsafe { &*page }
    }

    pub(super) fn block(&self, slot: usize, depth: u32) -> std::ops::Range<usize> {
        let size = 1 << (self.depth - depth);
        let first = slot & !(size - 1);
        first..first + size
    }
}
