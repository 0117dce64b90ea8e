//! The allocator: RFC 4787's mapping, filtering and pooling, Linux's overloading, exhaustion.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::packet::headers::protocol;

fn address(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[192, 0, 2, last]);
    address
}

fn at(last: u8, port: u16) -> Endpoint {
    Endpoint {
        address: address(last),
        port,
    }
}

fn request(internal: Endpoint, remote: Endpoint) -> Request {
    Request {
        realm: Realm::default(),
        protocol: protocol::UDP,
        internal,
        remote,
        first: address(200),
        last: address(200),
        ports: None,
        random: false,
        persistent: false,
        mapping: Mapping::Overloaded,
    }
}

fn independent(internal: Endpoint, remote: Endpoint, filtering: Filtering) -> Request {
    Request {
        mapping: Mapping::EndpointIndependent(filtering),
        ..request(internal, remote)
    }
}

fn external(endpoint: Endpoint) -> External {
    External {
        realm: Realm::default(),
        protocol: protocol::UDP,
        endpoint,
    }
}

#[test]
fn the_port_is_kept_where_it_can_be() {
    let pool = Allocator::default();
    let first = pool.allocate(&request(at(1, 5000), at(9, 53)), 0, 1, |_| true);
    assert_eq!(first.unwrap().endpoint, at(200, 5000));
    // Another host, another remote end: the port is shared, as in Linux.
    let second = pool.allocate(&request(at(2, 5000), at(8, 53)), 0, 1, |_| true);
    assert_eq!(second.unwrap().endpoint, at(200, 5000));
    // The same remote end: the tuple is taken, and another port of the same parity is found.
    let taken = at(200, 5000);
    let third = pool.allocate(&request(at(3, 5000), at(9, 53)), 0, 7 << 16, |to| {
        *to != taken
    });
    let port = third.unwrap().endpoint.port;
    assert!(port >= 1024 && port != 5000 && port.is_multiple_of(2));
}

#[test]
fn ports_keep_their_class() {
    let pool = Allocator::default();
    for (inside, class) in [(25, 1..=511), (600, 600..=1023), (40_000, 1024..=65535)] {
        let kept = at(200, inside);
        let granted = pool.allocate(&request(at(1, inside), at(9, 53)), 0, 99 << 16, |to| {
            *to != kept
        });
        assert!(class.contains(&granted.unwrap().endpoint.port));
    }
}

#[test]
fn a_mapping_is_independent_of_the_remote_end() {
    let pool = Allocator::default();
    let open = Filtering::EndpointIndependent;
    let ask = |inside, remote| {
        let request = independent(inside, remote, open);
        pool.allocate(&request, 5, 3, |_| true).unwrap().endpoint
    };
    assert_eq!(ask(at(1, 5000), at(9, 53)), at(200, 5000));
    assert_eq!(ask(at(1, 5000), at(8, 54)), at(200, 5000));
    // RFC 4787, REQ-3: nobody else has it, whatever the remote end.
    let other = ask(at(2, 5000), at(7, 53));
    assert_ne!(other.port, 5000);
    let shared = pool.allocate(&request(at(3, 5000), at(6, 53)), 0, 3, |_| true);
    assert!(![5000, other.port].contains(&shared.unwrap().endpoint.port));
    let binding = pool.binding(&external(at(200, 5000))).unwrap();
    assert_eq!(
        (binding.internal, binding.flows, binding.since_ns),
        (at(1, 5000), 2, 5)
    );
}

#[test]
fn a_binding_lasts_as_long_as_its_flows() {
    let pool = Allocator::default();
    let open = Filtering::EndpointIndependent;
    let request = independent(at(1, 5000), at(9, 53), open);
    let mine = external(at(200, 5000));
    for _ in 0..2 {
        pool.allocate(&request, 0, 0, |_| true).unwrap();
    }
    pool.release(&mine, &at(9, 53), true);
    assert!(pool.binding(&mine).is_some());
    let entered = pool.enter(&mine, &at(77, 7)).unwrap();
    assert_eq!(entered.internal, at(1, 5000));
    pool.release(&mine, &at(9, 53), true);
    pool.release(&mine, &at(77, 7), true);
    assert_eq!(pool.binding(&mine), None);
    assert_eq!(pool.enter(&mine, &at(9, 53)), None);
    assert_eq!(pool.usage()[0].used, 0);
    assert_eq!(pool.usage()[0].peak, 1);
}

