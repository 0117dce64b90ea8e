//! The ports of a daemon: their names, devices and numbers, added and removed while frames flow.
//!
//! [`Ports`] holds the three ends together: the privileged part that opens devices, the workers
//! that own the queues, and the table of ports that rules see. A port is in the table before its
//! first frame can come and leaves the table before its queues go. A device that disappears
//! and returns (a VM's interface, a veth made anew) becomes the same port again by itself.

mod returned;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sluice_dataplane::port::{LinkState, PortId, Queue};
use sluice_dataplane::program::name_words;
use sluice_dataplane::worker::{GroupError, PortInfo, PortTable, Workers};

use crate::opener::{LinkEvent, OpenError, Opened, Opener, OpenerProcess, Request};

/// What a port is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// What rules call it.
    pub name: String,
    /// `device`, or `netns:device`.
    pub device: String,
    /// Name of the port where its frames go.
    pub peer: Option<String>,
    /// `meta iifgroup`.
    pub group: u32,
    /// The pair's name for ibrname and obrname.
    pub bridge: Option<String>,
    /// May change the device so that it can be used.
    pub prepare: bool,
    /// Slots of each queue's receiving ring.
    pub slots: u32,
}

/// A port as it is.
#[derive(Clone, Debug)]
pub struct PortState {
    /// Its number.
    pub id: PortId,
    /// What it was to be.
    pub spec: PortSpec,
    /// Interface index of its device.
    pub index: u32,
    /// Its device's address.
    pub mac: [u8; 6],
    /// What is known of its device.
    pub link: Arc<LinkState>,
}

/// Why a port was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// There is one of that name.
    #[error("a port is called \"{0}\" already")]
    Exists(String),
    /// There is none of that name.
    #[error("no port is called \"{0}\"")]
    Unknown(String),
    /// A name that rules cannot say.
    #[error("a port's name has 1 to 15 bytes, without blanks and slashes: \"{0}\"")]
    Name(String),
    /// Every number is taken.
    #[error("there are as many ports as there can be")]
    Full,
    /// The device was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A worker did not do its part.
    #[error(transparent)]
    Workers(#[from] GroupError),
}

/// The most ports of a daemon.
const MOST: u16 = 4096;

/// Puts a table of ports in force: every frame that is received from now on is judged with it.
pub type Publish = Box<dyn Fn(PortTable) + Send + Sync>;

/// Hears of changes of the ports' devices.
pub type Hear = Box<dyn Fn(&str, LinkEvent) + Send + Sync>;

/// All ports of a daemon. When it is dropped, the workers stop and the devices are given back.
pub struct Ports {
    inner: Arc<Inner>,
}

struct Inner {
    // Dropped in this order: the workers let go of the queues before the devices are given back.
    workers: Workers,
    opener: Opener,
    list: Mutex<Vec<PortState>>,
    publish: Publish,
    hear: Hear,
}

impl Ports {
    /// Joins the privileged part and the workers; there is no port yet.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(
        opener: OpenerProcess,
        workers: Workers,
        publish: Publish,
        hear: Hear,
    ) -> std::io::Result<Self> {
        let (told, news) = std::sync::mpsc::channel();
        let opener = opener.connect(move |event| {
            // When nobody listens any more, the daemon is about to end.
            let _ = told.send(event);
        })?;
        let inner = Arc::new(Inner {
            workers,
            opener,
            list: Mutex::new(Vec::new()),
            publish,
            hear,
        });
        let watched: Weak<Inner> = Arc::downgrade(&inner);
        std::thread::Builder::new()
            .name("ports".to_owned())
            .spawn(move || returned::watch(&watched, &news))?;
        Ok(Self { inner })
    }

    /// Opens a device and makes it a port. A peer that is not there yet may come later; until
    /// then frames are dropped as `no_peer`.
    ///
    /// # Errors
    /// When the name is taken or the device cannot be used; nothing has changed then.
    pub fn add(&self, spec: &PortSpec) -> Result<PortState, PortError> {
        self.inner.add(spec)
    }

    /// Closes a port and gives its device back.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove(&self, name: &str) -> Result<(), PortError> {
        self.inner.remove(name)
    }

    /// Every port, by number.
    pub fn list(&self) -> Vec<PortState> {
        self.inner.list()
    }

    /// The workers: their counters, the frames that they dropped.
    pub fn workers(&self) -> &Workers {
        &self.inner.workers
    }
}

