//! The chunks of an ordered structure and the index above them: a persistent tree of two levels.
//!
//! Chunks stand in groups of up to 64. A clone copies a pointer for each group (about 80 for a
//! million elements), a change copies one group's pointers and one chunk. Beside each chunk stand
//! its first number and a word that the structure may note for the whole chunk.

use std::sync::Arc;

use super::scalar::Scalar;
use super::sorted::Sorted;

/// Most chunks of a group.
const GROUP: usize = 64;

#[derive(Clone, Debug)]
struct Group<T, C> {
    firsts: Sorted<T>,
    covers: Vec<T>,
    chunks: Vec<Arc<C>>,
}

/// A sequence of chunks, sorted by their first numbers.
#[derive(Clone, Debug)]
pub(super) struct Spine<T, C> {
    firsts: Sorted<T>,
    groups: Vec<Arc<Group<T, C>>>,
    /// Number of the first chunk of each group.
    starts: Vec<u32>,
    len: usize,
}

impl<T: Scalar, C: Clone> Spine<T, C> {
    pub(super) fn new() -> Self {
        Self {
            firsts: Sorted::default(),
            groups: Vec::new(),
            starts: Vec::new(),
            len: 0,
        }
    }

    /// Of chunks with their first numbers, in order.
    pub(super) fn of(chunks: &[(T, Arc<C>)]) -> Self {
        let mut spine = Self::new();
        for part in chunks.chunks(GROUP * 3 / 4) {
            spine.groups.push(Arc::new(Group {
                firsts: part.iter().map(|&(first, _)| first).collect(),
                covers: vec![T::ZERO; part.len()],
                chunks: part.iter().map(|(_, chunk)| Arc::clone(chunk)).collect(),
            }));
        }
        spine.number();
        spine
    }

    /// Counts the chunks and notes the first numbers of groups anew.
    fn number(&mut self) {
        self.len = 0;
        self.starts.clear();
        for group in &self.groups {
            self.starts.push(self.len as u32);
            self.len += group.chunks.len();
        }
        self.firsts = self.groups.iter().map(|group| group.firsts[0]).collect();
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first number of the first chunk.
    #[inline]
    pub(super) fn first(&self) -> Option<T> {
        self.firsts.first().copied()
    }

    /// Group and place of the last chunk that begins at or before `number`; the first chunk if none
    /// does. There is a chunk.
    #[inline]
    pub(super) fn seek(&self, number: T) -> (usize, usize) {
        let group = self.firsts.last_not_greater(number);
        (group, self.groups[group].firsts.last_not_greater(number))
    }

    /// Number of that chunk.
    pub(super) fn position(&self, number: T) -> usize {
        self.number_of(self.seek(number))
    }

    /// Number of the chunk at a place in a group.
    pub(super) fn number_of(&self, (group, at): (usize, usize)) -> usize {
        self.starts[group] as usize + at
    }

    #[inline]
    pub(super) fn chunk_at(&self, (group, at): (usize, usize)) -> &C {
        &self.groups[group].chunks[at]
    }

    #[inline]
    pub(super) fn cover_at(&self, (group, at): (usize, usize)) -> T {
        self.groups[group].covers[at]
    }

    fn locate(&self, index: usize) -> (usize, usize) {
        let group = self
            .starts
            .partition_point(|&start| start as usize <= index)
            - 1;
        (group, index - self.starts[group] as usize)
    }

    /// The chunk of a number, which is below `len`.
    pub(super) fn get(&self, index: usize) -> &C {
        self.chunk_at(self.locate(index))
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut C {
        let (group, at) = self.locate(index);
        Arc::make_mut(&mut Arc::make_mut(&mut self.groups[group]).chunks[at])
    }

    pub(super) fn cover(&self, index: usize) -> T {
        self.cover_at(self.locate(index))
    }

    pub(super) fn set_cover(&mut self, index: usize, cover: T) {
        let (group, at) = self.locate(index);
        Arc::make_mut(&mut self.groups[group]).covers[at] = cover;
    }

    pub(super) fn set_first(&mut self, index: usize, first: T) {
        let (group, at) = self.locate(index);
        if self.groups[group].firsts[at] != first {
            Arc::make_mut(&mut self.groups[group]).firsts.set(at, first);
            if at == 0 {
                self.firsts.set(group, first);
            }
        }
    }

    /// Puts a chunk in, so that it has this number.
    pub(super) fn insert(&mut self, index: usize, first: T, cover: T, chunk: C) {
        if self.groups.is_empty() {
            *self = Self::of(&[(first, Arc::new(chunk))]);
            self.set_cover(0, cover);
            return;
        }
        // The end of a group is as good as the beginning of the next.
        let (group, at) = match index.checked_sub(1) {
            None => (0, 0),
            Some(before) => {
                let (group, at) = self.locate(before);
                (group, at + 1)
            }
        };
        let own = Arc::make_mut(&mut self.groups[group]);
        own.firsts.insert(at, first);
        own.covers.insert(at, cover);
        own.chunks.insert(at, Arc::new(chunk));
        if own.chunks.len() > GROUP {
            let upper = Group {
                firsts: own.firsts.split_off(GROUP / 2),
                covers: own.covers.split_off(GROUP / 2),
                chunks: own.chunks.split_off(GROUP / 2),
            };
            self.groups.insert(group + 1, Arc::new(upper));
        }
        self.number();
    }

    pub(super) fn remove(&mut self, index: usize) {
        let (group, at) = self.locate(index);
        let own = Arc::make_mut(&mut self.groups[group]);
        own.firsts.remove(at);
        own.covers.remove(at);
        own.chunks.remove(at);
        if own.chunks.is_empty() {
            self.groups.remove(group);
        } else if own.chunks.len() < GROUP / 4
            && let Some(next) = self.groups.get(group + 1)
            && next.chunks.len() < GROUP / 2
        {
            let next = self.groups.remove(group + 1);
            let own = Arc::make_mut(&mut self.groups[group]);
            own.firsts.append(&next.firsts);
            own.covers.extend_from_slice(&next.covers);
            own.chunks.extend(next.chunks.iter().cloned());
        }
        self.number();
    }

    /// All chunks in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &C> {
        self.groups
            .iter()
            .flat_map(|group| group.chunks.iter().map(|chunk| &**chunk))
    }

    /// Bytes of the index.
    pub(super) fn memory(&self) -> usize {
        let groups: usize = self
            .groups
            .iter()
            .map(|group| {
                size_of::<Group<T, C>>()
                    + 24
                    + group.firsts.memory()
                    + group.covers.capacity() * size_of::<T>()
                    + group.chunks.capacity() * 8
            })
            .sum();
        size_of::<Self>() + groups + self.firsts.memory() + self.starts.capacity() * 4
    }
}
