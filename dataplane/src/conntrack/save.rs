//! Saving the flows as bytes and loading them again.
//!
//! Layout, all numbers little-endian: header (magic, version, bytes of a record, when it was saved, number of
//! timeout policies), the policies, one record of 37 words for each confirmed flow, then a trailer (number
//! of records, digest of everything before). A flow's deadline is saved as what is left of it; loading
//! takes off the time that has passed since, and leaves out what is over. Whatever does not fit (another
//! version, a wrong digest, a class or a policy that is unknown) is refused as a whole, before a flow is added.
//!
//! Not saved: expectations, which live for minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::filter::Filter;
use super::flow::{Flow, FlowId};
use super::hashing::mix;
use super::protocol::ProtocolState;
use super::proxied::Proxied;
use super::sequence::Offsets;
use super::state::FlowIndex;
use super::timeouts::{TimeoutClass, TimeoutPolicy};
use super::tracker::Tracker;
use super::translation::UNCLAIMED;
use super::tuple::{Key, Tuple};
use crate::packet::headers::protocol as number;
use crate::synproxy::Handshake;

const MAGIC: u64 = u64::from_le_bytes(*b"sluiceCT");
/// Changes whenever the layout, or the meaning of a protocol's state, does.
const VERSION: u64 = 3;
const RECORD: usize = 37;
const HEADER: usize = 5;
const TRAILER: usize = 2;

/// Why saved flows were not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Something else.
    #[error("these are no saved flows")]
    NotFlows,
    /// Of another version.
    #[error("flows saved by version {found} cannot be read; this is version {VERSION}")]
    Version {
        /// The version that they have.
        found: u64,
    },
    /// Shorter or longer than it says.
    #[error("the saved flows are cut off: {bytes} bytes")]
    CutOff {
        /// Bytes that are there.
        bytes: usize,
    },
    /// Changed since it was saved.
    #[error("the saved flows are damaged: their digest is wrong")]
    Digest,
    /// A value that no tracker saves.
    #[error("the saved flows are damaged: flow {flow} has {what} {value}")]
    Value {
        /// Number of the record, from 0.
        flow: usize,
        /// What it is a value of.
        what: &'static str,
        /// The value.
        value: u64,
    },
}

/// What loading did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Flows that are in the table again.
    pub added: u64,
    /// Flows whose time was over.
    pub over: u64,
    /// Flows for which there was no room, or another one with their tuple.
    pub refused: u64,
}

/// Writes words and keeps their digest.
struct Sink<'w, W> {
    out: &'w mut W,
    digest: u64,
}

impl<W: Write> Sink<'_, W> {
    fn words(&mut self, words: &[u64]) -> io::Result<()> {
        for word in words {
            self.digest = mix(self.digest ^ word);
            self.out.write_all(&word.to_le_bytes())?;
        }
        Ok(())
    }
}

fn id_word(id: FlowId) -> u64 {
    u64::from(id.generation) << 32 | u64::from(id.index.0)
}

fn record(flow: &Flow, now_ns: u64) -> [u64; RECORD] {
    let mut words = [0; RECORD];
    words[..6].copy_from_slice(&flow.original.key());
    words[6..12].copy_from_slice(&flow.reply.key());
    words[12..18].copy_from_slice(&flow.state.0);
    words[18] = id_word(flow.id);
    words[19] = flow.master.map_or(0, id_word);
    words[20] = flow.expires_ns.saturating_sub(now_ns);
    words[21] = flow.started_wall_ns;
    words[22] = u64::from(flow.status) << 32 | u64::from(flow.mark);
    words[23] = u64::from(flow.policy) << 32 | u64::from(flow.helper) << 16 | flow.class as u64;
    words[24] = flow.label as u64;
    words[25] = (flow.label >> 64) as u64;
    words[26..28].copy_from_slice(&flow.packets);
    words[28..30].copy_from_slice(&flow.bytes);
    words[36] = u64::from(flow.translation & !UNCLAIMED);
    for (offsets, words) in flow
        .offsets
        .iter()
        .zip(words[30..34].as_chunks_mut::<2>().0)
    {
        *words = offsets.words();
    }
    let Handshake { isn, clock } = flow.proxied.handshake;
    words[34] = u64::from(isn) << 32 | u64::from(clock);
    words[35] = u64::from(flow.proxied.clock_shift);
    words
}

