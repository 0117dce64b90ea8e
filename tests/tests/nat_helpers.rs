//! What the FTP helper writes into translated connections, packet by packet under virtual time: packets that
//! become too large, and announcements of which one is refused.

use sluice_dataplane::DropReason;
use sluice_dataplane::packet::VnetHeader;
use sluice_dataplane::packet::checksum::{checksum, fold, pseudo_header};
use sluice_tests::translated::{Flags, Side, Translated, error, tcp};

const RULES: &str = "
table inet gw {
    ct helper ftp-standard { type \"ftp\" protocol tcp; }
    chain pre {
        type filter hook prerouting priority filter; policy accept;
        tcp dport 21 ct helper set \"ftp-standard\"
    }
    chain through {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname inside accept
    }
    chain post { type nat hook postrouting priority srcnat; oifname outside masquerade; }
}
";

const A: &str = "10.1.0.2:4000";
const B: &str = "10.1.0.3:5000";
const A6: &str = "[fd01::2]:4000";
const SERVER: &str = "198.51.100.1:21";
const SERVER6: &str = "[2001:db8:9::1]:21";

const ACK: Flags = Flags {
    syn: false,
    ack: true,
    rst: false,
    fin: false,
};

/// A control connection of which both sides have said their first line: what the server sees as the
/// client. The client's next byte is 1010, the server's 5011.
fn control(gw: &mut Translated, from: &str, to: &str) -> String {
    let flags = |ack| Flags {
        syn: true,
        ack,
        ..Flags::default()
    };
    let seen = gw.out(&tcp(from, to, flags(false), (1000, 0), &[])).from();
    gw.back(&tcp(to, &seen, flags(true), (5000, 1001), &[]));
    gw.back(&tcp(to, &seen, ACK, (5001, 1001), b"220 hello\r\n"));
    gw.out(&tcp(from, to, ACK, (1001, 5012), b"USER me\r\n"));
    seen
}

/// Commands, and then lines without a meaning up to so many bytes.
fn filled(commands: &[u8], bytes: usize) -> Vec<u8> {
    let mut payload = commands.to_vec();
    while payload.len() + 6 <= bytes {
        payload.extend(b"NOOP\r\n");
    }
    payload.extend(b"      "[..bytes - payload.len()].iter());
    payload
}

/// Sets or clears DF of an IPv4 frame.
fn dont_fragment(frame: &mut [u8], on: bool) {
    frame[20] = if on { 0x40 } else { 0 };
    frame[24..26].fill(0);
    let check = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
}

fn sequence(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[38..42].try_into().unwrap())
}

#[test]
fn a_segment_that_grows_beyond_the_mtu_is_told_and_its_smaller_copy_passes() {
    let mut gw = Translated::new(RULES);
    control(&mut gw, A, SERVER);
    // The external address is written with one character more.
    let commands = b"PORT 10,1,0,2,7,208\r\n";
    let payload = filled(commands, 1460);
    let mut large = tcp(A, SERVER, ACK, (1010, 5012), &payload);
    dont_fragment(&mut large, true);
    assert_eq!(large.len(), 1514);
    let told = gw.only(Side::Inside, &large, Side::Inside);
    let (kind, (from, to)) = told.error();
    assert_eq!(kind, (3, 4));
    assert_eq!(
        (from.to_string(), to.to_string()),
        (A.into(), SERVER.into())
    );
    assert_eq!(told.ends().1.ip().to_string(), "10.1.0.2");
    // One byte less than the way takes: so that it fits when it comes again.
    assert_eq!(told.frame[40..42], 1499u16.to_be_bytes());
    assert_eq!(gw.drops, [DropReason::PacketTooBig]);
    let mut again = tcp(A, SERVER, ACK, (1010, 5012), &payload[..1459]);
    dont_fragment(&mut again, true);
    let sent = gw.out(&again);
    assert_eq!(sent.frame.len(), 1514);
    assert!(sent.frame[54..].starts_with(b"PORT 192,0,2,1,7,208\r\nNOOP"));
    // It was counted once: what follows is one byte further on.
    let last = gw.out(&tcp(A, SERVER, ACK, (2469, 5012), &payload[1459..]));
    assert_eq!(sequence(&last.frame), 2470);
}

#[test]
fn a_segment_that_grows_and_may_be_cut_is_cut() {
    let mut gw = Translated::new(RULES);
    control(&mut gw, A, SERVER);
    let payload = filled(b"PORT 10,1,0,2,7,208\r\n", 1460);
    let mut large = tcp(A, SERVER, ACK, (1010, 5012), &payload);
    dont_fragment(&mut large, false);
    let pieces = gw.send(Side::Inside, &large);
    assert!(pieces.iter().all(|piece| piece.side == Side::Outside));
    let sizes: Vec<usize> = pieces.iter().map(|piece| piece.frame.len() - 34).collect();
    assert_eq!(sizes, [1480, 1]);
    assert!(pieces[0].frame[54..].starts_with(b"PORT 192,0,2,1,7,208\r\n"));
    assert_eq!(gw.drops, []);
}

