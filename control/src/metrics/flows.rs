//! Metrics of the connection tracker. The flows by protocol and state are counted in the table at each
//! scrape: a pass of some tenths of a second over a million, on the scraper's account.

use sluice_dataplane::conntrack::{InvalidReason, Tracker};

use super::family::Family;
use crate::api::conntrack::{named, proxy_named};
use crate::api::flows::counted;
use crate::flows::FlowFilter;

/// What each counter means; those that are not here are of no use to an operator.
const COUNTERS: &[(&str, &str, &str)] = &[
    (
        "insert",
        "sluice_flows_inserted_total",
        "Flows that entered the table.",
    ),
    (
        "insert_failed",
        "sluice_flows_insert_failed_total",
        "Flows that could not enter the table.",
    ),
    (
        "destroy",
        "sluice_flows_ended_total",
        "Flows that ended, for whatever reason.",
    ),
    (
        "early_drop",
        "sluice_flows_early_dropped_total",
        "Flows ended to make room for new ones.",
    ),
    (
        "drop",
        "sluice_flows_packets_dropped_total",
        "Packets that the tracker dropped.",
    ),
    (
        "invalid",
        "sluice_flows_packets_invalid_total",
        "Packets that fit no flow.",
    ),
    (
        "clash_resolve",
        "sluice_flows_clashes_resolved_total",
        "New flows that joined another one.",
    ),
    (
        "chaintoolong",
        "sluice_flows_crowded_total",
        "Flows refused at a crowded place of the index.",
    ),
    (
        "expect_new",
        "sluice_flows_expected_total",
        "Connections that flows have announced.",
    ),
];

/// The counters of the SYN proxy.
const PROXY: &[(&str, &str, &str)] = &[
    (
        "syn_received",
        "sluice_synproxy_syn_received_total",
        "SYNs that the SYN proxy answered.",
    ),
    (
        "cookie_invalid",
        "sluice_synproxy_cookie_invalid_total",
        "ACKs to the SYN proxy without a good cookie.",
    ),
    (
        "cookie_valid",
        "sluice_synproxy_cookie_valid_total",
        "ACKs to the SYN proxy with a good cookie.",
    ),
    (
        "cookie_retrans",
        "sluice_synproxy_cookie_retrans_total",
        "Of them those that had the server asked again.",
    ),
    (
        "conn_reopened",
        "sluice_synproxy_conn_reopened_total",
        "Closed connections that began anew through the SYN proxy.",
    ),
];

pub(super) fn conntrack(tracker: &Tracker, families: &mut Vec<Family>) {
    let mut flows = Family::gauge("sluice_flows", "Tracked flows, by protocol and state.");
    let counts = counted(tracker, &FlowFilter::default());
    for (protocol, number) in &counts.protocols {
        match counts.states.get(protocol) {
            None => flows.add(&[("protocol", protocol), ("state", "")], *number as f64),
            Some(states) => {
                for (state, number) in states {
                    flows.add(&[("protocol", protocol), ("state", state)], *number as f64);
                }
            }
        }
    }
    let mut max = Family::gauge("sluice_flows_max", "Flows that the table holds at most.");
    max.add(&[], f64::from(tracker.settings().max));
    families.extend([flows, max]);

    by_worker(tracker, COUNTERS, families, |worker| {
        named(&tracker.statistics(worker)).to_vec()
    });
    by_worker(tracker, PROXY, families, |worker| {
        proxy_named(&tracker.proxy_statistics(worker)).to_vec()
    });
    let mut invalid = Family::counter(
        "sluice_flows_invalid_reasons_total",
        "Packets that fit no flow, by reason.",
    );
    for (reason, count) in InvalidReason::ALL.iter().zip(tracker.invalids()) {
        invalid.add(&[("reason", reason.name())], count as f64);
    }
    let mut lost = Family::counter(
        "sluice_flow_events_lost_total",
        "Events of flows that were lost because they came faster than they were taken.",
    );
    lost.add(&[], tracker.events_lost() as f64);
    families.extend([invalid, lost]);
}

/// Families of counters that each worker has.
fn by_worker(
    tracker: &Tracker,
    counters: &[(&str, &str, &str)],
    families: &mut Vec<Family>,
    read: impl Fn(usize) -> Vec<(&'static str, u64)>,
) {
    for (counter, name, help) in counters {
        let mut family = Family::counter(name, help);
        for worker in 0..tracker.workers() {
            let statistics = read(worker);
            let count = statistics.iter().find(|(name, _)| name == counter);
            let number = worker.to_string();
            family.add(
                &[("worker", &number)],
                count.map_or(0, |(_, count)| *count) as f64,
            );
        }
        families.push(family);
    }
}