impl Tracker {
    /// Writes all confirmed flows; yields how many. Workers may go on meanwhile.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn save(&self, now_ns: u64, wall_ns: u64, out: &mut impl Write) -> io::Result<u64> {
        let mut sink = Sink { out, digest: MAGIC };
        let policies = self.policies();
        sink.words(&[
            MAGIC,
            VERSION,
            RECORD as u64 * 8,
            wall_ns,
            policies.len() as u64,
        ])?;
        for policy in &policies {
            sink.words(&[policy.seconds.len() as u64])?;
            for (class, seconds) in &policy.seconds {
                sink.words(&[u64::from(*seconds) << 8 | *class as u64])?;
            }
        }
        let (mut from, mut flows, mut count) = (Some(0), Vec::new(), 0);
        while let Some(next) = from {
            from = self.list(&Filter::default(), next, 1024, &mut flows);
            for flow in flows.drain(..).filter(|flow| flow.expires_ns > now_ns) {
                sink.words(&record(&flow, now_ns))?;
                count += 1;
            }
        }
        sink.words(&[count])?;
        let digest = sink.digest;
        sink.out.write_all(&digest.to_le_bytes())?;
        Ok(count)
    }

    /// Adds the flows that [`save`](Self::save) has written, as long as their time is not over.
    ///
    /// # Errors
    /// When they are not what `save` has written; then no flow has been added.
    pub fn load(&self, bytes: &[u8], now_ns: u64, wall_ns: u64) -> Result<Loaded, LoadError> {
        let saved = Saved::read(bytes)?;
        let policies: Vec<u16> = saved
            .policies
            .iter()
            .map(|policy| self.policy(policy))
            .collect();
        let passed_ns = wall_ns.saturating_sub(saved.wall_ns);
        let mut loaded = Loaded::default();
        let mut flows = Vec::new();
        for (at, words) in saved.records.iter().enumerate() {
            let mut flow = flow(words, at, &policies)?;
            flow.expires_ns = flow.expires_ns.saturating_sub(passed_ns);
            if flow.expires_ns == 0 {
                loaded.over += 1;
                continue;
            }
            flow.expires_ns = flow.expires_ns.saturating_add(now_ns);
            flows.push(flow);
        }
        let masters: BTreeSet<FlowId> = flows.iter().filter_map(|flow| flow.master).collect();
        let mut renamed = BTreeMap::new();
        // A master was there before what it announced: those without one go first.
        let (others, children): (Vec<_>, Vec<_>) =
            flows.into_iter().partition(|flow| flow.master.is_none());
        let mut generation = others;
        let mut rest = children;
        while !generation.is_empty() {
            self.add_all(generation.into_iter(), wall_ns, |flow, added| match added {
                Ok(id) => {
                    loaded.added += 1;
                    if masters.contains(&flow.id) {
                        renamed.insert(flow.id, id);
                    }
                }
                Err(_) => loaded.refused += 1,
            });
            let known = |flow: &Flow| {
                flow.master
                    .is_some_and(|master| renamed.contains_key(&master))
            };
            (generation, rest) = rest.into_iter().partition(known);
            if generation.is_empty() {
                // Their masters are gone: flows of their own.
                generation = std::mem::take(&mut rest);
            }
            for flow in &mut generation {
                flow.master = flow.master.and_then(|master| renamed.get(&master).copied());
            }
        }
        Ok(loaded)
    }
}

/// Saved flows whose frame is right.
struct Saved {
    wall_ns: u64,
    policies: Vec<TimeoutPolicy>,
    records: Vec<[u64; RECORD]>,
}

