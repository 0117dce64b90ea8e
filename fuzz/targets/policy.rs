//! Any text as the policy of a workbench: it is checked, compiled and listed, or refused, without a
//! panic or a hang; and what is listed is taken back and lists the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_config::engine::{Engine, ListOptions, Request};

/// The ruleset as it is listed, without what the time changes.
fn list(engine: &mut Engine) -> String {
    let request = Request {
        options: ListOptions {
            stateless: true,
            ..ListOptions::default()
        },
        ..Request::command("list ruleset")
    };
    match engine.run(request) {
        Ok(reply) => reply.output,
        Err(refusal) => panic!("no listing: {}", refusal.rendered),
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut engine = Engine::workbench();
    if engine.run(Request::file("policy", text)).is_err() {
        return;
    }
    let listed = list(&mut engine);
    let mut again = Engine::workbench();
    if let Err(refusal) = again.run(Request::file("listed", &listed)) {
        panic!("not taken back: {}\n{listed}", refusal.rendered);
    }
    assert_eq!(list(&mut again), listed);
});