#[test]
fn filtering_says_who_may_come_in() {
    for (filtering, known, stranger) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::Address, true, false),
        (Filtering::AddressPort, false, false),
    ] {
        let pool = Allocator::default();
        let request = independent(at(1, 5000), at(9, 53), filtering);
        pool.allocate(&request, 0, 0, |_| true).unwrap();
        let mine = external(at(200, 5000));
        assert_eq!(
            pool.enter(&mine, &at(9, 54)).is_some(),
            known,
            "{filtering:?}"
        );
        assert_eq!(
            pool.enter(&mine, &at(8, 53)).is_some(),
            stranger,
            "{filtering:?}"
        );
    }
}

#[test]
fn an_inside_address_stays_on_one_external_address() {
    let pool = Allocator::default();
    let mut seen = HashSet::new();
    for port in 2000..2100 {
        let mut request = independent(at(1, port), at((port % 200) as u8, 53), Filtering::Address);
        (request.first, request.last) = (address(200), address(207));
        let granted = pool.allocate(&request, 0, u64::from(port), |_| true);
        seen.insert(granted.unwrap().endpoint.address);
    }
    assert_eq!(seen.len(), 1, "RFC 4787, REQ-2");
}

#[test]
fn a_full_pool_says_so_and_counts() {
    let pool = Allocator::default();
    let ask = |port: u16, remote: u16| {
        let mut request = independent(at(1, port), at(9, remote), Filtering::Address);
        request.ports = Some((10_000, 10_003));
        pool.allocate(&request, 0, u64::from(port) << 16, |_| true)
    };
    let ports: HashSet<_> = (1..=4)
        .map(|port| ask(port, 1).unwrap().endpoint.port)
        .collect();
    assert_eq!(ports, (10_000..=10_003).collect());
    assert_eq!(ask(5, 1), Err(Exhausted));
    assert_eq!(pool.exhausted(), 1);
    // Who is in stays in: the mapping never changes under pressure (RFC 4787, REQ-9).
    assert!(ask(1, 2).is_ok());
    // Overloading finds its way where the remote ends differ, but never into a held port.
    let mut overloaded = request(at(2, 5), at(9, 2));
    overloaded.ports = Some((10_000, 10_003));
    assert_eq!(pool.allocate(&overloaded, 0, 1, |_| true), Err(Exhausted));
}

#[test]
fn a_static_binding_is_never_given_away() {
    let pool = Allocator::default();
    let mine = external(at(200, 8080));
    pool.bind(&mine, at(1, 80), Filtering::EndpointIndependent, 0)
        .unwrap();
    assert_eq!(
        pool.bind(&mine, at(2, 80), Filtering::EndpointIndependent, 0),
        Err(InUse)
    );
    let granted = pool.allocate(&request(at(3, 8080), at(9, 53)), 0, 0, |_| true);
    assert_ne!(granted.unwrap().endpoint.port, 8080);
    // From the inside it is used too, and it outlives its flows.
    let request = independent(at(1, 80), at(9, 53), Filtering::EndpointIndependent);
    assert_eq!(
        pool.allocate(&request, 0, 0, |_| true).unwrap().endpoint,
        at(200, 8080)
    );
    pool.release(&mine, &at(9, 53), true);
    assert_eq!(pool.enter(&mine, &at(9, 53)).unwrap().internal, at(1, 80));
    pool.release(&mine, &at(9, 53), true);
    pool.unbind(&mine);
    assert_eq!(pool.binding(&mine), None);
    assert!(
        pool.bind(&mine, at(2, 80), Filtering::EndpointIndependent, 0)
            .is_ok()
    );
}

#[test]
fn a_mapping_keeps_the_filtering_that_it_was_made_with() {
    let pool = Allocator::default();
    let by_address = independent(at(1, 5000), at(9, 53), Filtering::Address);
    let to_anybody = independent(at(1, 5000), at(8, 53), Filtering::EndpointIndependent);
    let mine = external(pool.allocate(&by_address, 0, 0, |_| true).unwrap().endpoint);
    // The rule has changed meanwhile: the second flow opens the mapping for its own address only.
    pool.allocate(&to_anybody, 0, 0, |_| true).unwrap();
    for (remote, may) in [(at(9, 1), true), (at(8, 1), true), (at(7, 1), false)] {
        assert_eq!(pool.enter(&mine, &remote).is_some(), may, "{remote:?}");
        if may {
            pool.release(&mine, &remote, true);
        }
    }
    pool.release(&mine, &at(8, 53), true);
    assert_eq!(pool.enter(&mine, &at(8, 1)), None, "nobody talks to it");
    pool.release(&mine, &at(9, 53), true);
    assert_eq!(pool.binding(&mine), None);
    assert!(pool.contacts.is_empty());
}

