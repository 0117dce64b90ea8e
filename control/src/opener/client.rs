//! The unprivileged end: asks for ports and hears of their devices.
#![allow(unsafe_code)] // fork

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, WaitOptions, waitpid};
use sluice_dataplane::port::af_packet::{self, Geometry};
use sluice_dataplane::port::{LinkState, Offloads, PortId, Queue, Rx, Tx, tap};

use super::protocol::{Facts, News, Order, gather, pair, receive, send};
use super::server::Server;
use super::{Driver, LinkChange, LinkEvent, OpenError, Request};

type Links = Arc<Mutex<HashMap<u16, Arc<LinkState>>>>;
type Reply = (News, Vec<OwnedFd>);

/// The privileged part, split off but not yet listened to.
#[derive(Debug)]
pub struct OpenerProcess {
    socket: OwnedFd,
    child: Option<Pid>,
}

impl OpenerProcess {
    /// Splits the privileged part off. To be called while the process has one thread.
    ///
    /// # Errors
    /// When the system has no process or descriptor left.
    pub fn fork() -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        // SAFETY: the process has one thread (the caller's promise, made good by calling this
        // first), so no lock is held by a thread that the child does not have.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                be_the_opener(theirs)
            }
            child => Ok(Self {
                socket: ours,
                child: Pid::from_raw(child),
            }),
        }
    }

    /// Runs the privileged part on a thread of this process: for tests and the bench, which keep
    /// their privileges anyway.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn on_thread() -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        std::thread::Builder::new()
            .name("opener".to_owned())
            .spawn(move || Server::new(theirs).and_then(Server::serve))?;
        Ok(Self {
            socket: ours,
            child: None,
        })
    }

    /// Begins to listen; `hear` is called for each change of a device, on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn connect(self, hear: impl Fn(LinkEvent) + Send + 'static) -> io::Result<Opener> {
        let socket = Arc::new(self.socket);
        let links = Links::default();
        let (reply, replies) = channel();
        let reader = Reader {
            socket: Arc::clone(&socket),
            links: Arc::clone(&links),
            reply,
        };
        let thread = std::thread::Builder::new()
            .name("opener-news".to_owned())
            .spawn(move || reader.run(hear))?;
        Ok(Opener {
            socket,
            replies: Mutex::new(replies),
            links,
            thread: Some(thread),
            child: self.child,
        })
    }
}

/// The life of the split-off process.
fn be_the_opener(socket: OwnedFd) -> ! {
    // A signal to the whole process group ends the daemon, and with it this: first it undoes.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: SIG_IGN installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let _ = rustix::thread::set_name(c"sluice-opener");
    let outcome = Server::new(socket).and_then(Server::serve);
    // SAFETY: ends the process at once, without running what the parent registered.
    unsafe { libc::_exit(i32::from(outcome.is_err())) }
}

/// The way to the privileged part. When it is dropped, everything that was done is undone.
#[derive(Debug)]
pub struct Opener {
    socket: Arc<OwnedFd>,
    replies: Mutex<Receiver<Reply>>,
    links: Links,
    thread: Option<JoinHandle<()>>,
    child: Option<Pid>,
}

/// A device that is a port now.
#[derive(Debug)]
pub struct Opened {
    /// Interface index.
    pub index: u32,
    /// Its own address.
    pub mac: [u8; 6],
    /// Kind of the device as `ip link` names it (`veth`); empty for a physical one.
    pub kind: String,
    /// What is known of it, kept up to date.
    pub link: Arc<LinkState>,
    /// One queue for each worker.
    pub queues: Vec<Queue>,
}

impl Opener {
    /// Opens a device.
    ///
    /// # Errors
    /// Everything in [`OpenError`]; the device is as before then.
    pub fn open(&self, request: &Request) -> Result<Opened, OpenError> {
        let (news, descriptors) = self.ask(&Order::Open(request.clone()))?;
        let News::Opened(outcome) = news else {
            return Err(OpenError::Ended);
        };
        let facts = outcome?;
        let link = locked(&self.links).get(&request.port).cloned();
        let opened = link
            .ok_or(OpenError::Ended)
            .and_then(|link| attach(request, &facts, descriptors, link));
        if opened.is_err() {
            self.close(request.port)?;
        }
        opened
    }

    /// Undoes what was done to a port's device. Its queues are dead weight from now on.
    ///
    /// # Errors
    /// When the privileged part has ended.
    pub fn close(&self, port: u16) -> Result<(), OpenError> {
        self.ask(&Order::Close(port))?;
        locked(&self.links).remove(&port);
        Ok(())
    }

