//! A page of a hash table: buckets of one cache line each, then the rows behind them.
//!
//! A bucket holds up to 15 fingerprints; its last word says how many, and which row is its first.
//! Rows are packed without gaps in the order of the buckets. For keys of one word the fingerprint
//! *is* the key and a row is only the tail; so a plain set of addresses has no rows at all, and a
//! look-up in it reads one line. A bucket never spills into another: a page whose bucket would need a
//! 16th entry is split by the table. Pages are copied, never changed under a reader.

use super::line::{self, Line};

/// Entries of a bucket.
pub(super) const BUCKET: usize = 15;

/// How rows are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Words of a key.
    pub(super) key: usize,
    /// Words of a row in front of its tail: the key, or nothing for keys of one word.
    pub(super) prefix: usize,
    /// Words of a row.
    pub(super) row: usize,
}

impl Geometry {
    pub(super) fn new(key: usize, tail: usize) -> Self {
        let prefix = if key == 1 { 0 } else { key };
        Self {
            key,
            prefix,
            row: prefix + tail,
        }
    }

    /// The fingerprint of a key with a hash.
    #[inline]
    pub(super) fn fingerprint(&self, first_word: u32, hash: u64) -> u32 {
        if self.key == 1 {
            first_word
        } else {
            hash as u32
        }
    }

    /// Lines for so many rows.
    pub(super) fn row_lines(&self, rows: usize) -> usize {
        (rows * self.row).div_ceil(Line::WORDS)
    }
}

/// The bucket of a hash among `1 << bits`. Not the bits that the directory takes (the highest), nor
/// the fingerprint (the lowest 32).
#[inline]
pub(super) fn bucket_of(hash: u64, bits: u32) -> usize {
    (hash >> 32) as usize & ((1 << bits) - 1)
}

/// Entries in a bucket.
#[inline]
pub(super) fn count(bucket: &Line) -> usize {
    (bucket.0[BUCKET] & 15) as usize
}

/// The first row of a bucket.
#[inline]
pub(super) fn start(bucket: &Line) -> usize {
    (bucket.0[BUCKET] >> 4) as usize
}

fn set_header(bucket: &mut Line, start: usize, count: usize) {
    bucket.0[BUCKET] = (start as u32) << 4 | count as u32;
}

/// One bit for each entry of the bucket with this fingerprint.
#[inline]
pub(super) fn candidates(bucket: &Line, fingerprint: u32) -> u32 {
    let same = line::equal(&bucket.0, fingerprint);
    same & ((1 << count(bucket)) - 1)
}

/// Entries in a page.
pub(super) fn entries(buckets: &[Line]) -> usize {
    buckets.last().map_or(0, |last| start(last) + count(last))
}

/// The entry with this key: its place in the bucket.
#[inline]
pub(super) fn find(
    geometry: Geometry,
    bucket: &Line,
    rows: &[u32],
    fingerprint: u32,
    key: &[u32],
) -> Option<usize> {
    let mut same = candidates(bucket, fingerprint);
    while same != 0 {
        let at = same.trailing_zeros() as usize;
        let row = &rows[(start(bucket) + at) * geometry.row..];
        if geometry.prefix == 0 || row[..geometry.prefix] == *key {
            return Some(at);
        }
        same &= same - 1;
    }
    None
}

/// An entry on its way into a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) hash: u64,
    pub(super) fingerprint: u32,
    /// Key (if rows have it) and tail.
    pub(super) key: &'a [u32],
    pub(super) tail: &'a [u32],
}

/// Writes a copy of a page with one entry more into `to` (as many buckets, one row more). The
/// bucket has room.
pub(super) fn copy_with(
    geometry: Geometry,
    from: (&[Line], &[u32]),
    to: (&mut [Line], &mut [u32]),
    bucket: usize,
    entry: Entry<'_>,
) {
    let total = entries(from.0);
    let at = start(&from.0[bucket]) + count(&from.0[bucket]);
    let row = geometry.row;
    to.0.copy_from_slice(from.0);
    put(&mut to.0[bucket], entry.fingerprint);
    for later in &mut to.0[bucket + 1..] {
        later.0[BUCKET] += 1 << 4;
    }
    to.1[..at * row].copy_from_slice(&from.1[..at * row]);
    let middle = &mut to.1[at * row..(at + 1) * row];
    middle[..geometry.prefix].copy_from_slice(&entry.key[..geometry.prefix]);
    middle[geometry.prefix..].copy_from_slice(entry.tail);
    to.1[(at + 1) * row..(total + 1) * row].copy_from_slice(&from.1[at * row..total * row]);
}

