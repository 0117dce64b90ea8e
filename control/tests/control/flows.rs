//! Flows over the control API and on the command line, of a tracker with flows of its own making.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use sluice_control::api::wire::{DroppedFrame, PortRequest, PortStatus, WorkerStatus};
use sluice_control::daemon::plane::{BatchSizes, Plane, PlaneError};
use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::protocol::ProtocolState;
use sluice_dataplane::conntrack::tuple::address_bytes;
use sluice_dataplane::conntrack::{
    Flow, FlowId, FlowIndex, Offsets, Proxied, ProxyEvent, Settings, TimeoutClass, Tracker, Tuple,
    protocol, status,
};
use sluice_dataplane::worker::{Clock, SystemClock};

use crate::process::{SLUICE, told};
use crate::server::Server;

const SECOND_NS: u64 = 1_000_000_000;

/// Nothing but a tracker.
struct Tracking(Arc<Tracker>);

impl Plane for Tracking {
    fn mode(&self) -> &'static str {
        "wire"
    }

    fn ports(&self) -> Vec<PortStatus> {
        Vec::new()
    }

    fn add_port(&self, _port: &PortRequest) -> Result<PortStatus, PlaneError> {
        Err(PlaneError::Workbench)
    }

    fn remove_port(&self, name: &str) -> Result<(), PlaneError> {
        Err(PlaneError::Unknown(name.into()))
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        Vec::new()
    }

    fn batch_sizes(&self) -> Vec<BatchSizes> {
        Vec::new()
    }

    fn drops(&self) -> [u64; DropReason::COUNT] {
        [0; DropReason::COUNT]
    }

    fn dropped_frames(&self) -> Vec<DroppedFrame> {
        Vec::new()
    }

    fn lost_events(&self) -> u64 {
        0
    }

    fn tracker(&self) -> Option<Arc<Tracker>> {
        Some(Arc::clone(&self.0))
    }
}

/// A flow of UDP or ICMP from `src` to `dst`.
fn flow(number: u8, src: &str, dst: &str, ports: (u16, u16), bytes: u64) -> Flow {
    let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let original = Tuple {
        src: address_bytes(src),
        dst: address_bytes(dst),
        sport: ports.0,
        dport: ports.1,
        protocol: number,
        l3: if src.is_ipv4() { 2 } else { 10 },
        zone: 0,
        domain: 0,
    };
    Flow {
        id: FlowId {
            index: FlowIndex::NONE,
            generation: 0,
        },
        number: 0,
        original,
        reply: protocol::invert(&original).unwrap(),
        status: status::CONFIRMED | status::SEEN_REPLY,
        state: ProtocolState::default(),
        class: TimeoutClass::UdpReplied,
        policy: 0,
        expires_ns: SystemClock.monotonic_ns() + 100 * SECOND_NS + SECOND_NS / 2,
        started_wall_ns: SystemClock.wall_ns() - SECOND_NS / 2,
        mark: u32::from(ports.0) % 7,
        label: 0,
        packets: [2, 1],
        bytes: [bytes, 50],
        master: None,
        helper: 0,
        offsets: [Offsets::NONE; 2],
        proxied: Proxied::default(),
        translation: 0,
        worker: 0,
    }
}

/// Three flows of UDP and one of ICMP.
async fn server() -> (Server, Arc<Tracker>) {
    let settings = Settings {
        max: 4096,
        ..Settings::default()
    };
    let tracker = Tracker::new(settings, 1, 1).unwrap();
    let wall_ns = SystemClock.wall_ns();
    for flow in [
        flow(17, "10.0.0.1", "192.0.2.1", (1000, 53), 300),
        flow(17, "10.0.0.2", "192.0.2.1", (1001, 53), 100),
        flow(17, "fd00::1", "2001:db8::1", (1002, 123), 200),
        flow(1, "10.0.0.1", "192.0.2.9", (77, 8 << 8), 84),
    ] {
        tracker.add(&flow, wall_ns).unwrap();
    }
    let plane = Arc::new(Tracking(Arc::clone(&tracker)));
    (Server::with_plane("", plane).await, tracker)
}

