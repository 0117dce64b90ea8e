//! How long the control socket of a daemon takes to answer while its wire is flooded.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);
/// A daemon that is silent for so long fails the run.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks for the status again and again; returns the time of every answer in milliseconds.
///
/// # Errors
/// When a question is not answered.
pub(super) fn times(socket: &Path, length: Duration) -> anyhow::Result<Vec<f64>> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < length {
        let asked = Instant::now();
        let answer = ask(socket)?;
        times.push(asked.elapsed().as_secs_f64() * 1e3);
        anyhow::ensure!(
            answer.starts_with("HTTP/1.1 200"),
            "no status, but: {answer}"
        );
        std::thread::sleep(PAUSE);
    }
    Ok(times)
}

/// One question on a connection of its own, as a command line asks.
fn ask(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
