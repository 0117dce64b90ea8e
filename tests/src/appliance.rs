//! A daemon under test: the executable itself in a namespace, with hosts on its ports.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sluice_control::netns::Namespace;

use crate::frames::{LEFT_MAC, RIGHT_MAC};
use crate::raw::RawSocket;

/// The executable that is tested.
///
/// # Panics
/// When it has not been built.
pub fn executable() -> PathBuf {
    let path = std::env::var_os("SLUICE_BIN").map_or_else(beside_this_test, PathBuf::from);
    assert!(
        path.exists(),
        "{} is not there: run ./tests/run, or cargo build first",
        path.display()
    );
    path
}

/// `target/debug/sluice` for a test in `target/debug/deps`.
fn beside_this_test() -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its own path");
    this.ancestors()
        .nth(2)
        .unwrap_or(Path::new("."))
        .join("sluice")
}

/// A running daemon. It is ended, and its files are gone, when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts the daemon in `namespace` with this appliance file (`{dir}` stands for a folder
    /// of its own) and ruleset, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start; with what it said.
    pub fn start(namespace: &Namespace, appliance: &str, ruleset: &str) -> Self {
        let mut daemon = Self::launch(namespace, appliance, ruleset);
        if let Err(log) = daemon.wait() {
            panic!("the daemon did not start:\n{log}");
        }
        daemon
    }

    /// Starts a daemon that is expected to refuse, and returns what it said.
    ///
    /// # Panics
    /// When it starts.
    pub fn refused(namespace: &Namespace, appliance: &str, ruleset: &str) -> String {
        let mut daemon = Self::launch(namespace, appliance, ruleset);
        match daemon.wait() {
            Ok(()) => panic!("the daemon started:\n{}", daemon.log()),
            Err(log) => log,
        }
    }

    fn launch(namespace: &Namespace, appliance: &str, ruleset: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sluice-test.")
            .tempdir()
            .expect("a folder");
        let dir = folder.path().display().to_string();
        let mut file = appliance.replace("{dir}", &dir);
        file.push_str(&format!(
            "\n[control]\nsocket = \"{dir}/control.sock\"\nmode = \"0666\"\n"
        ));
        file.push_str(&format!(
            "\n[ruleset]\nfiles = [\"{dir}/ruleset.nft\"]\nstate = \"{dir}\"\n"
        ));
        std::fs::write(folder.path().join("ruleset.nft"), ruleset).expect("the ruleset is written");
        std::fs::write(folder.path().join("sluice.toml"), file)
            .expect("the appliance file is written");
        // The socket is for other users too, where a test is about rights.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("the folder is opened");
        let child = Self::spawn(namespace, folder.path());
        Self { child, folder }
    }

    fn spawn(namespace: &Namespace, folder: &Path) -> Child {
        let log = std::fs::File::create(folder.join("log")).expect("the log is made");
        let mut command = Command::new(executable());
        command
            .arg("run")
            .arg("--config")
            .arg(folder.join("sluice.toml"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        namespace
            .spawn(&mut command)
            .expect("the daemon is launched")
    }

    fn wait(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            let status = self.sluice(&["status"]);
            if status.status.success() {
                return Ok(());
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("no answer after 20 s\n{}", self.log()))
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A command line of `sluice` against this daemon, to be run.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command
            .arg("--socket")
            .arg(self.socket())
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Runs `sluice WORDS` against this daemon.
    ///
    /// # Panics
    /// When the command cannot be started.
    pub fn sluice(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("sluice runs")
    }

    /// Runs `sluice WORDS` and returns what it printed.
    ///
    /// # Panics
    /// When it fails; with what it said.
    pub fn ok(&self, words: &[&str]) -> String {
        let output = self.sluice(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "sluice {words:?}: {}\n{errors}\n{}",
            output.status,
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `sluice nft WORDS` and returns what it printed.
    ///
    /// # Panics
    /// When it fails; with what it said.
    pub fn nft(&self, words: &[&str]) -> String {
        self.ok(&[&["nft"], words].concat())
    }

    /// Loads a ruleset by `sluice nft -f`.
    ///
    /// # Panics
    /// When it is refused.
    pub fn load(&self, ruleset: &str) {
        let file = self.folder.path().join("load.nft");
        std::fs::write(&file, ruleset).expect("the ruleset is written");
        self.nft(&["-f", &file.display().to_string()]);
    }

    /// Packets that the rule with this comment (or the only counter on its line) has counted.
    ///
    /// # Panics
    /// When there is no such rule.
    pub fn packets(&self, comment: &str) -> u64 {
        let listing = self.nft(&["list", "ruleset"]);
        let line = listing
            .lines()
            .find(|line| line.contains(&format!("comment \"{comment}\"")));
        let line = line.unwrap_or_else(|| panic!("no rule \"{comment}\" in:\n{listing}"));
        let mut words = line
            .split_whitespace()
            .skip_while(|&word| word != "packets");
        words
            .nth(1)
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no counter: {line}"))
    }

    /// Ends the daemon at once, as a crash would, and starts it again on the same files.
    ///
    /// # Panics
    /// When it does not start again.
    pub fn kill_and_restart(&mut self, namespace: &Namespace) {
        self.kill();
        self.restart(namespace);
    }

    /// Where the daemon keeps what outlives it.
    pub fn state(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a daemon that has ended again on the same files.
    ///
    /// # Panics
    /// When it does not start again.
    pub fn restart(&mut self, namespace: &Namespace) {
        self.child = Self::spawn(namespace, self.folder.path());
        if let Err(log) = self.wait() {
            panic!("the daemon did not start again:\n{log}");
        }
    }

    /// Ends the daemon at once, as a crash would.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        self.child.kill().expect("the daemon is there");
        self.child.wait().expect("the daemon has ended");
    }

    /// Asks the daemon to stop and waits; returns whether it ended with status 0.
    ///
    /// # Panics
    /// When it is not there.
    pub fn stop(&mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the daemon is there");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && !self.stop() {
            // It did not listen; a failure here means that it has ended meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
        }
    }
}

/// Two hosts and a wire between them.
#[derive(Debug)]
pub struct Wire {
    /// The host at the left, 10.0.0.1 and fd00::1 on `eth0`.
    pub left: Namespace,
    /// The host at the right, 10.0.0.2 and fd00::2 on `eth0`.
    pub right: Namespace,
    /// The firewall's namespace with the devices `left` and `right`.
    pub firewall: Namespace,
    /// The daemon.
    pub daemon: Daemon,
}

/// The ports of a wire, for an appliance file.
pub const PORTS: &str = r#"
[[port]]
device = "left"
peer = "right"
prepare = true

[[port]]
device = "right"
peer = "left"
prepare = true
"#;

impl Wire {
    /// A wire with this ruleset and the default settings.
    pub fn new(ruleset: &str) -> Self {
        Self::with(
            &format!("[dataplane]\nmode = \"wire\"\n{PORTS}"),
            ruleset,
            1500,
        )
    }

    /// A wire with this appliance file, ruleset and MTU of all devices.
    ///
    /// # Panics
    /// When the machine does not let us make namespaces, or the daemon does not start.
    pub fn with(appliance: &str, ruleset: &str, mtu: u32) -> Self {
        let (left, right, firewall) = Self::hosts(mtu);
        let daemon = Daemon::start(&firewall, appliance, ruleset);
        Self {
            left,
            right,
            firewall,
            daemon,
        }
    }

    /// The hosts and the firewall's namespace, without a daemon.
    ///
    /// # Panics
    /// When the machine does not let us make namespaces.
    pub fn hosts(mtu: u32) -> (Namespace, Namespace, Namespace) {
        Self::try_hosts(mtu).expect("namespaces can be made")
    }

    fn try_hosts(mtu: u32) -> io::Result<(Namespace, Namespace, Namespace)> {
        let firewall = Namespace::new("firewall")?;
        firewall.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        let host = |name: &str, mac, address: &str, address6: &str| -> io::Result<Namespace> {
            let host = Namespace::new(name)?;
            host.add_veth("eth0", &firewall, name)?;
            host.set_mac("eth0", mac)?;
            host.set_mtu("eth0", mtu)?;
            firewall.set_mtu(name, mtu)?;
            firewall.set_up(name)?;
            host.set_up("eth0")?;
            host.add_address("eth0", address)?;
            host.add_address("eth0", address6)?;
            Ok(host)
        };
        let left = host("left", LEFT_MAC, "10.0.0.1/24", "fd00::1/64")?;
        let right = host("right", RIGHT_MAC, "10.0.0.2/24", "fd00::2/64")?;
        Ok((left, right, firewall))
    }

    /// Raw sockets at the left and the right host.
    ///
    /// # Panics
    /// When they cannot be opened.
    pub fn sockets(&self) -> (RawSocket, RawSocket) {
        let open = |host| RawSocket::open(host, "eth0").expect("a raw socket");
        (open(&self.left), open(&self.right))
    }

    /// Whether `to` answers a ping from the left host.
    pub fn pings(&self, to: &str) -> bool {
        self.left
            .sh(&format!("ping -c 2 -i 0.05 -W 2 {to}"))
            .is_ok()
    }
}
