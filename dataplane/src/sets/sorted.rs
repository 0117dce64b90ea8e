//! Sorted numbers, searched 16 at a time.
//!
//! Beside the numbers lies every 16th of them, so that a search among 256 reads two cache lines: one
//! of samples and one of numbers, each compared at once and without branches that depend on them.

use super::line::prefetch;
use super::scalar::Scalar;

/// Most elements of a chunk of an ordered structure. A change copies one chunk.
pub(super) const CHUNK: usize = 256;

/// Elements per chunk that a bulk load makes.
pub(super) const FILL: usize = 224;

/// Numbers for each sample.
const BLOCK: usize = 16;

/// Sorted numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorted<T> {
    samples: Vec<T>,
    all: Vec<T>,
}

impl<T> std::ops::Deref for Sorted<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        &self.all
    }
}

impl<T: Scalar> FromIterator<T> for Sorted<T> {
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        let mut sorted = Self {
            samples: Vec::new(),
            all: numbers.into_iter().collect(),
        };
        sorted.sample(0);
        sorted
    }
}

impl<T: Scalar> Sorted<T> {
    /// Takes the samples anew from the number at `from` on.
    fn sample(&mut self, from: usize) {
        self.samples.truncate(from / BLOCK);
        let next = self.samples.len() * BLOCK;
        self.samples
            .extend(self.all[next.min(self.all.len())..].iter().step_by(BLOCK));
    }

    pub(super) fn insert(&mut self, at: usize, number: T) {
        self.all.insert(at, number);
        self.sample(at);
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.all.remove(at);
        self.sample(at);
    }

    pub(super) fn set(&mut self, at: usize, number: T) {
        self.all[at] = number;
        self.sample(at);
    }

    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let rest = self.all.split_off(at);
        self.sample(at);
        rest.into_iter().collect()
    }

    pub(super) fn append(&mut self, other: &Self) {
        let from = self.all.len();
        self.all.extend_from_slice(&other.all);
        self.sample(from);
    }

    /// The block in which the last number not greater than `number` lies.
    #[inline]
    pub(super) fn block(&self, number: T) -> usize {
        let below: usize = self
            .samples
            .chunks(BLOCK)
            .map(|samples| T::count_not_greater(samples, number))
            .sum();
        below.saturating_sub(1)
    }

    /// Index of the last number in a block that is not greater than `number`.
    #[inline]
    pub(super) fn within(&self, block: usize, number: T) -> usize {
        let first = block * BLOCK;
        let end = self.all.len().min(first + BLOCK);
        first + T::count_not_greater(&self.all[first..end], number).saturating_sub(1)
    }

    /// Index of the last number that is not greater than `number`; 0 if all are greater. There is one.
    #[inline]
    pub(super) fn last_not_greater(&self, number: T) -> usize {
        self.within(self.block(number), number)
    }

    /// Fetches the samples ahead.
    #[inline]
    pub(super) fn fetch_samples(&self) {
        self.samples.first().inspect(|first| prefetch(*first));
    }

    /// Fetches a block ahead.
    #[inline]
    pub(super) fn fetch_block(&self, block: usize) {
        self.all
            .get(block * BLOCK)
            .inspect(|first| prefetch(*first));
        if size_of::<T>() > 4 {
            self.all
                .get(block * BLOCK + 8)
                .inspect(|middle| prefetch(*middle));
        }
    }

    pub(super) fn memory(&self) -> usize {
        (self.samples.capacity() + self.all.capacity()) * size_of::<T>()
    }
}
