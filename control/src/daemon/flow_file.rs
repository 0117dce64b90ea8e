//! Tracked connections over a restart: a file in the state folder, written at a graceful stop and on
//! request, read at the start.
//!
//! The file is replaced as a whole (write, rename), so a crash leaves the old or the new one. What is saved on
//! request is synced; a graceful stop does not wait for the disk, because nothing is forwarded meanwhile: a
//! machine that loses its power at that moment finds a damaged file. A
//! file that does not fit (another version, damaged) is refused with a message and costs the
//! connections only; it is kept beside the next one for whoever wants to look at it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sluice_dataplane::conntrack::Tracker;
use sluice_dataplane::worker::{Clock, SystemClock};

use crate::api::flow::Saved;

/// Where the connections of a state folder lie.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join("flows")
}

/// Bytes that are handed to the kernel at once.
const PIECE: usize = 1 << 20;

/// Writes the table; `synced` waits until it is on the disk.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn save(tracker: &Tracker, path: &Path, synced: bool) -> io::Result<Saved> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let fresh = path.with_extension("new");
    let mut out = io::BufWriter::with_capacity(PIECE, File::create(&fresh).map_err(named)?);
    let (now_ns, wall_ns) = (SystemClock.monotonic_ns(), SystemClock.wall_ns());
    let flows = tracker.save(now_ns, wall_ns, &mut out).map_err(named)?;
    let file = out
        .into_inner()
        .map_err(|error| named(error.into_error()))?;
    if synced {
        file.sync_all().map_err(named)?;
    }
    std::fs::rename(&fresh, path).map_err(named)?;
    // The rename itself is safe only when the folder is.
    if let (true, Some(folder)) = (synced, path.parent()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(Saved {
        file: path.display().to_string(),
        flows,
    })
}

/// Reads the table back, if one was saved. The file is used once: what it says grows old.
pub(super) fn restore(tracker: &Tracker, path: &Path) {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the saved flows cannot be read");
            return;
        }
    };
    match tracker.load(&bytes, SystemClock.monotonic_ns(), SystemClock.wall_ns()) {
        Ok(loaded) => {
            let (flows, over, refused) = (loaded.added, loaded.over, loaded.refused);
            tracing::info!(path = %path.display(), flows, over, refused, "flows restored");
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "the saved flows stay in place");
            }
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the saved flows are refused");
            let kept = path.with_extension("refused");
            if let Err(error) = std::fs::rename(path, &kept) {
                tracing::warn!(path = %path.display(), %error, "the saved flows stay in place");
            }
        }
    }
}
