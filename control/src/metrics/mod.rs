//! The Prometheus exposition: from the dataplane's own counters, one pass per scrape.
//!
//! Every name is `sluice_...`; `docs/metrics.md` lists them. Counters are as old as the daemon
//! (rules and named counters: as old as they are, also across reloads).

mod family;
mod flows;
pub mod listener;
mod nat;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;
use sluice_dataplane::DropReason;

use crate::api::State;
use crate::api::wire::{PortStatus, QueueStatus, RulesetSize, SetSourceStatus, WorkerStatus};
use crate::daemon::plane::{BATCH_BOUNDS, Plane};
use crate::daemon::policy::{Policy, RulePlace, Tally};
use family::Family;

/// Media type of the text exposition.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The exposition as text.
///
/// # Errors
/// When a family cannot be encoded.
pub fn exposition(shared: &State) -> Result<String, prometheus::Error> {
    let mut families = process(shared.started);
    ruleset(&*shared.policy, &mut families);
    set_sources(&shared.policy.set_sources(), &mut families);
    ports(&shared.plane.ports(), &mut families);
    workers(&*shared.plane, &mut families);
    drops(&shared.plane.drops(), &mut families);
    if let Some(tracker) = shared.plane.tracker() {
        flows::conntrack(&tracker, &mut families);
    }
    if shared.plane.mode() == "gateway" {
        nat::nat(&shared.plane.nat(), &mut families);
    }
    let families: Vec<MetricFamily> = families.into_iter().filter_map(Family::finish).collect();
    TextEncoder::new().encode_to_string(&families)
}

fn process(started: Instant) -> Vec<Family> {
    let mut build = Family::gauge("sluice_build_info", "Version of the program; always 1.");
    build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let since = SystemTime::now()
        .checked_sub(started.elapsed())
        .and_then(|start| start.duration_since(UNIX_EPOCH).ok())
        .unwrap_or(Duration::ZERO);
    let mut start = Family::gauge(
        "sluice_start_time_seconds",
        "When the daemon started, in seconds since 1970.",
    );
    start.add(&[], since.as_secs_f64());
    vec![build, start]
}

/// A column of a table of gauges or counters: name, help and what to read.
type Column<T> = (&'static str, &'static str, fn(&T) -> u64);

const SIZES: &[Column<RulesetSize>] = &[
    ("sluice_ruleset_tables", "Tables in the ruleset.", |size| {
        size.tables
    }),
    ("sluice_ruleset_chains", "Chains in the ruleset.", |size| {
        size.chains
    }),
    ("sluice_ruleset_rules", "Rules in the ruleset.", |size| {
        size.rules
    }),
    (
        "sluice_ruleset_sets",
        "Sets and maps in the ruleset.",
        |size| size.sets,
    ),
    (
        "sluice_ruleset_program_bytes",
        "Size of the compiled program.",
        |size| size.program_bytes,
    ),
];

fn ruleset(policy: &dyn Policy, families: &mut Vec<Family>) {
    let mut generation = Family::gauge("sluice_generation", "Number of the generation in force.");
    generation.add(&[], policy.generation() as f64);
    families.push(generation);
    let size = policy.size();
    for (name, help, value) in SIZES {
        let mut family = Family::gauge(name, help);
        family.add(&[], value(&size) as f64);
        families.push(family);
    }
    let mut counted = Counted::new();
    policy.tally(&mut counted);
    families.extend(counted.finish());
}

/// Named counters, rules with a comment, and sets.
struct Counted {
    named: [Family; 2],
    rules: [Family; 2],
    elements: Family,
    handles: BTreeMap<u64, String>,
}

impl Counted {
    fn new() -> Self {
        Self {
            named: [
                Family::counter("sluice_named_packets_total", "Packets of a named counter."),
                Family::counter("sluice_named_bytes_total", "Bytes of a named counter."),
            ],
            rules: [
                Family::counter(
                    "sluice_rule_packets_total",
                    "Packets of the counter of a rule with a comment.",
                ),
                Family::counter(
                    "sluice_rule_bytes_total",
                    "Bytes of the counter of a rule with a comment.",
                ),
            ],
            elements: Family::gauge("sluice_set_elements", "Elements of a set or map."),
            handles: BTreeMap::new(),
        }
    }

    fn finish(self) -> impl Iterator<Item = Family> {
        self.named
            .into_iter()
            .chain(self.rules)
            .chain([self.elements])
    }
}

impl Tally for Counted {
    fn counter(&mut self, family: &str, table: &str, name: &str, packets: u64, bytes: u64) {
        let labels = [("family", family), ("table", table), ("name", name)];
        self.named[0].add(&labels, packets as f64);
        self.named[1].add(&labels, bytes as f64);
    }

    fn rule(&mut self, place: RulePlace<'_>, packets: u64, bytes: u64) {
        let handle = self
            .handles
            .entry(place.handle)
            .or_insert_with(|| place.handle.to_string());
        // The handle keeps two rules with one comment apart.
        let labels = [
            ("family", place.family),
            ("table", place.table),
            ("chain", place.chain),
            ("handle", handle.as_str()),
            ("comment", place.comment),
        ];
        self.rules[0].add(&labels, packets as f64);
        self.rules[1].add(&labels, bytes as f64);
    }

