//! Watching files of sets: what is written anew is read again.
//!
//! The kernel tells of the folders in which the files lie, because a list is published by renaming a
//! finished file over the old one. Every few seconds the files are looked at anyway: a folder may have
//! been made anew, a network file system tells nothing, and a queue may have run over.
//!
//! Unsafe, because the reactor asks for a promise about the descriptor that it waits for.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::api::Shared;

/// What is told together is read together.
const GATHER: Duration = Duration::from_millis(100);

/// How often files are looked at without being told.
const LOOK: Duration = Duration::from_secs(10);

/// Rereads watched files until `stopping` becomes true.
pub(super) async fn follow(shared: Shared, mut stopping: watch::Receiver<bool>) {
    let files: Vec<PathBuf> = shared
        .policy
        .set_sources()
        .into_iter()
        .filter(|source| source.watch)
        .map(|source| PathBuf::from(source.file))
        .collect();
    if files.is_empty() {
        return;
    }
    let mut watcher = match Watcher::new() {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "the kernel tells of no files; they are looked at every {LOOK:?}");
            None
        }
    };
    let mut looks = tokio::time::interval(LOOK);
    loop {
        if let Some(watcher) = &mut watcher {
            watcher.watch(&files);
        }
        let told = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            _ = looks.tick() => Vec::new(),
            told = told(watcher.as_ref(), &files) => told,
        };
        let policy = shared.clone();
        // What it found, it has told.
        let _ = tokio::task::spawn_blocking(move || policy.policy.refresh_sets(&told)).await;
    }
}

/// The files that were written, once there is one; never without a watcher.
async fn told(watcher: Option<&Watcher>, files: &[PathBuf]) -> Vec<PathBuf> {
    let Some(watcher) = watcher else {
        return std::future::pending().await;
    };
    loop {
        let mut told = watcher.read(files).await;
        if told.is_empty() {
            continue;
        }
        tokio::time::sleep(GATHER).await;
        told.extend(watcher.drain(files));
        return told;
    }
}

struct Watcher {
    queue: AsyncFd<OwnedFd>,
    /// Folders by the number of their watch.
    folders: HashMap<i32, PathBuf>,
}

impl Watcher {
    fn new() -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // SAFETY: the descriptor is owned, was made just above, and is neither exchanged nor closed while
        // the reactor has it: nothing here takes it out.
        let queue = unsafe { AsyncFd::register(queue) }?;
        Ok(Self {
            queue,
            folders: HashMap::new(),
        })
    }

    /// Watches the folders of files; those that are watched stay so.
    fn watch(&mut self, files: &[PathBuf]) {
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE;
        for folder in files.iter().map(|file| folder_of(file)) {
            // A folder that is not there is tried again with the next look.
            if let Ok(number) = inotify::add_watch(self.queue.get_ref(), folder, flags) {
                self.folders.insert(number, folder.to_owned());
            }
        }
    }

    /// Waits for something in one of the folders; which files it is about, if any.
    async fn read(&self, files: &[PathBuf]) -> Vec<PathBuf> {
        match self.queue.readable().await {
            Ok(mut ready) => {
                let told = self.drain(files);
                ready.clear_ready();
                told
            }
            // The runtime ends.
            Err(_) => std::future::pending().await,
        }
    }

    fn drain(&self, files: &[PathBuf]) -> Vec<PathBuf> {
        let mut told = Vec::new();
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(self.queue.get_ref(), &mut space);
        while let Ok(event) = events.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                return files.to_vec();
            }
            let Some(folder) = self.folders.get(&event.wd()) else {
                continue;
            };
            let name = event
                .file_name()
                .map(|name| OsStr::from_bytes(name.to_bytes()));
            let begun = event.events().contains(ReadFlags::CREATE);
            let meant = files.iter().filter(|file| {
                // A link whose end lies behind another name is exchanged under that name.
                let linked = file.is_symlink();
                folder_of(file) == folder && (linked || !begun && file.file_name() == name)
            });
            told.extend(meant.cloned());
        }
        told
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