    /// Ends without undoing anything, as if the daemon had died: the devices stay prepared and
    /// the way around the firewall stays closed, for a successor to take over.
    pub fn abandon(self) {
        // The other end reads the end of the conversation and leaves at once.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// One question, one answer.
    fn ask(&self, order: &Order) -> Result<Reply, OpenError> {
        let replies = locked(&self.replies);
        send(self.socket.as_fd(), order, &[]).map_err(|_| OpenError::Ended)?;
        replies.recv().map_err(|_| OpenError::Ended)
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nobody to ask.
        let _ = self.ask(&Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(child) = self.child {
            let _ = waitpid(Some(child), WaitOptions::empty());
        }
    }
}

fn attach(
    request: &Request,
    facts: &Facts,
    descriptors: Vec<OwnedFd>,
    link: Arc<LinkState>,
) -> Result<Opened, OpenError> {
    if request.driver != Driver::AfPacket {
        return attach_tap(request, facts, descriptors, link);
    }
    let geometry = Geometry {
        slots: request.slots,
        ..Geometry::default()
    };
    let sockets = gather(descriptors, facts.queues).ok_or(OpenError::Ended)?;
    let queues = sockets
        .into_iter()
        .map(|sockets| {
            let port = PortId(request.port);
            let (rx, tx) = af_packet::attach(port, sockets, geometry, Arc::clone(&link))?;
            Ok(Queue {
                rx: Rx::AfPacket(rx),
                tx: Tx::AfPacket(tx),
            })
        })
        .collect::<io::Result<Vec<Queue>>>()
        .map_err(|error| OpenError::System {
            doing: format!("map the rings of {}", request.device),
            error: error.to_string(),
        })?;
    Ok(Opened {
        index: facts.index,
        mac: facts.mac,
        kind: facts.kind.clone(),
        link,
        queues,
    })
}

fn attach_tap(
    request: &Request,
    facts: &Facts,
    descriptors: Vec<OwnedFd>,
    link: Arc<LinkState>,
) -> Result<Opened, OpenError> {
    let layer = match request.driver {
        Driver::Tun => tap::Layer::Ip(facts.mac),
        Driver::Tap | Driver::AfPacket => tap::Layer::Ethernet,
    };
    if descriptors.len() != facts.queues {
        return Err(OpenError::Ended);
    }
    let queue = |descriptor| {
        let (rx, tx) = tap::attach(PortId(request.port), descriptor, layer, Arc::clone(&link))?;
        Ok(Queue {
            rx: Rx::Tap(rx),
            tx: Tx::Tap(tx),
        })
    };
    let queues: io::Result<Vec<Queue>> = descriptors.into_iter().map(queue).collect();
    let queues = queues.map_err(|error| OpenError::System {
        doing: format!("use the queues of {}", request.device),
        error: error.to_string(),
    })?;
    Ok(Opened {
        index: facts.index,
        mac: facts.mac,
        kind: facts.kind.clone(),
        link,
        queues,
    })
}

/// Sorts what comes: answers to whoever asked, changes to the ports' states.
struct Reader {
    socket: Arc<OwnedFd>,
    links: Links,
    reply: Sender<Reply>,
}

impl Reader {
    fn run(self, hear: impl Fn(LinkEvent)) {
        while let Ok(Some((news, descriptors))) = receive::<News>(self.socket.as_fd()) {
            match &news {
                News::Changed { port, change } => {
                    self.apply(*port, *change);
                    hear(LinkEvent {
                        port: *port,
                        change: *change,
                    });
                    continue;
                }
                News::Opened(Ok(facts)) => {
                    let offloads = Offloads(facts.offloads);
                    let link = Arc::new(LinkState::new(facts.up, facts.mtu, offloads));
                    locked(&self.links).insert(facts.port, link);
                }
                News::Opened(Err(_)) | News::Closed => {}
            }
            if self.reply.send((news, descriptors)).is_err() {
                return;
            }
        }
    }

    fn apply(&self, port: u16, change: LinkChange) {
        let links = locked(&self.links);
        let Some(link) = links.get(&port) else { return };
        match change {
            LinkChange::State { up, mtu, offloads } => link.set(up, mtu, Offloads(offloads)),
            LinkChange::Gone | LinkChange::Back => link.set(false, link.mtu(), link.offloads()),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
