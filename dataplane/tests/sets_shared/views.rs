//! Every structure under a writer that adds, deletes, flushes, sweeps, lets expire and exchanges sets
//! at random, while readers hold each state that was published against a naive model of that state.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use sluice_dataplane::sets::{Element, Key, OwnView, Set, SetError, SetSpec, Shape};

use crate::SECOND;

/// First and last key to the moment of expiry.
type Model = BTreeMap<(Vec<u32>, Vec<u32>), u64>;

/// Two sets behind two names, as a generation has them.
struct State([(OwnView, Model); 2]);

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn boxes(fields: &[u8]) -> Shape {
    Shape::Boxes {
        fields: fields.iter().copied().collect(),
        nested: true,
    }
}

/// A key out of few, so that elements meet.
fn key(shape: &Shape, random: &mut Random) -> (Vec<u32>, Vec<u32>) {
    let mut number = || random.below(3_000) as u32;
    match shape {
        Shape::Exact { words } => {
            let mut words = vec![7; usize::from(*words)];
            words[0] = number();
            (words.clone(), words)
        }
        Shape::Bitmap { .. } => {
            let one = vec![number()];
            (one.clone(), one)
        }
        Shape::Prefix { .. } => {
            let size = [0, 1, 3, 15][number() as usize % 4];
            let low = number() & !size;
            (vec![low], vec![low | size])
        }
        Shape::Interval { .. } => {
            let low = number();
            (vec![low], vec![low + number() % 3])
        }
        Shape::Boxes { .. } => {
            let (low, port) = (number() % 500, number() % 4);
            (vec![low, port], vec![low + number() % 3, port])
        }
    }
}

/// Whether the most specific element that holds a key is there: all that hold it say the same here.
fn holds(model: &Model, key: &[u32], now_ns: u64) -> bool {
    let within = |((low, high), expires): (&(Vec<u32>, Vec<u32>), &u64)| {
        *expires > now_ns
            && key
                .iter()
                .zip(low.iter().zip(high))
                .all(|(word, (low, high))| (low..=high).contains(&word))
    };
    model.iter().any(within)
}

fn check(state: &State, shape: &Shape, now_ns: u64, random: &mut Random) {
    for (view, model) in &state.0 {
        let alive = model.values().filter(|&&at| at > now_ns).count();
        assert_eq!(view.elements(now_ns).len(), alive);
        for _ in 0..40 {
            let (low, _) = key(shape, random);
            assert_eq!(
                view.lookup_one(&low, now_ns).is_some(),
                holds(model, &low, now_ns),
                "{low:?} of {shape:?}"
            );
        }
    }
}

/// One transaction on one of the sets.
fn change(set: &Arc<Set>, model: &mut Model, shape: &Shape, now_ns: u64, random: &mut Random) {
    model.retain(|_, at| *at > now_ns);
    let mut change = set.begin(now_ns).unwrap();
    for _ in 0..random.below(40) {
        let (low, high) = key(shape, random);
        let named = (low.clone(), high.clone());
        if random.below(5) < 2 {
            let gone = change.remove(&Key::range(&low, &high)).is_ok();
            assert_eq!(gone, model.remove(&named).is_some());
            continue;
        }
        let timeout = random.below(3) * SECOND;
        let element = Element::new(Key::range(&low, &high)).with_timeout(timeout);
        match change.add(&element) {
            Ok(_) => {
                let expires = if timeout == 0 {
                    u64::MAX
                } else {
                    now_ns + timeout
                };
                model.entry(named).or_insert(expires);
            }
            Err(error) => {
                assert_eq!(error, SetError::Overlap);
                let meets =
                    |(first, last): &(Vec<u32>, Vec<u32>)| first[0] <= high[0] && low[0] <= last[0];
                assert!(model.keys().any(meets));
            }
        }
    }
    if random.below(20) == 0 {
        change.flush();
        model.clear();
    }
    if random.below(10) == 0 {
        drop(change);
        // Undone: the model of before is what the set has.
        *model = elements(set, now_ns);
    } else {
        change.commit();
    }
}

fn elements(set: &Arc<Set>, now_ns: u64) -> Model {
    let all = set.view().elements(now_ns);
    all.into_iter()
        .filter_map(|element| match element.key {
            Key::Range { low, high } => {
                let expires = element.expires_ns.unwrap_or(u64::MAX);
                Some(((low.to_vec(), high.to_vec()), expires))
            }
            Key::CatchAll => None,
        })
        .collect()
}

/// Says that there is no further round.
struct End<'r>(&'r AtomicU64);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }
}