impl Inner {
    fn add(&self, spec: &PortSpec) -> Result<PortState, PortError> {
        check_name(&spec.name)?;
        let mut list = self.locked();
        if list.iter().any(|port| port.spec.name == spec.name) {
            return Err(PortError::Exists(spec.name.clone()));
        }
        let is_free = |id: &u16| list.iter().all(|port| port.id.0 != *id);
        let id = PortId((0..MOST).find(is_free).ok_or(PortError::Full)?);
        let opened = self.opener.open(&self.request(id, spec))?;
        let (port, queues) = PortState::new(id, spec.clone(), opened);
        let place = list.partition_point(|other| other.id < id);
        list.insert(place, port.clone());
        self.join(&list, id, queues)?;
        Ok(port)
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        let mut list = self.locked();
        let place = list.iter().position(|port| port.spec.name == name);
        let place = place.ok_or_else(|| PortError::Unknown(name.to_owned()))?;
        let port = list.remove(place);
        (self.publish)(table(&list));
        drop(self.workers.remove_port(port.id)?);
        self.opener.close(port.id.0)?;
        Ok(())
    }

    /// Opens the device of a port anew: it had disappeared and is there again.
    fn reopen(&self, id: PortId) -> Result<(), PortError> {
        let mut list = self.locked();
        let Some(place) = list.iter().position(|port| port.id == id) else {
            return Ok(());
        };
        drop(self.workers.remove_port(id)?);
        self.opener.close(id.0)?;
        let spec = list[place].spec.clone();
        let opened = self.opener.open(&self.request(id, &spec))?;
        let (port, queues) = PortState::new(id, spec, opened);
        list[place] = port;
        self.join(&list, id, queues)
    }

    /// Makes a port known, then lets its frames come.
    fn join(&self, list: &[PortState], id: PortId, queues: Vec<Queue>) -> Result<(), PortError> {
        (self.publish)(table(list));
        Ok(self.workers.add_port(id, queues)?)
    }

    fn request(&self, id: PortId, spec: &PortSpec) -> Request {
        Request {
            port: id.0,
            device: spec.device.clone(),
            queues: self.workers.count(),
            slots: spec.slots,
            prepare: spec.prepare,
        }
    }

    fn list(&self) -> Vec<PortState> {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<PortState>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PortState {
    fn new(id: PortId, spec: PortSpec, opened: Opened) -> (Self, Vec<Queue>) {
        let state = Self {
            id,
            spec,
            index: opened.index,
            mac: opened.mac,
            link: opened.link,
        };
        (state, opened.queues)
    }
}

/// The table of ports that rules see.
fn table(list: &[PortState]) -> PortTable {
    let mut table = PortTable::default();
    for port in list {
        let peer = port.spec.peer.as_ref();
        let peer = peer.and_then(|peer| list.iter().find(|other| &other.spec.name == peer));
        let bridge = port.spec.bridge.as_deref().map(name_words);
        let mut info = PortInfo::new(&port.spec.name, port.index, "af-packet");
        info.group = port.spec.group;
        info.mac = port.mac;
        info.bridge = bridge.unwrap_or_default();
        info.peer = peer.map(|peer| peer.id);
        table.set(port.id, Some(info));
    }
    table
}

/// What Linux asks of an interface's name, because that is what rules compare with.
fn check_name(name: &str) -> Result<(), PortError> {
    let is_bad = |c: char| c.is_whitespace() || c == '/' || c.is_control();
    if name.is_empty() || name.len() > 15 || name.contains(is_bad) {
        return Err(PortError::Name(name.to_owned()));
    }
    Ok(())
}
