//! How long nothing is forwarded while a daemon with flows is restarted: a graceful stop saves them, the start
//! loads them. A host sends a datagram every 100 us meanwhile; the longest silence at the sink is the gap.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Options;
use super::bed::{Bed, Receive};
use super::contestant::{Contestant, Kind};
use super::generator::{self, Flows};
use crate::report::{Figure, Report, Table};

/// Between two datagrams.
const PAUSE: Duration = Duration::from_micros(100);
/// How long is watched behind the start.
const BEHIND: Duration = Duration::from_millis(300);
/// A table that does not fill in so long fails the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Restarts the stateful daemon with so many flows; the gaps in milliseconds.
///
/// # Errors
/// When the daemon does not come back, or has lost its flows.
pub(super) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    if options.there(&[Kind::Stateful]).is_empty() {
        return Ok(());
    }
    let mut table = Table::new(
        "Longest silence at the sink over a graceful restart, ms",
        &["silence", "flows kept"],
    );
    for flows in [0, 10_000, 100_000, 1_000_000] {
        let bed = Bed::new(Receive::Own)?;
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..options.runs.min(5) {
            let contestant = Contestant::start(Kind::Stateful, &bed, options.slots)?;
            let (silence, kept) = once(&bed, contestant, flows)?;
            samples[0].push(silence.as_secs_f64() * 1e3);
            samples[1].push(kept as f64);
        }
        table.push(
            format!("{flows} flows"),
            samples.map(|samples| Some(Figure::of(&samples))).to_vec(),
        );
    }
    report.tables.push(table);
    Ok(())
}

/// One restart: the longest silence, and the flows that are there afterwards.
fn once(bed: &Bed, mut contestant: Contestant<'_>, flows: u64) -> anyhow::Result<(Duration, u64)> {
    if flows > 0 {
        generator::during(bed, Flows::New, || {
            let begun = Instant::now();
            while contestant.flows()? < flows {
                anyhow::ensure!(begun.elapsed() < PATIENCE, "the table does not fill");
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        })?;
    }
    let before = contestant.flows()?;
    let stop = AtomicBool::new(false);
    let (silence, kept) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| bed.source.run(|| send(bed.target, &stop)));
        let watcher = scope.spawn(|| longest_silence(bed, &stop));
        std::thread::sleep(BEHIND);
        let restarted = contestant.restart(bed);
        std::thread::sleep(BEHIND);
        stop.store(true, Ordering::Relaxed);
        let failed = |_| anyhow::anyhow!("a thread failed");
        sender.join().map_err(failed)???;
        let silence = watcher.join().map_err(failed)??;
        restarted?;
        Ok::<_, anyhow::Error>((silence, contestant.flows()?))
    })?;
    // Those that had no answer end after 30 s; the rest must be there.
    anyhow::ensure!(kept * 10 >= before * 9, "{kept} of {before} flows are left");
    contestant.stop()?;
    Ok((silence, kept))
}

/// Sends a datagram now and then.
fn send(to: &str, stop: &AtomicBool) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    while !stop.load(Ordering::Relaxed) {
        // Nobody listens there: what ICMP says of it is told to the next call, and does not matter.
        let _told = socket.send_to(b"on", (to, 7));
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The longest time in which nothing arrived.
fn longest_silence(bed: &Bed, stop: &AtomicBool) -> anyhow::Result<Duration> {
    let (mut longest, mut last, mut count) = (Duration::ZERO, Instant::now(), bed.delivered()?);
    while !stop.load(Ordering::Relaxed) {
        let now = bed.delivered()?;
        if now != count {
            longest = longest.max(last.elapsed());
            (last, count) = (Instant::now(), now);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(longest.max(last.elapsed()))
}
