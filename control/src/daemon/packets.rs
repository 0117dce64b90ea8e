//! Log and trace events: from the workers' queues, put into words, to the hub.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sluice_dataplane::program::Verdict;
use sluice_dataplane::worker::event::{Event, EventKind, EventQueue};

use super::publish::{History, Past};
use super::ruleset::EnginePolicy;
use super::wire::{Wire, port_label, runs};
use crate::api::wire::Happening;
use crate::events::Hub;
use crate::packet_text::{self, LogLine};

/// How long to rest when no event was there.
const REST: Duration = Duration::from_millis(20);

/// Carries events to the hub on a thread of its own, as long as the wire runs.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn carry(wire: &Arc<Wire>, hub: Hub) -> io::Result<()> {
    let (queues, history) = wire.event_sources();
    let policy = Arc::clone(wire.policy());
    let wire = Arc::downgrade(wire);
    std::thread::Builder::new()
        .name("packet-events".to_owned())
        .spawn(move || {
            let mut lost = 0;
            while runs(&wire) {
                if !drain(&queues, &history, &policy, &hub) {
                    std::thread::sleep(REST);
                }
                let now = queues.iter().map(|queue| queue.dropped()).sum();
                if now > lost {
                    hub.say(Happening::Lost { count: now - lost });
                    lost = now;
                }
            }
        })?;
    Ok(())
}

/// Takes what is there; says whether there was anything.
fn drain(queues: &[Arc<EventQueue>], history: &History, policy: &EnginePolicy, hub: &Hub) -> bool {
    let mut any = false;
    let mut past: Option<(u64, Option<Past>)> = None;
    for queue in queues {
        while let Some(event) = queue.pop() {
            any = true;
            if past
                .as_ref()
                .is_none_or(|(number, _)| *number != event.generation)
            {
                past = Some((event.generation, history.of(event.generation)));
            }
            let past = past.as_ref().and_then(|(_, past)| past.as_ref());
            hub.say_at(event.wall_ns, words(&event, past, policy));
        }
    }
    any
}

fn words(event: &Event, past: Option<&Past>, policy: &EnginePolicy) -> Happening {
    let port = |id| {
        past.map(|past| port_label(&past.ports, id))
            .unwrap_or_default()
    };
    let (in_port, out_port) = (port(event.in_port), port(event.out_port));
    match event.kind {
        EventKind::Log(id) => {
            let log = past.and_then(|past| past.program.tables().logs().get(id.0 as usize));
            let prefix = log.map(|log| log.prefix.clone()).unwrap_or_default();
            let line = LogLine {
                prefix: &prefix,
                in_port: &in_port,
                out_port: &out_port,
                mark: event.mark,
            };
            let captured = usize::from(event.captured).min(event.frame.len());
            let text = packet_text::log(line, &event.frame[..captured], event.frame_len);
            let level = log.map_or(4, |log| log.level);
            Happening::Log {
                prefix,
                level,
                text,
                in_port,
                out_port,
                length: event.frame_len,
            }
        }
        EventKind::TraceRule(verdict) => trace(event, policy, "verdict", verdict),
        EventKind::TracePolicy(verdict) => trace(event, policy, "policy", verdict),
    }
}

fn trace(event: &Event, policy: &EnginePolicy, whose: &str, verdict: Verdict) -> Happening {
    let wanted = [event.rule.0].into();
    let names = policy.rule_names(Some(&wanted));
    let place = names
        .get(&event.rule.0)
        .map_or("a rule that is gone", String::as_str);
    let captured = usize::from(event.captured).min(event.frame.len());
    let summary = packet_text::summary(&event.frame[..captured]);
    let verdict = match verdict {
        Verdict::Accept => "accept",
        Verdict::Drop => "drop",
        Verdict::Continue => "continue",
        Verdict::Return => "return",
        Verdict::Jump { .. } => "jump",
        Verdict::Goto { .. } => "goto",
    };
    let text = format!("{place} ({whose} {verdict}) {summary}");
    Happening::Trace {
        packet: event.packet,
        text,
    }
}
