//! Looking tuples up a batch at a time, without packets: for translators, and for measuring.

use super::state::FlowIndex;
use super::track::direction;
use super::tuple::{Key, Tuple};
use super::worker::TrackerWorker;
use crate::packet::BATCH;
use crate::program::key::Direction;

/// A flow with the direction that a tuple is of it.
pub type Match = Option<(FlowIndex, Direction)>;

impl TrackerWorker {
    /// Finds the flows of tuples (only the first 64 are looked at): all hashes and buckets first, then
    /// all entries, then the comparisons. A flow that ends in this moment may be among them, and one whose
    /// time is over, but which no worker has ended yet. Changes nothing. To be called within a batch.
    pub fn look_up(&self, tuples: &[Tuple], found: &mut [Match]) {
        let (index, hasher) = (self.table().index(), &self.table().hasher);
        let none = index.prefetch(0);
        let mut keys = [Key::default(); BATCH];
        let mut places = [(0, none); BATCH];
        for ((tuple, key), place) in tuples.iter().zip(&mut keys).zip(&mut places) {
            *key = tuple.key();
            let hash = hasher.hash(key);
            *place = (hash, index.prefetch(hash));
        }
        let mut guesses = [None; BATCH];
        for ((hash, bucket), guess) in places.iter().take(tuples.len()).zip(&mut guesses) {
            *guess = bucket.guess(*hash);
            if let Some((entry, direction)) = *guess {
                self.table().entry(entry).prefetch_tuple(direction);
            }
        }
        let wanted = keys.iter().zip(&places).zip(guesses);
        for (((key, (hash, _)), guess), found) in wanted.take(tuples.len()).zip(found) {
            let place = match guess {
                Some((entry, number)) if self.table().entry(entry).has_key(number, key) => guess,
                _ => index.find(*hash, key, |_| true),
            };
            *found = place.map(|(entry, number)| (FlowIndex(entry), direction(number)));
        }
    }
}
