//! What an instruction computes into a work slot.

use super::*;

#[test]
fn arithmetic() {
    // dport 0x1234: each instruction's result is compared with what it must be.
    let frame = [frames::tcp(1, 0x1234)];
    let combined = |how: Combine| {
        move |into: Slot, key: Slot, other: Slot| Op::Combine {
            into,
            left: key,
            how,
            right: other,
        }
    };
    let bitwise = |into, from, _| Op::Bitwise {
        into,
        from,
        mask: value(&[0xff0]),
        xor: value(&[0x00f]),
    };
    let left = |into, from, _| Op::Shift {
        into,
        from,
        left: true,
        bits: 4,
    };
    let right = |into, from, _| Op::Shift {
        into,
        from,
        left: false,
        bits: 4,
    };
    let copy = |into, from, _| Op::Copy { into, from };
    type Make = Box<dyn Fn(Slot, Slot, Slot) -> Op>;
    let cases: [(Make, u32); 7] = [
        (Box::new(combined(Combine::And)), 0x0204),
        (Box::new(combined(Combine::Or)), 0x1f3f),
        (Box::new(combined(Combine::Xor)), 0x1d3b),
        (Box::new(bitwise), 0x023f),
        (Box::new(left), 0x2340),
        (Box::new(right), 0x0123),
        (Box::new(copy), 0x1234),
    ];
    for (make, expected) in cases {
        let mut bench = Bench::new();
        let (key, other, into) = (bench.dport(), bench.work(16), bench.work(16));
        let ops = [
            immediate(other, &[0x0f0f]),
            make(into, key, other),
            eq(into, expected),
        ];
        assert_eq!(bench.matching(&ops, &frame), [true], "{expected:x}");
    }
}

#[test]
fn shifts_carry_between_columns() {
    let start = [0, 1, 0x0002_0000, 0x0003_0000];
    for (left, bits) in [(true, 40), (false, 40), (true, 32), (false, 8), (true, 127)] {
        let mut bench = Bench::new();
        let (from, into) = (bench.work(128), bench.work(128));
        let number = |words: [u32; 4]| {
            words
                .iter()
                .fold(0u128, |number, word| number << 32 | u128::from(*word))
        };
        let shifted = if left {
            number(start) << bits
        } else {
            number(start) >> bits
        };
        let words: [u32; 4] = std::array::from_fn(|index| (shifted >> (96 - index * 32)) as u32);
        let ops = [
            immediate(from, &start),
            Op::Shift {
                into,
                from,
                left,
                bits,
            },
            Op::Compare {
                key: into,
                relation: Relation::Eq,
                value: value(&words),
            },
        ];
        assert_eq!(
            bench.matching(&ops, &[frames::arp()]),
            [true],
            "{left} {bits}"
        );
    }
}

#[test]
fn hashes_and_chance_stay_below_their_modulus() {
    let mut bench = Bench::new();
    let (key, into) = (bench.dport(), bench.work(32));
    let from: Slots = [key].into_iter().collect();
    let expected = hash::scale(hash::jhash(&[0, 80], 5), 1000) + 7;
    let jhash = Op::Jhash {
        into,
        from,
        modulus: 1000,
        seed: 5,
        offset: 7,
    };
    assert_eq!(
        bench.matching(&[jhash, eq(into, expected)], &[frames::tcp(1, 80)]),
        [true]
    );
    let mut bench = Bench::new();
    let into = bench.work(32);
    let random = Op::NumgenRandom {
        into,
        modulus: 10,
        offset: 100,
    };
    let inside = Op::Range {
        key: into,
        low: value(&[100]),
        high: value(&[109]),
        inverted: false,
    };
    assert_eq!(
        bench.matching(&[random, inside], &vec![frames::arp(); 64]),
        [true; 64]
    );
    // Both directions of a flow have the same hash, others mostly not.
    let (there, mut bench) = (frames::tcp(1000, 80), Bench::new());
    let into = bench.work(32);
    bench.chain(&[(
        1,
        vec![
            Op::Symhash {
                into,
                modulus: u32::MAX,
                offset: 0,
            },
            Op::MetaSet {
                key: MetaSetKey::Mark,
                from: into,
            },
            Op::Log { log: LogId(0) },
        ],
    )]);
    bench.log(Log::default());
    bench.base(0, Hook::Forward, Family::Bridge, Policy::Accept);
    let other = frames::tcp(1001, 80);
    let back = {
        let mut frame = frames::tcp(80, 1000);
        frame[26..30].copy_from_slice(&[10, 0, 0, 2]);
        frame[30..34].copy_from_slice(&[10, 0, 0, 1]);
        frame
    };
    bench.run(&[there, back, other]);
    let marks: Vec<_> = std::iter::from_fn(|| bench.events.pop())
        .map(|event| event.mark)
        .collect();
    assert_eq!(marks[0], marks[1]);
    assert_ne!(marks[0], marks[2]);
}
