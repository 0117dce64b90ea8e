use proptest::prelude::*;

use super::*;
use crate::packet::checksum::checksum;
use crate::packet::headers::protocol;
use crate::port::PortId;

/// A UDP datagram's transport bytes: a header, then a pattern.
fn datagram(payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x10, 0, 0, 53];
    bytes.extend((8 + payload as u16).to_be_bytes());
    bytes.extend([0xab, 0xcd]);
    bytes.extend((0..payload).map(|at| (at / 8 + at) as u8));
    bytes
}

fn ipv4(id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    bytes.extend([8, 0, 0x45, 7]);
    bytes.extend((20 + payload.len() as u16).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(((offset / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes());
    bytes.extend([64, protocol::UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let value = checksum(&bytes[14..]);
    bytes[24..26].copy_from_slice(&value.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// With destination options in front of the fragment header.
fn ipv6(id: u32, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    bytes.extend((16 + payload.len() as u16).to_be_bytes());
    bytes.extend([protocol::DESTINATION, 64]);
    bytes.extend([0xfd; 15]);
    bytes.push(1);
    bytes.extend([0xfd; 15]);
    bytes.push(2);
    bytes.extend([protocol::FRAGMENT, 0, 1, 4, 0, 0, 0, 0, protocol::UDP, 0]);
    bytes.extend((offset as u16 | u16::from(more)).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn fragment(v6: bool, id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    if v6 {
        ipv6(id.into(), offset, more, payload)
    } else {
        ipv4(id, offset, more, payload)
    }
}

/// All fragments of a datagram, each of `size` bytes but the last.
fn cut(v6: bool, id: u16, bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let chunks = bytes.chunks(size).enumerate();
    chunks
        .map(|(number, chunk)| {
            let end = number * size + chunk.len();
            fragment(v6, id, number * size, end < bytes.len(), chunk)
        })
        .collect()
}

struct Bench {
    fragments: Fragments,
    pool: FramePool,
    now_ns: u64,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        Self {
            fragments: Fragments::new(limits, 7),
            pool: FramePool::default(),
            now_ns: 1,
        }
    }

    /// Shows one frame; yields what became of it and the frame as it is then.
    fn take(&mut self, bytes: &[u8]) -> (Arrival, Frame<'static>) {
        let mut frame = Frame::owned(bytes.into(), 0, bytes.len(), PortId(3));
        let headers = Headers::dissect(frame.bytes());
        let arrival = self.fragments.take(
            5,
            &mut frame,
            &headers,
            Place::default(),
            self.now_ns,
            &mut self.pool,
        );
        (arrival, frame)
    }

    fn release(&mut self, whole: &Frame<'_>) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let emit = |frame: Frame<'_>| out.push(frame.bytes().to_vec());
        assert!(self.fragments.release(5, whole, &mut self.pool, emit));
        out
    }

    fn lost(&mut self) -> Vec<(DropReason, u64)> {
        std::iter::from_fn(|| self.fragments.take_lost()).collect()
    }

    /// Shows frames of which the last completes the datagram.
    fn whole(&mut self, frames: &[Vec<u8>]) -> Frame<'static> {
        let (last, first) = frames.split_last().unwrap();
        for bytes in first {
            assert_eq!(self.take(bytes).0, Arrival::Parked);
        }
        let (arrival, frame) = self.take(last);
        assert_eq!(arrival, Arrival::Whole);
        frame
    }
}

fn check_sum(frame: &[u8]) {
    if frame[12..14] == [8, 0] {
        assert_eq!(checksum(&frame[14..34]), 0);
    }
}

#[test]
fn a_datagram_is_seen_whole_and_leaves_as_it_came() {
    for v6 in [false, true] {
        let message = datagram(3000);
        let mut frames = cut(v6, 9, &message, 1024);
        for turn in 0..3 {
            frames.rotate_left(turn);
            let mut bench = Bench::new(Limits::default());
            let whole = bench.whole(&frames);
            let headers = Headers::dissect(whole.bytes());
            assert_eq!(headers.end as usize, whole.len());
            assert!(headers.has(flag::TRANSPORT) && !headers.has(flag::FRAGMENT));
            assert_eq!(headers.l4proto, protocol::UDP);
            assert_eq!(whole.bytes()[usize::from(headers.transport)..], message);
            check_sum(whole.bytes());
            assert_eq!(bench.release(&whole), frames);
            assert_eq!(
                (bench.fragments.datagrams(), bench.fragments.memory_bytes()),
                (0, 0)
            );
            assert_eq!(bench.lost(), []);
        }
    }
}

#[test]
fn what_was_written_to_the_datagram_is_in_its_fragments() {
    for v6 in [false, true] {
        let message = datagram(2000);
        let frames = cut(v6, 9, &message, 1024);
        let mut bench = Bench::new(Limits::default());
        let mut whole = bench.whole(&frames);
        let (ttl, source, transport) = if v6 { (21, 22, 62) } else { (22, 26, 34) };
        whole.bytes_mut()[0] = 0xee;
        whole.bytes_mut()[ttl] = 9;
        whole.bytes_mut()[source + 1] = 77;
        whole.bytes_mut()[transport..transport + 2].copy_from_slice(&[0xbe, 0xef]);
        let out = bench.release(&whole);
        assert_eq!(out.len(), frames.len());
        for (number, (out, came)) in out.iter().zip(&frames).enumerate() {
            check_sum(out);
            let mut expected = came.clone();
            expected[0] = 0xee;
            expected[ttl] = 9;
            expected[source + 1] = 77;
            if number == 0 {
                let payload = transport + if v6 { 8 } else { 0 };
                expected[payload..payload + 2].copy_from_slice(&[0xbe, 0xef]);
            }
            if !v6 {
                expected[24..26].copy_from_slice(&out[24..26]);
            }
            assert_eq!(*out, expected);
        }
    }
}

#[test]
fn a_payload_of_another_length_is_cut_again() {
    for v6 in [false, true] {
        let mut bench = Bench::new(Limits::default());
        let mut whole = bench.whole(&cut(v6, 9, &datagram(2000), 1024));
        let len = whole.len() + 100;
        assert!(whole.set_len(len));
        let out = bench.release(&whole);
        let mut again = Bench::new(Limits::default());
        let joined = again.whole(&out);
        let at = if v6 { 62 } else { 34 };
        assert_eq!(joined.bytes()[at..], whole.bytes()[at..]);
        assert!(out.iter().all(|frame| frame.len() <= at + 8 + 1024));
    }
}

#[test]
fn overlap_drops_the_datagram_and_all_that_comes_of_it() {
    let message = datagram(2000);
    for v6 in [false, true] {
        let mut bench = Bench::new(Limits::default());
        let part = |from: usize, to: usize| fragment(v6, 1, from, to < 2008, &message[from..to]);
        assert_eq!(bench.take(&part(0, 800)).0, Arrival::Parked);
        assert_eq!(bench.take(&part(1600, 2008)).0, Arrival::Parked);
        // The same again is dropped alone.
        let again = Arrival::Dropped(DropReason::FragmentDuplicate);
        assert_eq!(bench.take(&part(0, 800)).0, again);
        let overlap = Arrival::Dropped(DropReason::FragmentOverlap);
        assert_eq!(bench.take(&part(792, 1600)).0, overlap);
        assert_eq!(bench.lost(), [(DropReason::FragmentOverlap, 2)]);
        assert_eq!(bench.take(&part(800, 1600)).0, overlap);
        assert_eq!(bench.fragments.memory_bytes(), 0);
        // When its time is over the identification may be used again.
        bench.now_ns += 60_000_000_000;
        bench.fragments.expire(bench.now_ns);
        assert_eq!(bench.take(&part(0, 800)).0, Arrival::Parked);
    }
}

#[test]
fn fragments_that_fit_no_datagram() {
    let bad = Arrival::Dropped(DropReason::FragmentBad);
    let message = datagram(2000);
    for v6 in [false, true] {
        let show = |frames: &[Vec<u8>]| {
            let mut bench = Bench::new(Limits::default());
            let mut said = None;
            for bytes in frames {
                said = Some(bench.take(bytes).0);
            }
            said
        };
        let part = |from: usize, to: usize, more| fragment(v6, 1, from, more, &message[from..to]);
        assert_eq!(show(&[part(0, 801, true)]), Some(bad));
        assert_eq!(show(&[part(8, 8, false)]), Some(bad));
        assert_eq!(show(&[fragment(v6, 1, 65_528, false, &[0; 8])]), Some(bad));
        assert_eq!(
            show(&[fragment(v6, 1, 65_528, false, &[0; 7])]),
            Some(Arrival::Parked)
        );
        // Two ends, or something behind the end.
        assert_eq!(show(&[part(8, 16, false), part(16, 24, false)]), Some(bad));
        assert_eq!(show(&[part(16, 24, false), part(8, 12, false)]), Some(bad));
        assert_eq!(show(&[part(8, 16, false), part(16, 24, true)]), Some(bad));
    }
    // Headers and payload together would be longer than IP can say.
    let mut bench = Bench::new(Limits::default());
    let first = ipv4(1, 0, true, &[0; 65_512]);
    assert_eq!(bench.take(&first).0, Arrival::Parked);
    assert_eq!(bench.take(&ipv4(1, 65_512, false, &[0; 8])).0, bad);
    assert_eq!(bench.lost(), [(DropReason::FragmentBad, 1)]);
}

#[test]
fn a_first_fragment_without_its_transport_header_is_dropped() {
    let tiny = Arrival::Dropped(DropReason::FragmentTiny);
    let of = |number: u8, payload: &[u8]| {
        let mut bytes = ipv4(1, 0, true, payload);
        bytes[23] = number;
        Bench::new(Limits::default()).take(&bytes).0
    };
    let mut tcp = [0; 24];
    tcp[12] = 0x60;
    assert_eq!(of(protocol::TCP, &tcp[..16]), tiny);
    assert_eq!(of(protocol::TCP, &tcp), Arrival::Parked);
    tcp[12] = 0x70;
    assert_eq!(of(protocol::TCP, &tcp), tiny);
    assert_eq!(of(protocol::UDP, &[0; 8]), Arrival::Parked);
    assert_eq!(of(protocol::SCTP, &[0; 8]), tiny);
    assert_eq!(of(99, &[0; 8]), Arrival::Parked);
    // A chain of extension headers that goes on in the next fragment.
    let mut bytes = ipv6(1, 0, true, &[protocol::UDP, 1, 0, 0, 0, 0, 0, 0]);
    bytes[62] = protocol::DESTINATION;
    assert_eq!(Bench::new(Limits::default()).take(&bytes).0, tiny);
    // Later ones of the datagram go the same way.
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.take(&ipv6(1, 0, true, &[0; 8])).0, Arrival::Parked);
}

#[test]
fn what_is_whole_by_itself_is_not_gathered() {
    let mut bench = Bench::new(Limits::default());
    assert_eq!(
        bench.take(&ipv6(1, 0, true, &datagram(8))).0,
        Arrival::Parked
    );
    // An atomic fragment with the same identification neither completes nor disturbs it.
    assert_eq!(
        bench.take(&ipv6(1, 0, false, &datagram(8))).0,
        Arrival::Passes
    );
    assert_eq!(bench.take(&ipv6(1, 16, false, &[7; 8])).0, Arrival::Whole);
    assert_eq!(
        bench.take(&ipv4(1, 0, false, &datagram(8))).0,
        Arrival::Passes
    );
}

#[test]
fn time_runs_out_by_family() {
    for (v6, span) in [(false, 30_000_000_000), (true, 60_000_000_000)] {
        let mut bench = Bench::new(Limits::default());
        let frames = cut(v6, 1, &datagram(1000), 512);
        bench.take(&frames[1]);
        // What comes later does not give it more time.
        bench.now_ns += span / 2;
        bench.take(&fragment(v6, 2, 0, true, &datagram(8)));
        bench.now_ns = span;
        bench.fragments.expire(bench.now_ns);
        assert_eq!(bench.lost(), []);
        bench.fragments.expire(bench.now_ns + 1);
        assert_eq!(bench.lost(), [(DropReason::FragmentTimeout, 1)]);
        assert_eq!(bench.fragments.datagrams(), 1);
        assert_eq!(bench.take(&frames[0]).0, Arrival::Parked);
    }
}

#[test]
fn memory_and_numbers_are_bounded() {
    let limits = Limits {
        memory_bytes: 10 * 2048,
        datagrams: 8,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits);
    for id in 0..100 {
        assert_eq!(bench.take(&ipv4(id, 8, true, &[0; 8])).0, Arrival::Parked);
        assert!(bench.fragments.datagrams() <= 8);
    }
    assert_eq!(bench.lost(), [(DropReason::FragmentMemory, 92)]);
    // The newest are the ones that are left.
    assert_eq!(
        bench.take(&ipv4(99, 0, true, &datagram(0))).0,
        Arrival::Parked
    );
    assert_eq!(bench.take(&ipv4(99, 16, false, &[0; 8])).0, Arrival::Whole);
    // One datagram may not take more than all.
    let mut bench = Bench::new(limits);
    let seen: Vec<_> = (1..12)
        .map(|n| bench.take(&ipv4(1, n * 8, true, &[0; 8])).0)
        .collect();
    assert!(seen[..10].iter().all(|arrival| *arrival == Arrival::Parked));
    assert_eq!(seen[10], Arrival::Dropped(DropReason::FragmentMemory));
    let mut bench = Bench::new(Limits::default());
    let seen: Vec<_> = (1..=MOST_PIECES + 1)
        .map(|n| bench.take(&ipv4(1, n * 8, true, &[0; 8])).0)
        .collect();
    assert_eq!(
        seen[MOST_PIECES],
        Arrival::Dropped(DropReason::FragmentMany)
    );
    assert_eq!(
        bench.lost(),
        [(DropReason::FragmentMany, MOST_PIECES as u64)]
    );
}

#[test]
fn a_dropped_datagram_takes_its_fragments_along() {
    let mut bench = Bench::new(Limits::default());
    bench.whole(&cut(false, 1, &datagram(3000), 1024));
    assert!(bench.fragments.forget(5, DropReason::RuleDrop));
    assert!(!bench.fragments.forget(5, DropReason::RuleDrop));
    assert_eq!(bench.lost(), [(DropReason::RuleDrop, 2)]);
    assert_eq!(bench.fragments.memory_bytes(), 0);
}

#[test]
fn datagrams_of_other_ports_zones_and_domains_are_others() {
    let mut bench = Bench::new(Limits::default());
    let (first, second) = (ipv4(1, 0, true, &datagram(0)), ipv4(1, 8, false, &[0; 8]));
    let mut show = |bytes: &[u8], port: u16, domain: u16, zone: u16| {
        let mut frame = Frame::owned(bytes.into(), 0, bytes.len(), PortId(port));
        let headers = Headers::dissect(frame.bytes());
        let place = Place { domain, zone };
        bench
            .fragments
            .take(0, &mut frame, &headers, place, 1, &mut bench.pool)
    };
    assert_eq!(show(&first, 1, 0, 0), Arrival::Parked);
    for (port, domain, zone) in [(2, 0, 0), (1, 1, 0), (1, 0, 1)] {
        assert_eq!(show(&second, port, domain, zone), Arrival::Parked);
    }
    assert_eq!(show(&second, 1, 0, 0), Arrival::Whole);
}

/// What a reader without any cleverness makes of fragments.
#[derive(Default)]
struct Naive {
    parts: Vec<(usize, usize)>,
    total: Option<usize>,
    dead: bool,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Parked,
    Whole,
    Duplicate,
    Dropped,
}

impl Naive {
    fn show(&mut self, from: usize, to: usize, more: bool) -> Expected {
        if self.dead {
            return Expected::Dropped;
        }
        if self.parts.contains(&(from, to)) {
            return Expected::Duplicate;
        }
        let taken = |at: &usize| self.parts.iter().any(|(f, t)| (*f..*t).contains(at));
        let highest = self.parts.iter().map(|part| part.1).max().unwrap_or(0);
        let beyond = self.total.is_some_and(|total| to > total || !more);
        let short = !more && to < highest;
        if (from..to).any(|at| taken(&at)) || beyond || short {
            self.dead = true;
            return Expected::Dropped;
        }
        self.parts.push((from, to));
        if !more {
            self.total = Some(to);
        }
        match self.total {
            Some(total)
                if (0..total).all(|at| self.parts.iter().any(|(f, t)| (*f..*t).contains(&at))) =>
            {
                Expected::Whole
            }
            _ => Expected::Parked,
        }
    }
}

proptest! {
    #[test]
    fn fragments_are_joined_as_by_a_naive_reader(
        v6: bool, pieces in proptest::collection::vec((0usize..6, 1usize..4, any::<bool>()), 1..14),
    ) {
        let message = datagram(64);
        let mut bench = Bench::new(Limits::default());
        let mut naive = Naive::default();
        for (from, len, last) in pieces {
            let (from, to) = (from * 8, (from + len) * 8);
            let more = !(last && to == 48);
            let (arrival, whole) = bench.take(&fragment(v6, 1, from, more, &message[from..to]));
            let seen = match arrival {
                Arrival::Parked => Expected::Parked,
                Arrival::Whole => Expected::Whole,
                Arrival::Dropped(DropReason::FragmentDuplicate) => Expected::Duplicate,
                Arrival::Dropped(_) => Expected::Dropped,
                Arrival::Passes => panic!("a fragment passed"),
            };
            prop_assert_eq!(seen, naive.show(from, to, more));
            if arrival == Arrival::Whole {
                let at = if v6 { 62 } else { 34 };
                prop_assert_eq!(&whole.bytes()[at..], &message[..48]);
                let parts: Vec<_> = bench.release(&whole).iter().map(|frame| frame.len()).collect();
                let lens: Vec<_> = naive.parts.iter().map(|(from, to)| to - from).collect();
                let header = at + if v6 { 8 } else { 0 };
                prop_assert_eq!(parts, lens.iter().map(|len| len + header).collect::<Vec<_>>());
                naive = Naive::default();
            }
        }
    }

    #[test]
    fn any_order_gives_the_datagram(
        v6: bool, len in 1usize..5000, size in 1usize..100, order in any::<u64>(),
    ) {
        let message = datagram(len);
        let mut frames = cut(v6, 3, &message, size * 8 + 64);
        prop_assume!(frames.len() > 1 && frames.len() <= MOST_PIECES);
        let mut state = order;
        for at in (1..frames.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            frames.swap(at, (state >> 33) as usize % (at + 1));
        }
        let mut bench = Bench::new(Limits::default());
        let whole = bench.whole(&frames);
        let headers = Headers::dissect(whole.bytes());
        prop_assert_eq!(&whole.bytes()[usize::from(headers.transport)..], &message[..]);
        prop_assert_eq!(bench.release(&whole), frames);
    }

    #[test]
    fn any_frame_is_taken_without_a_panic(
        v6: bool, bytes in proptest::collection::vec(any::<u8>(), 0..120), next: u8, flags: u8,
    ) {
        let mut frame = fragment(v6, 1, 0, true, &bytes);
        frame[if v6 { 20 } else { 23 }] = next;
        frame[if v6 { 57 } else { 20 }] = flags;
        frame[14] = frame[14].wrapping_add(flags & 3);
        let mut bench = Bench::new(Limits::default());
        let (arrival, whole) = bench.take(&frame);
        if arrival == Arrival::Whole {
            bench.release(&whole);
        }
    }
}
