//! The `synproxy` statement (nft_synproxy): takes SYNs and answers them, takes the ACKs of its cookies and
//! asks the server.
//!
//! What it takes is neither dropped nor goes on; an ACK with a bad cookie is dropped. To other segments it
//! says nothing, and of what is not TCP the rule ends. Unlike the kernel's it answers no SYN that carries
//! an ACK (two proxies would go on for ever) and takes no reset for an ACK.

use super::lanes::lanes;
use super::op::{EngineObjectId, RuleRef};
use super::vm::Run;
use crate::conntrack::ProxyEvent;
use crate::drop_reason::DropReason;
use crate::packet::headers::{flag as header, protocol};
use crate::packet::reply::{addresses, transport_checksum_ok};
use crate::packet::{Frame, VnetHeader};
use crate::port::PortId;
use crate::synproxy::{
    Conversation, Framed, Handshake, Offer, Segment, Towards, flag, server_syn, syn_ack,
};
use crate::worker::connection::ConnectionObject;
use crate::worker::{ProxySegment, Routed};

/// What becomes of a packet.
enum Outcome {
    /// The rule goes on.
    On,
    /// The rule ends.
    Break,
    /// The proxy has it.
    Taken,
    /// It has become its own answer.
    Turned,
    /// It ends here.
    End(DropReason),
}

/// Takes a segment of another length for a frame's; `false` when there is no room.
pub(crate) fn replace(frame: &mut Frame<'_>, with: &Framed) -> bool {
    let fits = frame.set_len(with.len());
    if fits {
        frame.bytes_mut().copy_from_slice(with);
        frame.vnet = VnetHeader::default();
    }
    fits
}

impl Run<'_, '_> {
    /// Runs the statement; yields the lanes whose rule goes on.
    pub(super) fn synproxy(&mut self, offer: Offer, rule: RuleRef, m: u64) -> u64 {
        let mut on = 0;
        for lane in lanes(m) {
            let bit = 1 << lane;
            let outcome = self.proxy(lane, offer);
            let packets = &mut self.vm.packets;
            match outcome {
                Outcome::On => on |= bit,
                Outcome::Break => {}
                Outcome::Taken => {
                    packets.parked |= bit;
                    packets.ended |= bit;
                }
                Outcome::Turned => {
                    packets.out_ports[lane] = packets.in_ports[lane];
                    packets.forwarded |= bit;
                    packets.ended |= bit;
                }
                Outcome::End(reason) => packets.end(bit, reason, rule),
            }
        }
        on
    }

    /// The same of a named object.
    pub(super) fn synproxy_object(&mut self, object: EngineObjectId, rule: RuleRef, m: u64) -> u64 {
        let generation = self.generation;
        match generation.objects().get(object) {
            Some(ConnectionObject::Synproxy(offer)) => self.synproxy(*offer, rule, m),
            _ => 0,
        }
    }

    fn proxy(&mut self, lane: usize, offer: Offer) -> Outcome {
        let (frame, headers) = (&self.frames[lane], &self.vm.packets.headers[lane]);
        let Some(tracker) = self.tracker.as_deref() else {
            return Outcome::End(DropReason::EngineMissing);
        };
        if headers.l4proto != protocol::TCP || !headers.has(header::TRANSPORT) {
            return Outcome::Break;
        }
        let bytes = frame.bytes();
        let known = frame.vnet.needs_checksum() || frame.vnet.flags & VnetHeader::DATA_VALID != 0;
        let to_group = bytes[0] & 1 == 1;
        if to_group || !known && !transport_checksum_ok(bytes, headers) {
            return Outcome::End(DropReason::ProxyMalformed);
        }
        let Some((segment, of)) = read(bytes, headers) else {
            return Outcome::End(DropReason::ProxyMalformed);
        };
        if segment.has(flag::SYN) {
            if segment.flags & (flag::ACK | flag::RST | flag::FIN) != 0 {
                return Outcome::End(DropReason::ProxyMalformed);
            }
            tracker.count_proxy(ProxyEvent::Syn);
            let cookie = tracker.cookie(&of, segment.seq, segment.options.mss);
            let answer = syn_ack(&segment, offer, cookie, tracker.proxy_clock_ms());
            match answer.framed((bytes, headers), Towards::Sender) {
                Some(framed) => self.answer(lane, &framed),
                None => Outcome::End(DropReason::ProxyMalformed),
            }
        } else if segment.has(flag::ACK) && !segment.has(flag::RST) {
            self.redeem(lane, segment.seq.wrapping_sub(1))
        } else {
            Outcome::On
        }
    }

