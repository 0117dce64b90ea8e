//! The privileged part itself: carries out orders and watches the devices that it opened.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use sluice_dataplane::port::af_packet::{self, Geometry, QueueSockets};

use super::protocol::Descriptors;

use super::device::{Changes, Device, Devices};
use super::ingress::Ingress;
use super::namespace::{Place, inside};
use super::netlink::Netlink;
use super::protocol::{Facts, News, Order, flatten, receive, send};
use super::{Driver, LinkChange, MAX_QUEUES, OpenError, Request, tap};

/// RTNLGRP_LINK
const LINK_GROUP: u32 = 1;

/// A namespace that has a port, with what is needed to work in it.
struct Space {
    namespace: Option<File>,
    devices: Devices,
    ingress: Ingress,
    watcher: Netlink,
    /// Any socket of the namespace, for questions by ioctl.
    probe: OwnedFd,
}

/// A device that was opened.
struct Held {
    place: Place,
    device: Device,
    changes: Changes,
    last: LinkChange,
}

pub(super) struct Server {
    socket: OwnedFd,
    home: File,
    spaces: HashMap<Option<String>, Space>,
    ports: HashMap<u16, Held>,
}

impl Server {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket,
            home: File::open("/proc/thread-self/ns/net")?,
            spaces: HashMap::new(),
            ports: HashMap::new(),
        })
    }

    /// Serves until it is told to end or the other side has ended.
    pub(super) fn serve(mut self) -> io::Result<()> {
        loop {
            if self.wait()? {
                match receive(self.socket.as_fd())? {
                    Some((Order::Open(request), _)) => self.open(&request)?,
                    Some((Order::Close(port), _)) => {
                        self.close(port);
                        self.say(&News::Closed)?;
                    }
                    Some((Order::End, _)) => {
                        let ports: Vec<u16> = self.ports.keys().copied().collect();
                        ports.into_iter().for_each(|port| self.close(port));
                        return self.say(&News::Closed);
                    }
                    // The daemon died: nothing is undone, the way around it stays closed.
                    None => return Ok(()),
                }
            }
            self.watch()?;
        }
    }

    /// Waits for an order (`true`) or a change of a device.
    fn wait(&self) -> io::Result<bool> {
        let watchers = self.spaces.values().map(|s| s.watcher.descriptor());
        let mut wanted: Vec<PollFd<'_>> = std::iter::once(self.socket.as_fd())
            .chain(watchers)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut wanted, None) {
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(!wanted[0].revents().is_empty()),
        }
    }

    fn say(&self, news: &News) -> io::Result<()> {
        send(self.socket.as_fd(), news, &[])
    }

    fn open(&mut self, request: &Request) -> io::Result<()> {
        match self.try_open(request) {
            Ok((facts, sockets)) => {
                let news = News::Opened(Ok(facts));
                send(self.socket.as_fd(), &news, &flatten(&sockets))
            }
            Err(error) => self.say(&News::Opened(Err(error))),
        }
    }

    fn try_open(&mut self, request: &Request) -> Result<(Facts, Descriptors), OpenError> {
        if !(1..=MAX_QUEUES).contains(&request.queues) {
            return Err(OpenError::Queues {
                queues: request.queues,
            });
        }
        let place = Place::parse(&request.device);
        if let Some((port, _)) = self.ports.iter().find(|(_, held)| held.place == place) {
            return Err(OpenError::Open {
                device: request.device.clone(),
                port: *port,
            });
        }
        self.enter(&place, &request.device)?;
        let Self { spaces, home, .. } = self;
        let Some(space) = spaces.get_mut(&place.namespace) else {
            return Err(OpenError::Ended);
        };
        let namespace = space.namespace.as_ref().map(File::try_clone).transpose()?;
        let opened = inside(namespace.as_ref(), home, || match request.driver {
            Driver::AfPacket => space.open_port(&place, request),
            Driver::Tap | Driver::Tun => space.open_tap(&place, request),
        })
        .map_err(|error| OpenError::NoNamespace {
            device: request.device.clone(),
            error: error.to_string(),
        })
        .flatten();
        if opened.is_err() {
            self.leave(&place.namespace);
        }
        let (held, facts, sockets) = opened?;
        self.ports.insert(request.port, held);
        Ok((facts, sockets))
    }

    /// Has the namespace of a place at hand.
    fn enter(&mut self, place: &Place, shown: &str) -> Result<(), OpenError> {
        if self.spaces.contains_key(&place.namespace) {
            return Ok(());
        }
        let no_namespace = |error: io::Error| OpenError::NoNamespace {
            device: shown.to_owned(),
            error: error.to_string(),
        };
        let namespace = place.open().map_err(no_namespace)?;
        let space = inside(namespace.as_ref(), &self.home, Space::open)
            .map_err(no_namespace)?
            .map_err(|error| OpenError::System {
                doing: "open netlink sockets".to_owned(),
                error: error.to_string(),
            })?;
        let space = Space { namespace, ..space };
        self.spaces.insert(place.namespace.clone(), space);
        Ok(())
    }

    /// Lets go of a namespace without ports.
    fn leave(&mut self, namespace: &Option<String>) {
        if !self.ports.values().any(|h| &h.place.namespace == namespace) {
            self.spaces.remove(namespace);
        }
    }

    /// Undoes what was done to a port's device.
    fn close(&mut self, port: u16) {
        let Some(held) = self.ports.remove(&port) else {
            return;
        };
        if let Some(space) = self.spaces.get_mut(&held.place.namespace) {
            let namespace = space.namespace.as_ref().map(File::try_clone);
            if let Ok(namespace) = namespace.transpose() {
                // A namespace or device that is gone has nothing left to be undone.
                let _ = inside(namespace.as_ref(), &self.home, || {
                    space.devices.undo(&held.device, held.changes);
                    let _ = space.ingress.reopen(&held.device.name);
                });
            }
        }
        self.leave(&held.place.namespace);
    }

    /// Tells what has changed at the devices.
    fn watch(&mut self) -> io::Result<()> {
        for (name, space) in &mut self.spaces {
            if space.watcher.heard().is_empty() {
                continue;
            }
            let held = self.ports.iter_mut();
            for (&port, held) in held.filter(|(_, held)| &held.place.namespace == name) {
                let change = space.state(held);
                if change != held.last {
                    held.last = change;
                    let news = News::Changed { port, change };
                    send(self.socket.as_fd(), &news, &[])?;
                }
            }
        }
        Ok(())
    }
}

