//! `sluice status`

use std::time::Duration;

use super::table::Table;
use super::{Failed, print, wait};
use crate::api::wire::{PortStatus, QueueStatus, Status, WorkerStatus};
use crate::client::Client;

/// What `sluice status` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(client: &Client, options: &Options) -> Result<(), Failed> {
    let status: Status = wait(client.get("/v1/status"))?.body;
    print(options.json, &status, text)
}

fn text(status: &Status) -> String {
    let size = &status.ruleset;
    let mut text = format!(
        "sluice {}, {}, process {}, up {}\n\
         generation {}: {} tables, {} chains, {} rules, {} sets, program of {} bytes\n\
         {} frames dropped\n",
        status.version,
        status.mode,
        status.pid,
        humantime::format_duration(Duration::from_secs(status.uptime_seconds)),
        status.generation,
        size.tables,
        size.chains,
        size.rules,
        size.sets,
        size.program_bytes,
        status.dropped,
    );
    if !status.ports.is_empty() {
        text += &format!("\n{}", port_table(&status.ports));
    }
    if !status.workers.is_empty() {
        text += &format!("\n{}", worker_table(&status.workers));
    }
    text
}

/// Ports with the sums over their queues.
pub(super) fn port_table(ports: &[PortStatus]) -> Table {
    let mut table = Table::new(&[
        "PORT",
        "DEVICE",
        "DRIVER",
        "PEER",
        "QUEUES",
        "RX",
        "RX-BYTES",
        "RX-LOST",
        "TX",
        "TX-BYTES",
        "TX-REFUSED",
    ]);
    for port in ports {
        let sum = |count: fn(&QueueStatus) -> u64| -> String {
            port.queues.iter().map(count).sum::<u64>().to_string()
        };
        table.row([
            port.name.clone(),
            port.device.clone(),
            port.driver.clone(),
            port.peer.clone().unwrap_or_default(),
            port.queues.len().to_string(),
            sum(|queue| queue.rx_frames),
            sum(|queue| queue.rx_bytes),
            sum(|queue| queue.rx_ring_drops + queue.rx_errors),
            sum(|queue| queue.tx_frames),
            sum(|queue| queue.tx_bytes),
            sum(|queue| queue.tx_refused),
        ]);
    }
    table
}

fn worker_table(workers: &[WorkerStatus]) -> Table {
    let mut table = Table::new(&["WORKER", "CPU", "BUSY", "BATCHES", "FRAMES", "RESTARTS"]);
    for worker in workers {
        let whole = (worker.busy_ns + worker.idle_ns).max(1);
        table.row([
            worker.worker.to_string(),
            worker
                .cpu
                .map_or_else(|| "-".to_owned(), |cpu| cpu.to_string()),
            format!("{:.1}%", worker.busy_ns as f64 * 100.0 / whole as f64),
            worker.batches.to_string(),
            worker.frames.to_string(),
            worker.restarts.to_string(),
        ]);
    }
    table
}
