//! Statements and computed values: what a rule does beside matching.

use super::cell::Cell;
use super::hash::{jhash, scale};
use super::key::{Slot, reads};
use super::lane_set::Change;
use super::lanes::{Column, lanes};
use super::op::{
    CellId, Combine, CounterSlot, EngineObjectId, Icmpx, LogId, MetaSetKey, ObjectKind, Op, Reject,
    RuleRef, SetAction, Slots, Value,
};
use super::vm::Run;
use crate::drop_reason::DropReason;
use crate::packet::headers::{ethertype, field, flag};
use crate::packet::reply::{tcp_reset, unreachable};
use crate::port::PortId;
use crate::synproxy::Offer;
use crate::worker::event::{CAPTURE, EventKind};

impl Run<'_, '_> {
    /// Runs an instruction that is neither a match nor a verdict; yields the lanes that go on.
    pub(super) fn statement(&mut self, op: &Op, rule: RuleRef, m: u64) -> u64 {
        match op {
            Op::Immediate { into, value } => self.immediate(*into, value, m),
            Op::Copy { into, from } => self.copy(*into, *from, m),
            Op::Bitwise {
                into,
                from,
                mask,
                xor,
            } => {
                let m = self.key(*from, m);
                self.words(*into, *from, m, |index, word| {
                    word & mask[index] ^ xor[index]
                });
                m
            }
            Op::Combine {
                into,
                left,
                how,
                right,
            } => self.combine(*into, *left, *how, *right, m),
            Op::Shift {
                into,
                from,
                left,
                bits,
            } => self.shift(*into, *from, *left, *bits, m),
            Op::Jhash {
                into,
                from,
                modulus,
                seed,
                offset,
            } => {
                let m = self.keys(from, m);
                let first = self.first_column(*into);
                for lane in lanes(m) {
                    let hash = scale(self.hash_fields(from, *seed, lane), *modulus);
                    self.vm.columns[first][lane] = hash.wrapping_add(*offset);
                }
                m
            }
            Op::Symhash {
                into,
                modulus,
                offset,
            } => {
                let first = self.first_column(*into);
                for lane in lanes(m) {
                    let hash = scale(self.flow_hash(lane), *modulus);
                    self.vm.columns[first][lane] = hash.wrapping_add(*offset);
                }
                m
            }
            Op::NumgenInc { into, cell } => self.numgen(*into, *cell, m),
            Op::NumgenRandom {
                into,
                modulus,
                offset,
            } => {
                let first = self.first_column(*into);
                for lane in lanes(m) {
                    let number = scale(self.vm.next_random(), *modulus);
                    self.vm.columns[first][lane] = number.wrapping_add(*offset);
                }
                m
            }
            Op::Counter { counter } => {
                self.count(*counter, m);
                m
            }
            Op::Cell { cell } => self.cell(cell.0, m),
            Op::Log { log } => {
                self.log(*log, rule, m);
                m
            }
            Op::Dup { device, .. } => {
                let m = device.map_or(m, |device| self.key(device, m));
                self.duplicate(*device, m);
                m
            }
            Op::PayloadWrite {
                base,
                bit_offset,
                bits,
                from,
                checksum,
                pseudo_header,
            } => {
                let m = self.key(*from, m);
                self.write_payload(
                    (*base, *bit_offset, *bits),
                    *from,
                    (*checksum, *pseudo_header),
                    m,
                )
            }
            Op::ExthdrWrite {
                number,
                offset,
                len,
                from,
                ..
            } => {
                let m = self.key(*from, m);
                self.write_tcp_option(*number, usize::from(*offset), usize::from(*len), *from, m)
            }
            Op::ResetTcpOption { number } => self.reset_tcp_option(*number, rule, m),
            Op::MetaSet { key, from } => {
                let m = self.key(*from, m);
                self.set_meta(*key, *from, m)
            }
            Op::DynSet {
                set,
                keys,
                action,
                timeout_ms,
                data,
                statements,
            } => {
                let m = self.keys(keys, m);
                let m = self.keys(data, m);
                self.change_set(set.0, keys, data, (*action, *timeout_ms, statements), m)
            }
            Op::CtSet {
                key,
                direction,
                from,
            } if self.tracker.is_some() => {
                let m = self.key(*from, m);
                self.set_ct(*key, *direction, *from, m)
            }
            Op::Notrack if self.tracker.is_some() => self.notrack(m),
            Op::EngineObject {
                kind:
                    kind @ (ObjectKind::CtHelper | ObjectKind::CtTimeout | ObjectKind::CtExpectation),
                object,
            } if self.tracker.is_some() => self.connection_object(*kind, *object, m),
            Op::Synproxy { mss, wscale, flags } if self.tracker.is_some() => {
                let (bits, mss, wscale) = (*flags, *mss, *wscale);
                self.synproxy(Offer { bits, mss, wscale }, rule, m)
            }
            Op::EngineObject {
                kind: ObjectKind::Synproxy,
                object,
            } if self.tracker.is_some() => self.synproxy_object(*object, rule, m),
            Op::FactAct {
                set,
                keys,
                kinds,
                mark,
                priority,
            } => self.act_by_facts(set.0, (keys, *kinds), (*mark, *priority), m),
            // Programs with these are published only where their engine is: fail closed.
            _ => {
                self.vm.packets.end(m, DropReason::EngineMissing, rule);
                0
            }
        }
    }