impl Space {
    /// What is needed in the current namespace.
    fn open() -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        let kind = (SocketType::DGRAM, SocketFlags::CLOEXEC);
        Ok(Self {
            namespace: None,
            devices: Devices::open()?,
            ingress: Ingress::open()?,
            watcher: Netlink::listen(libc::NETLINK_ROUTE, LINK_GROUP)?,
            probe: socket_with(AddressFamily::INET, kind.0, kind.1, None)?,
        })
    }

    /// Prepares a device and opens its queues; on failure everything is as before.
    fn open_queues(
        &mut self,
        device: &Device,
        request: &Request,
    ) -> Result<(Changes, Vec<QueueSockets>), OpenError> {
        let geometry = Geometry {
            slots: request.slots,
            ..Geometry::default()
        };
        // Closed before it comes up: there is no moment in which the kernel would answer.
        self.ingress
            .close(&device.name)
            .map_err(|error| OpenError::Ingress {
                device: device.name.clone(),
                error: error.to_string(),
            })?;
        let prepared = self.devices.prepare(device, request.prepare);
        let opened = prepared.and_then(|changes| {
            match af_packet::open_queues(device.index, request.queues, geometry) {
                Ok(sockets) => Ok((changes, sockets)),
                Err(error) => {
                    self.devices.undo(device, changes);
                    Err(OpenError::System {
                        doing: format!("open packet sockets on {}", device.name),
                        error: error.to_string(),
                    })
                }
            }
        });
        if opened.is_err() {
            // It was closed a moment ago by us; should that fail it stays closed.
            let _ = self.ingress.reopen(&device.name);
        }
        opened
    }

    fn open_port(
        &mut self,
        place: &Place,
        request: &Request,
    ) -> Result<(Held, Facts, Descriptors), OpenError> {
        let found = self.devices.by_name(&place.device);
        let device = found.map_err(|error| match error.raw_os_error() {
            Some(libc::ENODEV) => OpenError::NoDevice {
                device: request.device.clone(),
            },
            _ => OpenError::from(error),
        })?;
        let (changes, sockets) = self.open_queues(&device, request)?;
        let mac = device.mac;
        Ok(self.hold(
            place,
            request,
            (device, mac),
            changes,
            Descriptors::Packet(sockets),
        ))
    }

    /// Makes or takes over a TAP device and brings it up. Its other end is a host of this kernel,
    /// so its addresses are in order and its ingress stays open.
    fn open_tap(
        &mut self,
        place: &Place,
        request: &Request,
    ) -> Result<(Held, Facts, Descriptors), OpenError> {
        let failed = |error: io::Error| OpenError::System {
            doing: format!(
                "make the {} device {}",
                request.driver.word(),
                request.device
            ),
            error: error.to_string(),
        };
        let opened = tap::open(&place.device, request.driver, request.queues).map_err(failed)?;
        let device = self.devices.by_name(&place.device)?;
        self.devices.bring_up(&device).map_err(failed)?;
        let mac = tap::near_address(device.mac);
        let changes = Changes::default();
        Ok(self.hold(
            place,
            request,
            (device, mac),
            changes,
            Descriptors::Tap(opened),
        ))
    }

    /// Notes a device that was opened, and tells what is known of it.
    fn hold(
        &mut self,
        place: &Place,
        request: &Request,
        (device, mac): (Device, [u8; 6]),
        changes: Changes,
        descriptors: Descriptors,
    ) -> (Held, Facts, Descriptors) {
        let mut held = Held {
            place: place.clone(),
            device,
            changes,
            last: LinkChange::Gone,
        };
        held.last = self.state(&held);
        let (up, mtu, offloads) = match held.last {
            LinkChange::State { up, mtu, offloads } => (up, mtu, offloads),
            LinkChange::Gone | LinkChange::Back => (false, held.device.mtu, 0),
        };
        let facts = Facts {
            port: request.port,
            index: held.device.index,
            mac,
            kind: held.device.kind.clone(),
            up,
            mtu,
            offloads,
            queues: descriptors.queues(),
        };
        (held, facts, descriptors)
    }

    /// How a device is at the moment.
    fn state(&mut self, held: &Held) -> LinkChange {
        match self.devices.by_index(held.device.index) {
            Ok(device) => {
                let offloads = af_packet::offloads(self.probe.as_fd(), &device.name);
                LinkChange::State {
                    up: device.is_running(),
                    mtu: device.mtu,
                    // A device that cannot be asked segments nothing.
                    offloads: offloads.unwrap_or_default().0,
                }
            }
            Err(_) if self.devices.by_name(&held.place.device).is_ok() => LinkChange::Back,
            Err(_) => LinkChange::Gone,
        }
    }
}
