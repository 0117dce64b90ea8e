//! Any bytes as a frame: dissected, read by every walk over options, answered, cut, completed.
//! Whatever they are, it ends without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_dataplane::packet::frame::HEADROOM;
use sluice_dataplane::packet::headers::Headers;
use sluice_dataplane::packet::segment::{Segments, complete_checksum};
use sluice_dataplane::packet::{Frame, VnetHeader, options, reply};
use sluice_dataplane::port::PortId;

fuzz_target!(|data: &[u8]| {
    // The first bytes are the offload header and an option number.
    let Some((head, bytes)) = data.split_at_checked(VnetHeader::LEN + 1) else {
        return;
    };
    let headers = Headers::dissect(bytes);
    let number = head[VnetHeader::LEN];
    // The results do not matter here: that they come does.
    let _ = options::tcp_header(bytes, &headers);
    let _ = options::tcp_option(bytes, &headers, number);
    let _ = options::ip6_extension(bytes, &headers, number);
    let _ = options::ip_option(bytes, &headers, number);
    let _ = options::sctp_chunk(bytes, &headers, number);
    let _ = options::dccp_option(bytes, &headers, number);
    let _ = reply::unreachable(bytes, &headers, number & 1 == 1, Some(3), Some(4));
    let _ = reply::tcp_reset(bytes, &headers, number & 1 == 1);

    let mut slot = vec![0; HEADROOM + bytes.len()];
    slot[HEADROOM..].copy_from_slice(bytes);
    let mut frame = Frame::borrowed(&mut slot, HEADROOM, bytes.len(), PortId(0));
    if let Some(vnet) = head.first_chunk() {
        frame.vnet = VnetHeader::from_bytes(vnet);
    }
    let mut segments = Segments::default();
    if frame.vnet.gso_size >= 64 && segments.cut(&frame, 1500).is_ok() {
        assert!(segments.pieces_mut().all(|piece| piece.len() <= VnetHeader::LEN + 1500 + 64));
    }
    let _ = complete_checksum(&mut frame);
});
