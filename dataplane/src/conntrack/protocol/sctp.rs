//! SCTP (RFC 9260): chunks, verification tags and the association's state, as Linux tracks them.
//!
//! Each chunk of a packet moves the state in turn. A packet must carry the tag that its receiver
//! announced in INIT or INIT-ACK (section 8.5); the exceptions of section 8.5.1 are those of INIT,
//! ABORT, SHUTDOWN-COMPLETE and COOKIE-ECHO. Heartbeats on a path that the tracker does not know begin
//! a flow of their own (multihoming) and may replace tags that no longer fit, when they are answered.

use super::super::invalid::InvalidReason;
use super::super::status;
use super::super::timeouts::TimeoutClass;
use super::timeout::Timeout;
use super::{Judgement, Packet, ProtocolState, checksum};
use crate::packet::headers::field;

/// Chunk types.
mod chunk {
    pub(super) const DATA: u8 = 0;
    pub(super) const INIT: u8 = 1;
    pub(super) const INIT_ACK: u8 = 2;
    pub(super) const HEARTBEAT: u8 = 4;
    pub(super) const HEARTBEAT_ACK: u8 = 5;
    pub(super) const ABORT: u8 = 6;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const SHUTDOWN_ACK: u8 = 8;
    pub(super) const ERROR: u8 = 9;
    pub(super) const COOKIE_ECHO: u8 = 10;
    pub(super) const COOKIE_ACK: u8 = 11;
    pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
}

/// The T bit of ABORT and SHUTDOWN-COMPLETE: the tag is the sender's own.
const REFLECTED: u8 = 1;

/// State of an association, by the names of conntrack(8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum State {
    #[default]
    None = 0,
    Closed = 1,
    CookieWait = 2,
    CookieEchoed = 3,
    Established = 4,
    ShutdownSent = 5,
    ShutdownRecd = 6,
    ShutdownAckSent = 7,
    HeartbeatSent = 8,
}

impl State {
    const ALL: [Self; 9] = [
        Self::None,
        Self::Closed,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::Established,
        Self::ShutdownSent,
        Self::ShutdownRecd,
        Self::ShutdownAckSent,
        Self::HeartbeatSent,
    ];

    fn class(self) -> TimeoutClass {
        match self {
            Self::None | Self::Closed => TimeoutClass::SctpClosed,
            Self::CookieWait => TimeoutClass::SctpCookieWait,
            Self::CookieEchoed => TimeoutClass::SctpCookieEchoed,
            Self::Established => TimeoutClass::SctpEstablished,
            Self::ShutdownSent => TimeoutClass::SctpShutdownSent,
            Self::ShutdownRecd => TimeoutClass::SctpShutdownRecd,
            Self::ShutdownAckSent => TimeoutClass::SctpShutdownAckSent,
            Self::HeartbeatSent => TimeoutClass::SctpHeartbeatSent,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Closed => "CLOSED",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownRecd => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }
}

/// What is kept of an association.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Association {
    state: State,
    /// The tag that packets of each direction must carry; 0 when it is not known.
    tags: [u32; 2],
    /// Whether the last INIT of each direction counts: both do in a collision.
    init: [bool; 2],
    /// A heartbeat of this direction carried another tag and waits for its answer.
    heartbeat_failed: Option<bool>,
}

impl Association {
    fn unpack(packed: &ProtocolState) -> Self {
        let [tags, bits, ..] = packed.0;
        let state = State::ALL.get((bits & 0x0f) as usize).copied();
        Self {
            state: state.unwrap_or_default(),
            tags: [(tags >> 32) as u32, tags as u32],
            init: [bits >> 4 & 1 != 0, bits >> 5 & 1 != 0],
            heartbeat_failed: (bits >> 6 & 1 != 0).then_some(bits >> 7 & 1 != 0),
        }
    }

    fn pack(&self) -> ProtocolState {
        let bits = self.state as u64
            | u64::from(self.init[0]) << 4
            | u64::from(self.init[1]) << 5
            | u64::from(self.heartbeat_failed.is_some()) << 6
            | u64::from(self.heartbeat_failed == Some(true)) << 7;
        let tags = u64::from(self.tags[0]) << 32 | u64::from(self.tags[1]);
        ProtocolState([tags, bits, 0, 0, 0, 0])
    }
}

/// One chunk.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    kind: u8,
    flags: u8,
    value: &'a [u8],
}

impl Chunk<'_> {
    /// The tag that an INIT or INIT-ACK announces. Its fixed part has 16 bytes.
    fn announced_tag(&self) -> Option<u32> {
        field::<16>(self.value, 0)?;
        field::<4>(self.value, 0).map(u32::from_be_bytes)
    }
}

