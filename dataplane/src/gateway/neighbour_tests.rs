//! The states of a neighbour under virtual time, and readers beside a writer.

use super::*;

const PORT: PortId = PortId(3);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn address(host: u32) -> Address {
    Address::v4((0x0a00_0000 | host).to_be_bytes())
}

fn due(table: &Neighbours, now_ns: u64) -> Vec<Due> {
    let mut list = Vec::new();
    table.lock().sweep(now_ns, |_, due| list.push(due));
    list
}

#[test]
fn a_station_that_never_answers_fails_after_three_questions() {
    let table = Neighbours::new(7);
    let (slot, ask) = table.lock().seek(PORT, address(1), 0);
    assert!(ask);
    assert_eq!(table.lock().seek(PORT, address(1), 1), (slot, false));
    assert!(due(&table, RETRY_NS - 1).is_empty());
    for second in 1..=2 {
        let list = due(&table, second * RETRY_NS);
        assert!(matches!(list[..], [Due::Ask(_)]), "{list:?}");
    }
    let list = due(&table, 3 * RETRY_NS);
    assert!(
        matches!(list[..], [Due::Failed(index, _)] if index == slot),
        "{list:?}"
    );
    assert_eq!(table.find(PORT, address(1), 0), None);
    // The next packet asks anew.
    assert_eq!(
        table.lock().seek(PORT, address(1), 4 * RETRY_NS),
        (slot, true)
    );
}

#[test]
fn an_answer_makes_it_reachable_and_use_after_that_time_asks_again() {
    let table = Neighbours::new(7);
    let (slot, _) = table.lock().seek(PORT, address(1), 0);
    let learnt = table.lock().learn(PORT, address(1), MAC, Heard::Answer, 10);
    assert_eq!(learnt, Some(slot));
    let known = table.find(PORT, address(1), 20).unwrap();
    assert_eq!(known.mac, MAC);
    let later = 100 * SECOND_NS;
    assert!(
        due(&table, later).is_empty(),
        "an unused entry is not asked"
    );
    table.touch(known.slot, later);
    assert!(due(&table, later + DELAY_NS - 1).is_empty());
    let list = due(&table, later + DELAY_NS);
    assert!(
        matches!(
            list[..],
            [Due::Ask(Neighbour {
                mac: MAC,
                state: State::Probe,
                ..
            })]
        ),
        "{list:?}"
    );
    table
        .lock()
        .learn(PORT, address(1), MAC, Heard::Answer, later + DELAY_NS + 1);
    assert_eq!(table.list()[0].state, State::Reachable);
}

#[test]
fn an_answer_that_nobody_asked_for_makes_no_entry_but_a_question_does() {
    let table = Neighbours::new(7);
    for heard in [Heard::Answer, Heard::Announcement] {
        assert_eq!(table.lock().learn(PORT, address(1), MAC, heard, 0), None);
        assert!(table.list().is_empty());
    }
    table.lock().learn(PORT, address(1), MAC, Heard::Asking, 0);
    assert_eq!(table.list()[0].state, State::Stale);
    assert_eq!(table.find(PORT, address(1), 1).unwrap().mac, MAC);
    assert_eq!(table.list()[0].state, State::Delay);
}

#[test]
fn an_announcement_moves_a_station_that_is_known() {
    let table = Neighbours::new(7);
    table.lock().seek(PORT, address(1), 0);
    table.lock().learn(PORT, address(1), MAC, Heard::Answer, 0);
    let before = table.version();
    let moved = [2, 0, 0, 0, 0, 10];
    table
        .lock()
        .learn(PORT, address(1), moved, Heard::Announcement, 1);
    assert_eq!(table.find(PORT, address(1), 2).unwrap().mac, moved);
    assert_ne!(table.version(), before);
}

#[test]
fn ports_and_families_are_told_apart() {
    let table = Neighbours::new(7);
    let six = Address::v6(0xa000001u128.to_be_bytes());
    for (port, address, last) in [(1, address(1), 1), (2, address(1), 2), (1, six, 3)] {
        let mac = [2, 0, 0, 0, 0, last];
        table
            .lock()
            .learn(PortId(port), address, mac, Heard::Asking, 0);
    }
    assert_eq!(table.find(PortId(1), address(1), 0).unwrap().mac[5], 1);
    assert_eq!(table.find(PortId(2), address(1), 0).unwrap().mac[5], 2);
    assert_eq!(table.find(PortId(1), six, 0).unwrap().mac[5], 3);
    table.lock().forget(PortId(1));
    assert_eq!(table.list().len(), 1);
}

#[test]
fn a_scan_does_not_push_out_who_talks() {
    let table = Neighbours::new(99);
    for host in 0..1000 {
        table.lock().seek(PORT, address(host), 0);
        table
            .lock()
            .learn(PORT, address(host), MAC, Heard::Answer, 0);
    }
    let talking = table.list().len();
    for host in 0x1_0000..0x1_0000 + 100_000 {
        table.lock().seek(PORT, address(host), 1);
    }
    let left = table.list();
    assert!(left.len() <= CAPACITY);
    let reachable = left.iter().filter(|entry| entry.state == State::Reachable);
    assert_eq!(reachable.count(), talking);
}

#[test]
fn readers_beside_a_writer_never_see_a_mixed_entry() {
    let table = Neighbours::new(7);
    table.lock().seek(PORT, address(1), 0);
    let mac = |n: u8| [n; 6];
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..200_000 {
                        if let Some(known) = table.find(PORT, address(1), 0) {
                            assert!(known.mac.iter().all(|byte| *byte == known.mac[0]));
                        }
                    }
                })
            })
            .collect();
        for n in 0..50_000u32 {
            let mac = mac((n % 100) as u8 * 2);
            table
                .lock()
                .learn(PORT, address(1), mac, Heard::Announcement, 1);
        }
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}
