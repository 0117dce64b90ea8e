//! What control changes of a flow by hand (conntrack(8) `-U`), all of it at once.

use super::event::{FlowEventKind, changed};
use super::flow::FlowId;
use super::protocol;
use super::state::status;
use super::tracker::Tracker;

/// What is to be another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The protocol's state, by its name; one that the protocol does not have changes nothing.
    pub state: Option<String>,
    /// The bits of the second number become those of the first.
    pub mark: Option<(u32, u32)>,
    /// Label bits that are set.
    pub label_set: u128,
    /// Label bits that are cleared.
    pub label_clear: u128,
    /// Status bits that are set: of `ASSURED`, `SEEN_REPLY` and `FIXED_TIMEOUT`; none can be cleared.
    pub status: u32,
    /// Nanoseconds until it ends, from now on; nothing to a flow whose timeout was fixed before.
    pub timeout_ns: Option<u64>,
}

/// An update by hand may be of anything, as that of the kernel.
const ANYTHING: u8 = changed::REPLY
    | changed::ASSURED
    | changed::PROTOCOL
    | changed::MARK
    | changed::LABEL
    | changed::HELPER;

/// Status bits that control may set.
const SETTABLE: u32 = status::ASSURED | status::SEEN_REPLY | status::FIXED_TIMEOUT;

