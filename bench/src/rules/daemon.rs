//! The same through the daemon's socket: `sluice run` without ports, and `sluice nft` for each
//! command, as an operator runs it. The executable is the one beside this one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::{Options, Seconds, one_more, timed};

/// A daemon that ends with this value.
struct Daemon {
    child: Child,
    program: PathBuf,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `sluice` beside this executable, if it has been built.
pub(super) fn program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name("sluice");
    beside.exists().then_some(beside)
}

impl Daemon {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("control.sock");
        let config = folder.path().join("sluice.toml");
        std::fs::write(&config, format!("[control]\nsocket = {socket:?}\n"))?;
        let child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("sluice run")?;
        let daemon = Self {
            child,
            program: program.to_owned(),
            socket,
            _folder: folder,
        };
        for _ in 0..1000 {
            if daemon.nft(&["list", "tables"]).is_ok() {
                return Ok(daemon);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("the daemon does not answer")
    }

    fn nft(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new(&self.program)
            .arg("--socket")
            .arg(&self.socket)
            .arg("nft")
            .args(arguments)
            .output()
            .context("sluice nft")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "sluice nft: {complaint}");
        Ok(())
    }
}

/// Measures one daemon: `path` is the file.
pub(super) fn run(program: &Path, path: &Path, options: &Options) -> anyhow::Result<Seconds> {
    let daemon = Daemon::start(program)?;
    let mut seconds = Seconds::default();
    for _ in 0..options.added {
        let start = timed(|| daemon.nft(&["list", "tables"]))?;
        seconds.start.push(start);
    }
    let name = path.to_str().context("a temporary path in UTF-8")?;
    seconds.load.push(timed(|| daemon.nft(&["-f", name]))?);
    for number in 0..options.added {
        let command = one_more(number);
        let took = timed(|| daemon.nft(&[&command]))?;
        seconds.added(number, took);
    }
    let again = tempfile::NamedTempFile::new()?;
    let text = std::fs::read_to_string(path)?;
    std::fs::write(again.path(), format!("flush ruleset\n{text}"))?;
    let name = again.path().to_str().context("a temporary path in UTF-8")?;
    seconds.replace.push(timed(|| daemon.nft(&["-f", name]))?);
    Ok(seconds)
}