proptest! {
    /// What is in use is what was granted and not given back; no tuple is granted twice.
    #[test]
    fn allocated_is_live(
        steps in proptest::collection::vec((0u8..4, 0u16..6, 0u8..3, any::<bool>(), any::<bool>(), any::<u64>()), 1..120),
    ) {
        let pool = Allocator::default();
        let mut live: Vec<(Endpoint, Endpoint, Endpoint, bool)> = Vec::new();
        for (host, port, remote, independent, end, chance) in steps {
            if end && !live.is_empty() {
                let index = chance as usize % live.len();
                let (_, remote, granted, binding) = live.swap_remove(index);
                pool.release(&external(granted), &remote, binding);
                continue;
            }
            let inside = at(host, 1024 + port);
            let remote = at(100 + remote, 53);
            let mut ask = request(inside, remote);
            ask.ports = Some((1024, 1031));
            if independent {
                ask.mapping = Mapping::EndpointIndependent(Filtering::Address);
            }
            let taken = |to: &Endpoint| live.iter().any(|flow| flow.2 == *to && flow.1 == remote);
            match pool.allocate(&ask, 0, chance, |to| !taken(to)) {
                Ok(granted) => {
                    prop_assert_eq!(granted.binding.is_some(), independent);
                    if independent {
                        let others = live.iter().filter(|flow| flow.2 == granted.endpoint);
                        for flow in others {
                            prop_assert!(flow.3 && flow.0 == inside, "{flow:?} has it too");
                        }
                    } else {
                        prop_assert!(!taken(&granted.endpoint));
                        prop_assert!(live.iter().all(|flow| !(flow.3 && flow.2 == granted.endpoint)));
                    }
                    live.push((inside, remote, granted.endpoint, independent));
                }
                Err(Exhausted) => {
                    let used: HashSet<_> = live.iter().map(|flow| flow.2.port).collect();
                    prop_assert_eq!(used.len(), 8, "something was left");
                }
            }
        }
        let used: HashSet<_> = live.iter().map(|flow| flow.2.port).collect();
        let counted: u32 = pool.usage().iter().map(|usage| usage.used).sum();
        prop_assert_eq!(used.len() as u32, counted);
        let bound: HashMap<_, u32> = live.iter().filter(|flow| flow.3).fold(HashMap::new(), |mut all, flow| {
            *all.entry(flow.2).or_default() += 1;
            all
        });
        prop_assert_eq!(pool.bindings().len(), bound.len());
        for (held, binding) in pool.bindings() {
            prop_assert_eq!(Some(&binding.flows), bound.get(&held.endpoint));
        }
        for (_, remote, granted, binding) in live {
            pool.release(&external(granted), &remote, binding);
        }
        prop_assert_eq!(pool.usage().iter().map(|usage| usage.used).sum::<u32>(), 0);
        prop_assert!(pool.bindings().is_empty() && pool.paired.is_empty() && pool.contacts.is_empty());
    }
}

#[test]
fn threads_never_share_a_binding() {
    let pool = Allocator::default();
    let work = |host: u8| {
        for round in 0..2_000u64 {
            let port = 1024 + (round % 50) as u16;
            let remote = at(9, (round % 7) as u16);
            let mut ask = independent(at(host, port), remote, Filtering::Address);
            ask.ports = Some((1024, 1200));
            let granted = pool
                .allocate(&ask, 0, round << 16, |_| true)
                .expect("enough for all");
            let mine = external(granted.endpoint);
            assert_eq!(
                pool.binding(&mine).map(|held| held.internal),
                Some(at(host, port))
            );
            pool.release(&mine, &remote, true);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(1));
        scope.spawn(|| work(2));
    });
    assert!(pool.bindings().is_empty());
    assert!(pool.usage().iter().all(|usage| usage.used == 0));
}
