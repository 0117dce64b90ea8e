//! Two hosts and a wire between them that passes everything: ports, opener and workers as the
//! daemon has them, without rules.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sluice_control::netns::Namespace;
use sluice_control::opener::{LinkEvent, OpenError, Opened, Opener, OpenerProcess, Request};
use sluice_dataplane::DropReason;
use sluice_dataplane::packet::Burst;
use sluice_dataplane::port::{LinkState, PortId};
use sluice_dataplane::worker::{
    Context, Disposition, Fate, Settings, Stages, SystemClock, Wait, Workers,
};

/// The peers by port number: what the pass-through knows.
#[derive(Clone, Debug, Default)]
pub struct Peers(pub Vec<Option<PortId>>);

/// Sends every frame to the peer of the port that it came by.
#[derive(Debug)]
pub struct PassThrough;

impl Stages for PassThrough {
    type Generation = Peers;

    fn number(_: &Peers) -> u64 {
        1
    }

    fn process(
        &mut self,
        burst: &mut Burst<'_>,
        peers: &Peers,
        _context: &Context,
        out: &mut Disposition,
    ) {
        for (lane, frame) in burst.iter().enumerate() {
            let peer = peers.0.get(usize::from(frame.in_port.0));
            let fate = match peer.copied().flatten() {
                Some(port) => Fate::Send(port),
                None => Fate::dropped(DropReason::NoPeer),
            };
            out.set(lane, fate);
        }
    }
}

/// What a wire is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of workers.
    pub workers: usize,
    /// How they wait.
    pub wait: Wait,
    /// The CPUs of the workers; empty: unbound.
    pub cpus: Vec<usize>,
    /// MTU of all devices.
    pub mtu: u32,
    /// Slots of each ring.
    pub slots: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            workers: 1,
            wait: Wait::Adaptive,
            cpus: Vec::new(),
            mtu: 1500,
            slots: 2048,
        }
    }
}

/// `left eth0 - a [wire] b - eth0 right`, 10.0.0.1 and 10.0.0.2, fd00::1 and fd00::2.
pub struct Wire {
    // Dropped in this order: the workers let go of their queues before the devices are undone.
    /// The workers.
    pub workers: Workers,
    /// The privileged part.
    pub opener: Opener,
    /// State of the two devices.
    pub links: Vec<Arc<LinkState>>,
    /// What was heard of the devices.
    pub events: Arc<Mutex<Vec<LinkEvent>>>,
    /// The peers in force.
    pub peers: Arc<ArcSwap<Peers>>,
    /// The namespace of the wire.
    pub middle: Namespace,
    /// The host at port 0.
    pub left: Namespace,
    /// The host at port 1.
    pub right: Namespace,
    /// What had been dropped before both ports were there.
    early: Vec<u64>,
}

/// The two hosts and the devices between them, not yet joined.
pub fn hosts(mtu: u32) -> io::Result<(Namespace, Namespace, Namespace)> {
    let left = Namespace::new("left")?;
    let right = Namespace::new("right")?;
    let middle = Namespace::new("middle")?;
    middle.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    for (host, device, number) in [(&left, "a", 1), (&right, "b", 2)] {
        host.add_veth("eth0", &middle, device)?;
        host.set_mtu("eth0", mtu)?;
        middle.set_mtu(device, mtu)?;
        host.set_up("eth0")?;
        host.add_address("eth0", &format!("10.0.0.{number}/24"))?;
        host.add_address("eth0", &format!("fd00::{number}/64"))?;
    }
    Ok((left, middle, right))
}

/// A request for a device of a namespace.
pub fn request(namespace: &Namespace, device: &str, port: u16, plan: &Plan) -> Request {
    Request {
        port,
        device: format!("{}:{device}", namespace.path()),
        queues: plan.workers,
        slots: plan.slots,
        prepare: false,
        driver: Default::default(),
    }
}

impl Wire {
    /// Builds it; frames pass when this returns.
    ///
    /// # Panics
    /// When the system does not let us.
    pub fn new(plan: &Plan) -> Self {
        let (left, middle, right) = hosts(plan.mtu).expect("namespaces can be made");
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let opener = OpenerProcess::on_thread()
            .and_then(|opener| opener.connect(move |event| heard.lock().unwrap().push(event)))
            .expect("the opener starts");
        let peers = Arc::new(ArcSwap::from_pointee(Peers(vec![
            Some(PortId(1)),
            Some(PortId(0)),
        ])));
        let cpus = (0..plan.workers).map(|n| plan.cpus.get(n).copied());
        let settings = Settings {
            cpus: cpus.collect(),
            wait: plan.wait,
        };
        let workers = Workers::start(
            &settings,
            |_| PassThrough,
            Arc::clone(&peers),
            Arc::new(SystemClock),
            Arc::new(|event| eprintln!("{event:?}")),
        )
        .expect("workers start");
        let mut wire = Self {
            workers,
            opener,
            links: Vec::new(),
            events,
            peers,
            middle,
            left,
            right,
            early: vec![0; DropReason::COUNT],
        };
        for (port, device) in ["a", "b"].into_iter().enumerate() {
            let opened = wire
                .open(device, port as u16, plan)
                .expect("the device opens");
            wire.links.push(Arc::clone(&opened.link));
            let port = PortId(port as u16);
            wire.workers
                .add_port(port, opened.queues)
                .expect("queues for all workers");
        }
        wire.wait_for_carrier();
        // The hosts speak as soon as they are up (MLD), when one port may still be missing.
        wire.early = DropReason::ALL.iter().map(|&r| wire.drops(r)).collect();
        wire
    }

    /// Opens another device of the wire's namespace.
    ///
    /// # Errors
    /// As the opener says.
    pub fn open(&self, device: &str, port: u16, plan: &Plan) -> Result<Opened, OpenError> {
        self.opener.open(&request(&self.middle, device, port, plan))
    }

    fn wait_for_carrier(&self) {
        eventually("both devices are up", || {
            self.links.iter().all(|link| link.is_up())
        });
    }

    /// Frames dropped for a reason, by all workers.
    pub fn drops(&self, reason: DropReason) -> u64 {
        let all: u64 = self.workers.metrics().iter().map(|m| m.drops(reason)).sum();
        all - self.early[reason as usize]
    }

    /// Every reason for which frames were dropped, with their number.
    pub fn all_drops(&self) -> Vec<(DropReason, u64)> {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason, self.drops(reason)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// Waits until something holds, 10 s at most.
///
/// # Panics
/// When it never does.
#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
