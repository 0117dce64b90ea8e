//! Any bytes as a program: the verifier takes them or refuses them, and what it takes runs over
//! frames of every kind and ends, whatever its sets answer.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sluice_dataplane::packet::frame::{Burst, HEADROOM};
use sluice_dataplane::packet::Frame;
use sluice_dataplane::port::PortId;
use sluice_dataplane::program::cell::{Cell, ConnLimit, Last, Limit, Numgen, Quota};
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::lane_set::{Change, LaneSet, Moment};
use sluice_dataplane::program::lanes::Column;
use sluice_dataplane::program::{CellKind, Program, SetDesc};
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Generation, Pipeline, PortInfo, PortTable, Stages,
};

/// A set that has some keys and not others, with data that no verifier has seen.
#[derive(Debug)]
struct Any(SetDesc);

impl LaneSet for Any {
    fn desc(&self) -> SetDesc {
        self.0.clone()
    }

    fn look_up(&self, key: &[&Column], lanes: u64, _: &Moment<'_>, data: &mut [Column]) -> u64 {
        let mut found = 0;
        for lane in (0..64).filter(|lane| lanes >> lane & 1 == 1) {
            let word = key.iter().fold(lane as u32, |sum, column| sum.wrapping_mul(31) ^ column[lane]);
            if word % 3 != 0 {
                found |= 1 << lane;
                data.iter_mut().for_each(|column| column[lane] = word >> 2);
            }
        }
        found
    }

    fn change(&self, key: &[&Column], lanes: u64, moment: &Moment<'_>, _: &Change<'_>) -> u64 {
        self.look_up(key, lanes, moment, &mut [])
    }
}

fn cell(kind: CellKind) -> Cell {
    match kind {
        CellKind::Limit => Cell::Limit(Limit::new(1, 1_000_000, 2, false, false)),
        CellKind::Quota => Cell::Quota(Quota::new(200, false, 0)),
        CellKind::Last => Cell::Last(Last::default()),
        CellKind::ConnLimit => Cell::ConnLimit(ConnLimit::new(1, true)),
        CellKind::Numgen => Cell::Numgen(Numgen::new(3, 0)),
    }
}

/// IPv4 and IPv6, TCP with options, UDP, ICMP, a fragment, a tag, cut-off headers, not IP.
static FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let hex = |text: &str| -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let link = "060000b0000b 02000000000a ";
    let ip4 = |rest: &str| hex(&format!("{link} 0800 {rest}"));
    let ip6 = |rest: &str| hex(&format!("{link} 86dd {rest}"));
    let addresses6 = "fd000001000000000000000000000001 fd000002000000000000000000000002";
    let tcp = "03e807d0 01020304 05060708 7012 2000 0000 0000 020405b4 0402 0101";
    let udp = "03e807d0 000c 0000 61626364";
    let mut frames = vec![
        ip4(&format!("4500 0030 1234 0000 4006 0000 0a010001 0a020002 {tcp}")),
        ip4(&format!("4500 0020 1234 0000 4011 0000 0a010001 0a020002 {udp}")),
        ip4("4500 001c 1234 0000 4001 0000 0a010001 0a020002 0800 f7fd 0001 0001"),
        ip4("4600 0018 1234 0004 4011 0000 0a010001 0a020002 94040000"),
        ip6(&format!("60000000 001c 0640 {addresses6} {tcp}")),
        ip6(&format!("60000000 0014 2c40 {addresses6} 11000001 00000009 {udp}")),
        ip6(&format!("60000000 0010 0040 {addresses6} 3a000104 00000000 8000 0000 0001 0001")),
        hex(&format!("{link} 8100 0005 0800 4500 0020 1234 0000 4011 0000 0a010001 0a020002 {udp}")),
        hex(&format!("{link} 0806 0001 0800 0604 0001 02000000000a 0a010001 000000000000 0a020002")),
        hex(&format!("{link} 88b5 0102030405")),
    ];
    for length in [10, 20, 36, 40, 44] {
        let cut = frames[0][..length].to_vec();
        frames.push(cut);
    }
    frames
});

fn run(program: Program) {
    let sets = program.tables().sets().iter();
    let sets = sets.map(|desc| Arc::new(Any(desc.clone())) as Arc<dyn LaneSet>).collect();
    let cells = program.tables().cells().iter().map(|kind| Arc::new(cell(*kind))).collect();
    let mut ports = PortTable::default();
    for id in 0..2 {
        let mut info = PortInfo::new(["left", "right"][usize::from(id)], u32::from(id) + 2, "memory");
        info.peer = Some(PortId(1 - id));
        ports.set(PortId(id), Some(info));
    }
    let counters = Arc::new(Counters::new(1));
    counters.allocate();
    // What needs an engine that is not there ends its packets.
    let everything = u32::MAX;
    let generation =
        Generation::new(1, Arc::new(program), sets, cells, counters, Arc::new(ports), everything);
    let Ok(generation) = generation else { return };
    let mut slots: Vec<Vec<u8>> = FRAMES
        .iter()
        .map(|frame| [&[0; HEADROOM][..], frame, &[0; HEADROOM]].concat())
        .collect();
    let mut burst = Burst::new();
    for slot in &mut slots {
        let len = slot.len() - 2 * HEADROOM;
        burst.push(Frame::borrowed(slot, HEADROOM, len, PortId(0)));
    }
    let mut out = Disposition::default();
    let mut pipeline = Pipeline::new(1, Arc::new(EventQueue::new(8)));
    pipeline.process(&mut burst, &generation, &Context::default(), &mut out);
}

fuzz_target!(|data: &[u8]| {
    if let Ok(program) = Program::from_bytes(data) {
        assert!(Program::from_bytes(&program.to_bytes()).is_ok());
        run(program);
    }
});