/// The chunks of a packet, while whole chunk headers follow. A length of 0 ends them.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let [kind, flags, len0, len1] = field::<4>(self.0, 0)?;
        let len = usize::from(u16::from_be_bytes([len0, len1]));
        if len == 0 {
            return None;
        }
        let chunk = Chunk {
            kind,
            flags,
            // What is announced is read from what is there, as the kernel does.
            value: &self.0[4..],
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(chunk)
    }
}

/// A packet with its header read.
struct Message<'a> {
    tag: u32,
    chunks: &'a [u8],
    /// One bit for each chunk type below 64 that it has.
    kinds: u64,
}

impl<'a> Message<'a> {
    /// Reads the packet and checks its bundling (RFC 9260, section 6.10): INIT, INIT-ACK and
    /// SHUTDOWN-COMPLETE stand alone, COOKIE-ECHO and COOKIE-ACK stand first.
    fn read(packet: &Packet<'a>) -> Result<Self, InvalidReason> {
        let bytes = packet.bytes.get(packet.transport..).unwrap_or_default();
        let header = field::<12>(bytes, 0).ok_or(InvalidReason::HeaderShort)?;
        let chunks = &bytes[12..];
        let (mut kinds, mut alone) = (0, false);
        let mut count = 0;
        for chunk in Chunks(chunks) {
            alone |= matches!(
                chunk.kind,
                chunk::INIT | chunk::INIT_ACK | chunk::SHUTDOWN_COMPLETE
            );
            let first = matches!(chunk.kind, chunk::COOKIE_ECHO | chunk::COOKIE_ACK);
            if count != 0 && (alone || first) {
                return Err(InvalidReason::SctpChunk);
            }
            if chunk.kind < 64 {
                kinds |= 1 << chunk.kind;
            }
            count += 1;
        }
        if count == 0 {
            return Err(InvalidReason::SctpChunk);
        }
        let tag = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        Ok(Self { tag, chunks, kinds })
    }

    fn has_any(&self, kinds: &[u8]) -> bool {
        kinds.iter().any(|kind| self.kinds >> kind & 1 != 0)
    }
}

/// Checks header and checksum.
pub(super) fn check(packet: &Packet<'_>, verify: bool) -> Result<(), InvalidReason> {
    field::<12>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
    if verify {
        checksum::verify_sctp(packet)?;
    }
    Ok(())
}

/// The state after a chunk; `None` when the state does not allow it.
fn transition(kind: u8, reply: bool, from: State) -> Option<State> {
    use State::*;
    // DATA, SACK and all others move nothing.
    if !moves(kind) {
        return Some(from);
    }
    // A reply cannot begin anything, and to a heartbeat only heartbeats are replies.
    if reply && from == None {
        return Option::None;
    }
    let heartbeats = matches!(kind, chunk::HEARTBEAT | chunk::HEARTBEAT_ACK);
    if reply && from == HeartbeatSent && !heartbeats {
        return Option::None;
    }
    // What begins or ends nothing closes what has not begun.
    let stays = match from {
        None | HeartbeatSent => Closed,
        state => state,
    };
    Some(match kind {
        chunk::INIT if reply => from,
        chunk::INIT => match from {
            None | Closed | ShutdownSent | ShutdownRecd => Closed,
            HeartbeatSent => CookieWait,
            state => state,
        },
        chunk::INIT_ACK if reply && from == Closed => CookieWait,
        chunk::ABORT => Closed,
        chunk::SHUTDOWN if from == Established => {
            if reply {
                ShutdownRecd
            } else {
                ShutdownSent
            }
        }
        chunk::SHUTDOWN_ACK => match from {
            None | HeartbeatSent | ShutdownSent | ShutdownRecd => ShutdownAckSent,
            state => state,
        },
        // A stale cookie (section 5.2.6).
        chunk::ERROR if reply && from == CookieEchoed => Closed,
        chunk::COOKIE_ECHO if from == CookieWait => CookieEchoed,
        chunk::COOKIE_ACK if from == CookieEchoed => Established,
        chunk::SHUTDOWN_COMPLETE if from == ShutdownAckSent => Closed,
        chunk::HEARTBEAT if matches!(from, None | HeartbeatSent) => HeartbeatSent,
        chunk::HEARTBEAT_ACK if from == HeartbeatSent => {
            if reply {
                Established
            } else {
                HeartbeatSent
            }
        }
        _ => stays,
    })
}

