//! Routes against a naive search, and the corner cases by hand.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn route(to: &str, metric: u32, port: u16) -> Route {
    let (to, length) = to.split_once('/').unwrap();
    Route {
        to: Prefix::new(address(to), length.parse().unwrap()).unwrap(),
        table: MAIN,
        metric,
        kind: RouteKind::Unicast,
        hops: vec![Hop {
            port: PortId(port),
            via: None,
            weight: 1,
        }],
        mtu: None,
        origin: Origin::Static,
    }
}

fn port_to(routes: &Routes, mark: u32, to: &str) -> Option<u16> {
    let found = routes.find(mark, address(to), |_| true)?;
    Some(found.hops[0].port.0)
}

#[test]
fn the_longest_prefix_wins_and_then_the_lowest_metric() {
    let routes = Routes::new(
        vec![
            route("0.0.0.0/0", 0, 1),
            route("10.0.0.0/8", 5, 2),
            route("10.0.0.0/8", 4, 3),
            route("10.1.0.0/16", 9, 4),
            route("255.255.255.0/24", 0, 5),
            route("::/0", 0, 6),
            route("2001:db8::/32", 0, 7),
        ],
        Vec::new(),
    );
    for (to, port) in [
        ("9.255.255.255", 1),
        ("10.0.0.0", 3),
        ("10.0.255.255", 3),
        ("10.1.0.0", 4),
        ("10.2.0.0", 3),
        ("11.0.0.0", 1),
        ("255.255.255.255", 5),
        ("::1", 6),
        ("2001:db8:ffff::", 7),
        ("2001:db9::", 6),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 6),
    ] {
        assert_eq!(port_to(&routes, 0, to), Some(port), "{to}");
    }
}

#[test]
fn an_ipv4_packet_takes_no_ipv6_default_route() {
    let routes = Routes::new(vec![route("::/0", 0, 6)], Vec::new());
    assert_eq!(port_to(&routes, 0, "10.0.0.1"), None);
    assert_eq!(port_to(&routes, 0, "fd00::1"), Some(6));
}

#[test]
fn a_route_that_cannot_be_used_gives_way() {
    let routes = Routes::new(
        vec![
            route("0.0.0.0/0", 0, 1),
            route("10.0.0.0/8", 1, 2),
            route("10.0.0.0/8", 2, 3),
        ],
        Vec::new(),
    );
    let without = |down: &[u16]| {
        let found = routes.find(0, address("10.1.1.1"), |route| {
            !down.contains(&route.hops[0].port.0)
        });
        found.map(|route| route.hops[0].port.0)
    };
    assert_eq!(without(&[]), Some(2));
    assert_eq!(without(&[2]), Some(3));
    assert_eq!(without(&[2, 3]), Some(1));
    assert_eq!(without(&[1, 2, 3]), None);
}

#[test]
fn a_mark_chooses_a_table_and_main_knows_the_rest() {
    let other = Route {
        table: 100,
        ..route("10.0.0.0/8", 0, 9)
    };
    let rule = MarkRule {
        mark: 0x10,
        mask: 0xf0,
        table: 100,
    };
    let routes = Routes::new(vec![route("0.0.0.0/0", 0, 1), other], vec![rule]);
    assert_eq!(port_to(&routes, 0, "10.0.0.1"), Some(1));
    assert_eq!(port_to(&routes, 0x13, "10.0.0.1"), Some(9));
    assert_eq!(port_to(&routes, 0x13, "11.0.0.1"), Some(1));
    assert_eq!(port_to(&routes, 0x20, "10.0.0.1"), Some(1));
}

#[test]
fn hops_share_flows_by_weight_and_those_of_dead_ports_get_none() {
    let mut many = route("0.0.0.0/0", 0, 1);
    many.hops = [(1, 1), (2, 3)]
        .map(|(port, weight)| Hop {
            port: PortId(port),
            via: None,
            weight,
        })
        .to_vec();
    let count = |dead: u16| {
        let mut ports = [0; 3];
        for hash in (0..1000).map(|n: u32| n.wrapping_mul(0x9e37_79b9)) {
            if let Some(hop) = many.hop(hash, |port| port.0 != dead) {
                ports[usize::from(hop.port.0)] += 1;
            }
        }
        ports
    };
    let [_, one, three] = count(0);
    assert_eq!(one + three, 1000);
    assert!((230..270).contains(&one), "{one}");
    assert_eq!(count(2), [0, 1000, 0]);
    assert_eq!(many.hop(7, |_| false), None);
}

proptest! {
    #[test]
    fn look_ups_agree_with_a_naive_search(
        prefixes in proptest::collection::vec((any::<u16>(), 0u8..=32, 0u32..3), 0..40),
        addresses in proptest::collection::vec(any::<u16>(), 40),
    ) {
        // Few distinct bits, so that prefixes nest and meet.
        let spread = |bits: u16| Address::v4([(bits >> 8) as u8 & 3, 0, bits as u8, 0xff]);
        let list: Vec<Route> = prefixes
            .iter()
            .enumerate()
            .map(|(number, (bits, length, metric))| Route {
                to: Prefix::new(spread(*bits), *length).unwrap(),
                ..route("0.0.0.0/0", *metric, number as u16)
            })
            .collect();
        let routes = Routes::new(list.clone(), Vec::new());
        for to in addresses.into_iter().map(spread) {
            let naive = list
                .iter()
                .filter(|route| route.to.contains(to))
                .map(|route| (route.to.length(), u32::MAX - route.metric))
                .max();
            let found = routes.find(0, to, |_| true);
            let found = found.map(|route| (route.to.length(), u32::MAX - route.metric));
            prop_assert_eq!(found, naive);
        }
    }
}
