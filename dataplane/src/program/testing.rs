//! Test support: a program put together by hand, run by the worker's own pipeline.

use std::sync::Arc;

use super::cell::Cell;
use super::counters::Counters;
use super::lane_set::LaneSet;
use super::walk::{Entry, Names};
use super::*;
use crate::conntrack::{Settings, Tracker};
use crate::packet::{Burst, Frame};
use crate::port::PortId;
use crate::worker::{
    ConnectionObject, ConnectionObjects, Context, Disposition, EventQueue, Fate, Generation,
    Pipeline, PortInfo, PortTable, Stages,
};

/// Frames by hand.
pub(crate) mod frames {
    use crate::packet::checksum::{checksum, fold, pseudo_header, sum};

    /// Link header, from station 1 to station 2.
    fn link(ethertype: u16) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        frame.extend(ethertype.to_be_bytes());
        frame
    }

    /// An IPv4 frame from 10.0.0.1 to 10.0.0.2; the transport's checksum, at `check`, is set.
    pub(crate) fn ip(protocol: u8, mut payload: Vec<u8>, check: Option<usize>) -> Vec<u8> {
        let mut header = vec![
            0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        let value = checksum(&header);
        header[10..12].copy_from_slice(&value.to_be_bytes());
        if let Some(at) = check {
            let pseudo = pseudo_header(&header[12..20], protocol, payload.len() as u32);
            let value = !fold(pseudo + sum(&payload));
            payload[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
        [link(0x0800), header, payload].concat()
    }

    /// An IPv6 frame from fd00::1 to fd00::2.
    pub(crate) fn ip6(next: u8, mut payload: Vec<u8>, check: Option<usize>) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        for host in [1, 2] {
            header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        }
        if let Some(at) = check {
            let pseudo = pseudo_header(&header[8..40], next, payload.len() as u32);
            let value = !fold(pseudo + sum(&payload));
            payload[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
        [link(0x86dd), header, payload].concat()
    }

    /// A TCP header with flags and options, and data behind it.
    pub(crate) fn tcp_segment(sport: u16, dport: u16, flags: u8, options: &[u8]) -> Vec<u8> {
        let mut tcp = vec![0; 20];
        tcp[0..2].copy_from_slice(&sport.to_be_bytes());
        tcp[2..4].copy_from_slice(&dport.to_be_bytes());
        tcp[4..8].copy_from_slice(&1000u32.to_be_bytes());
        tcp[12] = ((20 + options.len()) as u8 / 4) << 4;
        tcp[13] = flags;
        tcp[14] = 0x20;
        tcp.extend_from_slice(options);
        tcp
    }

    pub(crate) fn tcp(sport: u16, dport: u16) -> Vec<u8> {
        ip(6, tcp_segment(sport, dport, 2, &[]), Some(16))
    }

    pub(crate) fn tcp6(sport: u16, dport: u16) -> Vec<u8> {
        ip6(6, tcp_segment(sport, dport, 2, &[]), Some(16))
    }

    pub(crate) fn udp(sport: u16, dport: u16) -> Vec<u8> {
        let mut udp = vec![0; 12];
        udp[0..2].copy_from_slice(&sport.to_be_bytes());
        udp[2..4].copy_from_slice(&dport.to_be_bytes());
        udp[4..6].copy_from_slice(&12u16.to_be_bytes());
        ip(17, udp, Some(6))
    }

    pub(crate) fn arp() -> Vec<u8> {
        let mut frame = link(0x0806);
        frame.extend([
            0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
        ]);
        frame
    }

    /// The frame behind a VLAN tag with id 5.
    pub(crate) fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
        frame.splice(12..12, [0x81, 0, 0, 5]);
        frame
    }
}

/// Two ports that are each other's peers, and a program.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) tables: Tables,
    chains: Vec<Vec<(u32, Vec<Op>)>>,
    walk: Vec<Entry>,
    targets: Vec<MapTargets>,
    pub(crate) sets: Vec<Arc<dyn LaneSet>>,
    pub(crate) cells: Vec<Arc<Cell>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ports: PortTable,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) out: Disposition,
    pub(crate) context: Context,
    pub(crate) in_port: PortId,
    pub(crate) ordered: bool,
    pub(crate) engines: u32,
    /// Offload headers of the next frames; missing ones are plain.
    pub(crate) vnet: crate::packet::VnetHeader,
    /// The tracker, when the walk tracks.
    pub(crate) tracker: Option<Arc<Tracker>>,
    pub(crate) objects: Vec<(EngineObjectId, ConnectionObject)>,
    /// The frames as they left.
    pub(crate) frames_out: Vec<Vec<u8>>,
    works: u16,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut ports = PortTable::default();
        let mut inside = PortInfo::new("inside", 10, "memory");
        let mut outside = PortInfo::new("outside", 11, "memory");
        inside.peer = Some(PortId(1));
        outside.peer = Some(PortId(0));
        ports.set(PortId(0), Some(inside));
        ports.set(PortId(1), Some(outside));
        Self {
            tables: Tables::new(),
            chains: Vec::new(),
            walk: Vec::new(),
            targets: Vec::new(),
            sets: Vec::new(),
            cells: Vec::new(),
            counters: Arc::new(Counters::new(1)),
            ports,
            events: Arc::new(EventQueue::new(256)),
            out: Disposition::default(),
            context: Context::default(),
            in_port: PortId(0),
            ordered: false,
            engines: 0,
            vnet: Default::default(),
            tracker: None,
            objects: Vec::new(),
            frames_out: Vec::new(),
            works: 0,
        }
    }

    pub(crate) fn key(&mut self, source: Source, bits: u16, requires: Requires) -> Slot {
        self.tables
            .key(KeyDesc {
                source,
                bits,
                requires,
            })
            .unwrap()
    }

    pub(crate) fn work(&mut self, bits: u16) -> Slot {
        self.works += 1;
        self.tables.work(bits, self.works).unwrap()
    }

    pub(crate) fn counter(&mut self) -> CounterSlot {
        self.counters.allocate().unwrap()
    }

    pub(crate) fn cell(&mut self, cell: Cell) -> CellId {
        let id = self.tables.cell(cell.kind());
        self.cells.push(Arc::new(cell));
        id
    }

    pub(crate) fn set(&mut self, set: Arc<dyn LaneSet>) -> SetId {
        let id = self.tables.set(set.desc()).unwrap();
        self.sets.push(set);
        id
    }

    pub(crate) fn log(&mut self, log: Log) -> LogId {
        self.tables.log(log)
    }

    /// Appends a chain of rules.
    pub(crate) fn chain(&mut self, rules: &[(u32, Vec<Op>)]) {
        self.chains.push(rules.to_vec());
    }

    pub(crate) fn base(&mut self, chain: u32, hook: Hook, family: Family, policy: Policy) {
        self.base_on(chain, hook, family, policy, &[]);
    }

    pub(crate) fn base_on(
        &mut self,
        chain: u32,
        hook: Hook,
        family: Family,
        policy: Policy,
        devices: &[&str],
    ) {
        if hook >= Hook::Forward && !self.walk.contains(&Entry::Peer) {
            self.walk.push(Entry::Peer);
        }
        let devices = Names(devices.iter().map(|name| name_words(name)).collect());
        let policy_rule = RuleRef(1000 + chain);
        let chain = ChainId(chain);
        self.walk.push(Entry::Chain {
            chain,
            hook,
            family,
            priority: 0,
            policy,
            policy_rule,
            devices,
        });
    }

    pub(crate) fn map_targets(&mut self, set: SetId, chains: &[ChainId]) {
        self.targets.push(MapTargets {
            set,
            chains: chains.to_vec(),
        });
    }

    /// From here on packets are tracked.
    pub(crate) fn track(&mut self) {
        let settings = Settings {
            max: 4096,
            ..Settings::default()
        };
        self.tracker = Some(Tracker::new(settings, 1, 7).unwrap());
        self.engines |= engines::TRACK;
        self.walk.push(Entry::Track);
    }

    /// From here on new connections are confirmed.
    pub(crate) fn confirm(&mut self) {
        self.walk.push(Entry::Confirm);
    }

    pub(crate) fn check_ip(&mut self) {
        self.walk.push(Entry::CheckIp);
    }

    /// The program, through its form as bytes.
    pub(crate) fn program(&self) -> Result<Program, Malformed> {
        let mut builder = ProgramBuilder::new(Arc::new(self.tables.clone()));
        builder.ordered(self.ordered);
        for rules in &self.chains {
            let mut blocks = Vec::new();
            let mut block = BlockBuilder::new();
            for (rule, ops) in rules {
                block.rule(RuleRef(*rule), ops);
                if block.is_full() {
                    blocks.push(Arc::new(std::mem::take(&mut block).finish(&self.tables)?));
                }
            }
            blocks.push(Arc::new(block.finish(&self.tables)?));
            builder.chain(blocks);
        }
        self.targets
            .iter()
            .cloned()
            .for_each(|targets| builder.map_targets(targets));
        for class in Class::ALL {
            builder.walk(class, self.walk_of(class));
        }
        let bytes = builder.finish()?.to_bytes();
        Program::from_bytes(&bytes)
    }

    /// The entries that a class of frames meets, as the compiler chooses them.
    fn walk_of(&self, class: Class) -> Vec<Entry> {
        let meets = |entry: &&Entry| match entry {
            Entry::Peer => true,
            Entry::CheckIp | Entry::Defragment | Entry::Track | Entry::Confirm => {
                matches!(class, Class::Ip | Class::Ip6)
            }
            // The bench is a wire.
            Entry::Station
            | Entry::Route
            | Entry::Reroute
            | Entry::ToSelf
            | Entry::Arp
            | Entry::Neighbour
            | Entry::Decide { .. }
            | Entry::Translate { .. }
            | Entry::Leave => false,
            Entry::Chain { family, .. } => match family {
                Family::Ip => class == Class::Ip,
                Family::Ip6 => class == Class::Ip6,
                Family::Inet => matches!(class, Class::Ip | Class::Ip6),
                Family::Bridge | Family::Netdev => true,
                Family::Arp => false,
            },
        };
        let mut walk: Vec<_> = self.walk.iter().filter(meets).cloned().collect();
        if !walk.contains(&Entry::Peer) {
            walk.push(Entry::Peer);
        }
        walk
    }

    pub(crate) fn generation(&mut self) -> Generation {
        Generation::new(
            1,
            Arc::new(self.program().unwrap()),
            self.sets.clone(),
            self.cells.clone(),
            Arc::clone(&self.counters),
            Arc::new(self.ports.clone()),
            self.engines,
        )
        .unwrap()
        .with_objects(self.objects())
    }

    /// The objects, which the tracker has been told of.
    fn objects(&mut self) -> ConnectionObjects {
        let objects = ConnectionObjects::new(self.objects.drain(..).collect());
        if let Some(tracker) = &self.tracker {
            objects.resolve(tracker);
        }
        objects
    }

    /// Runs frames as one batch that came by `in_port`.
    pub(crate) fn run(&mut self, frames: &[Vec<u8>]) -> Vec<Fate> {
        self.run_in_batches(frames, 64)
    }

    /// Runs frames through a program that nobody trusts; what it refers to is not there.
    pub(crate) fn run_program(&mut self, program: Program, frames: &[Vec<u8>]) {
        let generation = Generation::new(
            1,
            Arc::new(program),
            Vec::new(),
            Vec::new(),
            Arc::clone(&self.counters),
            Arc::new(self.ports.clone()),
            u32::MAX,
        );
        if let Ok(generation) = generation {
            self.run_generation(&generation, frames, 64);
        }
    }

    /// Runs frames in batches of a size.
    pub(crate) fn run_in_batches(&mut self, frames: &[Vec<u8>], size: usize) -> Vec<Fate> {
        let generation = self.generation();
        self.run_generation(&generation, frames, size)
    }

    fn run_generation(
        &mut self,
        generation: &Generation,
        frames: &[Vec<u8>],
        size: usize,
    ) -> Vec<Fate> {
        let mut pipeline = Pipeline::new(7, Arc::clone(&self.events));
        if let Some(tracker) = &self.tracker {
            pipeline = pipeline.tracking(tracker.worker(0));
        }
        self.out.clear();
        self.frames_out.clear();
        let mut fates = Vec::new();
        for batch in frames.chunks(size) {
            let mut memory: Vec<Vec<u8>> = batch
                .iter()
                .map(|frame| [vec![0; 64], frame.clone()].concat())
                .collect();
            let mut burst = Burst::new();
            for slot in &mut memory {
                let len = slot.len() - 64;
                let mut frame = Frame::borrowed(slot, 64, len, self.in_port);
                frame.vnet = self.vnet;
                burst.push(frame);
            }
            pipeline.process(&mut burst, generation, &self.context, &mut self.out);
            fates.extend_from_slice(&self.out.fates()[..batch.len()]);
            self.frames_out
                .extend(burst.iter().map(|frame| frame.bytes().to_vec()));
        }
        fates
    }
}
