//! A workbench daemon in this process, on a socket in a folder of its own.

use std::path::PathBuf;
use std::sync::Arc;

use sluice_config::engine::Engine;
use sluice_control::appliance::Appliance;
use sluice_control::client::Client;
use sluice_control::daemon::plane::{Plane, Workbench};
use sluice_control::daemon::ruleset::EnginePolicy;
use sluice_control::daemon::start::{Opened, StartError, run_until};
use sluice_control::events::Hub;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) socket: PathBuf,
    pub(crate) hub: Hub,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), StartError>>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// A daemon with these lines in its appliance file.
    pub(crate) async fn start(lines: &str) -> Self {
        Self::with_plane(lines, Arc::new(Workbench)).await
    }

    /// The same over other ports and workers.
    pub(crate) async fn with_plane(lines: &str, plane: Arc<dyn Plane>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let mut appliance = Appliance::read("test.toml", lines).unwrap();
        appliance.control.socket.clone_from(&socket);
        let opened = Opened::open(&appliance).unwrap();
        let policy = Arc::new(EnginePolicy::new(Engine::workbench()));
        let (stop, stopped) = oneshot::channel();
        let hub = Hub::default();
        let teller = hub.clone();
        let task = tokio::spawn(async move {
            let stop = async move {
                let _ = stopped.await;
            };
            run_until(&appliance, opened, policy, plane, teller, stop).await
        });
        Self {
            socket,
            hub,
            stop,
            task,
            _folder: folder,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        assert!(!self.socket.exists(), "the socket is removed");
    }

    /// One request in plain HTTP: status and body.
    pub(crate) async fn http(&self, request: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // A pcapng file is no text.
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// A request without a body.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        self.http(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ))
        .await
    }

    /// A request with a JSON body and perhaps further headers.
    pub(crate) async fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        self.send("POST", path, headers, body).await
    }

    /// The same with another method.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String) {
        self.http(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        ))
        .await
    }
}