/// Whether a chunk is one that the state may depend on.
fn moves(kind: u8) -> bool {
    matches!(
        kind,
        chunk::INIT
            | chunk::INIT_ACK
            | chunk::HEARTBEAT
            | chunk::HEARTBEAT_ACK
            | chunk::ABORT
            | chunk::SHUTDOWN
            | chunk::SHUTDOWN_ACK
            | chunk::ERROR
            | chunk::COOKIE_ECHO
            | chunk::COOKIE_ACK
            | chunk::SHUTDOWN_COMPLETE
    )
}

/// The first packet of an association.
pub(super) fn begin(packet: &Packet<'_>) -> Result<(ProtocolState, Timeout, u32), InvalidReason> {
    let message = Message::read(packet)?;
    // Section 8.4: such packets out of the blue are discarded.
    if message.has_any(&[chunk::ABORT, chunk::SHUTDOWN_COMPLETE, chunk::COOKIE_ACK]) {
        return Err(InvalidReason::SctpState);
    }
    let mut association = Association::default();
    for chunk in Chunks(message.chunks) {
        match transition(chunk.kind, false, State::None) {
            None | Some(State::None) => return Err(InvalidReason::SctpState),
            Some(_) => {}
        }
        match chunk.kind {
            chunk::INIT if message.tag != 0 => return Err(InvalidReason::SctpTag),
            chunk::INIT => {
                association.tags[1] = chunk.announced_tag().ok_or(InvalidReason::SctpChunk)?;
            }
            // Another path of an association.
            chunk::HEARTBEAT => association.tags[0] = message.tag,
            // Out of the blue: what answers it reflects its tag (section 8.4).
            chunk::SHUTDOWN_ACK => association.tags[1] = message.tag,
            _ => {}
        }
    }
    let mut set = 0;
    match judge(&mut association, &message, false, true, &mut set)? {
        Outcome::Moved(class) => Ok((association.pack(), Timeout::of(class), set)),
        Outcome::Kept => Err(InvalidReason::SctpState),
    }
}

/// A further packet. Only a packet that is accepted changes the state.
pub(super) fn next(state: &mut ProtocolState, packet: &Packet<'_>) -> Judgement {
    let mut association = Association::unpack(state);
    let mut set = 0;
    let outcome = Message::read(packet).and_then(|message| {
        judge(
            &mut association,
            &message,
            packet.is_reply(),
            false,
            &mut set,
        )
    });
    // Chunks in front of one that is refused have been believed.
    *state = association.pack();
    match outcome {
        Ok(Outcome::Moved(class)) => Judgement::accept(class, set),
        Ok(Outcome::Kept) => Judgement::Ignore { status: set },
        Err(reason) => Judgement::Invalid {
            reason,
            lower: false,
            status: set,
        },
    }
}

/// What a packet did.
enum Outcome {
    Moved(TimeoutClass),
    /// It is let through, but the flow's timeout stays.
    Kept,
}

/// `set` takes the status bits of chunks that were believed, whatever comes of those behind them.
fn judge(
    association: &mut Association,
    message: &Message<'_>,
    reply: bool,
    first: bool,
    set: &mut u32,
) -> Result<Outcome, InvalidReason> {
    let own = [
        chunk::INIT,
        chunk::SHUTDOWN_COMPLETE,
        chunk::COOKIE_ECHO,
        chunk::ABORT,
        chunk::SHUTDOWN_ACK,
        chunk::HEARTBEAT,
        chunk::HEARTBEAT_ACK,
    ];
    let direction = usize::from(reply);
    if !message.has_any(&own) && message.tag != association.tags[direction] {
        return Err(InvalidReason::SctpTag);
    }
    let mut kept = false;
    let mut state = State::None;
    for chunk in Chunks(message.chunks) {
        if !association.check_tag(&chunk, message, reply, &mut kept)? {
            continue;
        }
        let from = association.state;
        state = transition(chunk.kind, reply, from).ok_or(InvalidReason::SctpState)?;
        match chunk.kind {
            chunk::INIT => {
                association.note_init(&chunk, reply, from)?;
                // An INIT sent again does not keep the flow alive.
                kept |= from == State::Closed && state == State::Closed && !first;
            }
            chunk::INIT_ACK => association.note_init_ack(&chunk, reply)?,
            _ => {}
        }
        association.state = state;
        if from != state && state == State::Established {
            *set |= status::ASSURED;
        }
    }
    if kept {
        return Ok(Outcome::Kept);
    }
    Ok(Outcome::Moved(state.class()))
}