impl Saved {
    fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let cut_off = LoadError::CutOff { bytes: bytes.len() };
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        if words.first() != Some(&MAGIC) {
            return Err(LoadError::NotFlows);
        }
        match words.get(1) {
            Some(&VERSION) if words.get(2) == Some(&(RECORD as u64 * 8)) => {}
            Some(&found) => return Err(LoadError::Version { found }),
            None => return Err(cut_off),
        }
        if !rest.is_empty() || words.len() < HEADER + TRAILER {
            return Err(cut_off);
        }
        let (told, digested) = words
            .split_last()
            .map_or((0, &[][..]), |(last, all)| (*last, all));
        if digested
            .iter()
            .fold(MAGIC, |digest, word| mix(digest ^ word))
            != told
        {
            return Err(LoadError::Digest);
        }
        let mut body = &digested[HEADER..digested.len() - 1];
        let mut policies = Vec::new();
        for _ in 0..words[4] {
            let (count, behind) = body.split_first().ok_or(cut_off.clone())?;
            let count = usize::try_from(*count).map_err(|_| cut_off.clone())?;
            let (entries, behind) = behind.split_at_checked(count).ok_or(cut_off.clone())?;
            let seconds = entries
                .iter()
                .map(|entry| Ok((class(*entry & 0xff, 0)?, (*entry >> 8) as u32)));
            policies.push(TimeoutPolicy {
                seconds: seconds.collect::<Result<_, _>>()?,
            });
            body = behind;
        }
        let (records, rest) = body.as_chunks::<RECORD>();
        if !rest.is_empty() || digested.last() != Some(&(records.len() as u64)) {
            return Err(cut_off);
        }
        Ok(Self {
            wall_ns: words[3],
            policies,
            records: records.to_vec(),
        })
    }
}

fn class(value: u64, flow: usize) -> Result<TimeoutClass, LoadError> {
    let known = u8::try_from(value).ok().and_then(TimeoutClass::from_number);
    known.ok_or(LoadError::Value {
        flow,
        what: "timeout class",
        value,
    })
}

/// The translator's bits; what they mean is its affair.
fn translation(value: u64, flow: usize) -> Result<u16, LoadError> {
    let known = u16::try_from(value).ok();
    let known = known.filter(|bits| bits & UNCLAIMED == 0);
    known.ok_or(LoadError::Value {
        flow,
        what: "translation",
        value,
    })
}

fn id(word: u64) -> FlowId {
    FlowId {
        index: FlowIndex(word as u32),
        generation: (word >> 32) as u32,
    }
}

/// The flow of a record; `expires_ns` is what was left of it.
fn flow(words: &[u64; RECORD], at: usize, policies: &[u16]) -> Result<Flow, LoadError> {
    let key = |from: usize| -> Key { std::array::from_fn(|word| words[from + word]) };
    let original = Tuple::from_key(&key(0));
    let policy = match words[23] >> 32 {
        0 => 0,
        value => {
            let known = policies.get(value as usize - 1).copied();
            known.ok_or(LoadError::Value {
                flow: at,
                what: "timeout policy",
                value,
            })?
        }
    };
    // The only moment in a state is that at which a datagram flow becomes a stream; it is long past
    // whenever the clock of another boot would say otherwise.
    let state = match original.protocol {
        number::UDP => ProtocolState::default(),
        _ => ProtocolState(key(12)),
    };
    Ok(Flow {
        id: id(words[18]),
        number: 0,
        original,
        reply: Tuple::from_key(&key(6)),
        status: (words[22] >> 32) as u32,
        state,
        class: class(words[23] & 0xffff, at)?,
        policy,
        expires_ns: words[20],
        started_wall_ns: words[21],
        mark: words[22] as u32,
        label: u128::from(words[25]) << 64 | u128::from(words[24]),
        packets: [words[26], words[27]],
        bytes: [words[28], words[29]],
        master: (words[19] != 0).then(|| id(words[19])),
        helper: (words[23] >> 16) as u16,
        offsets: [30, 32].map(|from| Offsets::from_words([words[from], words[from + 1]])),
        proxied: Proxied {
            handshake: Handshake {
                isn: (words[34] >> 32) as u32,
                clock: words[34] as u32,
            },
            clock_shift: words[35] as u32,
        },
        translation: translation(words[36], at)?,
        worker: 0,
    })
}

#[cfg(test)]
#[path = "save_tests.rs"]
mod tests;
