//! Events of flows: from the tracker's queues to those who follow them.
//!
//! The workers tell of flows only while somebody follows: a machine that nobody watches pays nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sluice_dataplane::conntrack::{FlowEvent, FlowEventKind, Tracker};
use sluice_dataplane::worker::{Clock, SystemClock};

use super::plane::Plane;
use super::wire::{Wire, runs};
use crate::api::flows::helper_name;
use crate::api::wire::Happening;
use crate::events::Hub;
use crate::flows::{change_settings, wire_flow};

/// How long to rest when no event was there.
const REST: Duration = Duration::from_millis(20);

/// Carries events to the hub on a thread of its own, as long as the wire runs.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn carry(wire: &Arc<Wire>, hub: Hub) -> io::Result<()> {
    let Some(tracker) = wire.tracker() else {
        return Ok(());
    };
    let wire = Arc::downgrade(wire);
    std::thread::Builder::new()
        .name("flow-events".to_owned())
        .spawn(move || {
            let mut lost = tracker.events_lost();
            while runs(&wire) {
                listen(&tracker, hub.has_flow_followers());
                if !drain(&tracker, &hub) {
                    std::thread::sleep(REST);
                }
                let now = tracker.events_lost();
                if now > lost {
                    let count = now - lost;
                    hub.say_of_flows(crate::events::now_ns(), Happening::Lost { count });
                    lost = now;
                }
            }
        })?;
    Ok(())
}

/// Tells the workers whether somebody listens.
fn listen(tracker: &Tracker, wanted: bool) {
    if tracker.settings().events != wanted {
        change_settings(tracker, |settings| settings.events = wanted);
    }
}

/// Takes what is there; says whether there was anything.
fn drain(tracker: &Tracker, hub: &Hub) -> bool {
    let mut any = false;
    // The last queue is that of control itself: flows that were ended by a request.
    for queue in 0..=tracker.workers() {
        while let Some(event) = tracker.pop_event(queue) {
            any = true;
            hub.say_of_flows(event.wall_ns, words(&event));
        }
    }
    any
}

fn words(event: &FlowEvent) -> Happening {
    let (change, ended) = match event.kind {
        FlowEventKind::New => ("new", false),
        FlowEventKind::Update(_) => ("update", false),
        FlowEventKind::Destroy => ("destroy", true),
    };
    let mut flow = wire_flow(&event.flow, SystemClock.monotonic_ns(), helper_name);
    flow.stop_ns = ended.then_some(event.wall_ns);
    Happening::Flow {
        change: change.to_owned(),
        flow: Box::new(flow),
    }
}
