//! Exact keys of any width: a persistent extendible hash table.
//!
//! The directory takes the highest bits of a key's hash to a page, the page takes other bits to one
//! bucket ([`page`](super::page)). A look-up among keys of one word touches two cache lines: the
//! directory's and the bucket's; wider keys and maps one row more. The directory is a flat array of
//! `n / 700` pointers: 20 KiB for a million elements.
//!
//! A clone copies the directory, a change copies one page (at most 8 KiB and its rows); a page whose
//! bucket overflows is split in two, alone. So one element more costs about the same in a table of
//! ten and of a hundred thousand. Pages that empty are merged, and the directory shrinks with them.

use std::sync::Arc;

use rayon::prelude::*;

use super::error::SetError;
use super::hashing::Hasher;
use super::hits::{Column, LANES, Lanes, Sink};
use super::line::{Line, prefetch, words, words_mut};
use super::page::{self, BUCKET, Entry, Geometry, MAX_BUCKET_BITS, bucket_of};
use super::structure::{Row, Rows, Structure};

type Page = Arc<[Line]>;

/// Entries per page that a bulk load aims at, at most.
const FILL: usize = (1 << MAX_BUCKET_BITS) * 15 / 2;

/// A page and its buddy are merged when both together have fewer entries.
const MERGE: usize = (1 << MAX_BUCKET_BITS) * 4;

/// A page may be this much deeper than an even directory would need; beyond it, the seed is bad.
const UNEVEN: u32 = 10;

/// A persistent hash table.
#[derive(Clone, Debug)]
pub(super) struct Hash {
    hasher: Hasher,
    geometry: Geometry,
    /// The directory has `1 << depth` entries.
    depth: u32,
    /// Pages have `1 << bucket_bits` buckets: the most, except in a table of one page.
    bucket_bits: u32,
    pages: Vec<Page>,
    /// Bits of the hash that all keys of a page share, for each directory entry.
    depths: Vec<u8>,
    len: usize,
}

fn blank(lines: usize) -> Page {
    (0..lines).map(|_| Line::ZERO).collect()
}

/// A new page, written by `write`.
fn made<E>(
    lines: usize,
    buckets: usize,
    write: impl FnOnce(&mut [Line], &mut [u32]) -> Result<(), E>,
) -> Result<Page, E> {
    let mut page = blank(lines);
    let whole = Arc::get_mut(&mut page).map_or(&mut [][..], |lines| lines);
    let (to, rows) = whole.split_at_mut(buckets);
    write(to, words_mut(rows))?;
    Ok(page)
}

impl Hash {
    pub(super) fn new(hasher: Hasher, key: usize, tail: usize) -> Self {
        Self {
            hasher,
            geometry: Geometry::new(key, tail),
            depth: 0,
            bucket_bits: 0,
            pages: vec![blank(1)],
            depths: vec![0],
            len: 0,
        }
    }

    #[inline]
    fn slot(&self, hash: u64) -> usize {
        hash.checked_shr(64 - self.depth).unwrap_or(0) as usize
    }

