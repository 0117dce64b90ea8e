//! The exposition, as Prometheus's own checker sees it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sluice_control::api::wire::{
    DroppedFrame, NftAnswer, NftCommand, PortRequest, PortStatus, QueueStatus, WorkerStatus,
};
use sluice_control::daemon::plane::{BATCH_BOUNDS, BatchSizes, Plane, PlaneError};
use sluice_dataplane::DropReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::Server;

/// Two ports and a worker with figures that are easy to find again.
struct Figures;

impl Plane for Figures {
    fn mode(&self) -> &'static str {
        "wire"
    }

    fn ports(&self) -> Vec<PortStatus> {
        let port = |name: &str, rx_frames| PortStatus {
            name: name.into(),
            device: "eth0".into(),
            driver: "af-packet".into(),
            index: 1,
            peer: None,
            addresses: Vec::new(),
            group: 0,
            queues: vec![
                QueueStatus {
                    rx_frames,
                    ..QueueStatus::default()
                };
                2
            ],
        };
        vec![port("left \"quoted\"", 11), port("right", 22)]
    }

    fn add_port(&self, _port: &PortRequest) -> Result<PortStatus, PlaneError> {
        Err(PlaneError::Workbench)
    }

    fn remove_port(&self, name: &str) -> Result<(), PlaneError> {
        Err(PlaneError::Unknown(name.into()))
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        vec![WorkerStatus {
            busy_ns: 1_500_000_000,
            restarts: 2,
            ..WorkerStatus::default()
        }]
    }

    fn batch_sizes(&self) -> Vec<BatchSizes> {
        let mut batches = [0; BATCH_BOUNDS.len()];
        (batches[0], batches[6]) = (4, 1);
        vec![BatchSizes {
            batches,
            frames: 68,
        }]
    }

    fn drops(&self) -> [u64; DropReason::COUNT] {
        let mut drops = [0; DropReason::COUNT];
        drops[DropReason::PolicyDrop as usize] = 33;
        drops
    }

    fn dropped_frames(&self) -> Vec<DroppedFrame> {
        Vec::new()
    }

    fn lost_events(&self) -> u64 {
        5
    }
}

async fn scrape(address: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// An address that was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn promtool_finds_nothing_and_the_figures_are_right() {
    let address = free_address();
    let lines = format!("[metrics]\nlisten = \"{address}\"\n");
    let server = Server::with_plane(&lines, Arc::new(Figures)).await;
    let rules = "add table inet t; add counter inet t web; add set inet t s { type ipv4_addr; }; \
                 add element inet t s { 10.0.0.1, 10.0.0.2 }; add chain inet t c; \
                 add rule inet t c counter packets 7 bytes 900 comment \"a \\ b\"; \
                 add rule inet t c counter";
    let command = NftCommand {
        text: Some(rules.to_owned()),
        ..NftCommand::default()
    };
    server
        .client()
        .post::<_, NftAnswer>("/v1/nft", &command)
        .await
        .unwrap();
    let text = scrape(&address).await;
    for line in [
        "sluice_generation 1",
        "sluice_port_rx_frames_total{port=\"left \\\"quoted\\\"\",queue=\"1\"} 11",
        "sluice_worker_busy_seconds_total{worker=\"0\"} 1.5",
        "sluice_worker_restarts_total{worker=\"0\"} 2",
        "sluice_worker_batch_frames_bucket{worker=\"0\",le=\"1\"} 4",
        "sluice_worker_batch_frames_bucket{worker=\"0\",le=\"64\"} 5",
        "sluice_worker_batch_frames_bucket{worker=\"0\",le=\"+Inf\"} 5",
        "sluice_worker_batch_frames_sum{worker=\"0\"} 68",
        "sluice_drops_total{reason=\"policy_drop\"} 33",
        "sluice_drops_total{reason=\"rule_drop\"} 0",
        "sluice_events_lost_total 5",
        "sluice_named_packets_total{family=\"inet\",table=\"t\",name=\"web\"} 0",
        "sluice_set_elements{family=\"inet\",table=\"t\",name=\"s\"} 2",
        "sluice_ruleset_rules 2",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in\n{text}"
        );
    }
    let rule = text
        .lines()
        .find(|line| line.starts_with("sluice_rule_packets_total{"))
        .unwrap();
    assert!(
        rule.contains("comment=\"a \\\\ b\"") && rule.ends_with(" 7"),
        "{rule}"
    );
    assert_eq!(
        text.matches("sluice_rule_bytes_total{").count(),
        1,
        "only rules with a comment"
    );
    promtool(&text);
    every_metric_is_documented(&text);
    server.stop().await;
}

/// `promtool check metrics`; Debian's package prometheus has it.
fn promtool(text: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there (Debian package prometheus)");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

fn every_metric_is_documented(text: &str) {
    let document = include_str!("../../../docs/metrics.md");
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next());
    let mut count = 0;
    for name in names {
        count += 1;
        assert!(
            document.contains(&format!("`{name}`")),
            "docs/metrics.md does not name {name}"
        );
    }
    assert!(count >= 25, "only {count} metrics");
}
