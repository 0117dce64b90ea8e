//! What hosts do: TCP transfers and ping.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bed::Bed;

/// Bits per second of payload that arrive over `streams` connections.
pub(super) fn tcp(bed: &Bed, streams: usize, length: Duration) -> anyhow::Result<f64> {
    let listener = bed.sink.run(|| TcpListener::bind((bed.target, 0)))??;
    let address = listener.local_addr()?;
    let (stop, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..streams {
            let mut client = bed
                .source
                .run(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))??;
            let (mut server, _) = listener.accept()?;
            scope.spawn(|| {
                let stop = &stop;
                let piece = vec![0x5a; 128 << 10];
                move || {
                    while !stop.load(Ordering::Relaxed) && client.write_all(&piece).is_ok() {}
                    // The other side may have gone already.
                    let _ = client.shutdown(Shutdown::Both);
                }
            }());
            let arrived = &arrived;
            scope.spawn(move || {
                let mut room = vec![0; 256 << 10];
                while let Ok(count @ 1..) = server.read(&mut room) {
                    arrived.fetch_add(count as u64, Ordering::Relaxed);
                }
            });
        }
        // Slow start is over.
        std::thread::sleep(Duration::from_millis(200));
        let (from, begun) = (arrived.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(length);
        let bytes = arrived.load(Ordering::Relaxed) - from;
        let seconds = begun.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        Ok(bytes as f64 * 8.0 / seconds)
    })
}

/// Milliseconds from now until the sink has answered a ping.
pub(super) fn first_answer(bed: &Bed) -> anyhow::Result<f64> {
    let begun = Instant::now();
    bed.source.sh(&format!("ping -c 1 -W 5 {}", bed.target))?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// Median and 99th percentile of the round trip in microseconds.
pub(super) fn ping(bed: &Bed) -> anyhow::Result<(f64, f64)> {
    let line = format!("ping -i 0.005 -c 300 {}", bed.target);
    let text = bed.source.sh(&line)?;
    let mut times: Vec<f64> = text
        .lines()
        .filter_map(|line| {
            line.split_once("time=")?
                .1
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .map(|milliseconds: f64| milliseconds * 1000.0)
        .collect();
    times.sort_by(f64::total_cmp);
    anyhow::ensure!(times.len() > 250, "ping lost packets:\n{text}");
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}