async fn listed(server: &Server, method: &str, query: &str) -> Vec<Value> {
    let (status, body) = server.ask(method, &format!("/v1/flows{query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    // The answer comes in chunks: the lines that are objects are the flows.
    let lines = body.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn flows_are_listed_filtered_and_sorted() {
    let (server, _) = server().await;
    assert_eq!(listed(&server, "GET", "").await.len(), 4);
    for (query, count) in [
        ("?protocol=udp", 3),
        ("?address=10.0.0.1", 2),
        ("?dst=192.0.2.0/24&port=53", 2),
        ("?port=domain", 2),
        ("?protocol=udp&dport=ntp", 1),
        ("?protocol=icmp&port=domain", 0),
        ("?sport=domain", 0),
        ("?family=ipv6", 1),
        ("?icmp_id=77", 1),
        ("?status=assured", 0),
        ("?limit=2", 2),
        ("?limit=0", 0),
        ("?protocol=tcp", 0),
    ] {
        assert_eq!(listed(&server, "GET", query).await.len(), count, "{query}");
    }
    let bytes = |flow: &Value| flow["original"]["bytes"].as_u64().unwrap();
    let sorted = listed(&server, "GET", "?sort=bytes&limit=3").await;
    assert_eq!(
        sorted.iter().map(bytes).collect::<Vec<_>>(),
        [300, 200, 100]
    );
    let icmp = &listed(&server, "GET", "?protocol=icmp").await[0];
    assert_eq!(icmp["original"]["icmp"]["type"], 8);
    assert_eq!(icmp["reply"]["icmp"]["type"], 0);
    // Of a hundred seconds, of which the test takes some.
    let left = icmp["timeout"].as_u64().unwrap();
    assert!((90..=100).contains(&left), "{left}");
    server.stop().await;
}

#[tokio::test]
async fn a_query_with_a_mistake_is_refused_by_name() {
    let (server, _) = server().await;
    for (query, words) in [
        ("?src=10.0.0.1/40", "src: "),
        ("?prot=udp", "prot"),
        ("?sort=size", "allowed: bytes"),
        ("?status=asured", "unreplied"),
        ("?port=domian", "neither a number nor a known service"),
    ] {
        let (status, body) = server.ask("GET", &format!("/v1/flows{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert!(body.contains(words), "{query}: {body}");
    }
    let (status, body) = server.ask("DELETE", "/v1/flows").await;
    assert_eq!((status, body.contains("all=true")), (400, true), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn flows_are_counted_and_ended() {
    let (server, tracker) = server().await;
    let (_, body) = server.ask("GET", "/v1/flows/count").await;
    let count: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&count["flows"], &count["protocols"]["udp"]),
        (&4.into(), &3.into())
    );
    assert_eq!(
        listed(&server, "DELETE", "?src=10.0.0.0/8&protocol=udp")
            .await
            .len(),
        2
    );
    assert_eq!(tracker.count(), 2);
    assert_eq!(listed(&server, "DELETE", "?all=true").await.len(), 2);
    assert_eq!(listed(&server, "GET", "").await.len(), 0);
    server.stop().await;
}

#[tokio::test]
async fn settings_change_at_run_time() {
    let (server, tracker) = server().await;
    let change = r#"{"loose": false, "timeouts": {"tcp": {"established": 77}}}"#;
    let (status, body) = server.post("/v1/conntrack", "", change).await;
    assert_eq!(status, 200, "{body}");
    let settings = tracker.settings();
    assert!(!settings.rules.loose && settings.rules.checksum);
    assert_eq!(settings.timeouts.seconds(TimeoutClass::TcpEstablished), 77);
    let (status, body) = server
        .post(
            "/v1/conntrack",
            "",
            r#"{"timeouts": {"tcp": {"establisht": 1}}}"#,
        )
        .await;
    assert_eq!(status, 400);
    assert!(body.contains("timeouts.tcp.establisht"), "{body}");
    let (_, body) = server.ask("GET", "/v1/conntrack").await;
    let conntrack: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(conntrack["flows"], 4);
    assert_eq!(conntrack["settings"]["timeouts"]["tcp"]["established"], 77);
    assert_eq!(conntrack["invalid"]["tcp_window"], 0);
    server.stop().await;
}

#[tokio::test]
async fn what_the_syn_proxy_counts_is_told() {
    let (server, tracker) = server().await;
    let worker = tracker.worker(0);
    for event in [
        ProxyEvent::Syn,
        ProxyEvent::Syn,
        ProxyEvent::Syn,
        ProxyEvent::CookieInvalid,
        ProxyEvent::CookieValid,
        ProxyEvent::CookieValid,
        ProxyEvent::CookieRetransmitted,
    ] {
        worker.count_proxy(event);
    }
    let (_, body) = server.ask("GET", "/v1/conntrack").await;
    let conntrack: Value = serde_json::from_str(&body).unwrap();
    let counted = &conntrack["synproxy"];
    for (name, count) in [
        ("syn_received", 3),
        ("cookie_invalid", 1),
        ("cookie_valid", 2),
        ("cookie_retrans", 1),
        ("conn_reopened", 0),
    ] {
        assert_eq!(counted[name], count, "{name}: {counted}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_workbench_tracks_nothing_and_says_so() {
    let server = Server::start("").await;
    let (status, body) = server.ask("GET", "/v1/flows").await;
    assert_eq!(status, 404);
    assert!(body.contains("workbench"), "{body}");
    server.stop().await;
}

/// The executable against the server.
async fn sluice(server: &Server, words: &'static [&'static str]) -> (i32, String, String) {
    let socket = server.socket.clone();
    tokio::task::spawn_blocking(move || {
        let mut command = Command::new(SLUICE);
        command
            .args(words)
            .env("SLUICE_SOCKET", socket)
            .stdin(Stdio::null());
        told(&command.output().unwrap())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn conntrack_prints_and_ends_as_the_real_one() {
    const NAME: &str = "conntrack v1.4.7 (conntrack-tools)";
    let (server, tracker) = server().await;
    let (code, out, said) = sluice(&server, &["conntrack", "-L", "-p", "icmp"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(said, format!("{NAME}: 1 flow entries have been shown.\n"));
    let line = "icmp     1 100 src=10.0.0.1 dst=192.0.2.9 type=8 code=0 id=77 packets=2 bytes=84 \
                src=192.0.2.9 dst=10.0.0.1 type=0 code=0 id=77 packets=1 bytes=50 mark=0 \
                delta-time=0 use=1\n";
    assert_eq!(out, line);
    let (code, out, said) = sluice(&server, &["conntrack", "-C"]).await;
    assert_eq!((code, out.as_str(), said.as_str()), (0, "4\n", ""));
    let get = &[
        "conntrack",
        "-G",
        "-p",
        "udp",
        "-s",
        "10.0.0.1",
        "-d",
        "192.0.2.1",
        "--sport",
        "1000",
        "--dport",
        "53",
        "-o",
        "save",
    ];
    let (code, out, _) = sluice(&server, get).await;
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "-A -t 100 -u SEEN_REPLY -s 10.0.0.1 -d 192.0.2.1 -r 192.0.2.1 -q 10.0.0.1 -p udp \
         --sport 1000 --dport 53 --reply-port-src 53 --reply-port-dst 1000\n"
    );
    let (code, out, said) = sluice(&server, &["conntrack", "-D", "-f", "ipv6"]).await;
    assert_eq!((code, out.lines().count()), (0, 1));
    assert_eq!(said, format!("{NAME}: 1 flow entries have been deleted.\n"));
    let (code, _, said) = sluice(&server, &["conntrack", "-D", "-f", "ipv6"]).await;
    assert_eq!(
        (code, said),
        (1, format!("{NAME}: 0 flow entries have been deleted.\n"))
    );
    let (code, out, _) = sluice(&server, &["conntrack", "-S"]).await;
    assert_eq!(code, 0);
    assert!(
        out.starts_with("cpu=0   \tfound=0 invalid=0 insert="),
        "{out}"
    );
    assert!(out.ends_with("chaintoolong=0 \n"), "{out}");
    let (code, _, said) = sluice(&server, &["conntrack", "-F"]).await;
    assert_eq!(
        (code, said),
        (
            0,
            format!("{NAME}: connection tracking table has been emptied.\n")
        )
    );
    assert_eq!(tracker.count(), 0);
    let (code, _, said) = sluice(&server, &["conntrack", "-L", "-o", "foo"]).await;
    assert_eq!(code, 2);
    assert!(
        said.starts_with(&format!("{NAME}: Bad parameter `foo'\nTry ")),
        "{said}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conntrack_makes_and_changes_flows_as_the_real_one() {
    const NAME: &str = "conntrack v1.4.7 (conntrack-tools)";
    let (server, tracker) = server().await;
    let words = |line: &'static str| -> &'static [&'static str] {
        line.split_whitespace().collect::<Vec<_>>().leak()
    };
    let said = |text: &str| format!("{NAME}: {text}\n");
    let run = async |line: &'static str| sluice(&server, words(line)).await;
    let tcp = "conntrack -I -p tcp -t 50 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 \
               --state ESTABLISHED -u SEEN_REPLY,ASSURED -m 5 -w 3";
    let done = run(tcp).await;
    let created = said("1 flow entries have been created.");
    assert_eq!(done, (0, String::new(), created.clone()));
    let listed = run("conntrack -L -s 1.1.1.1").await.1;
    assert!(
        listed.starts_with("tcp      6 ")
            && listed.contains(" ESTABLISHED src=1.1.1.1 dst=1.1.1.2 sport=6 dport=7 packets=0")
            && listed.contains("bytes=0 [ASSURED] mark=5 zone=3 delta-time=0 use=1"),
        "{listed}"
    );
    // There already.
    let exists = said("Operation failed: Such conntrack exists, try -U to update");
    assert_eq!(run(tcp).await, (1, String::new(), exists));
    let again = "conntrack -A -p tcp -t 50 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 \
                 --state ESTABLISHED -w 3";
    let nothing = said("0 flow entries have been added.");
    assert_eq!(run(again).await, (0, String::new(), nothing));
    // By the reply alone, and one whose reply is its own.
    let reply = "conntrack -A -p udp -t 50 -r 1.1.1.1 -q 1.1.1.2 --reply-port-src 6 \
                 --reply-port-dst 7";
    assert_eq!(run(reply).await.2, said("1 flow entries have been added."));
    let ping = "conntrack -I -p icmp -t 50 -s 1.1.1.3 -d 1.1.1.2 --icmp-type 8 --icmp-code 0";
    assert_eq!(run(ping).await.2, created);
    let listed = run("conntrack -L -d 1.1.1.1 -p udp").await.1;
    assert!(
        listed.contains("[UNREPLIED] src=1.1.1.1 dst=1.1.1.2 sport=6 dport=7"),
        "{listed}"
    );
    for (line, complaint) in [
        (
            "conntrack -I -p icmp -t 5 -s 1.1.1.4 -d 1.1.1.2 --icmp-type 3 --icmp-code 0",
            "Operation failed: invalid parameters",
        ),
        (
            "conntrack -I -p udp -t 5 -s 1.1.1.4 -d 1.1.1.2 --sport 1 --dport 2 -u EXPECTED",
            "Operation failed: Device or resource busy",
        ),
        (
            "conntrack -I -p udp -t 5 -s 1.1.1.4 -d 1.1.1.2 --sport 1 --dport 2 -n 9.9.9.9",
            "-n and -g are not supported here: translations are decided by rules",
        ),
    ] {
        assert_eq!(
            run(line).await,
            (1, String::new(), said(complaint)),
            "{line}"
        );
    }
    // Changed: what is printed is what it is then.
    let (code, out, note) =
        run("conntrack -U -s 1.1.1.1 -m 0xf0/0xf0 -p tcp --state TIME_WAIT").await;
    assert_eq!((code, note), (0, said("1 flow entries have been updated.")));
    assert!(
        out.contains(" TIME_WAIT src=1.1.1.1") && out.contains("mark=245 zone=3"),
        "{out}"
    );
    assert!(out.ends_with("use=2\n"), "{out}");
    let (_, out, _) = run("conntrack -U -s 1.1.1.3 -u ASSURED -t 77").await;
    assert!(
        out.starts_with("icmp     1 ") && out.contains("[ASSURED]"),
        "{out}"
    );
    let left: u32 = out.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!((60..=77).contains(&left), "{out}");
    // Nothing to change, and nobody to change.
    let none = said("0 flow entries have been updated.");
    for line in [
        "conntrack -U",
        "conntrack -U -s 1.1.1.1 -m 245",
        "conntrack -U -s 9.9.9.9 -m 1",
    ] {
        assert_eq!(run(line).await, (1, String::new(), none.clone()), "{line}");
    }
    assert_eq!(tracker.count(), 4 + 3);
    server.stop().await;
}

#[tokio::test]
async fn flows_are_made_and_changed_over_the_api() {
    let (server, tracker) = server().await;
    let new = r#"{"protocol": "sctp", "timeout": 50, "state": "established", "vtags": [1, 2],
        "original": {"src": "fd00::1", "dst": "fd00::2", "sport": 1, "dport": 2},
        "labels": [0, 127], "mark": 7}"#;
    let (status, body) = server.post("/v1/flows", "", new).await;
    assert_eq!(status, 200, "{body}");
    let flow: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&flow["state"], &flow["mark"]),
        (&"ESTABLISHED".into(), &7.into())
    );
    assert_eq!(flow["reply"]["src"], "fd00::2");
    assert_eq!(flow["labels"], serde_json::json!([0, 127]));
    assert_eq!(server.post("/v1/flows", "", new).await.0, 409);
    for (wrong, words) in [
        (
            new.replace("established", "open"),
            "this protocol has no state",
        ),
        (new.replace("fd00::2", "10.0.0.1"), "one family"),
        (new.replace("[0, 127]", "[128]"), "no number from 0 to 127"),
        (new.replace("\"sctp\"", "\"udp\""), "no state"),
        (
            new.replace("\"sport\": 1, ", ""),
            "sport and dport are needed",
        ),
        (
            new.replace("\"mark\": 7", "\"status\": [\"confirmed\"]"),
            "cannot be set",
        ),
        (
            new.replace("\"mark\": 7", "\"role\": \"client\""),
            "only DCCP",
        ),
    ] {
        let (status, body) = server.post("/v1/flows", "", &wrong).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(body.contains(words), "{wrong}: {body}");
    }
    let patch = async |query: &str, body: &str| {
        let path = format!("/v1/flows{query}");
        server.send("PATCH", &path, "", body).await
    };
    let (status, body) = patch("?protocol=sctp", r#"{"labels_del": [0], "mark": "1/1"}"#).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains(r#""labels":[127]"#) && body.contains(r#""mark":7"#),
        "{body}"
    );
    let (status, body) = patch("", r#"{"mark": "1"}"#).await;
    assert_eq!(
        (status, body.contains("to change every flow")),
        (400, true),
        "{body}"
    );
    // UDP and ICMP have no such state: nothing of them changes.
    let (_, body) = patch("?all=true", r#"{"state": "closed", "mark": "99"}"#).await;
    assert_eq!(body.matches("\"protocol\":").count(), 1, "{body}");
    let (_, body) = patch("?all=true", r#"{"mark": "99"}"#).await;
    assert_eq!(body.matches("\"mark\":99").count(), 4, "{body}");
    assert_eq!(tracker.count(), 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_a_table_for_a_person() {
    let (server, _) = server().await;
    let (code, out, said) = sluice(&server, &["flows", "--sort", "bytes", "--limit", "1"]).await;
    assert_eq!(code, 0, "{said}");
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 2, "{out}");
    assert_eq!(rows[0][..4], ["PROTOCOL", "STATE", "FROM", "TO"]);
    assert_eq!(rows[1][..4], ["udp", "-", "10.0.0.1:1000", "192.0.2.1:53"]);
    let (_, out, _) = sluice(&server, &["flows", "count"]).await;
    assert!(out.ends_with("4 flows\n"), "{out}");
    let (code, out, _) = sluice(&server, &["flows", "set", "--timeout", "udp.replied=3m"]).await;
    assert_eq!((code, out.as_str()), (0, "done\n"));
    let (_, out, _) = sluice(&server, &["flows", "tracker"]).await;
    assert!(
        out.contains("udp       replied") && out.contains("180"),
        "{out}"
    );
    let (code, _, said) = sluice(&server, &["flows", "count", "--dport", "domian"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("dport: \"domian\" is neither"), "{said}");
    let (code, out, _) = sluice(&server, &["flows", "count", "--dport", "ntp"]).await;
    assert_eq!(code, 0);
    assert!(out.ends_with("1 flows\n"), "{out}");
    let named = &["flows", "delete", "-p", "udp", "--port", "domain"];
    let (code, out, _) = sluice(&server, named).await;
    assert_eq!((code, out.as_str()), (0, "2 flows ended\n"));
    assert_eq!(sluice(&server, &["flows", "delete"]).await.0, 1);
    server.stop().await;
}