    fn immediate(&mut self, into: Slot, value: &Value, m: u64) -> u64 {
        let first = self.first_column(into);
        for (index, word) in value.iter().enumerate() {
            // Lanes outside `m` are never read before they are written.
            self.vm.columns[first + index].fill(*word);
        }
        m
    }

    fn copy(&mut self, into: Slot, from: Slot, m: u64) -> u64 {
        let m = self.key(from, m);
        let ((to, to_count), (from, from_count)) = (self.columns_of(into), self.columns_of(from));
        for index in 0..to_count {
            // Columns are aligned at the least significant end.
            let source = (index + from_count).checked_sub(to_count);
            for lane in lanes(m) {
                let word = source.map_or(0, |source| self.vm.columns[from + source][lane]);
                self.vm.columns[to + index][lane] = word;
            }
        }
        m
    }

    fn words(&mut self, into: Slot, from: Slot, m: u64, change: impl Fn(usize, u32) -> u32) {
        let ((to, count), from) = (self.columns_of(into), self.first_column(from));
        for index in 0..count {
            for lane in lanes(m) {
                self.vm.columns[to + index][lane] =
                    change(index, self.vm.columns[from + index][lane]);
            }
        }
    }

    fn combine(&mut self, into: Slot, left: Slot, how: Combine, right: Slot, m: u64) -> u64 {
        let m = self.key(left, m);
        let m = self.key(right, m);
        let ((to, count), one, other) = (
            self.columns_of(into),
            self.first_column(left),
            self.first_column(right),
        );
        for index in 0..count {
            for lane in lanes(m) {
                let (one, other) = (
                    self.vm.columns[one + index][lane],
                    self.vm.columns[other + index][lane],
                );
                self.vm.columns[to + index][lane] = match how {
                    Combine::And => one & other,
                    Combine::Or => one | other,
                    Combine::Xor => one ^ other,
                };
            }
        }
        m
    }

    fn shift(&mut self, into: Slot, from: Slot, left: bool, bits: u8, m: u64) -> u64 {
        let m = self.key(from, m);
        let ((to, count), from) = (self.columns_of(into), self.first_column(from));
        let tables = self.generation.program().tables();
        let width = usize::from(tables.keys()[usize::from(into.0)].bits);
        let top = match width % 32 {
            0 => u32::MAX,
            used => (1 << used) - 1,
        };
        let (words, bits) = (usize::from(bits) / 32, u32::from(bits) % 32);
        for lane in lanes(m) {
            let mut number = [0u32; super::op::MAX_COLUMNS];
            for (index, word) in number.iter_mut().enumerate().take(count) {
                *word = self.vm.columns[from + index][lane];
            }
            let word = |index: Option<usize>| {
                index
                    .filter(|index| *index < count)
                    .map_or(0, |index| number[index])
            };
            for index in 0..count {
                let shifted = if left {
                    let pair = join(word(Some(index + words)), word(Some(index + words + 1)));
                    (pair << bits >> 32) as u32
                } else {
                    let low = index.checked_sub(words);
                    let pair = join(word(low.and_then(|low| low.checked_sub(1))), word(low));
                    (pair >> bits) as u32
                };
                let mask = if index == 0 { top } else { u32::MAX };
                self.vm.columns[to + index][lane] = shifted & mask;
            }
        }
        m
    }

    /// Jenkins hash over the fields as they lie in the kernel's registers: big-endian bytes, each
    /// field of a concatenation padded to 4 bytes.
    fn hash_fields(&self, fields: &Slots, seed: u32, lane: usize) -> u32 {
        let tables = self.generation.program().tables();
        let mut bytes = [0; super::op::MAX_COLUMNS * 4];
        let mut len = 0;
        for slot in fields {
            let (first, count) = self.columns_of(*slot);
            let size = usize::from(tables.keys()[usize::from(slot.0)].bits).div_ceil(8);
            let mut number = [0; super::op::MAX_COLUMNS * 4];
            for index in 0..count {
                let word = self.vm.columns[first + index][lane].to_be_bytes();
                number[index * 4..index * 4 + 4].copy_from_slice(&word);
            }
            let begin = count * 4 - size;
            bytes[len..len + size].copy_from_slice(&number[begin..count * 4]);
            len += if fields.len() > 1 { count * 4 } else { size };
        }
        jhash(&bytes[..len], seed)
    }

