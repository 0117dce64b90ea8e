//! Building a table from many entries at once, on all cores, and splitting pages.

use std::sync::Arc;

use rayon::prelude::*;

use super::{FILL, Hash, Page};
use crate::sets::hashing::Hasher;
use crate::sets::hits::Lanes;
use crate::sets::page::{self, BUCKET, Entry, Geometry, MAX_BUCKET_BITS, bucket_of};
use crate::sets::structure::Rows;

impl Hash {
    /// A table of items (key, then tail) that are all different.
    pub(super) fn of_items(hasher: Hasher, geometry: Geometry, items: &[&[u32]]) -> Self {
        let mut table = Self {
            hasher,
            geometry,
            depth: 0,
            bucket_bits: MAX_BUCKET_BITS,
            pages: Vec::new(),
            depths: Vec::new(),
            len: items.len(),
        };
        let pages = items.len().div_ceil(FILL).next_power_of_two();
        let bits = pages.ilog2();
        let parts = table.partition(items, bits);
        let made: Vec<Vec<(u32, u64, Page)>> = parts
            .into_par_iter()
            .map(|entries| {
                let mut out = Vec::with_capacity(1);
                split_entries_or_keep(geometry, entries, bits, &mut out);
                out
            })
            .collect();
        let flat: Vec<(u32, u64, Page)> = made.into_iter().flatten().collect();
        table.depth = flat.iter().map(|&(depth, ..)| depth).max().unwrap_or(0);
        for (depth, _, page) in flat {
            for _ in 0..1usize << (table.depth - depth) {
                table.pages.push(Arc::clone(&page));
                table.depths.push(depth as u8);
            }
        }
        table.shrink_buckets();
        table
    }

    /// Items by the highest `bits` of their hashes.
    fn partition<'a>(&self, items: &[&'a [u32]], bits: u32) -> Vec<Vec<Entry<'a>>> {
        let geometry = self.geometry;
        let entries: Vec<Entry<'a>> = items
            .par_iter()
            .map(|item| {
                let (key, tail) = item.split_at(geometry.key);
                let hash = self.hasher.words(key);
                Entry {
                    hash,
                    fingerprint: geometry.fingerprint(key[0], hash),
                    key,
                    tail,
                }
            })
            .collect();
        if bits == 0 {
            return vec![entries];
        }
        let mut parts: Vec<Vec<Entry<'a>>> = (0..1usize << bits)
            .map(|_| Vec::with_capacity((items.len() >> bits) * 9 / 8 + 8))
            .collect();
        for entry in entries {
            parts[(entry.hash >> (64 - bits)) as usize].push(entry);
        }
        parts
    }

    /// A row whose key stands in the table twice.
    pub(super) fn twice(&self, rows: &Rows) -> Option<usize> {
        (0..rows.len()).into_par_iter().find_any(|&index| {
            let key = rows.row(index).low;
            let hash = self.hasher.words(key);
            let (buckets, stored) = self.split(&self.pages[self.slot(hash)]);
            let bucket = &buckets[bucket_of(hash, self.bucket_bits)];
            let same = page::candidates(bucket, self.geometry.fingerprint(key[0], hash));
            let equal = Lanes(u64::from(same)).filter(|at| {
                let row = &stored[(page::start(bucket) + at) * self.geometry.row..];
                self.geometry.prefix == 0 || row[..self.geometry.prefix] == *key
            });
            equal.count() > 1
        })
    }
}

/// Pages for entries that share `depth` bits: (depth, shared bits at the top, page) in order.
/// Splits at least once.
pub(super) fn split_entries(
    geometry: Geometry,
    entries: Vec<Entry<'_>>,
    depth: u32,
    out: &mut Vec<(u32, u64, Page)>,
) {
    let bit = 1u64 << (63 - depth);
    let (ones, zeros): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.hash & bit != 0);
    let any = zeros.first().or(ones.first()).map_or(0, |entry| entry.hash);
    let shared = if depth == 0 {
        0
    } else {
        any & (!0 << (64 - depth))
    };
    for (half, prefix) in [(zeros, shared), (ones, shared | bit)] {
        match Hash::page_of(geometry, MAX_BUCKET_BITS, &half) {
            Ok(page) => out.push((depth + 1, prefix, page)),
            // Only equal keys share so many bits; the caller finds them when the table is made.
            Err(page::TooMany) if depth > 55 => {
                let Ok(page) = Hash::page_of(geometry, MAX_BUCKET_BITS, &half[..BUCKET]) else {
                    continue;
                };
                out.push((depth + 1, prefix, page));
            }
            Err(page::TooMany) => split_entries(geometry, half, depth + 1, out),
        }
    }
}

fn split_entries_or_keep(
    geometry: Geometry,
    entries: Vec<Entry<'_>>,
    depth: u32,
    out: &mut Vec<(u32, u64, Page)>,
) {
    match Hash::page_of(geometry, MAX_BUCKET_BITS, &entries) {
        Ok(page) => out.push((depth, 0, page)),
        Err(page::TooMany) => split_entries(geometry, entries, depth, out),
    }
}
