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

/// A file server at an address of a host, with `content` as its only file; its own files lie in `folder`.
///
/// # Panics
/// When it does not start.
pub fn ftp(host: &Namespace, address: &str, folder: &Path, content: &[u8]) -> Server {
    let files = folder.join("ftp");
    std::fs::create_dir_all(&files).expect("a folder");
    std::fs::write(files.join("file"), content).expect("a file");
    let settings = format!(
        "listen=NO\nlisten_ipv6=YES\nbackground=NO\nanonymous_enable=YES\nanon_root={}\n\
         no_anon_password=YES\nrun_as_launching_user=YES\nseccomp_sandbox=NO\nisolate_network=NO\n\
         one_process_model=YES\nport_enable=YES\nconnect_from_port_20=NO\nxferlog_enable=NO\n",
        files.display()
    );
    let path = folder.join("vsftpd.conf");
    std::fs::write(&path, settings).expect("a file");
    let log = folder.join("vsftpd.log");
    Server::start(host, &format!("vsftpd {}", path.display()), &log).listening(
        host,
        &format!("{address}:21"),
        &log,
    )
}

/// The same over TFTP. It takes a moment until it listens.
///
/// # Panics
/// When it does not start.
pub fn tftp(host: &Namespace, address: &str, folder: &Path, content: &[u8]) -> Server {
    use std::os::unix::fs::PermissionsExt;
    let files = folder.join("tftp");
    std::fs::create_dir_all(&files).expect("a folder");
    let file = files.join("file");
    std::fs::write(&file, content).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("it is mine");
    let line = format!(
        "in.tftpd --foreground --address {address}:69 --user root --secure {}",
        files.display()
    );
    Server::start(host, &line, &folder.join("tftpd.log"))
}
