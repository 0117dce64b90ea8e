//! The firewall of a playground: this very executable as a daemon, in a namespace.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::netns::Namespace;

/// A running daemon; it ends when this is dropped.
pub(super) struct Daemon {
    child: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Starts the daemon in `namespace` with this appliance file and ruleset, and waits until it
    /// answers on its control socket.
    pub(super) fn start(
        namespace: &Namespace,
        appliance: impl FnOnce(&Path) -> String,
        ruleset: &str,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("sluice-lab.").tempdir()?;
        let config = directory.path().join("sluice.toml");
        std::fs::write(directory.path().join("ruleset.nft"), ruleset)?;
        std::fs::write(&config, appliance(directory.path()))?;
        let errors = std::fs::File::create(directory.path().join("log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg("--config").arg(&config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        let child = namespace.spawn(&mut command)?;
        let mut daemon = Self { child, directory };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// Where the daemon listens for commands.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            // The socket is there before the ports are: only an answer says that they are open.
            let mut status = Command::new(std::env::current_exe()?);
            status.arg("--socket").arg(self.socket()).arg("status");
            if status.stdin(Stdio::null()).output()?.status.success() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the firewall ended at once ({status}):\n{}", self.log()?);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("the firewall does not answer after 10 s:\n{}", self.log()?)
    }

    /// What the daemon has written to its log so far.
    pub(super) fn log(&self) -> io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(self.directory.path().join("log"))?.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let asked = rustix::process::Pid::from_child(&self.child);
        let stopped = rustix::process::kill_process(asked, rustix::process::Signal::TERM);
        let begun = Instant::now();
        while stopped.is_ok() && begun.elapsed() < Duration::from_secs(3) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // It did not listen to reason; a failure here means that it has ended meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