    /// Sends an answer to the sender of a lane's packet: on a wire the frame itself turns round.
    fn answer(&mut self, lane: usize, framed: &Framed) -> Outcome {
        let gathered = self.vm.packets.gathered >> lane & 1 == 1;
        if self.is_routed() {
            let routed = self.frame_of(framed).map(|frame| Routed {
                frame,
                port: self.way_back(lane),
                about: None,
                proxied: None,
            });
            self.routed.extend(routed);
            return Outcome::Taken;
        }
        if !gathered && replace(&mut self.frames[lane], framed) {
            return Outcome::Turned;
        }
        let port = self.vm.packets.in_ports[lane];
        let emitted = self.frame_of(framed).map(|frame| (port, frame));
        self.emitted.extend(emitted);
        Outcome::Taken
    }

    /// Asks the server for the client of a lane's ACK, if that has a good cookie; `seq` is the number of the
    /// client's SYN.
    fn redeem(&mut self, lane: usize, seq: u32) -> Outcome {
        if self.ask_server(lane, seq) {
            Outcome::Taken
        } else {
            Outcome::End(DropReason::ProxyCookie)
        }
    }

    /// Asks the server for the client of a lane's ACK, whose SYN had the number `seq`; `false` when its cookie is
    /// none, or too old.
    pub(crate) fn ask_server(&mut self, lane: usize, seq: u32) -> bool {
        let headers = &self.vm.packets.headers[lane];
        let bytes = self.frames[lane].bytes();
        let (Some((ack, of)), Some(tracker)) = (read(bytes, headers), self.tracker.as_deref())
        else {
            return false;
        };
        let Some(mss) = tracker.check_cookie(&of, seq, ack.ack.wrapping_sub(1)) else {
            tracker.count_proxy(ProxyEvent::CookieInvalid);
            return false;
        };
        tracker.count_proxy(ProxyEvent::CookieValid);
        let (syn, told) = server_syn(&ack, seq, mss);
        if let Some(framed) = syn.framed((bytes, headers), Towards::Receiver) {
            self.send_proxied(lane, &framed, Towards::Receiver, Some(told));
        }
        true
    }

    /// Has the proxy's own segment sent behind the batch, where the tracker sees it: it goes where a lane's
    /// packet goes, or where that came from.
    pub(crate) fn send_proxied(
        &mut self,
        lane: usize,
        framed: &Framed,
        towards: Towards,
        opens: Option<Handshake>,
    ) {
        let routed = self.generation.ports().gateway().is_some();
        let packets = &self.vm.packets;
        let zone = packets.zones[lane];
        let port = (!routed).then_some(match towards {
            Towards::Sender => packets.in_ports[lane],
            Towards::Receiver => packets.out_ports[lane],
        });
        let made = self.frame_of(framed).map(|frame| Routed {
            frame,
            port,
            about: None,
            proxied: Some(ProxySegment { zone, opens }),
        });
        self.routed.extend(made);
    }

    /// A frame of the pool; none when that is empty, which is counted there.
    fn frame_of(&mut self, framed: &Framed) -> Option<Frame<'static>> {
        let mut frame = self.pool.take(framed.len(), PortId::NONE)?;
        frame.bytes_mut().copy_from_slice(framed);
        Some(frame)
    }
}

/// A TCP packet's segment, and whose it is.
fn read<'f>(
    frame: &'f [u8],
    headers: &crate::packet::Headers,
) -> Option<(Segment, Conversation<'f>)> {
    let segment = Segment::read(frame, headers)?;
    let packet = frame.get(usize::from(headers.network)..headers.end as usize)?;
    let of = Conversation {
        addresses: addresses(packet),
        sport: segment.sport,
        dport: segment.dport,
    };
    Some((segment, of))
}
