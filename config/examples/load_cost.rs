//! How long a large file takes, and one more rule behind it.

use std::time::Instant;

use sluice_config::engine::{Engine, Request};

fn main() {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "big.nft".to_owned());
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut engine = Engine::workbench();
    for round in 0..2 {
        let prefix = if round == 0 { "" } else { "flush ruleset\n" };
        let started = Instant::now();
        let outcome = engine.run(Request::file(&path, &format!("{prefix}{text}")));
        println!(
            "load: {:?}, {}",
            started.elapsed(),
            outcome.map_or_else(|refusal| refusal.rendered, |_| "ok".to_owned())
        );
        for port in 0..4 {
            let command = format!("add rule inet big c ip saddr 1.2.3.5 tcp dport {port} drop");
            let started = Instant::now();
            let outcome = engine.run(Request::command(&command));
            println!("{:?} {command}: {}", started.elapsed(), outcome.is_ok());
        }
    }
    for command in [
        "add rule inet big c ip saddr 1.2.3.4 tcp dport 80 counter drop",
        "insert rule inet big c ip saddr 1.2.3.4 tcp dport 81 counter drop",
        "add rule inet big c position 50000 ip saddr 1.2.3.4 tcp dport 82 counter drop",
        "delete rule inet big c handle 60000",
        "add chain inet big d",
    ] {
        let started = Instant::now();
        let outcome = engine.run(Request::command(command));
        println!(
            "{:?} {command}: {}",
            started.elapsed(),
            outcome.map_or_else(|refusal| refusal.rendered, |_| "ok".to_owned())
        );
    }
    println!(
        "compiled: {:?}",
        engine.live().map(|live| live.program().to_bytes().len())
    );
    let started = Instant::now();
    let outcome = engine.run(Request::command("list ruleset"));
    println!(
        "list: {:?}, {} bytes",
        started.elapsed(),
        outcome.map_or(0, |reply| reply.output.len())
    );
}
