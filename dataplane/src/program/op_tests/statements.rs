//! Statements that limit, count or mark.

use super::super::cell::{Cell, Last, Limit, Numgen, Quota};
use super::*;

#[test]
fn cells_let_packets_by_in_lane_order() {
    let packets = vec![frames::tcp(1, 2); 8];
    let mut bench = Bench::new();
    let cell = bench.cell(Cell::Limit(Limit::new(
        1,
        3_600_000_000_000,
        0,
        false,
        false,
    )));
    let matched = bench.matching(&[Op::Cell { cell }], &packets);
    assert_eq!(matched, [true, true, true, true, true, false, false, false]);
    let mut bench = Bench::new();
    let cell = bench.cell(Cell::Quota(Quota::new(100, true, 0)));
    assert_eq!(
        bench.matching(&[Op::Cell { cell }], &packets[..4]),
        [false, false, true, true]
    );
    let mut bench = Bench::new();
    bench.context.now_ns = 42;
    let cell = bench.cell(Cell::Last(Last::default()));
    assert_eq!(bench.matching(&[Op::Cell { cell }], &packets[..1]), [true]);
    let Cell::Last(last) = &*bench.cells[0] else {
        panic!("not last")
    };
    assert_eq!(last.at_ns(), Some(42));
    let mut bench = Bench::new();
    let (cell, into) = (bench.cell(Cell::Numgen(Numgen::new(3, 0))), bench.work(32));
    let ops = [Op::NumgenInc { into, cell }, eq(into, 1)];
    assert_eq!(
        bench.matching(&ops, &packets[..5]),
        [false, true, false, false, true]
    );
}

#[test]
fn meta_is_set_and_read_back_in_the_same_rule() {
    for (key, meta, bits) in [
        (MetaSetKey::Mark, Meta::Mark, 32),
        (MetaSetKey::Priority, Meta::Priority, 32),
        (MetaSetKey::Pkttype, Meta::Pkttype, 8),
        (MetaSetKey::Nftrace, Meta::Nftrace, 8),
    ] {
        let mut bench = Bench::new();
        let (read, work) = (bench.meta(meta, bits), bench.work(bits));
        let before = Op::Compare {
            key: read,
            relation: Relation::Ne,
            value: value(&[1]),
        };
        let ops = [
            before,
            immediate(work, &[1]),
            Op::MetaSet { key, from: work },
            eq(read, 1),
        ];
        assert_eq!(
            bench.matching(&ops, &[frames::tcp(1, 2)]),
            [true],
            "{meta:?}"
        );
    }
}