    #[inline]
    fn split<'a>(&self, page: &'a [Line]) -> (&'a [Line], &'a [u32]) {
        let (buckets, rows) = page.split_at(1 << self.bucket_bits);
        (buckets, words(rows))
    }

    /// Directory slot, bucket and place in it of a key.
    fn locate(&self, key: &[u32]) -> Option<(usize, usize, usize)> {
        let hash = self.hasher.words(key);
        let (slot, bucket) = (self.slot(hash), bucket_of(hash, self.bucket_bits));
        let (buckets, rows) = self.split(&self.pages[slot]);
        let fingerprint = self.geometry.fingerprint(key[0], hash);
        let at = page::find(self.geometry, &buckets[bucket], rows, fingerprint, key)?;
        Some((slot, bucket, at))
    }

    /// The directory entries that lead to the same page as `slot`.
    fn block(&self, slot: usize) -> std::ops::Range<usize> {
        let size = 1 << (self.depth - u32::from(self.depths[slot]));
        let first = slot & !(size - 1);
        first..first + size
    }

    fn set_page(&mut self, block: std::ops::Range<usize>, page: &Page, depth: u32) {
        for slot in block {
            self.pages[slot] = Arc::clone(page);
            self.depths[slot] = depth as u8;
        }
    }

    fn page_of(
        geometry: Geometry,
        bits: u32,
        entries: &[Entry<'_>],
    ) -> Result<Page, page::TooMany> {
        let buckets = 1 << bits;
        made(
            buckets + geometry.row_lines(entries.len()),
            buckets,
            |to, rows| page::fill(geometry, (to, rows), bits, entries),
        )
    }

    /// Makes room in the bucket of a hash: more buckets, or the page split in two.
    fn grow(&mut self, hash: u64) {
        let slot = self.slot(hash);
        let old = Arc::clone(&self.pages[slot]);
        let (buckets, rows) = self.split(&old);
        let entries = page::all(self.geometry, buckets, rows, |key| self.hasher.words(key));
        while self.depth == 0 && self.bucket_bits < MAX_BUCKET_BITS {
            self.bucket_bits += 1;
            if let Ok(page) = Self::page_of(self.geometry, self.bucket_bits, &entries) {
                self.pages[0] = page;
                return;
            }
        }
        let depth = u32::from(self.depths[slot]);
        if depth > (self.len / FILL + 1).ilog2() + UNEVEN {
            return self.reseed();
        }
        let mut halves = Vec::new();
        split_entries(self.geometry, entries, depth, &mut halves);
        let deepest = halves
            .iter()
            .map(|&(depth, ..)| depth)
            .max()
            .unwrap_or(depth);
        while self.depth < deepest {
            self.double();
        }
        for (depth, prefix, page) in halves {
            let size = 1 << (self.depth - depth);
            let first = (prefix >> (64 - self.depth)) as usize;
            self.set_page(first..first + size, &page, depth);
        }
    }

    fn double(&mut self) {
        self.depth += 1;
        self.pages = self
            .pages
            .iter()
            .flat_map(|page| [Arc::clone(page), Arc::clone(page)])
            .collect();
        self.depths = self
            .depths
            .iter()
            .flat_map(|&depth| [depth, depth])
            .collect();
    }

    /// Builds the table anew under another seed. With a secret seed nobody can make this happen.
    fn reseed(&mut self) {
        let mut rows = Vec::with_capacity(self.len * (self.geometry.key + self.geometry.row));
        self.each(&mut |key, tail| {
            rows.extend_from_slice(key);
            rows.extend_from_slice(tail);
        });
        let stride = self.geometry.key + self.geometry.row - self.geometry.prefix;
        let items: Vec<&[u32]> = rows.chunks_exact(stride).collect();
        *self = Self::of_items(self.hasher.next(), self.geometry, &items);
    }

    /// A table of items (key, then tail) that are all different.
    fn of_items(hasher: Hasher, geometry: Geometry, items: &[&[u32]]) -> Self {
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

    /// Merges a page with its buddy where both became small, and lets directory and buckets shrink.
    fn shrink(&mut self, slot: usize) {
        let mut slot = slot;
        while self.depths[slot] > 0 && self.merge(slot) {
            slot = self.block(slot).start;
            if self.depth > 0
                && self
                    .depths
                    .iter()
                    .all(|&depth| u32::from(depth) < self.depth)
            {
                self.depth -= 1;
                self.pages = self.pages.iter().step_by(2).map(Arc::clone).collect();
                self.depths = self.depths.iter().step_by(2).copied().collect();
                slot /= 2;
            }
        }
        self.shrink_buckets();
    }

    fn merge(&mut self, slot: usize) -> bool {
        let block = self.block(slot);
        let size = block.len();
        let buddy = self.block(block.start ^ size);
        if self.depths[buddy.start] != self.depths[slot] {
            return false;
        }
        let pages = [
            Arc::clone(&self.pages[block.start]),
            Arc::clone(&self.pages[buddy.start]),
        ];
        let [left, right] = [self.split(&pages[0]), self.split(&pages[1])];
        if page::entries(left.0) + page::entries(right.0) > MERGE {
            return false;
        }
        let mut entries = page::all(self.geometry, left.0, left.1, |key| self.hasher.words(key));
        entries.extend(page::all(self.geometry, right.0, right.1, |key| {
            self.hasher.words(key)
        }));
        let Ok(page) = Self::page_of(self.geometry, self.bucket_bits, &entries) else {
            return false;
        };
        let depth = u32::from(self.depths[slot]) - 1;
        let first = block.start.min(buddy.start);
        self.set_page(first..first + 2 * size, &page, depth);
        true
    }

    fn shrink_buckets(&mut self) {
        while self.depth == 0 && self.bucket_bits > 0 && self.len * 4 < BUCKET << self.bucket_bits {
            let old = Arc::clone(&self.pages[0]);
            let (buckets, rows) = self.split(&old);
            let entries = page::all(self.geometry, buckets, rows, |key| self.hasher.words(key));
            let Ok(page) = Self::page_of(self.geometry, self.bucket_bits - 1, &entries) else {
                return;
            };
            self.bucket_bits -= 1;
            self.pages[0] = page;
        }
    }

    fn each(&self, each: &mut dyn FnMut(&[u32], &[u32])) {
        let mut slot = 0;
        while slot < self.pages.len() {
            self.each_of_page(slot, each);
            slot = self.block(slot).end;
        }
    }

    fn each_of_page(&self, slot: usize, each: &mut dyn FnMut(&[u32], &[u32])) {
        let (buckets, rows) = self.split(&self.pages[slot]);
        for entry in page::all(self.geometry, buckets, rows, |_| 0) {
            each(entry.key, entry.tail);
        }
    }

    /// Lines of the table that a look-up of a key reads: counted for the tests and the bench.
    #[cfg(test)]
    pub(super) fn lines_touched(&self, key: &[u32]) -> usize {
        let hash = self.hasher.words(key);
        let (buckets, _) = self.split(&self.pages[self.slot(hash)]);
        let bucket = &buckets[bucket_of(hash, self.bucket_bits)];
        let directory = 1;
        let rows = if self.geometry.row == 0 {
            0
        } else {
            page::candidates(bucket, self.geometry.fingerprint(key[0], hash)).count_ones() as usize
        };
        directory + 1 + rows
    }

    /// The look-up: all hashes, all buckets asked for, all compared.
    #[inline(always)]
    fn lookup_with(
        &self,
        lanes: u64,
        sink: &mut Sink<'_>,
        hash: impl Fn(usize) -> u64,
        columns: &[&Column],
    ) -> u64 {
        let mut hashes = [0u64; LANES];
        for lane in Lanes(lanes) {
            let hash = hash(lane);
            hashes[lane] = hash;
            prefetch(&self.pages[self.slot(hash)][bucket_of(hash, self.bucket_bits)]);
        }
        let mut maybe = 0u64;
        let mut same = [0u16; LANES];
        for lane in Lanes(lanes) {
            let hash = hashes[lane];
            let page = &self.pages[self.slot(hash)];
            let bucket = &page[bucket_of(hash, self.bucket_bits)];
            let found = page::candidates(bucket, self.geometry.fingerprint(columns[0][lane], hash));
            maybe |= u64::from(found != 0) << lane;
            if self.geometry.row != 0 && found != 0 {
                same[lane] = found as u16;
                let row =
                    (page::start(bucket) + found.trailing_zeros() as usize) * self.geometry.row;
                prefetch(&page[(1 << self.bucket_bits) + row / Line::WORDS]);
            }
        }
        if self.geometry.row == 0 {
            return maybe;
        }
        let mut found = 0;
        for lane in Lanes(maybe) {
            let hash = hashes[lane];
            let (buckets, rows) = self.split(&self.pages[self.slot(hash)]);
            let first = page::start(&buckets[bucket_of(hash, self.bucket_bits)]);
            for at in Lanes(u64::from(same[lane])) {
                let row = &rows[(first + at) * self.geometry.row..][..self.geometry.row];
                let (key, tail) = row.split_at(self.geometry.prefix);
                if key
                    .iter()
                    .zip(columns)
                    .all(|(&word, column)| word == column[lane])
                {
                    found |= u64::from(sink.hit(lane, tail)) << lane;
                    break;
                }
            }
        }
        found
    }
}

/// Pages for entries that share `depth` bits: (depth, shared bits at the top, page) in order.
/// Splits at least once.
fn split_entries(
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

impl Structure for Hash {
    fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        if let [only] = columns {
            return self.lookup_with(lanes, sink, |lane| self.hasher.word(only[lane]), columns);
        }
        self.lookup_with(lanes, sink, |lane| self.hasher.lane(columns, lane), columns)
    }

    fn find(&self, low: &[u32], _high: &[u32]) -> Option<&[u32]> {
        let (slot, bucket, at) = self.locate(low)?;
        let (buckets, rows) = self.split(&self.pages[slot]);
        let row =
            &rows[(page::start(&buckets[bucket]) + at) * self.geometry.row..][..self.geometry.row];
        Some(&row[self.geometry.prefix..])
    }

    fn insert(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> Result<(), SetError> {
        if low != high {
            return Err(SetError::Key("a range in a set of exact keys"));
        }
        let geometry = self.geometry;
        let mut hash = self.hasher.words(low);
        while page::count(&self.pages[self.slot(hash)][bucket_of(hash, self.bucket_bits)]) == BUCKET
        {
            self.grow(hash);
            hash = self.hasher.words(low);
        }
        let (slot, bucket) = (self.slot(hash), bucket_of(hash, self.bucket_bits));
        self.len += 1;
        let entry = Entry {
            hash,
            fingerprint: geometry.fingerprint(low[0], hash),
            key: low,
            tail,
        };
        let block = self.block(slot);
        if geometry.row == 0
            && block.len() == 1
            && let Some(own) = Arc::get_mut(&mut self.pages[slot])
        {
            page::put(&mut own[bucket], entry.fingerprint);
            for later in &mut own[bucket + 1..] {
                later.0[BUCKET] += 1 << 4;
            }
            return Ok(());
        }
        let from = self.split(&self.pages[slot]);
        let lines = from.0.len() + geometry.row_lines(page::entries(from.0) + 1);
        let Ok(page) = made::<std::convert::Infallible>(lines, from.0.len(), |to, rows| {
            page::copy_with(geometry, from, (to, rows), bucket, entry);
            Ok(())
        });
        let depth = u32::from(self.depths[slot]);
        self.set_page(block, &page, depth);
        Ok(())
    }

    fn replace(&mut self, low: &[u32], _high: &[u32], tail: &[u32]) -> bool {
        let Some((slot, bucket, at)) = self.locate(low) else {
            return false;
        };
        let geometry = self.geometry;
        let (block, buckets) = (self.block(slot), 1 << self.bucket_bits);
        let mut page = self.pages[slot].iter().copied().collect::<Page>();
        if let Some(own) = Arc::get_mut(&mut page) {
            let row = (page::start(&own[bucket]) + at) * geometry.row;
            words_mut(&mut own[buckets..])[row..row + geometry.row][geometry.prefix..]
                .copy_from_slice(tail);
        }
        let depth = u32::from(self.depths[slot]);
        self.set_page(block, &page, depth);
        true
    }

    fn remove(&mut self, low: &[u32], _high: &[u32]) -> bool {
        let Some((slot, bucket, at)) = self.locate(low) else {
            return false;
        };
        let geometry = self.geometry;
        let block = self.block(slot);
        self.len -= 1;
        let from = self.split(&self.pages[slot]);
        let lines = from.0.len() + geometry.row_lines(page::entries(from.0) - 1);
        let Ok(page) = made::<std::convert::Infallible>(lines, from.0.len(), |to, rows| {
            page::copy_without(geometry, from, (to, rows), bucket, at);
            Ok(())
        });
        let (depth, left) = (
            u32::from(self.depths[slot]),
            page::entries(&page[..from.0.len()]),
        );
        self.set_page(block, &page, depth);
        if left < MERGE / 2 {
            self.shrink(slot);
        }
        true
    }

    fn for_each(&self, each: &mut dyn FnMut(Row<'_>)) {
        self.each(&mut |key, tail| {
            each(Row {
                low: key,
                high: key,
                tail,
            })
        });
    }

    fn overlapping(&self, low: &[u32], high: &[u32], each: &mut dyn FnMut(Row<'_>) -> bool) {
        if low == high
            && let Some(tail) = self.find(low, high)
        {
            each(Row { low, high, tail });
        }
    }

    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64 {
        let mut slot = (at % self.pages.len() as u64) as usize;
        let mut seen = 0;
        for _ in 0..self.pages.len() {
            self.each_of_page(slot, &mut |key, tail| {
                seen += 1;
                each(Row {
                    low: key,
                    high: key,
                    tail,
                });
            });
            slot = self.block(slot).end % self.pages.len();
            if seen >= count || slot == 0 {
                break;
            }
        }
        slot as u64
    }

    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        let mut total =
            size_of::<Self>() + self.pages.capacity() * size_of::<Page>() + self.depths.capacity();
        let mut slot = 0;
        while slot < self.pages.len() {
            total += size_of_val(&*self.pages[slot]) + size_of::<Line>();
            slot = self.block(slot).end;
        }
        total
    }

    fn boxed_clone(&self) -> Box<dyn Structure> {
        Box::new(self.clone())
    }

    fn emptied(&self) -> Box<dyn Structure> {
        Box::new(Self::new(
            self.hasher.clone(),
            self.geometry.key,
            self.geometry.row - self.geometry.prefix,
        ))
    }

    fn built(&self, rows: &Rows) -> Result<Box<dyn Structure>, usize> {
        let key = rows.key;
        let items: Vec<&[u32]> = rows
            .words
            .chunks_exact(rows.stride())
            .map(|row| &row[key..])
            .collect();
        let range = rows.iter().position(|row| row.low != row.high);
        if let Some(index) = range {
            return Err(index);
        }
        let table = Self::of_items(self.hasher.clone(), self.geometry, &items);
        match table.twice(rows) {
            Some(index) => Err(index),
            None => Ok(Box::new(table)),
        }
    }
}

impl Hash {
    /// A row whose key stands in the table twice.
    fn twice(&self, rows: &Rows) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets::spec::{Layout, SetSpec};

    #[test]
    fn an_address_among_a_million_touches_two_cache_lines() {
        let count = 1_000_000u32;
        let mut rows = Rows::new(Layout::of(&SetSpec::exact(1)));
        for number in 0..count {
            let key = [number.wrapping_mul(0x9e37_79b1)];
            rows.push(&key, &key, &[]);
        }
        let empty = Hash::new(Hasher::new(3), 1, 0);
        let table = empty.built(&rows).unwrap();
        assert!(table.memory() < count as usize * 20);
        let items: Vec<&[u32]> = rows.words.chunks_exact(2).map(|row| &row[..1]).collect();
        let table = Hash::of_items(Hasher::new(3), Geometry::new(1, 0), &items);
        for number in 0..2 * count {
            let key = [number.wrapping_mul(0x9e37_79b1)];
            assert!(table.lines_touched(&key) <= 2);
            assert_eq!(table.find(&key, &key).is_some(), number < count);
        }
    }

    #[test]
    fn a_seed_under_which_keys_meet_is_given_up() {
        // 400 keys that share all bits that a table of this size looks at.
        let hasher = Hasher::new(1);
        let mut table = Hash::new(hasher.clone(), 1, 0);
        let meeting = (0..u32::MAX)
            .filter(|&key| {
                let hash = hasher.word(key);
                hash >> 56 == 0 && bucket_of(hash, MAX_BUCKET_BITS) == 0
            })
            .take(400);
        let keys: Vec<u32> = meeting.collect();
        for key in &keys {
            table.insert(&[*key], &[*key], &[]).unwrap();
        }
        assert_eq!(table.len(), 400);
        assert!(
            keys.iter()
                .all(|key| table.find(&[*key], &[*key]).is_some())
        );
        for key in &keys {
            assert!(table.remove(&[*key], &[*key]));
        }
        assert!(table.memory() < 4_096);
    }
}
