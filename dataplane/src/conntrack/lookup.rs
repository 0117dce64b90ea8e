//! Looking tuples up a batch at a time, without packets: for translators, and for measuring.

use super::index::Found;
use super::state::FlowIndex;
use super::tuple::{Key, Tuple};
use super::worker::TrackerWorker;
use crate::packet::BATCH;
use crate::program::key::Direction;

/// A live flow with the direction that a tuple is of it.
pub type Match = Option<(FlowIndex, Direction)>;

impl TrackerWorker {
    /// Finds the live flows of tuples (only the first 64 are looked at): all hashes and buckets first, then
    /// all entries, then the comparisons. Changes nothing. To be called within a batch.
    pub fn look_up(&self, tuples: &[Tuple], found: &mut [Match]) {
        let table = self.table();
        let mut keys = [Key::default(); BATCH];
        let mut hashes = [0; BATCH];
        for ((tuple, key), hash) in tuples.iter().zip(&mut keys).zip(&mut hashes) {
            *key = tuple.key();
            *hash = table.hasher.hash(key);
            table.index().prefetch(*hash);
        }
        let count = tuples.len().min(BATCH);
        let mut guesses = [None; BATCH];
        for (hash, guess) in hashes[..count].iter().zip(&mut guesses) {
            *guess = table.index().guess(*hash);
            if let Some((index, direction)) = *guess {
                table.entry(index).prefetch_found(direction);
            }
        }
        let wanted = keys.iter().zip(&hashes).zip(guesses);
        for (((key, hash), guess), found) in wanted.take(count).zip(found) {
            let is_alive = |(index, _): Found| table.is_alive(index, self.now_ns);
            let alive = table.index().find_guessed(guess, *hash, key, is_alive);
            *found = alive.map(|(index, number)| {
                let direction = if number == 0 {
                    Direction::Original
                } else {
                    Direction::Reply
                };
                (FlowIndex(index), direction)
            });
        }
    }
}
