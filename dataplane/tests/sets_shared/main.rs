//! Sets under several threads, at their limits, and through time.

mod changes;
mod limits;
mod program;
mod time;
mod views;

use std::sync::Arc;

use sluice_dataplane::sets::{Column, Key, LANES, Places, Set, SetSpec};

const SECOND: u64 = 1_000_000_000;

fn spec(words: u8) -> SetSpec {
    SetSpec::exact(words)
}

fn dynamic(words: u8) -> SetSpec {
    SetSpec {
        dynamic: true,
        ..SetSpec::exact(words)
    }
}

/// Looks up to 64 keys of one word up.
fn found(set: &Arc<Set>, keys: &[u32], now_ns: u64) -> u64 {
    let mut column = Column::default();
    column[..keys.len()].copy_from_slice(keys);
    let lanes = if keys.len() == LANES {
        !0
    } else {
        (1 << keys.len()) - 1
    };
    set.view()
        .lookup(&[&column], lanes, now_ns, &mut [], &mut Places::default())
}

/// The words of a key that is one.
trait First {
    fn first(&self) -> Vec<u32>;
}

impl First for Key {
    fn first(&self) -> Vec<u32> {
        match self {
            Key::Range { low, .. } => low.to_vec(),
            Key::CatchAll => Vec::new(),
        }
    }
}
