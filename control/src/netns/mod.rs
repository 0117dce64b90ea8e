//! Network namespaces for the lab, the tests and the bench.
//!
//! A [`Namespace`] lives as long as its descriptor: it has no name in the file system, so nothing
//! is left behind when the process ends, however it ends, and parallel users cannot meet.
//! Links are made by netlink, without any external command. As an ordinary user, call
//! [`become_root_of_user_namespace`] first, while the process has one thread only.

mod link;
mod user;

pub use user::{become_root_of_user_namespace, may_make_namespaces};

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace, held by a descriptor.
#[derive(Debug)]
pub struct Namespace {
    descriptor: OwnedFd,
    name: String,
}

impl Namespace {
    /// Makes a new, empty namespace with its loopback up; `name` is for messages only.
    ///
    /// # Errors
    /// When the process may not make namespaces (`EPERM`).
    pub fn new(name: &str) -> io::Result<Self> {
        let descriptor = std::thread::scope(|scope| {
            scope
                .spawn(new_namespace)
                .join()
                .expect("the thread that makes a namespace does not panic")
        })?;
        let namespace = Self {
            descriptor,
            name: name.to_owned(),
        };
        namespace.set_up("lo")?;
        Ok(namespace)
    }

    /// The namespace that this thread is in.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Ok(Self {
            descriptor: File::open("/proc/thread-self/ns/net")?.into(),
            name: "current".to_owned(),
        })
    }

    /// The name given to [`new`](Self::new).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path by which another process can enter (`nsenter --net=PATH`) while this one lives.
    pub fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.descriptor.as_raw_fd()
        )
    }

    /// Runs `work` on a thread of its own inside the namespace and returns what it returns.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When `work` panics, with its panic.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(self.descriptor.as_fd())?;
                Ok(work())
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a command inside the namespace (a child inherits the namespace of the thread).
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())?
    }

    /// Runs a command inside the namespace to its end.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn output(&self, command: &mut Command) -> io::Result<std::process::Output> {
        self.run(|| command.output())?
    }

    /// Runs a command line (words split at blanks) and returns what it printed.
    ///
    /// # Errors
    /// When the command cannot be started or ends with another status than 0; the error has
    /// what it printed.
    pub fn sh(&self, line: &str) -> io::Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
        let output = self.output(Command::new(program).args(words))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!(
            "{}: `{line}`: {}: {errors}{text}",
            self.name, output.status
        )))
    }

    /// Writes a network parameter, e.g. `("net/ipv4/ip_forward", "1")`.
    ///
    /// # Errors
    /// When the parameter does not exist or may not be written.
    pub fn sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        self.run(|| std::fs::write(format!("/proc/sys/{name}"), value))?
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Moves this thread into a namespace, for the rest of its life.
fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(
        namespace,
        Some(LinkNameSpaceType::Network),
    )?)
}

fn new_namespace() -> io::Result<OwnedFd> {
    leave_network_namespace()?;
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

#[allow(unsafe_code)]
fn leave_network_namespace() -> io::Result<()> {
    // SAFETY: only CLONE_FILES and its like could make descriptors unsound between threads; a
    // new network namespace for this one thread shares and unshares no memory and no descriptor.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(())
}