fn run(shape: &Shape) {
    let spec = SetSpec {
        timed: true,
        ..SetSpec::new(shape.clone())
    };
    let sets = [1, 2].map(|seed| Set::new(spec.clone(), seed).unwrap());
    let mut models = [Model::new(), Model::new()];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let state = |order: [usize; 2], models: &[Model; 2]| {
        State(order.map(|at| (sets[at].view(), models[at].clone())))
    };
    let published = Mutex::new(Arc::new(state([0, 1], &models)));
    // Time goes on for old states too, as it does for a worker that is behind; it stands still while
    // somebody looks, because what expires is swept out of every state that still has it.
    let clock = RwLock::new(0);
    let (rounds, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    const ROUNDS: u64 = 150;
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (published, clock, rounds, seen) = (&published, &clock, &rounds, &seen);
            scope.spawn(move || {
                let mut random = Random(thread + 1);
                // States are held for a while, as a worker that is behind holds them.
                let mut held: Vec<Arc<State>> = Vec::new();
                while rounds.load(Ordering::Relaxed) < ROUNDS {
                    held.push(Arc::clone(&published.lock().unwrap()));
                    let at = random.below(held.len() as u64) as usize;
                    let now_ns = clock.read().unwrap();
                    check(&held[at], shape, *now_ns, &mut random);
                    drop(now_ns);
                    if held.len() > 4 {
                        held.remove(at);
                    }
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Readers end when this thread does, also when it fails.
        let end = End(&rounds);
        let mut order = [0, 1];
        for round in 0..ROUNDS {
            let now_ns = round * SECOND / 4;
            *clock.write().unwrap() = now_ns;
            let at = random.below(2) as usize;
            change(&sets[at], &mut models[at], shape, now_ns, &mut random);
            for set in &sets {
                set.sweep(now_ns, 300);
            }
            if random.below(4) == 0 {
                order.swap(0, 1);
            }
            for model in &mut models {
                model.retain(|_, at| *at > now_ns);
            }
            let next = Arc::new(state(order, &models));
            check(&next, shape, now_ns, &mut random);
            *published.lock().unwrap() = next;
            // However busy the machine is, the readers have their turns.
            while seen.load(Ordering::Relaxed) < round && round.is_multiple_of(16) {
                std::thread::yield_now();
            }
            rounds.store(round + 1, Ordering::Relaxed);
        }
        drop(end);
    });
    // What nobody reads any more is given back.
    drop(published);
    for set in &sets {
        let mut change = set.begin(u64::MAX - 1).unwrap();
        change.flush();
        change.commit();
        set.reclaim();
        assert_eq!(set.view().len(), 0);
    }
}

#[test]
fn exact_keys_hold_under_a_writer() {
    run(&Shape::Exact { words: 1 });
}

#[test]
fn wide_keys_hold_under_a_writer() {
    run(&Shape::Exact { words: 5 });
}

#[test]
fn bitmaps_hold_under_a_writer() {
    run(&Shape::Bitmap {
        first: 0,
        last: 3_000,
    });
}

#[test]
fn prefixes_hold_under_a_writer() {
    run(&Shape::Prefix { words: 1 });
}

#[test]
fn intervals_hold_under_a_writer() {
    run(&Shape::Interval { words: 1 });
}

#[test]
fn boxes_hold_under_a_writer() {
    run(&boxes(&[1, 1]));
}

/// The same for the table that packets write: several writers, each with keys of its own, while time
/// goes on, elements expire and a sweep and flushes run.
#[test]
fn a_table_that_packets_write_agrees_with_models_while_time_goes_on() {
    let spec = SetSpec {
        timed: true,
        dynamic: true,
        ..SetSpec::exact(2)
    };
    let set = Set::new(spec, 3).unwrap();
    let clock = AtomicU64::new(1);
    // What each thread takes for now: the sweep must not be ahead of any of them.
    let nows: [AtomicU64; 3] = Default::default();
    std::thread::scope(|scope| {
        for thread in 0..3u32 {
            let (set, clock, nows) = (&set, &clock, &nows);
            scope.spawn(move || {
                let mut random = Random(u64::from(thread) + 5);
                let mut model: BTreeMap<u32, u64> = BTreeMap::new();
                let view = set.view();
                for step in 0..4_000 {
                    let now_ns = if thread == 0 {
                        clock.fetch_add(SECOND / 50, Ordering::Relaxed)
                    } else {
                        clock.load(Ordering::Relaxed)
                    };
                    nows[thread as usize].store(now_ns, Ordering::SeqCst);
                    let number = random.below(700) as u32;
                    let words = [thread, number];
                    let known = model.get(&number).copied().filter(|&at| at > now_ns);
                    match random.below(5) {
                        0 => {
                            let gone = view.delete_by_packet(&words, now_ns).unwrap();
                            assert_eq!(gone, known.is_some());
                            model.remove(&number);
                        }
                        1 | 2 => {
                            let timeout = (1 + random.below(5)) * SECOND;
                            let refresh = random.below(2) == 0;
                            view.add_by_packet(&words, &[], Some(timeout), refresh, now_ns)
                                .unwrap();
                            if known.is_none() || refresh {
                                model.insert(number, now_ns + timeout);
                            }
                        }
                        3 if step % 32 == 0 => {
                            let earliest = nows.iter().map(|now| now.load(Ordering::SeqCst)).min();
                            set.sweep(earliest.unwrap_or(0), 200);
                        }
                        _ => {
                            let found = view.lookup_one(&words, now_ns).is_some();
                            assert_eq!(found, known.is_some(), "{words:?} at {now_ns}");
                        }
                    }
                }
                nows[thread as usize].store(u64::MAX, Ordering::SeqCst);
            });
        }
    });
    let end = clock.into_inner() + 10 * SECOND;
    while !set.view().is_empty() {
        set.sweep(end, 1_000);
    }
    set.reclaim();
}
