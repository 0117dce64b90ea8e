//! A server program in a namespace, for as long as a test needs it.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sluice_control::netns::Namespace;

/// A running server; it is ended when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts `line` (a command without quotes) in a namespace; what it says goes into `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(namespace: &Namespace, line: &str, log: &Path) -> Self {
        let file = std::fs::File::create(log).expect("the log is made");
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).stdin(Stdio::null());
        command
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file);
        let child = namespace.spawn(&mut command).expect("the server starts");
        Self { child }
    }

    /// Waits until a port of the server's own namespace takes connections.
    ///
    /// # Panics
    /// When it does not within 10 s.
    #[must_use]
    pub fn listening(mut self, namespace: &Namespace, address: &str, log: &Path) -> Self {
        let begun = Instant::now();
        let open = || {
            namespace
                .run(|| TcpStream::connect(address).is_ok())
                .unwrap_or(false)
        };
        while !open() {
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            let said = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(!ended, "the server at {address} has ended:\n{}", said());
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "nobody listens at {address}:\n{}",
                said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failure means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
