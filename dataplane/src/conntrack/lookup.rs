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
        let index = self.table().index();
        let mut keys = [Key::default(); BATCH];
        let mut hashes = [0; BATCH];
        for ((tuple, key), hash) in tuples.iter().zip(&mut keys).zip(&mut hashes) {
            *key = tuple.key();
            *hash = self.table().hasher.hash(key);
            index.prefetch(*hash);
        }
        let count = tuples.len().min(BATCH);
        let mut guesses = [None; BATCH];
        for (hash, guess) in hashes[..count].iter().zip(&mut guesses) {
            *guess = index.guess(*hash);
            if let Some((entry, direction)) = *guess {
                self.table().entry(entry).prefetch_tuple(direction);
            }
        }
        let wanted = keys.iter().zip(&hashes).zip(guesses);
        for (((key, hash), guess), found) in wanted.take(count).zip(found) {
            let place = index.find_guessed(guess, *hash, key, |_| true);
            *found = place.map(|(entry, number)| (FlowIndex(entry), direction(number)));
        }
    }
}
