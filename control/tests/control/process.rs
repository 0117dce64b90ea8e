//! The executable as a daemon in a folder of its own.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");

pub(crate) struct Daemon {
    pub(crate) folder: tempfile::TempDir,
    child: Child,
}

impl Daemon {
    /// Starts a workbench with these further lines in its appliance file and waits until it says
    /// that it is ready.
    pub(crate) fn start(lines: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), lines)
    }

    /// The same in a folder that has something already.
    pub(crate) fn start_in(folder: tempfile::TempDir, lines: &str) -> Self {
        let text = appliance(folder.path(), lines);
        std::fs::write(folder.path().join("sluice.toml"), text).unwrap();
        let notify = folder.path().join("notify.sock");
        let _ = std::fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).unwrap();
        // As a service manager's: whoever the daemon becomes may say that it is ready.
        for path in [folder.path(), &notify] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        ready
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(SLUICE)
            .args(["run", "--config"])
            .arg(folder.path().join("sluice.toml"))
            .env("NOTIFY_SOCKET", &notify)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { folder, child };
        let mut said = [0; 64];
        let length = ready.recv(&mut said).unwrap_or_else(|error| {
            panic!("not ready ({error}):\n{}", daemon.log());
        });
        assert_eq!(said[..length].trim_ascii(), b"READY=1");
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// A command against this daemon, in its folder.
    pub(crate) fn sluice<S: AsRef<OsStr>>(&self, words: &[S]) -> Output {
        self.call(SLUICE, words)
    }

    pub(crate) fn call<S: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, words: &[S]) -> Output {
        Command::new(program)
            .args(words)
            .env("SLUICE_SOCKET", self.path("control.sock"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Asks it to end and returns its exit code with the folder.
    pub(crate) fn stop(mut self) -> (Option<i32>, tempfile::TempDir) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait().unwrap() {
                let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
                return (status.code(), folder);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("does not end:\n{}", self.log());
    }

    /// Kills it: nothing is tidied up.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn appliance(folder: &Path, lines: &str) -> String {
    if lines.contains("[control]") {
        let socket = format!("[control]\nsocket = \"{}/control.sock\"", folder.display());
        return lines.replace("[control]", &socket);
    }
    format!(
        "[control]\nsocket = \"{}/control.sock\"\n{lines}",
        folder.display()
    )
}

/// Exit code, standard output, standard error.
pub(crate) fn told(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    )
}
