//! The loop as a whole, between ports in memory.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::*;
use crate::drop_reason::DropReason;
use crate::packet::Burst;
use crate::port::memory::{MemoryRx, MemoryTx, Sink, Source};
use crate::port::{PortId, Queue, Rx, Tx};
use crate::worker::{Fate, Settings, SystemClock, Workers};

/// A generation of the tests: its number, and whether frames pass.
struct Rule {
    number: u64,
    pass: bool,
}

/// Sends every frame to the other port; a frame that begins with `0xee` is a panic.
struct Cross;

impl Stages for Cross {
    type Generation = Rule;

    fn number(generation: &Rule) -> u64 {
        generation.number
    }

    fn process(
        &mut self,
        burst: &mut Burst<'_>,
        generation: &Rule,
        _context: &Context,
        out: &mut Disposition,
    ) {
        for (lane, frame) in burst.iter().enumerate() {
            assert_ne!(frame.bytes()[0], 0xee, "the test wants it");
            let fate = match generation.pass {
                true => Fate::Send(PortId(1 - frame.in_port.0)),
                false => Fate::Drop {
                    reason: DropReason::RuleDrop,
                    rule: 5,
                },
            };
            out.set(lane, fate);
        }
    }
}

struct Bench {
    workers: Workers,
    generation: Arc<ArcSwap<Rule>>,
    sources: Vec<Arc<Source>>,
    sinks: Vec<Arc<Sink>>,
    events: Arc<Mutex<Vec<WorkerEvent>>>,
}

fn port(number: u16, source: &Arc<Source>, sink: &Arc<Sink>) -> Queue {
    Queue {
        rx: Rx::Memory(MemoryRx::new(PortId(number), Arc::clone(source))),
        tx: Tx::Memory(MemoryTx::new(Arc::clone(sink), 1514)),
    }
}

fn bench(wait: Wait) -> Bench {
    let generation = Arc::new(ArcSwap::from_pointee(Rule {
        number: 1,
        pass: true,
    }));
    let events = Arc::new(Mutex::new(Vec::new()));
    let settings = Settings {
        cpus: vec![None],
        wait,
    };
    let told = Arc::clone(&events);
    let workers = Workers::start(
        &settings,
        |_| Cross,
        Arc::clone(&generation),
        Arc::new(SystemClock),
        Arc::new(move |event| told.lock().unwrap().push(event)),
    )
    .unwrap();
    let mut bench = Bench {
        workers,
        generation,
        sources: Vec::new(),
        sinks: Vec::new(),
        events,
    };
    for number in 0..2 {
        let (source, sink) = (Source::new().unwrap(), Sink::new());
        let queue = port(number, &source, &sink);
        bench.workers.add_port(PortId(number), vec![queue]).unwrap();
        bench.sources.push(source);
        bench.sinks.push(sink);
    }
    bench
}

#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(5), "never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn frames_cross_in_order_and_are_counted_in_every_mode() {
    for wait in [Wait::Adaptive, Wait::Poll, Wait::Busy] {
        let bench = bench(wait);
        for number in 0..1000u32 {
            let mut bytes = vec![0; 60];
            bytes[1..5].copy_from_slice(&number.to_be_bytes());
            bench.sources[0].push(bytes);
        }
        eventually(|| bench.sinks[1].len() == 1000);
        for (number, packet) in bench.sinks[1].take().iter().enumerate() {
            assert_eq!(packet.bytes[1..5], (number as u32).to_be_bytes());
        }
        bench.workers.refresh().unwrap();
        let queues = bench.workers.queue_metrics();
        assert_eq!(queues[0].rx().frames, 1000);
        assert_eq!(queues[1].tx().bytes, 60_000);
        let metrics = &bench.workers.metrics()[0];
        assert_eq!(metrics.frames(), 1000);
        assert!(metrics.batches().iter().sum::<u64>() >= 1000 / 64);
        assert_eq!(metrics.generation(), 1);
    }
}

#[test]
fn a_panic_costs_its_batch_and_nothing_else() {
    let bench = bench(Wait::Adaptive);
    bench.sources[0].push(vec![0xee; 60]);
    eventually(|| !bench.events.lock().unwrap().is_empty());
    let WorkerEvent::Panicked { lost, message, .. } = bench.events.lock().unwrap()[0].clone()
    else {
        panic!("another event")
    };
    assert_eq!(lost, 1);
    assert!(message.contains("the test wants it"));
    bench.sources[0].push(vec![1; 60]);
    bench.sources[1].push(vec![2; 60]);
    eventually(|| bench.sinks[1].len() == 1 && bench.sinks[0].len() == 1);
    let metrics = &bench.workers.metrics()[0];
    assert_eq!(
        (metrics.panics(), metrics.drops(DropReason::WorkerPanic)),
        (1, 1)
    );
}

#[test]
fn a_new_generation_is_used_at_once_and_drops_are_remembered() {
    let bench = bench(Wait::Adaptive);
    bench.generation.store(Arc::new(Rule {
        number: 2,
        pass: false,
    }));
    bench.sources[0].push(vec![7; 60]);
    eventually(|| bench.workers.metrics()[0].drops(DropReason::RuleDrop) == 1);
    let dropped = bench.workers.dropped_frames().unwrap();
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].rule, dropped[0].generation), (5, 2));
    assert_eq!(dropped[0].bytes, vec![7; 60]);
    assert!(bench.sinks[1].is_empty());
}

#[test]
fn ports_come_and_go_at_run_time() {
    let bench = bench(Wait::Poll);
    let queues = bench.workers.remove_port(PortId(1)).unwrap();
    assert_eq!(queues.len(), 1);
    bench.sources[0].push(vec![7; 60]);
    eventually(|| bench.workers.metrics()[0].drops(DropReason::PortDown) == 1);
    bench.workers.add_port(PortId(1), queues).unwrap();
    bench.sources[0].push(vec![8; 60]);
    eventually(|| bench.sinks[1].len() == 1);
    assert!(bench.workers.remove_port(PortId(9)).unwrap().is_empty());
    let error = bench.workers.add_port(PortId(3), Vec::new()).unwrap_err();
    assert!(
        error.to_string().contains("0 queues for 1 workers"),
        "{error}"
    );
}

#[test]
fn a_frame_too_large_for_the_way_out_is_dropped_by_that_name() {
    let bench = bench(Wait::Adaptive);
    bench.sources[0].push(vec![7; 1515]);
    bench.sources[0].push(vec![7; 1514]);
    eventually(|| bench.sinks[1].len() == 1);
    assert_eq!(
        bench.workers.metrics()[0].drops(DropReason::FrameTooLarge),
        1
    );
}

#[test]
fn frames_are_never_counted_twice() {
    let bench = bench(Wait::Adaptive);
    for number in 0..200u8 {
        let first = if number % 50 == 0 { 0xee } else { 1 };
        bench.sources[usize::from(number % 2)].push(vec![first; 60]);
    }
    let delivered = || (bench.sinks[0].len() + bench.sinks[1].len()) as u64;
    let lost = || bench.workers.metrics()[0].drops(DropReason::WorkerPanic);
    eventually(|| delivered() + lost() == 200);
    assert!(lost() >= 1);
}
