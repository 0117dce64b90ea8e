//! Real clients and servers across whatever lies between two hosts.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sluice_control::netns::Namespace;

use crate::server::Server;

/// A shell on a server, reached by ssh from a client, that sends some hundred kilobytes. The server listens
/// at `address`; its keys lie in `folder`.
///
/// # Panics
/// When it does not come through.
pub fn shell(client: &Namespace, server: &Namespace, address: &str, folder: &Path) {
    let key = |name: &str| {
        let path = folder.join(name);
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&path);
        assert!(client.output(&mut command).unwrap().status.success());
        path
    };
    let (host, user) = (key("host"), key("user"));
    fs::copy(user.with_extension("pub"), folder.join("authorized")).unwrap();
    let settings = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
         ListenAddress {address}:22\nPidFile none\n",
        host.display(),
        folder.join("authorized").display()
    );
    fs::write(folder.join("sshd.conf"), settings).unwrap();
    // The server wants it to be there; where it cannot be made, the server says so.
    fs::create_dir_all("/run/sshd").ok();
    let log = folder.join("sshd.log");
    // It starts itself again, so it must know where it lies.
    let path = std::env::var_os("PATH").unwrap();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join("sshd"));
    let sshd = places.find(|place| place.exists()).unwrap();
    let config = folder.join("sshd.conf");
    let line = format!("{} -D -e -f {}", sshd.display(), config.display());
    let _server =
        Server::start(server, &line, &log).listening(server, &format!("{address}:22"), &log);
    let mut command = Command::new("ssh");
    command
        .args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
        ])
        .args([
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "ConnectTimeout=5",
            "-i",
        ])
        .arg(&user)
        .args([
            &format!("root@{address}"),
            "head -c 300000 /dev/zero | wc -c",
        ])
        .stdin(Stdio::null());
    let said = client.output(&mut command).unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    let why = || fs::read_to_string(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&said.stdout);
    assert_eq!(text.trim(), "300000", "{errors}\n{}", why());
}

/// iperf3 from a client to a server at `address`, once with each of these options.
///
/// # Panics
/// When a run fails.
pub fn bulk(client: &Namespace, server: &Namespace, address: &str, folder: &Path, modes: &[&str]) {
    let log = folder.join("iperf3.log");
    // It takes a connection that says nothing for a client, so its readiness is not asked for.
    let _server = Server::start(server, "iperf3 -s", &log);
    for options in modes {
        let line = format!("iperf3 -c {address} {options} -J");
        let mut report = client.sh(&line);
        for _ in 0..50 {
            // A server still busy with the last run is an error told in a report of its own.
            if report
                .as_ref()
                .is_ok_and(|report| !report.contains("\"error\""))
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
            report = client.sh(&line);
        }
        let report = report.unwrap_or_else(|error| panic!("{options}: {error}"));
        assert!(
            report.contains("\"end\"") && !report.contains("\"error\""),
            "{report}"
        );
    }
}
