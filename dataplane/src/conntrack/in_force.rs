//! Settings in force: a snapshot that a worker takes over between two batches.

use std::sync::Arc;

use super::protocol::Timeout;
use super::settings::{Rules, Settings};
use super::timeouts::{TimeoutClass, TimeoutPolicy, Timeouts};

/// Settings with the tables made of them.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) settings: Arc<Settings>,
    pub(super) policies: Vec<TimeoutPolicy>,
    /// Timeouts by policy; 0 is the tracker's own.
    timeouts: Vec<Timeouts>,
}

impl InForce {
    pub(super) fn new(settings: Arc<Settings>, policies: Vec<TimeoutPolicy>) -> Self {
        let own = &settings.timeouts;
        let timeouts = std::iter::once(own.clone())
            .chain(policies.iter().map(|policy| own.with(policy)))
            .collect();
        Self {
            settings,
            policies,
            timeouts,
        }
    }

    /// The timeout of a class under a policy.
    #[inline]
    pub(super) fn timeout_ns(&self, policy: u16, class: TimeoutClass) -> u64 {
        let timeouts = self
            .timeouts
            .get(usize::from(policy))
            .unwrap_or(&self.timeouts[0]);
        timeouts.ns(class)
    }

    /// The timeout that a state machine asks for, under a policy.
    #[inline]
    pub(super) fn shortest_ns(&self, policy: u16, timeout: Timeout) -> u64 {
        let timeouts = self
            .timeouts
            .get(usize::from(policy))
            .unwrap_or(&self.timeouts[0]);
        timeouts.ns(timeout.shortest(|class| timeouts.seconds(class)))
    }

    /// How strictly packets of a zone are judged.
    #[inline]
    pub(super) fn rules(&self, zone: u16) -> Rules {
        let mut rules = self.settings.rules;
        if !self.settings.liberal_zones.is_empty() {
            rules.liberal |= self.settings.liberal_zones.contains(&zone);
        }
        rules
    }
}