impl Association {
    /// Checks the tag of a packet for one of its chunks (section 8.5.1). Yields whether the chunk
    /// moves the state.
    fn check_tag(
        &mut self,
        chunk: &Chunk<'_>,
        message: &Message<'_>,
        reply: bool,
        kept: &mut bool,
    ) -> Result<bool, InvalidReason> {
        let (direction, other) = (usize::from(reply), usize::from(!reply));
        let right = match chunk.kind {
            chunk::INIT => message.tag == 0,
            chunk::ABORT | chunk::SHUTDOWN_COMPLETE => {
                let reflected = chunk.flags & REFLECTED != 0;
                message.tag == self.tags[if reflected { other } else { direction }]
            }
            chunk::COOKIE_ECHO => message.tag == self.tags[direction],
            // Both sides have what they announced.
            chunk::COOKIE_ACK => {
                self.init = [false; 2];
                true
            }
            chunk::HEARTBEAT | chunk::HEARTBEAT_ACK => {
                return self.check_heartbeat(chunk.kind, message, reply, kept);
            }
            _ => true,
        };
        if right {
            Ok(true)
        } else {
            Err(InvalidReason::SctpTag)
        }
    }

    /// A heartbeat with another tag is let through, and if it is answered the tags change: the
    /// association has been restarted over another path.
    fn check_heartbeat(
        &mut self,
        kind: u8,
        message: &Message<'_>,
        reply: bool,
        kept: &mut bool,
    ) -> Result<bool, InvalidReason> {
        let (direction, other) = (usize::from(reply), usize::from(!reply));
        let tag = self.tags[direction];
        if tag == 0 {
            self.tags[direction] = message.tag;
            return Ok(true);
        }
        if message.tag == tag {
            self.heartbeat_failed = None;
            return Ok(true);
        }
        if message.has_any(&[chunk::DATA]) || *kept {
            return Err(InvalidReason::SctpTag);
        }
        if kind == chunk::HEARTBEAT {
            self.heartbeat_failed = Some(reply);
            *kept = true;
            return Ok(false);
        }
        if self.heartbeat_failed != Some(!reply) {
            return Err(InvalidReason::SctpTag);
        }
        self.heartbeat_failed = None;
        self.tags[direction] = message.tag;
        self.tags[other] = 0;
        Ok(true)
    }

    /// An INIT that announces what is known already was sent again, or is an old one: it is no reason to
    /// believe another answer.
    fn note_init(
        &mut self,
        chunk: &Chunk<'_>,
        reply: bool,
        from: State,
    ) -> Result<(), InvalidReason> {
        let (direction, other) = (usize::from(reply), usize::from(!reply));
        let tag = chunk.announced_tag().ok_or(InvalidReason::SctpChunk)?;
        if from == State::None || self.tags[other] != tag {
            if self.init == [true; 2] {
                self.init[other] = false;
            }
            self.init[direction] = true;
        }
        self.tags[other] = tag;
        Ok(())
    }

    /// In a collision of two INITs (section 5.2.1) the tags must stay what the INITs announced.
    fn note_init_ack(&mut self, chunk: &Chunk<'_>, reply: bool) -> Result<(), InvalidReason> {
        let other = usize::from(!reply);
        let announced = chunk.announced_tag().ok_or(InvalidReason::SctpChunk)?;
        let known = self.tags[other];
        let collides = self.init == [true; 2];
        if (!self.init[other] && known != 0 || collides) && known != announced {
            return Err(InvalidReason::SctpTag);
        }
        self.tags[other] = announced;
        Ok(())
    }
}

/// Whether a full table may give the flow up although it is assured: it is closing.
pub(super) fn is_closing(state: &ProtocolState) -> bool {
    matches!(
        Association::unpack(state).state,
        State::ShutdownSent | State::ShutdownRecd | State::ShutdownAckSent
    )
}

/// The same association with these tags.
pub(super) fn with_tags(old: &ProtocolState, tags: [u32; 2]) -> ProtocolState {
    let old = Association::unpack(old);
    Association { tags, ..old }.pack()
}

/// The same association in the state of this name.
pub(super) fn in_state(old: &ProtocolState, name: &str) -> Option<(ProtocolState, TimeoutClass)> {
    let state = State::ALL.into_iter().find(|state| state.name() == name)?;
    let packed = Association {
        state,
        ..Association::unpack(old)
    }
    .pack();
    Some((packed, state.class()))
}

/// The state's name, as conntrack(8) prints it.
pub(super) fn state_name(state: &ProtocolState) -> &'static str {
    Association::unpack(state).state.name()
}

#[cfg(test)]
#[path = "sctp_tests.rs"]
mod tests;