#[test]
fn a_segment_over_ipv6_that_grows_beyond_the_mtu_is_told() {
    let mut gw = Translated::new(RULES);
    control(&mut gw, A6, SERVER6);
    let payload = filled(b"EPRT |2|fd01::2|2000|\r\n", 1440);
    let large = tcp(A6, SERVER6, ACK, (1010, 5012), &payload);
    assert_eq!(large.len(), 1514);
    let told = gw.only(Side::Inside, &large, Side::Inside);
    let (kind, (from, to)) = told.error();
    assert_eq!(kind, (2, 0));
    assert_eq!(
        (from.to_string(), to.to_string()),
        (A6.into(), SERVER6.into())
    );
    // 2001:db8::1 has four characters more.
    assert_eq!(told.frame[58..62], 1496u32.to_be_bytes());
    assert_eq!(gw.drops, [DropReason::PacketTooBig]);
}

#[test]
fn a_super_frame_that_grows_leaves_whole() {
    let mut gw = Translated::new(RULES);
    control(&mut gw, A, SERVER);
    let payload = filled(b"PORT 10,1,0,2,7,208\r\n", 2 * 1460);
    let mut large = tcp(A, SERVER, ACK, (1010, 5012), &payload);
    dont_fragment(&mut large, true);
    // Its checksum is partial, as the kernel hands it over.
    let sum = fold(pseudo_header(&large[26..34], 6, large.len() as u32 - 34));
    large[50..52].copy_from_slice(&sum.to_be_bytes());
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: VnetHeader::GSO_TCPV4,
        hdr_len: 54,
        gso_size: 1460,
        csum_start: 34,
        csum_offset: 16,
    };
    let sent = gw.send_with(Side::Inside, std::slice::from_ref(&large), vnet);
    assert_eq!((sent.len(), gw.drops.len()), (1, 0));
    let sent = &sent[0];
    assert_eq!(
        (sent.side, sent.frame.len()),
        (Side::Outside, large.len() + 1)
    );
    assert!(sent.frame[54..].starts_with(b"PORT 192,0,2,1,7,208\r\nNOOP"));
    let whole = fold(pseudo_header(
        &sent.frame[26..34],
        6,
        sent.frame.len() as u32 - 34,
    ));
    assert_eq!(sent.frame[50..52], whole.to_be_bytes());
    // Its segments are too large for the way, also without what the helper adds.
    let vnet = VnetHeader {
        gso_size: 1461,
        ..vnet
    };
    let told = gw.send_with(Side::Inside, std::slice::from_ref(&large), vnet);
    assert_eq!((told.len(), told[0].error().0), (1, (3, 4)));
    assert_eq!(gw.drops, [DropReason::PacketTooBig]);
}

#[test]
fn errors_about_a_connection_whose_numbers_are_shifted_pass() {
    let mut gw = Translated::new(RULES);
    control(&mut gw, A, SERVER);
    let port = b"PORT 10,1,0,2,7,208\r\n";
    let sent = gw.out(&tcp(A, SERVER, ACK, (1010, 5012), port));
    let back = gw.back(&error("203.0.113.1", "192.0.2.1", (3, 1), &sent.frame));
    let (kind, (from, to)) = back.error();
    assert_eq!(kind, (3, 1));
    assert_eq!(
        (from.to_string(), to.to_string()),
        (A.into(), SERVER.into())
    );
    assert_eq!(gw.drops, []);
}

#[test]
fn of_two_announcements_in_one_segment_one_is_refused() {
    let mut gw = Translated::new(RULES);
    control(&mut gw, B, SERVER);
    control(&mut gw, A, SERVER);
    // The last port there is, so that none behind it can be had in its stead.
    let sent = gw.out(&tcp(
        B,
        SERVER,
        ACK,
        (1010, 5012),
        b"PORT 10,1,0,3,255,255\r\n",
    ));
    assert!(sent.frame.ends_with(b"PORT 192,0,2,1,255,255\r\n"));
    let both = b"PORT 10,1,0,2,255,255\r\nPORT 10,1,0,2,7,208\r\n";
    let sent = gw.out(&tcp(A, SERVER, ACK, (1010, 5012), both));
    // What is refused stays as it is written; the other one is rewritten.
    assert!(
        sent.frame.ends_with(b"\r\nPORT 192,0,2,1,7,208\r\n")
            && sent.frame[54..].starts_with(b"PORT 10,1,0,2,255,255\r\n"),
        "{:?}",
        String::from_utf8_lossy(&sent.frame[54..])
    );
    // The byte that came with it is counted: later segments, and answers to them.
    let next = 1010 + both.len() as u32;
    let later = gw.out(&tcp(A, SERVER, ACK, (next, 5012), b"RETR x\r\n"));
    assert_eq!(sequence(&later.frame), next + 1);
    let answer = tcp(SERVER, &later.from(), ACK, (5012, next + 9), b"150 yes\r\n");
    let answer = gw.back(&answer);
    assert_eq!(answer.frame[42..46], (next + 8).to_be_bytes());
    // The one that holds lets the server in; that of the other client is still its own.
    let open = Flags {
        syn: true,
        ..Flags::default()
    };
    let data = |port: u16| {
        let to = format!("192.0.2.1:{port}");
        tcp("198.51.100.1:20", &to, open, (1, 0), &[])
    };
    assert_eq!(gw.back(&data(2000)).to(), "10.1.0.2:2000");
    assert_eq!(gw.back(&data(65535)).to(), "10.1.0.3:65535");
}
