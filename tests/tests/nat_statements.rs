//! Forms of the translation statements whose outcome is partly chance: what must hold of it all the same.

use std::collections::HashSet;

use sluice_tests::translated::{Side, Translated, syn, udp};

const SERVER: &str = "198.51.100.1:53";

/// A gateway whose chains of type nat have these rules.
fn gateway(hook: &str, rules: &str) -> Translated {
    let priority = if hook == "prerouting" {
        "dstnat"
    } else {
        "srcnat"
    };
    Translated::new(&format!(
        "table ip gw {{
            chain c {{ type nat hook {hook} priority {priority}
                {rules}
            }}
        }}"
    ))
}

fn parts(endpoint: &str) -> (String, u16) {
    let (address, port) = endpoint.rsplit_once(':').unwrap();
    (address.to_owned(), port.parse().unwrap())
}

#[test]
fn masquerade_takes_ports_of_its_range_and_each_once() {
    let mut gw = gateway(
        "postrouting",
        "oifname outside meta l4proto udp masquerade to :2000-2099",
    );
    let mut seen = HashSet::new();
    for host in 1..=100 {
        let from = format!("10.1.6.{host}:4000");
        let (address, port) = parts(&gw.out(&udp(&from, SERVER, b"")).from());
        assert_eq!(address, "192.0.2.1");
        assert!((2000..2100).contains(&port), "{port}");
        assert!(seen.insert(port), "{port} twice");
    }
}

#[test]
fn snat_to_a_range_uses_all_of_it_and_persistent_keeps_a_host_together() {
    let addresses = |flags: &str| {
        let rule = format!("oifname outside snat to 192.0.2.16-192.0.2.31 {flags}");
        let mut gw = gateway("postrouting", &rule);
        let mut seen = Vec::new();
        for server in 1..=40 {
            let to = format!("198.51.100.{server}:53");
            seen.push(parts(&gw.out(&udp("10.1.0.2:4000", &to, b"")).from()).0);
        }
        seen.into_iter().collect::<HashSet<_>>()
    };
    let spread = addresses("");
    assert!(spread.len() > 4, "{spread:?}");
    assert!(spread.iter().all(|one| one.starts_with("192.0.2.")));
    assert_eq!(addresses("persistent").len(), 1);
}

#[test]
fn random_ports_are_not_the_inside_ones() {
    for flag in ["random", "fully-random"] {
        let mut gw = gateway("postrouting", &format!("oifname outside masquerade {flag}"));
        let kept = (1..=50).filter(|host| {
            let from = format!("10.1.6.{host}:4000");
            parts(&gw.out(&udp(&from, SERVER, b"")).from()).1 == 4000
        });
        assert!(kept.count() < 5, "{flag}");
    }
}

#[test]
fn a_concatenated_map_gives_address_and_port() {
    let mut gw = gateway(
        "prerouting",
        "iifname outside dnat ip to tcp dport map { 80 : 10.1.0.2 . 8080, 443 : 10.1.0.3 . 8443 }",
    );
    for (to, expected) in [
        ("192.0.2.1:80", "10.1.0.2:8080"),
        ("192.0.2.1:443", "10.1.0.3:8443"),
    ] {
        assert_eq!(gw.back(&syn("198.51.100.1:4000", to)).to(), expected);
    }
}

#[test]
fn dnat_to_ranges_keeps_to_them() {
    let mut gw = gateway(
        "prerouting",
        "iifname outside udp dport 53 dnat to 10.1.0.2-10.1.0.5:5300-5309",
    );
    let mut addresses = HashSet::new();
    for client in 1..=60 {
        let from = format!("198.51.100.{client}:4000");
        let (address, port) = parts(&gw.back(&udp(&from, "192.0.2.1:53", b"")).to());
        assert!((5300..5310).contains(&port), "{port}");
        addresses.insert(address);
    }
    assert_eq!(addresses.len(), 4, "{addresses:?}");
}

#[test]
fn a_flow_that_entered_by_a_binding_leaves_it_whatever_its_zone() {
    let mut gw = Translated::new(
        "table inet gw {
            chain raw { type filter hook prerouting priority raw
                iifname outside udp sport 99 ct original zone set 7
            }
            chain post { type nat hook postrouting priority srcnat
                oifname outside masquerade endpoint-independent
            }
        }",
    );
    let seen = gw.out(&udp("10.1.0.2:4000", SERVER, b"")).from();
    let entered = gw.back(&udp("198.51.100.9:99", &seen, b"hello"));
    assert_eq!(entered.to(), "10.1.0.2:4000");
    let bindings = gw.translator().allocator().bindings();
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0].1.flows, 2);
    gw.wait(200);
    assert!(gw.flows().is_empty());
    assert!(gw.translator().allocator().bindings().is_empty());
    let used: u32 = gw
        .translator()
        .allocator()
        .usage()
        .iter()
        .map(|one| one.used)
        .sum();
    assert_eq!(used, 0);
    let stranger = udp("198.51.100.9:99", &seen, b"late");
    assert!(
        gw.send(Side::Outside, &stranger)
            .iter()
            .all(|one| one.side != Side::Inside)
    );
}
