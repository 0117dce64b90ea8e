//! Sets that follow files: what is in force while they are filled, and what a fill changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sluice_config::engine::{Engine, FillError, Filled, Profile, Publisher, Request, SetPlace};
use sluice_config::model::Family;
use sluice_config::set_file::{self, Contents, Reading};
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::lane_set::Moment;
use sluice_dataplane::sets::{Column, LANES};
use sluice_dataplane::worker::clock::SystemClock;
use sluice_dataplane::worker::generation::Generation;

const RULESET: &str = "table inet t {\n set bad { type ipv4_addr; flags interval; }\n \
    chain c { type filter hook forward priority 0; ip saddr @bad drop; }\n}\n";

#[derive(Clone, Default)]
struct Newest(Arc<Mutex<Option<Arc<Generation>>>>);

impl Publisher for Newest {
    fn publish(&mut self, generation: Arc<Generation>) {
        *self.0.lock().unwrap() = Some(generation);
    }
}

fn place() -> SetPlace {
    SetPlace {
        family: Family::Inet,
        table: "t".into(),
        set: "bad".into(),
    }
}

/// An engine with the ruleset, whose set follows a file.
fn engine(newest: &Newest) -> Engine {
    let mut engine = Engine::new(
        Profile::workbench(),
        Arc::new(Counters::new(1)),
        Arc::new(SystemClock),
        Box::new(newest.clone()),
    );
    engine.run(Request::file("rules", RULESET)).unwrap();
    engine.follow(place(), "list");
    engine
}

fn contents(text: &str) -> Arc<Contents> {
    Arc::new(set_file::parse("list", text.as_bytes(), &Reading::default()).unwrap())
}

/// 64 addresses, four apart.
fn list(offset: u32) -> String {
    let line = |lane: u32| format!("10.0.{}.{}\n", lane / 32, lane % 32 * 4 + offset);
    (0..LANES as u32).map(line).collect()
}

fn keys(offset: u32) -> Column {
    Column(std::array::from_fn(|lane| {
        let lane = lane as u32;
        0x0a00_0000 | (lane / 32) << 8 | (lane % 32 * 4 + offset)
    }))
}

fn found(generation: &Generation, keys: &Column) -> u64 {
    let lengths = Column([0; LANES]);
    let moment = Moment {
        now_ns: 0,
        lengths: &lengths,
        worker: 0,
        connections: None,
    };
    let held = generation
        .sets()
        .iter()
        .map(|set| set.contains(&[keys], !0, &moment));
    held.fold(0, |all, one| all | one)
}

#[test]
fn who_looks_up_meanwhile_sees_one_list_or_the_other() {
    let newest = Newest::default();
    let mut engine = engine(&newest);
    let lists = [contents(&list(0)), contents(&list(1))];
    engine.fill(&place(), &lists[0]).unwrap();
    let (stop, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let generation = newest.0.lock().unwrap().clone().unwrap();
                        let both = [0, 1].map(|offset| found(&generation, &keys(offset)));
                        assert!(both == [!0, 0] || both == [0, !0], "{both:x?}");
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for round in 1.. {
            let waited = seen.load(Ordering::Relaxed) > 200;
            if round > 100 && waited || readers.iter().any(|reader| reader.is_finished()) {
                break;
            }
            let filled = engine.fill(&place(), &lists[round % 2]).unwrap();
            assert_eq!((filled.added, filled.removed), (64, 64));
            if round % 10 == 0 {
                // A ruleset that is loaded anew is never without its list.
                let text = format!("flush ruleset\n{RULESET}");
                engine.run(Request::file("rules", &text)).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn only_what_differs_changes_and_nothing_makes_no_generation() {
    let newest = Newest::default();
    let mut engine = engine(&newest);
    let fill = |engine: &mut Engine, text: &str| engine.fill(&place(), &contents(text)).unwrap();
    let first = fill(&mut engine, "10.0.0.0/8\n192.0.2.1\n::1\n");
    let expected = Filled {
        elements: 2,
        added: 2,
        removed: 0,
        other_family: 1,
        changed: true,
        generation: engine.generation(),
    };
    assert_eq!(first, expected);
    let again = fill(&mut engine, "192.0.2.1\n10.1.0.0/16\n10.0.0.0/8\n");
    assert!(!again.changed && again.generation == first.generation);
    let other = fill(&mut engine, "192.0.2.1\n10.0.0.0/9\n");
    assert_eq!((other.added, other.removed, other.elements), (1, 1, 2));
    assert_eq!(other.generation, first.generation + 1);
    // Many at once, over what is there and back.
    let many: String = (0..5000)
        .map(|n| format!("10.{}.{}.0/25\n", n / 250, n % 250))
        .collect();
    let large = fill(&mut engine, &many);
    assert_eq!((large.added, large.removed), (5000, 2));
    let one_less = fill(&mut engine, many.split_once('\n').unwrap().1);
    assert_eq!((one_less.added, one_less.removed), (0, 1));
    let listed = engine
        .run(Request::command("list set inet t bad"))
        .unwrap()
        .output;
    assert_eq!(listed.matches("/25").count(), 4999);
    assert!(!listed.contains("10.0.0.0/25"));
    let generation = newest.0.lock().unwrap().clone().unwrap();
    let probe = |address: u32| found(&generation, &Column([address; LANES])) == !0;
    assert!(!probe(0x0a00_0001) && probe(0x0a00_0101) && !probe(0x0a00_0181));
}

#[test]
fn a_set_that_cannot_be_filled_says_why() {
    let newest = Newest::default();
    let mut engine = engine(&newest);
    let make = "add map inet t m { type ipv4_addr : mark; }; add set inet t d { type ipv4_addr; flags timeout; }; \
                add set inet t p { type inet_service; }; add set inet t small { type ipv4_addr; size 1; }; \
                add set inet t exact { type ipv6_addr; }";
    engine.run(Request::command(make)).unwrap();
    let mut refused = |set: &str, text: &str| {
        let place = SetPlace {
            set: set.into(),
            ..place()
        };
        engine.follow(place.clone(), "list");
        let error = engine.fill(&place, &contents(text)).unwrap_err();
        assert_eq!(engine.fill_problem(&place), Some(&error));
        error.to_string()
    };
    let kind = |set: &str, reason: &str| {
        format!("set inet t {set} cannot be filled from a file: {reason}")
    };
    assert_eq!(refused("m", "10.0.0.1"), kind("m", "it is a map"));
    assert_eq!(
        refused("d", "10.0.0.1"),
        kind("d", "packets or time change it")
    );
    assert_eq!(
        refused("p", "10.0.0.1"),
        kind("p", "its type is neither ipv4_addr nor ipv6_addr")
    );
    assert_eq!(
        refused("small", "10.0.0.1\n10.0.0.2"),
        "set inet t small has size 1, the file has 2"
    );
    assert_eq!(
        refused("exact", "2001:db8::/127"),
        "set inet t exact has no flags interval and cannot take 2001:db8::-2001:db8::1"
    );
    let missing = SetPlace {
        set: "none".into(),
        ..place()
    };
    assert_eq!(
        refused("none", "10.0.0.1"),
        FillError::NoSet(missing).to_string()
    );
}
