//! Window tracking: whether a segment lies where its receiver would take it.
//!
//! After Rooij, "Real stateful TCP packet filtering in IP Filter" (2001), as Linux does it. Of each
//! side are kept the end of what it has sent, the end of what it may send (the other side's highest
//! acknowledgement plus window) and the largest window that it offered. A segment is right if
//!
//! 1. it does not begin beyond what its sender may send,
//! 2. it does not end before what the receiver may still ask for again,
//! 3. it does not acknowledge what has not been sent,
//! 4. its acknowledgement is not older than a window (or [`LEAST_ACK_WINDOW`]).
//!
//! 1 and 3 are attacks or lost state: outside. 2 and 4 happen by themselves (retransmitted or delayed
//! segments): such a segment is let through and changes nothing.

use super::options::highest;
use super::state::{Connection, MOST_RETRANSMISSIONS, Side, State, flag};
use super::{Kind, Segment, after, before, bits};

/// Acknowledgements may always be as old as this.
const LEAST_ACK_WINDOW: u32 = 66_000;

/// Where a segment was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// In the window, which has moved by it; or the sender's windows are not judged.
    Inside,
    /// Behind it: a repetition that changes nothing.
    Old,
    /// Beyond it.
    Outside,
}

/// Judges a segment and moves the window.
pub(super) fn judge(
    connection: &mut Connection,
    segment: &Segment<'_>,
    reply: bool,
    liberal: bool,
) -> Found {
    let state = connection.state;
    let [first, second] = &mut connection.sides;
    let (sender, receiver) = if reply {
        (second, first)
    } else {
        (first, second)
    };
    let mut sack = segment.ack;
    if receiver.has(flag::SACK) {
        sack = highest(segment.options, segment.acknowledged, sack);
    }
    if meets(sender, receiver, segment, reply, state, sack) {
        return Found::Inside;
    }
    let mut numbers = Numbers {
        seq: segment.seq,
        end: segment.end,
        ack: segment.ack,
        sack,
    };
    numbers.complete(sender, receiver, segment, state);
    match numbers.look(sender, receiver) {
        Found::Inside => {}
        _ if liberal || sender.has(flag::LIBERAL) => return Found::Inside,
        found => return found,
    }
    numbers.move_window(sender, receiver, segment);
    count_retransmission(connection, segment, &numbers, reply);
    Found::Inside
}

/// The first segment of a sender, or a new SYN of one: what it says of itself. Yields whether there is
/// nothing more to judge (the SYN of a simultaneous open).
fn meets(
    sender: &mut Side,
    receiver: &mut Side,
    segment: &Segment<'_>,
    reply: bool,
    state: State,
    sack: u32,
) -> bool {
    let syn = segment.has(bits::SYN);
    let lone = syn && !segment.has(bits::ACK);
    if sender.max_window == 0 {
        if syn {
            introduce(sender, receiver, segment, reply);
            return lone;
        }
        // In mid-stream: the data of this segment has to do.
        sender.end = segment.end;
        sender.max_window = (u32::from(segment.window) << sender.scale).max(1);
        sender.max_end = segment.end.wrapping_add(sender.max_window);
        if receiver.max_window == 0 {
            receiver.end = sack;
            receiver.max_end = sack;
        } else if sack == receiver.end.wrapping_add(1) {
            // Likely the answer to a keep-alive, which repeats the octet before.
            receiver.end = receiver.end.wrapping_add(1);
        }
        return false;
    }
    let opening = matches!(state, State::SynSent | State::SynRecv);
    if syn && after(segment.end, sender.end) && opening {
        // Another SYN with higher numbers: the host has begun anew.
        introduce(sender, receiver, segment, reply);
        return reply && lone;
    }
    false
}

fn introduce(sender: &mut Side, receiver: &mut Side, segment: &Segment<'_>, reply: bool) {
    sender.end = segment.end;
    sender.max_end = segment.end;
    sender.max_window = u32::from(segment.window).max(1);
    sender.read_options(segment.options);
    // Windows are scaled only if both sides offer it.
    if reply && !(sender.has(flag::SCALE) && receiver.has(flag::SCALE)) {
        sender.scale = 0;
        receiver.scale = 0;
    }
}

