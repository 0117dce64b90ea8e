//! Events: from whoever has something to say to every follower and to the log sinks.
//!
//! One bounded ring for all followers, and one for the events of flows, of which there may be so many
//! that they would push everything else out. Who says something never waits; a follower that is too
//! slow is told how many events it has lost.

pub mod sink;

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use crate::api::wire::{Event, Happening};

/// Events that a slow follower may be behind.
const RING: usize = 4096;
/// The same of flow events.
const FLOW_RING: usize = 65_536;

/// Where events are said and followed. Clones are the same hub.
#[derive(Clone, Debug)]
pub struct Hub {
    sender: broadcast::Sender<Event>,
    flows: broadcast::Sender<Event>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            sender: broadcast::channel(RING).0,
            flows: broadcast::channel(FLOW_RING).0,
        }
    }
}

impl Hub {
    /// Says that something has happened now.
    pub fn say(&self, what: Happening) {
        self.say_at(now_ns(), what);
    }

    /// Says that something has happened at a time.
    pub fn say_at(&self, time_ns: u64, what: Happening) {
        // Without followers there is nobody to tell: not an error.
        let _ = self.sender.send(Event { time_ns, what });
    }

    /// Says that something has happened to a flow, or that such events were lost.
    pub fn say_of_flows(&self, time_ns: u64, what: Happening) {
        // As above.
        let _ = self.flows.send(Event { time_ns, what });
    }

    /// Whether somebody follows the events of flows.
    pub fn has_flow_followers(&self) -> bool {
        self.flows.receiver_count() > 0
    }

    /// A follower of everything but flows from now on.
    pub fn follow(&self) -> Follower {
        Follower {
            receiver: self.sender.subscribe(),
        }
    }

    /// A follower of flows from now on.
    pub fn follow_flows(&self) -> Follower {
        Follower {
            receiver: self.flows.subscribe(),
        }
    }
}

/// One follower of a hub.
#[derive(Debug)]
pub struct Follower {
    receiver: broadcast::Receiver<Event>,
}

impl Follower {
    /// The next event; `None` when the hub is gone.
    pub async fn next(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event {
                time_ns: now_ns(),
                what: Happening::Lost { count },
            }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> Happening {
        Happening::Port {
            name: name.into(),
            present: true,
        }
    }

    #[tokio::test]
    async fn followers_hear_what_is_said_after_they_came() {
        let hub = Hub::default();
        hub.say(port("early"));
        let mut follower = hub.follow();
        hub.say(port("late"));
        assert_eq!(follower.next().await.unwrap().what, port("late"));
        drop(hub);
        assert_eq!(follower.next().await, None);
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_what_it_lost() {
        let hub = Hub::default();
        let mut follower = hub.follow();
        for _ in 0..RING + 3 {
            hub.say(port("p"));
        }
        assert_eq!(
            follower.next().await.unwrap().what,
            Happening::Lost { count: 3 }
        );
        assert_eq!(follower.next().await.unwrap().what, port("p"));
    }
}