impl Tracker {
    /// Changes a flow; `false` when it has ended. Told as one update.
    pub fn change(&self, id: FlowId, change: &Change, now_ns: u64, wall_ns: u64) -> bool {
        self.with_flow(id, |entry| {
            if let Some(name) = &change.state {
                let _locked = entry.lock();
                let old = entry.state();
                if let Some((new, class)) = protocol::in_state(entry.protocol(), &old, name) {
                    entry.set_state(&old, &new);
                    entry.set_class(class);
                }
            }
            if let Some((mark, mask)) = change.mark {
                entry.set_mark(entry.mark() & !mask | mark & mask);
            }
            entry.change_label(change.label_set, change.label_clear);
            let before = entry.set_status(change.status & SETTABLE);
            let fixed = before & status::FIXED_TIMEOUT != 0;
            if let Some(ns) = change.timeout_ns.filter(|_| !fixed) {
                entry.set_deadline_ns(now_ns.saturating_add(ns));
                self.table.rearm(id.index.0);
            }
            let kind = FlowEventKind::Update(ANYTHING);
            self.table.tell(self.seat(), kind, id.index.0, wall_ns);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::event::FlowEventKind;
    use crate::conntrack::protocol::ProtocolState;
    use crate::conntrack::testing::{Ends, SECOND, Stand, settings, tcp, udp};
    use crate::conntrack::{CtState, Direction, Flow, FlowIndex, Settings, TimeoutClass, Tuple};

    const ENDS: Ends = Ends {
        src: 1,
        dst: 2,
        sport: 1000,
        dport: 80,
    };
    const SYN: u8 = 2;
    const ACK: u8 = 16;

    /// A connection between these ends that nobody has seen begin.
    fn made(state: &str, now_ns: u64) -> Flow {
        let mut original = Tuple {
            sport: ENDS.sport,
            dport: ENDS.dport,
            protocol: 6,
            l3: 2,
            ..Tuple::default()
        };
        original.src[..4].copy_from_slice(&[10, 2, 0, 1]);
        original.dst[..4].copy_from_slice(&[10, 2, 0, 2]);
        let (state, class) = protocol::in_state(6, &ProtocolState::default(), state).unwrap();
        Flow {
            id: FlowId {
                index: FlowIndex::NONE,
                generation: 0,
            },
            number: 0,
            original,
            reply: protocol::invert(&original).unwrap(),
            status: status::CONFIRMED,
            state,
            class,
            policy: 0,
            expires_ns: now_ns + 50 * SECOND,
            started_wall_ns: now_ns,
            mark: 0,
            label: 0,
            packets: [0; 2],
            bytes: [0; 2],
            master: None,
            helper: 0,
            offsets: [super::super::Offsets::NONE; 2],
            proxied: super::super::Proxied::default(),
            translation: 0,
            worker: 0,
        }
    }

    #[test]
    fn a_connection_made_by_hand_takes_up_what_the_hosts_are_doing() {
        let tracker = Tracker::new(settings(100), 1, 1).unwrap();
        let mut stand = Stand::new(&tracker, 0);
        let id = tracker
            .add(&made("ESTABLISHED", stand.now), stand.now)
            .unwrap();
        // Without loose tracking a segment in mid-stream begins nothing: it is this flow's.
        let mut strict = (*tracker.settings()).clone();
        strict.rules.loose = false;
        tracker.set_settings(strict);
        let there = stand.one(&tcp(ENDS, ACK, 70_000, 90_000));
        assert_eq!(
            (there.flow, there.direction),
            (id.index, Direction::Original)
        );
        let back = stand.one(&tcp(ENDS.answer(), ACK, 90_000, 70_000));
        assert_eq!((back.flow, back.state), (id.index, CtState::Established));
        let flow = tracker.flow(id.index).unwrap();
        assert_eq!(flow.state_name(), Some("ESTABLISHED"));
        assert_eq!(
            (flow.packets, flow.status & status::SEEN_REPLY),
            ([1, 1], status::SEEN_REPLY)
        );
        // From here on it is judged like any other: this one is far out of the window.
        let wrong = stand.one(&tcp(ENDS, ACK, 70_000 + (1 << 30), 90_000));
        assert_eq!(wrong.state, CtState::Invalid);
    }

    #[test]
    fn what_is_asked_for_changes_and_nothing_else() {
        let tracker = Tracker::new(settings(100), 1, 1).unwrap();
        let mut stand = Stand::new(&tracker, 0);
        let flow = stand.one(&tcp(ENDS, SYN, 100, 0)).flow;
        let before = tracker.flow(flow).unwrap();
        let now = stand.now + SECOND;
        let change = |change: Change| {
            assert!(tracker.change(before.id, &change, now, now));
            tracker.flow(flow).unwrap()
        };
        assert_eq!(change(Change::default()), before);
        let marked = change(Change {
            mark: Some((0xff, 0x0f)),
            label_set: 1 << 127 | 1,
            ..Change::default()
        });
        assert_eq!((marked.mark, marked.label), (0x0f, 1 << 127 | 1));
        let unlabelled = change(Change {
            label_clear: 1,
            ..Change::default()
        });
        assert_eq!(unlabelled.label, 1 << 127);
        // Only bits that may be set are. The timeout is the last one that is given.
        let seen = change(Change {
            status: u32::MAX,
            timeout_ns: Some(7 * SECOND),
            ..Change::default()
        });
        assert_eq!(seen.status, before.status | SETTABLE);
        assert_eq!(seen.expires_ns, now + 7 * SECOND);
        let later = change(Change {
            timeout_ns: Some(9 * SECOND),
            ..Change::default()
        });
        assert_eq!(later.expires_ns, now + 7 * SECOND, "it is fixed");
        let closing = change(Change {
            state: Some("TIME_WAIT".into()),
            ..Change::default()
        });
        assert_eq!(closing.state_name(), Some("TIME_WAIT"));
        assert_eq!(closing.class, TimeoutClass::TcpTimeWait);
        assert_eq!((closing.mark, closing.expires_ns), (0x0f, now + 7 * SECOND));
        let odd = change(Change {
            state: Some("COOKIE_WAIT".into()),
            ..Change::default()
        });
        assert_eq!(odd, closing);
        assert!(tracker.delete(before.id, now));
        assert!(!tracker.change(before.id, &Change::default(), now, now));
    }

    #[test]
    fn a_change_is_told_once_and_a_shorter_life_is_heeded() {
        let told = Settings {
            events: true,
            ..settings(100)
        };
        let tracker = Tracker::new(told, 1, 1).unwrap();
        let mut stand = Stand::new(&tracker, 0);
        let flow = stand.one(&udp(ENDS)).flow;
        let id = tracker.flow(flow).unwrap().id;
        let events = |seat| std::iter::from_fn(|| tracker.pop_event(seat)).count();
        events(0);
        let change = Change {
            mark: Some((1, u32::MAX)),
            status: status::SEEN_REPLY,
            timeout_ns: Some(SECOND),
            ..Change::default()
        };
        assert!(tracker.change(id, &change, stand.now, stand.now));
        let told = tracker.pop_event(1).expect("it is told");
        assert!(matches!(told.kind, FlowEventKind::Update(_)));
        assert_eq!((told.flow.mark, events(1)), (1, 0));
        for _ in 0..3 {
            stand.now += SECOND;
            stand.worker.tick(stand.now, stand.now);
        }
        assert_eq!(tracker.count(), 0);
    }

    #[test]
    fn every_state_that_is_shown_can_be_set() {
        for (number, names) in [
            (
                6,
                &[
                    "NONE",
                    "SYN_SENT",
                    "SYN_RECV",
                    "ESTABLISHED",
                    "FIN_WAIT",
                    "CLOSE_WAIT",
                    "LAST_ACK",
                    "TIME_WAIT",
                    "CLOSE",
                    "SYN_SENT2",
                ][..],
            ),
            (
                132,
                &[
                    "CLOSED",
                    "COOKIE_WAIT",
                    "COOKIE_ECHOED",
                    "ESTABLISHED",
                    "SHUTDOWN_SENT",
                    "SHUTDOWN_RECD",
                    "SHUTDOWN_ACK_SENT",
                    "HEARTBEAT_SENT",
                ],
            ),
            (
                33,
                &[
                    "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT",
                ],
            ),
        ] {
            for name in names {
                let made = protocol::in_state(number, &ProtocolState::default(), name);
                let (state, class) = made.expect(name);
                assert_eq!(protocol::state_name(number, &state), Some(*name));
                assert_eq!(class.protocol(), number);
            }
        }
        assert!(protocol::in_state(17, &ProtocolState::default(), "ESTABLISHED").is_none());
        assert_eq!(
            protocol::class(17, status::SEEN_REPLY),
            TimeoutClass::UdpUnreplied
        );
        let stream = status::SEEN_REPLY | status::ASSURED;
        assert_eq!(protocol::class(17, stream), TimeoutClass::UdpReplied);
        assert_eq!(protocol::class(1, 0), TimeoutClass::Icmp);
        assert_eq!(protocol::class(89, 0), TimeoutClass::Generic);
    }
}
