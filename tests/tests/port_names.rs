//! Ports by name: added, removed and found again by the daemon's own list of ports.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use sluice_control::netns::Namespace;
use sluice_control::opener::{LinkChange, OpenerProcess};
use sluice_control::ports::{PortError, PortSpec, Ports};
use sluice_dataplane::worker::{PortTable, Settings, SystemClock, Wait, Workers};
use sluice_tests::wire::{PassThrough, Peers, eventually, hosts};

fn peers(table: &PortTable) -> Peers {
    let mut peers = vec![None; 64];
    for (id, info) in table.iter() {
        peers[usize::from(id.0)] = info.peer;
    }
    Peers(peers)
}

type Heard = Arc<Mutex<Vec<(String, LinkChange)>>>;

fn ports() -> (Ports, Heard) {
    let generation = Arc::new(ArcSwap::from_pointee(Peers::default()));
    let settings = Settings {
        cpus: vec![None],
        wait: Wait::Adaptive,
    };
    let published = Arc::clone(&generation);
    let workers = Workers::start(
        &settings,
        |_| PassThrough,
        generation,
        Arc::new(SystemClock),
        Arc::new(|_| {}),
    )
    .unwrap();
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let ports = Ports::new(
        OpenerProcess::on_thread().unwrap(),
        workers,
        Box::new(move |table| published.store(Arc::new(peers(&table)))),
        Box::new(move |name, event| told.lock().unwrap().push((name.to_owned(), event.change))),
    );
    (ports.unwrap(), heard)
}

fn spec(middle: &Namespace, name: &str, device: &str, peer: &str) -> PortSpec {
    PortSpec {
        name: name.to_owned(),
        device: format!("{}:{device}", middle.path()),
        peer: Some(peer.to_owned()),
        group: 0,
        bridge: None,
        prepare: false,
        slots: 512,
    }
}

#[test]
fn two_ports_that_name_each_other_are_a_wire() {
    let (left, middle, _right) = hosts(1500).unwrap();
    let (ports, _) = ports();
    let first = ports.add(&spec(&middle, "inside", "a", "outside")).unwrap();
    assert!(left.sh("ping -c 1 -W 1 10.0.0.2").is_err(), "no peer yet");
    let second = ports.add(&spec(&middle, "outside", "b", "inside")).unwrap();
    assert_ne!(first.id, second.id);
    left.sh("ping -c 2 -i 0.01 -W 2 10.0.0.2").unwrap();
    let again = ports.add(&spec(&middle, "inside", "b", "x")).unwrap_err();
    assert!(matches!(again, PortError::Exists(_)), "{again}");
    assert!(matches!(
        ports.add(&spec(&middle, "a b", "b", "x")),
        Err(PortError::Name(_))
    ));
    ports.remove("outside").unwrap();
    assert!(matches!(
        ports.remove("outside"),
        Err(PortError::Unknown(_))
    ));
    assert_eq!(ports.list().len(), 1);
    ports.add(&spec(&middle, "outside", "b", "inside")).unwrap();
    left.sh("ping -c 2 -i 0.01 -W 2 10.0.0.2").unwrap();
}

#[test]
fn a_device_that_returns_is_the_same_port_again() {
    let (left, middle, right) = hosts(1500).unwrap();
    let (ports, heard) = ports();
    ports.add(&spec(&middle, "inside", "a", "outside")).unwrap();
    let before = ports.add(&spec(&middle, "outside", "b", "inside")).unwrap();
    for _ in 0..2 {
        middle.remove_link("b").unwrap();
        let gone = ("outside".to_owned(), LinkChange::Gone);
        eventually("it is told", || heard.lock().unwrap().contains(&gone));
        right.add_veth("eth0", &middle, "b").unwrap();
        right.set_up("eth0").unwrap();
        right.add_address("eth0", "10.0.0.2/24").unwrap();
        left.sh("ip neigh flush all").unwrap();
        eventually("it carries", || left.sh("ping -c 1 -W 1 10.0.0.2").is_ok());
        heard.lock().unwrap().clear();
    }
    let now = ports.list().pop().unwrap();
    assert_eq!((now.id, &now.spec), (before.id, &before.spec));
    assert_ne!(now.index, before.index);
}
