//! The requirements of RFC 4787 (UDP), RFC 5382 (TCP) and RFC 5508 (ICMP) that apply, one test each;
//! `docs/rfc.md` is the table.

mod icmp;
mod tcp;
mod udp;

use std::collections::HashSet;

use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::{Settings, Timeouts};
use sluice_tests::translated::{Flags, Side, Translated, echo, error, syn, tcp, udp};

/// Endpoint-independent mapping and filtering; the inside reaches itself by its external endpoints.
const INDEPENDENT: &str = "
table inet gw {
    chain post {
        type nat hook postrouting priority srcnat
        oifname outside masquerade endpoint-independent
        iifname inside oifname inside ct status dnat snat ip to 192.0.2.1 endpoint-independent
        iifname inside oifname inside ct status dnat snat ip6 to 2001:db8::1 endpoint-independent
    }
}
";

const A: &str = "10.1.0.2:4000";
const B: &str = "10.1.0.3:5000";
const SERVER: &str = "198.51.100.1:53";
const OTHER: &str = "198.51.100.2:54";

fn filtering(how: &str) -> String {
    let wanted = format!("masquerade endpoint-independent filter {how}");
    INDEPENDENT.replace("masquerade endpoint-independent", &wanted)
}

fn rfc() -> Settings {
    Settings {
        timeouts: Timeouts::profile("rfc").expect("it is there"),
        ..Settings::default()
    }
}

/// A connection over TCP from inside that is established: what the server sees as the client.
fn established(gw: &mut Translated, from: &str, to: &str) -> String {
    let seen = gw.out(&syn(from, to)).from();
    let both = Flags {
        syn: true,
        ack: true,
        ..Flags::default()
    };
    gw.back(&tcp(to, &seen, both, (5000, 1001), &[]));
    let ack = Flags {
        ack: true,
        ..Flags::default()
    };
    gw.out(&tcp(from, to, ack, (1001, 5001), &[]));
    seen
}

fn port(endpoint: &str) -> u16 {
    endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

/// Makes the checksum of an IPv4 header right.
fn seal(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let check = sluice_dataplane::packet::checksum::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
}

/// An IPv4 packet in fragments of at most so many bytes of payload.
fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (header, payload) = frame.split_at(34);
    let count = payload.len().div_ceil(size);
    let piece = |(index, bytes): (usize, &[u8])| {
        let mut piece = [header, bytes].concat();
        let more = if index + 1 < count { 0x2000 } else { 0 };
        let place = more | (index * size / 8) as u16;
        piece[16..18].copy_from_slice(&(20 + bytes.len() as u16).to_be_bytes());
        piece[20..22].copy_from_slice(&place.to_be_bytes());
        seal(&mut piece);
        piece
    };
    payload.chunks(size).enumerate().map(piece).collect()
}