    /// A hash that both directions of a flow share.
    fn flow_hash(&self, lane: usize) -> u32 {
        let headers = &self.vm.packets.headers[lane];
        let bytes = self.frames[lane].bytes();
        let network = usize::from(headers.network);
        let (from, len) = match headers.ethertype {
            ethertype::IP => (network + 12, 4),
            ethertype::IP6 => (network + 8, 16),
            _ => (0, 6),
        };
        let mut ends = [[0u8; 20]; 2];
        for (index, end) in ends.iter_mut().enumerate() {
            if let Some(address) = bytes.get(from + index * len..from + (index + 1) * len) {
                end[..len].copy_from_slice(address);
            }
            if headers.has(flag::TRANSPORT)
                && let Some(port) = field::<2>(bytes, usize::from(headers.transport) + index * 2)
            {
                end[16..18].copy_from_slice(&port);
            }
            end[19] = headers.l4proto;
        }
        ends.sort_unstable();
        jhash(ends.as_flattened(), 0x5c1c_e5ee)
    }

    fn numgen(&mut self, into: Slot, cell: CellId, m: u64) -> u64 {
        let generation = self.generation;
        let Cell::Numgen(numgen) = &*generation.cells()[cell.0 as usize] else {
            return 0;
        };
        let first = self.first_column(into);
        for lane in lanes(m) {
            self.vm.columns[first][lane] = numgen.next();
        }
        m
    }

    fn cell(&mut self, cell: u32, m: u64) -> u64 {
        let Some(cell) = self.generation.cells().get(cell as usize) else {
            return 0;
        };
        let now_ns = self.context.now_ns;
        let mut going_on = 0;
        for lane in lanes(m) {
            let matches = match (&**cell, self.connections()) {
                (Cell::ConnLimit(limit), Some(connections)) => limit.matches(&connections, lane),
                (cell, _) => cell.matches(now_ns, self.vm.packets.lengths[lane]),
            };
            going_on |= u64::from(matches) << lane;
        }
        going_on
    }

    /// Runs the objects that a look-up has found (their indexes are in `vm.found`).
    pub(super) fn mapped_objects(&mut self, kind: ObjectKind, rule: RuleRef, found: u64) -> u64 {
        let mut going_on = 0;
        for lane in lanes(found) {
            let index = self.vm.found[0][lane];
            let one = 1 << lane;
            going_on |= match kind {
                ObjectKind::Counter => {
                    self.count(CounterSlot(index), one);
                    one
                }
                ObjectKind::Quota | ObjectKind::Limit => self.cell(index, one),
                ObjectKind::CtHelper | ObjectKind::CtTimeout | ObjectKind::CtExpectation => {
                    self.connection_object(kind, EngineObjectId(index), one)
                }
                ObjectKind::Synproxy => self.synproxy_object(EngineObjectId(index), rule, one),
            };
        }
        going_on
    }

    fn log(&self, log: LogId, rule: RuleRef, m: u64) {
        let snaplen = self.generation.program().tables().logs()[log.0 as usize].snaplen as usize;
        let capture = if snaplen == 0 { CAPTURE } else { snaplen };
        for lane in lanes(m) {
            self.event(EventKind::Log(log), rule, lane, capture);
        }
    }

    fn set_meta(&mut self, key: MetaSetKey, from: Slot, m: u64) -> u64 {
        const OTHERHOST: u32 = 3;
        let first = self.first_column(from);
        for lane in lanes(m) {
            let word = self.vm.columns[first][lane];
            let packets = &mut self.vm.packets;
            match key {
                MetaSetKey::Mark => packets.marks[lane] = word,
                MetaSetKey::Priority => packets.priorities[lane] = word,
                MetaSetKey::Pkttype if word <= OTHERHOST => {
                    packets.pkttypes[lane] = word;
                    packets.pkttype_set |= 1 << lane;
                }
                MetaSetKey::Pkttype => {}
                MetaSetKey::Nftrace => {
                    packets.traced = packets.traced & !(1 << lane) | u64::from(word != 0) << lane;
                }
                // Published only where frames can be routed.
                MetaSetKey::Broute => return 0,
            }
        }
        self.vm.forget(
            match key {
                MetaSetKey::Mark => reads::MARK,
                MetaSetKey::Priority => reads::PRIORITY,
                MetaSetKey::Pkttype => reads::PKTTYPE,
                MetaSetKey::Nftrace => reads::NFTRACE,
                MetaSetKey::Broute => 0,
            },
            m,
        );
        m
    }