/// Adds a fingerprint to a bucket that has room.
pub(super) fn put(bucket: &mut Line, fingerprint: u32) {
    let count = count(bucket);
    bucket.0[count] = fingerprint;
    bucket.0[BUCKET] += 1;
}

/// Writes a copy of a page without one entry into `to` (as many buckets, one row less).
pub(super) fn copy_without(
    geometry: Geometry,
    from: (&[Line], &[u32]),
    to: (&mut [Line], &mut [u32]),
    bucket: usize,
    at: usize,
) {
    let total = entries(from.0);
    let gone = start(&from.0[bucket]) + at;
    let row = geometry.row;
    to.0.copy_from_slice(from.0);
    take(&mut to.0[bucket], at);
    for later in &mut to.0[bucket + 1..] {
        later.0[BUCKET] -= 1 << 4;
    }
    to.1[..gone * row].copy_from_slice(&from.1[..gone * row]);
    to.1[gone * row..(total - 1) * row].copy_from_slice(&from.1[(gone + 1) * row..total * row]);
}

/// Takes a fingerprint out of a bucket, keeping the order of the others.
pub(super) fn take(bucket: &mut Line, at: usize) {
    let count = count(bucket);
    bucket.0.copy_within(at + 1..count, at);
    bucket.0[count - 1] = 0;
    bucket.0[BUCKET] -= 1;
}

/// Fills an empty page with entries. `order` is room for sorting them.
///
/// # Errors
/// When a bucket would need a 16th entry.
pub(super) fn fill(
    geometry: Geometry,
    to: (&mut [Line], &mut [u32]),
    bucket_bits: u32,
    entries: &[Entry<'_>],
) -> Result<(), TooMany> {
    let mut counts = [0u8; 1 << MAX_BUCKET_BITS];
    for entry in entries {
        let bucket = bucket_of(entry.hash, bucket_bits);
        counts[bucket] += 1;
        if usize::from(counts[bucket]) > BUCKET {
            return Err(TooMany);
        }
    }
    let mut first = 0;
    for (bucket, &count) in to.0.iter_mut().zip(&counts) {
        set_header(bucket, first, 0);
        first += usize::from(count);
    }
    for entry in entries {
        let bucket = &mut to.0[bucket_of(entry.hash, bucket_bits)];
        let at = start(bucket) + count(bucket);
        put(bucket, entry.fingerprint);
        let row = &mut to.1[at * geometry.row..(at + 1) * geometry.row];
        row[..geometry.prefix].copy_from_slice(&entry.key[..geometry.prefix]);
        row[geometry.prefix..].copy_from_slice(entry.tail);
    }
    Ok(())
}

/// A page has at most this many buckets, as a power of two.
pub(super) const MAX_BUCKET_BITS: u32 = 7;

/// A bucket would need a 16th entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooMany;

/// All entries of a page, with the hash that `hash` gives their keys.
pub(super) fn all<'a>(
    geometry: Geometry,
    buckets: &'a [Line],
    rows: &'a [u32],
    hash: impl Fn(&[u32]) -> u64,
) -> Vec<Entry<'a>> {
    let mut list = Vec::with_capacity(entries(buckets));
    for bucket in buckets {
        for at in 0..count(bucket) {
            let row = &rows[(start(bucket) + at) * geometry.row..][..geometry.row];
            let key = if geometry.key == 1 {
                &bucket.0[at..=at]
            } else {
                &row[..geometry.prefix]
            };
            list.push(Entry {
                hash: hash(key),
                fingerprint: bucket.0[at],
                key,
                tail: &row[geometry.prefix..],
            });
        }
    }
    list
}