/// The numbers of a segment, as they are judged.
struct Numbers {
    seq: u32,
    end: u32,
    ack: u32,
    sack: u32,
}

impl Numbers {
    /// Puts numbers in that a segment may lack.
    fn complete(&mut self, sender: &Side, receiver: &Side, segment: &Segment<'_>, state: State) {
        let rst = segment.has(bits::RST);
        // Without ACK, or a reset of a host that sets ACK without a number.
        if !segment.has(bits::ACK) || rst && self.ack == 0 {
            self.ack = receiver.end;
            self.sack = receiver.end;
        }
        // A reset that answers a SYN has no number.
        if rst && self.seq == 0 && state == State::SynSent {
            self.seq = sender.end;
            self.end = sender.end;
        }
    }

    fn look(&self, sender: &mut Side, receiver: &Side) -> Found {
        let oldest_ack = receiver
            .end
            .wrapping_sub(sender.max_window.max(LEAST_ACK_WINDOW))
            .wrapping_sub(1);
        let recent = after(self.sack, oldest_ack);
        let sent = before(self.sack, receiver.end.wrapping_add(1));
        let lowest = sender.end.wrapping_sub(receiver.max_window).wrapping_sub(1);
        let asked_for = after(self.end, lowest);
        if !before(self.seq, sender.max_end.wrapping_add(1)) {
            let beyond = self.end.wrapping_sub(sender.max_end).wrapping_add(1);
            let close = beyond <= receiver.max_window;
            if receiver.max_window != 0 && asked_for && recent && close && sent {
                // Some hosts send a little more than they may. If rules let it pass, its
                // acknowledgement shall not look like one of data that was never sent.
                sender.end = self.end;
                sender.flags |= flag::UNACKNOWLEDGED;
                return Found::Old;
            }
            return Found::Outside;
        }
        if !sent {
            return Found::Outside;
        }
        if receiver.max_window != 0 && !asked_for || !recent {
            return Found::Old;
        }
        Found::Inside
    }

    fn move_window(&self, sender: &mut Side, receiver: &mut Side, segment: &Segment<'_>) {
        // The window of a SYN is never scaled.
        let scale = if segment.has(bits::SYN) {
            0
        } else {
            sender.scale
        };
        let window = u32::from(segment.window) << scale;
        let offered = window.wrapping_add(self.sack.wrapping_sub(self.ack));
        sender.max_window = sender.max_window.max(offered);
        if after(self.end, sender.end) {
            sender.end = self.end;
            sender.flags |= flag::UNACKNOWLEDGED;
        }
        if segment.has(bits::ACK) {
            if !sender.has(flag::MAX_ACK) || after(self.ack, sender.max_ack) {
                sender.max_ack = self.ack;
            }
            sender.flags |= flag::MAX_ACK;
        }
        if receiver.max_window != 0 && after(self.end, sender.max_end) {
            let more = self.end.wrapping_sub(sender.max_end);
            receiver.max_window = receiver.max_window.wrapping_add(more);
        }
        let allowed = self.sack.wrapping_add(window);
        if after(allowed, receiver.max_end.wrapping_sub(1)) {
            // A closed window is probed with one octet.
            receiver.max_end = allowed.wrapping_add(u32::from(window == 0));
        }
        if self.ack == receiver.end {
            receiver.flags &= !flag::UNACKNOWLEDGED;
        }
    }
}

fn count_retransmission(
    connection: &mut Connection,
    segment: &Segment<'_>,
    numbers: &Numbers,
    reply: bool,
) {
    if segment.kind != Kind::Ack {
        return;
    }
    let last = &mut connection.last;
    let len = numbers.end.wrapping_sub(numbers.seq) as u16;
    // An ignored SYN has left no length, and is repeated by no such segment.
    let comparable = last.kind != Kind::Syn || last.len != 0;
    let again = comparable
        && last.reply == reply
        && last.len == len
        && last.ack == numbers.ack
        && last.end == numbers.end
        && last.window == segment.window;
    if again {
        last.retransmissions = (last.retransmissions + 1).min(MOST_RETRANSMISSIONS);
        return;
    }
    last.reply = reply;
    last.len = len;
    last.end = numbers.end;
    last.ack = numbers.ack;
    last.window = segment.window;
    last.retransmissions = 0;
}
