//! Devices that disappear and return: opened anew on a thread of its own, because whoever tells
//! of the change cannot wait for the answer to a question.

use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use sluice_dataplane::port::PortId;

use super::Inner;
use crate::opener::{LinkChange, LinkEvent};

/// How often a device that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Until the ports are gone.
pub(super) fn watch(ports: &Weak<Inner>, news: &Receiver<LinkEvent>) {
    let mut missing: Vec<PortId> = Vec::new();
    loop {
        let heard = news.recv_timeout(AGAIN);
        if heard == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        let Some(ports) = ports.upgrade() else { return };
        if let Ok(event) = heard {
            let id = PortId(event.port);
            let list = ports.list();
            if let Some(port) = list.iter().find(|port| port.id == id) {
                (ports.hear)(&port.spec.name, event);
            }
            if event.change == LinkChange::Back && !missing.contains(&id) {
                missing.push(id);
            }
        }
        // It may have gone again meanwhile, or not be ready yet.
        missing.retain(|&id| ports.reopen(id).is_err());
    }
}