    /// Adds to or deletes from a set by facts, or takes what it maps packets to; the rule goes on.
    fn act_by_facts(
        &mut self,
        set: u32,
        keys: (&Slots, u16),
        (mark, priority): (bool, bool),
        m: u64,
    ) -> u64 {
        let mut map: [Column; 4] = std::array::from_fn(|_| Column::default());
        let found = self.by_facts(set, keys, m, &mut map);
        for lane in lanes(found) {
            let packets = &mut self.vm.packets;
            if mark {
                packets.marks[lane] = packets.marks[lane] & !map[1][lane] ^ map[0][lane];
            }
            if priority {
                packets.priorities[lane] = map[2][lane];
            }
        }
        for (wanted, what) in [(mark, reads::MARK), (priority, reads::PRIORITY)] {
            if wanted {
                self.vm.forget(what, found);
            }
        }
        m
    }

    fn change_set(
        &mut self,
        set: u32,
        keys: &Slots,
        data: &Slots,
        (action, timeout_ms, statements): (SetAction, Option<u64>, &[super::op::ElementStatement]),
        m: u64,
    ) -> u64 {
        if m == 0 {
            return 0;
        }
        let key = self.key_columns(&self.vm.columns, keys);
        let data = self.key_columns(&self.vm.columns, data);
        let change = Change {
            action,
            timeout_ms,
            data: &data,
            statements,
        };
        self.generation.sets()[set as usize].change(&key, m, &self.moment(), &change) & m
    }

    /// The port that a slot names, by its interface index.
    fn port_in(&self, slot: Slot, lane: usize) -> Option<PortId> {
        let index = self.vm.columns[self.first_column(slot)][lane];
        self.generation.ports().by_index(index)
    }

    /// Sends copies. A copy for a port that is not there is not sent, as in the kernel.
    fn duplicate(&mut self, device: Option<Slot>, m: u64) {
        let Some(device) = device else { return };
        for lane in lanes(m) {
            let Some(port) = self.port_in(device, lane) else {
                continue;
            };
            let original = &self.frames[lane];
            let in_port = self.vm.packets.in_ports[lane];
            let Some(mut copy) = self.pool.take(original.len(), in_port) else {
                return;
            };
            copy.bytes_mut().copy_from_slice(original.bytes());
            copy.vnet = original.vnet;
            self.emitted.push((port, copy));
        }
    }

    /// Sends the packets themselves by another port.
    pub(super) fn forward(&mut self, device: Slot, rule: RuleRef, m: u64) {
        for lane in lanes(m) {
            match self.port_in(device, lane) {
                Some(port) => {
                    self.vm.packets.out_ports[lane] = port;
                    self.vm.packets.forwarded |= 1 << lane;
                    self.vm.packets.ended |= 1 << lane;
                }
                None => self.vm.packets.end(1 << lane, DropReason::PortDown, rule),
            }
        }
    }

    /// Drops packets and answers their senders.
    pub(super) fn reject(&mut self, with: Reject, rule: RuleRef, m: u64) {
        if self.is_routed() {
            return self.reject_routed(with, rule, m);
        }
        for lane in lanes(m) {
            let frame = &self.frames[lane];
            let headers = &self.vm.packets.headers[lane];
            let partial = frame.vnet.needs_checksum();
            let answer = match with {
                Reject::Icmp { code } => {
                    unreachable(frame.bytes(), headers, partial, Some(code), None)
                }
                Reject::Icmpv6 { code } => {
                    unreachable(frame.bytes(), headers, partial, None, Some(code))
                }
                Reject::Icmpx { code } => {
                    let (code, code6) = codes(code);
                    unreachable(frame.bytes(), headers, partial, Some(code), Some(code6))
                }
                Reject::TcpReset => tcp_reset(frame.bytes(), headers, partial),
            };
            let in_port = self.vm.packets.in_ports[lane];
            let made = answer.and_then(|answer| {
                let mut frame = self.pool.take(answer.len(), PortId::NONE)?;
                frame.bytes_mut().copy_from_slice(&answer);
                Some(frame)
            });
            if let Some(frame) = made {
                self.emitted.push((in_port, frame));
            }
        }
        self.vm.packets.end(m, DropReason::RuleReject, rule);
    }
}

/// The codes of either family (nf_reject's tables).
pub(super) fn codes(code: Icmpx) -> (u8, u8) {
    match code {
        Icmpx::NoRoute => (0, 0),
        Icmpx::PortUnreachable => (3, 4),
        Icmpx::HostUnreachable => (1, 3),
        Icmpx::AdminProhibited => (13, 1),
    }
}

fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
