//! Flows as control sees them: which ones are meant, in what order, and how they travel.
//!
//! The table is read without disturbing the workers, a bounded part at a time: a list of a million
//! flows is never in memory as a whole, unless it is to be sorted, which keeps as many as are asked
//! for.

mod filter;
mod made;
mod order;
mod text;
mod view;

use std::sync::{Mutex, PoisonError};

use sluice_dataplane::conntrack::{Settings, Tracker};

pub use filter::FlowFilter;
pub use made::{alters, change, new_flow};
pub use order::{Key, Sorted};
pub use text::{expectation as wire_expectation, flow as wire_flow, protocol_name};
pub use view::View;

/// Changes settings of a tracker; two changes at a time do not undo one another.
pub fn change_settings<T>(tracker: &Tracker, change: impl FnOnce(&mut Settings) -> T) -> T {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut settings = (*tracker.settings()).clone();
    let done = change(&mut settings);
    if settings != *tracker.settings() {
        tracker.set_settings(settings);
    }
    done
}
