//! Golden cases: a ruleset, the frames that go in, and what comes out, in a folder with the
//! reason. They are replayed without the kernel.
//!
//! `ruleset.nft`; `in.hex`, `right.hex` and `left.hex` with a frame per line (the last two are
//! what leaves at the right and at the left); `counters.txt` with packets and bytes of each counter
//! in the order of the listing; `why.txt`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::generate::Case;
use super::kernel::{KernelBridge, Outcome};
use super::sluice;

/// Writes a case with what the kernel makes of it into a new folder, which stays.
///
/// # Errors
/// When the kernel cannot be asked or the folder cannot be written.
pub fn store(kernel: &KernelBridge, case: &Case, why: &str) -> io::Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("sluice-golden-")
        .disable_cleanup(true)
        .tempdir()?;
    let (ruleset, frames) = (case.ruleset(), case.bytes());
    let outcome = kernel.judge(&ruleset, &frames)?;
    write(folder.path(), &ruleset, &frames, &outcome, why)?;
    Ok(folder.path().to_owned())
}

fn write(
    folder: &Path,
    ruleset: &str,
    frames: &[Vec<u8>],
    outcome: &Outcome,
    why: &str,
) -> io::Result<()> {
    fs::write(folder.join("ruleset.nft"), ruleset)?;
    fs::write(folder.join("in.hex"), lines(frames))?;
    fs::write(folder.join("right.hex"), lines(&outcome.right))?;
    fs::write(folder.join("left.hex"), lines(&outcome.left))?;
    fs::write(folder.join("counters.txt"), counts(&outcome.counters))?;
    fs::write(folder.join("why.txt"), format!("{why}\n"))
}

/// Replays a folder through sluice.
///
/// # Errors
/// With what differs, or what cannot be read.
pub fn replay(folder: &Path) -> Result<(), String> {
    let read = |name: &str| {
        fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"))
    };
    if read("why.txt")?.trim().is_empty() {
        return Err("why.txt is empty".to_owned());
    }
    let outcome = sluice::judge(&read("ruleset.nft")?, &frames(&read("in.hex")?)?)?;
    for (name, ours) in [
        ("right.hex", lines(&outcome.right)),
        ("left.hex", lines(&outcome.left)),
        ("counters.txt", counts(&outcome.counters)),
    ] {
        let wanted = read(name)?;
        if wanted != ours {
            return Err(format!("{name}\nwanted\n{wanted}got\n{ours}"));
        }
    }
    Ok(())
}

fn counts(counters: &[(u64, u64)]) -> String {
    let line = |(packets, bytes): &(u64, u64)| format!("{packets} {bytes}\n");
    counters.iter().map(line).collect()
}

fn lines(frames: &[Vec<u8>]) -> String {
    let line = |frame: &Vec<u8>| {
        let digits: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        digits + "\n"
    };
    frames.iter().map(line).collect()
}

fn frames(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let byte = |digits: &[u8]| {
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or_else(|| "not hexadecimal".to_owned())
    };
    text.lines()
        .map(|line| line.as_bytes().chunks(2).map(byte).collect())
        .collect()
}
