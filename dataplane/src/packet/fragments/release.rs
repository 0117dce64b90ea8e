//! From fragments to the datagram, and back.
//!
//! The datagram has the first fragment's link and network headers, without what marks a fragment. On the
//! way back each fragment keeps its own headers, and of the datagram's takes over what was written to
//! it since; its payload is the datagram's. When the payload has another length than it had, there are
//! no boundaries to keep: it is cut into fragments as large as the largest that came.

use super::header::Piece;
use super::{Datagram, Parked};
use crate::drop_reason::DropReason;
use crate::packet::checksum::checksum;
use crate::packet::frame::Frame;
use crate::packet::pool::FramePool;
use crate::packet::vnet::VnetHeader;

/// Most bytes of an IP packet.
const MOST: usize = 65_535;
/// What fragments of IPv4 take over: type of service, identification, time to live, addresses.
const IPV4_FIELDS: [std::ops::Range<usize>; 4] = [1..2, 4..6, 8..9, 12..20];
/// What fragments of IPv6 take over: traffic class and flow label, hop limit, addresses.
const IPV6_FIELDS: [std::ops::Range<usize>; 3] = [0..4, 7..8, 8..40];

impl Parked {
    /// The frame, without padding behind the packet.
    fn bytes(&self) -> &[u8] {
        &self.memory[..self.piece.payload + self.piece.len]
    }

    /// Link and network headers as the datagram has them: without a fragment header.
    fn headers(&self) -> usize {
        match self.piece.header {
            Some((at, _)) => at,
            None => self.piece.payload,
        }
    }
}

/// Makes a frame the whole datagram.
pub(super) fn join(
    datagram: &Datagram,
    frame: &mut Frame<'_>,
    pool: &mut FramePool,
) -> Result<(), DropReason> {
    let first = datagram.first().ok_or(DropReason::FragmentBad)?;
    let (headers, payload) = (first.headers(), datagram.have);
    let network = first.piece.network;
    // The length field of IPv6 does not count the header itself.
    let counted = if first.piece.is_ipv6() { 40 } else { 0 };
    let told = headers - network - counted + payload;
    if told > MOST {
        return Err(DropReason::FragmentBad);
    }
    let mut whole = pool
        .take_whole(headers + payload, frame.in_port)
        .ok_or(DropReason::PoolEmpty)?;
    let bytes = whole.bytes_mut();
    bytes[..headers].copy_from_slice(&first.memory[..headers]);
    for parked in &datagram.parked {
        let piece = &parked.piece;
        let at = headers + piece.offset;
        bytes[at..at + piece.len].copy_from_slice(&parked.bytes()[piece.payload..]);
    }
    write_lengths(&mut bytes[network..headers], told as u16, counted != 0);
    match first.piece.header {
        Some((at, announced)) => bytes[announced] = first.memory[at],
        // DF stays; offset and MF are gone.
        None => set_fragment(&mut bytes[network..headers], 0),
    }
    whole.vnet = VnetHeader::default();
    *frame = whole;
    Ok(())
}

/// Cuts a datagram that has passed. The pool counts what it has no room for.
pub(super) fn cut<'p>(
    datagram: &Datagram,
    whole: &Frame<'_>,
    pool: &mut FramePool,
    emit: &mut dyn FnMut(Frame<'p>),
) {
    let Some(first) = datagram.first() else {
        return;
    };
    let headers = first.headers();
    let Some(payload) = whole.bytes().get(headers..) else {
        return;
    };
    let mut send = |parked: &Parked, piece: Piece| {
        if let Some(frame) = piece_of(first, parked, &piece, whole, pool) {
            emit(frame);
        }
    };
    if payload.len() == datagram.have {
        for parked in &datagram.parked {
            send(parked, parked.piece);
        }
        return;
    }
    let sizes = datagram.parked.iter().map(|parked| parked.piece.len);
    let size = (sizes.max().unwrap_or(0) & !7).max(8);
    let mut offset = 0;
    while offset < payload.len() {
        let len = size.min(payload.len() - offset);
        let piece = Piece {
            offset,
            len,
            more: offset + len < payload.len(),
            ..first.piece
        };
        send(first, piece);
        offset += len;
    }
}

/// One fragment: the headers of `parked`, the bytes of `piece`.
fn piece_of<'p>(
    first: &Parked,
    parked: &Parked,
    piece: &Piece,
    whole: &Frame<'_>,
    pool: &mut FramePool,
) -> Option<Frame<'p>> {
    let headers = piece.payload;
    let mut frame = pool.take(headers + piece.len, whole.in_port)?;
    let bytes = frame.bytes_mut();
    bytes[..headers].copy_from_slice(&parked.memory[..headers]);
    let at = first.headers() + piece.offset;
    bytes[headers..].copy_from_slice(&whole.bytes()[at..at + piece.len]);
    let network = piece.network;
    let (before, after) = (&first.memory[..], whole.bytes());
    // Link headers are of one length: a VLAN tag does not come between fragments.
    take_over(
        &mut bytes[..network],
        before,
        after,
        std::slice::from_ref(&(0..network.min(first.piece.network))),
    );
    let (before, after) = (
        &before[first.piece.network..],
        &after[first.piece.network..],
    );
    let ipv6 = piece.is_ipv6();
    let fields: &[_] = if ipv6 { &IPV6_FIELDS } else { &IPV4_FIELDS };
    take_over(&mut bytes[network..], before, after, fields);
    let counted = if ipv6 { 40 } else { 0 };
    let told = (headers - network - counted + piece.len) as u16;
    let place = (piece.offset / 8) as u16;
    match piece.header {
        Some((at, _)) => {
            let place = place << 3 | u16::from(piece.more);
            bytes[at + 2..at + 4].copy_from_slice(&place.to_be_bytes());
        }
        None => {
            let place = place | if piece.more { 0x2000 } else { 0 };
            set_fragment(&mut bytes[network..headers], place);
        }
    }
    write_lengths(&mut bytes[network..headers], told, ipv6);
    Some(frame)
}

/// Copies the fields that differ between what the first fragment had and what the datagram has now.
fn take_over(header: &mut [u8], before: &[u8], after: &[u8], fields: &[std::ops::Range<usize>]) {
    for field in fields {
        if before[field.clone()] != after[field.clone()] {
            header[field.clone()].copy_from_slice(&after[field.clone()]);
        }
    }
}

/// Sets the length of an IP header, and its checksum where it has one.
fn write_lengths(header: &mut [u8], told: u16, ipv6: bool) {
    if ipv6 {
        header[4..6].copy_from_slice(&told.to_be_bytes());
        return;
    }
    header[2..4].copy_from_slice(&told.to_be_bytes());
    fix_checksum(header);
}

/// Sets offset and MF; the other flags stay.
fn set_fragment(header: &mut [u8], place: u16) {
    let flags = u16::from_be_bytes([header[6], header[7]]) & 0xc000;
    header[6..8].copy_from_slice(&(flags | place).to_be_bytes());
    fix_checksum(header);
}

fn fix_checksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let value = checksum(header);
    header[10..12].copy_from_slice(&value.to_be_bytes());
}