    fn set(&mut self, family: &str, table: &str, name: &str, elements: u64) {
        self.elements.add(
            &[("family", family), ("table", table), ("name", name)],
            elements as f64,
        );
    }
}

const SOURCES: &[Column<SetSourceStatus>] = &[
    (
        "sluice_set_source_entries",
        "Entries of a set's file when it was last read well.",
        |source| source.entries,
    ),
    (
        "sluice_set_source_loaded_time_seconds",
        "When the contents in force were read from a set's file, in seconds since 1970; 0: never.",
        |source| source.loaded_at.unwrap_or(0),
    ),
    (
        "sluice_set_source_failing_since_seconds",
        "Since when a set's file cannot be had, in seconds since 1970; 0: it can.",
        |source| source.failing_since.unwrap_or(0),
    ),
];

fn set_sources(sources: &[SetSourceStatus], families: &mut Vec<Family>) {
    let labels = |source: &SetSourceStatus| {
        [
            ("family", source.family.clone()),
            ("table", source.table.clone()),
            ("name", source.set.clone()),
        ]
    };
    let mut add = |mut family: Family, value: fn(&SetSourceStatus) -> u64| {
        for source in sources {
            let labels = labels(source);
            let labels = labels
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            family.add(&labels, value(source) as f64);
        }
        families.push(family);
    };
    for (name, help, value) in SOURCES {
        add(Family::gauge(name, help), *value);
    }
    add(
        Family::counter(
            "sluice_set_source_failures_total",
            "How often a set's file could not be had.",
        ),
        |source| source.failures,
    );
}

const QUEUES: &[Column<QueueStatus>] = &[
    ("sluice_port_rx_frames_total", "Frames received.", |queue| {
        queue.rx_frames
    }),
    (
        "sluice_port_rx_bytes_total",
        "Bytes of the frames received.",
        |queue| queue.rx_bytes,
    ),
    (
        "sluice_port_rx_ring_drops_total",
        "Frames that the kernel dropped because the queue's ring was full.",
        |queue| queue.rx_ring_drops,
    ),
    (
        "sluice_port_rx_errors_total",
        "Frames received that could not be handed on.",
        |queue| queue.rx_errors,
    ),
    ("sluice_port_tx_frames_total", "Frames sent.", |queue| {
        queue.tx_frames
    }),
    (
        "sluice_port_tx_bytes_total",
        "Bytes of the frames sent.",
        |queue| queue.tx_bytes,
    ),
    (
        "sluice_port_tx_retries_total",
        "Times that the way out was full and was tried again.",
        |queue| queue.tx_retries,
    ),
    (
        "sluice_port_tx_refused_total",
        "Frames that the way out refused; each is also counted under its drop reason.",
        |queue| queue.tx_refused,
    ),
];

fn ports(ports: &[PortStatus], families: &mut Vec<Family>) {
    for (name, help, value) in QUEUES {
        let mut family = Family::counter(name, help);
        for port in ports {
            for (number, queue) in port.queues.iter().enumerate() {
                let labels = [("port", port.name.as_str()), ("queue", &number.to_string())];
                family.add(&labels, value(queue) as f64);
            }
        }
        families.push(family);
    }
}

fn workers(plane: &dyn Plane, families: &mut Vec<Family>) {
    const SECOND_NS: f64 = 1e9;
    let mut busy = Family::counter(
        "sluice_worker_busy_seconds_total",
        "Time that a worker spent on frames.",
    );
    let mut idle = Family::counter(
        "sluice_worker_idle_seconds_total",
        "Time that a worker spent waiting.",
    );
    let mut restarts = Family::counter(
        "sluice_worker_restarts_total",
        "How often a worker failed and was started again.",
    );
    for WorkerStatus {
        worker,
        busy_ns,
        idle_ns,
        restarts: count,
        ..
    } in plane.workers()
    {
        let number = worker.to_string();
        let labels = [("worker", number.as_str())];
        busy.add(&labels, busy_ns as f64 / SECOND_NS);
        idle.add(&labels, idle_ns as f64 / SECOND_NS);
        restarts.add(&labels, count as f64);
    }
    let mut batches = Family::histogram(
        "sluice_worker_batch_frames",
        "Frames in the batches of a worker.",
    );
    for (number, sizes) in plane.batch_sizes().iter().enumerate() {
        let buckets: Vec<(f64, u64)> = BATCH_BOUNDS
            .iter()
            .map(|bound| f64::from(*bound))
            .zip(sizes.batches)
            .collect();
        batches.observe(
            &[("worker", &number.to_string())],
            &buckets,
            sizes.frames as f64,
        );
    }
    let mut lost = Family::counter(
        "sluice_events_lost_total",
        "Log and trace events that were lost because they came faster than they were taken.",
    );
    lost.add(&[], plane.lost_events() as f64);
    families.extend([busy, idle, restarts, batches, lost]);
}

fn drops(counts: &[u64; DropReason::COUNT], families: &mut Vec<Family>) {
    let mut family = Family::counter("sluice_drops_total", "Frames that ended here, by reason.");
    for (reason, count) in DropReason::ALL.iter().zip(counts) {
        family.add(&[("reason", reason.name())], *count as f64);
    }
    families.push(family);
}
