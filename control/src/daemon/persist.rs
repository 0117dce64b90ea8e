//! Keeping the ruleset over restarts: with `ruleset.persist`, what is in force lies in the state
//! folder as a text that nft reads, at most about a second behind.
//!
//! The sets of ipset lie beside it in a file of their own, as a text that `restore` reads; they are
//! restored first, because rules may use them.
//!
//! Each file is replaced as a whole (write, sync, rename), so a crash leaves the old or the new.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::api::Shared;
use crate::api::wire::{Happening, IpsetCommand, NftCommand};

/// Changes that come within this time are written together.
const GATHER: Duration = Duration::from_millis(500);

/// Where the ruleset of a state folder lies.
pub fn file(state: &Path) -> PathBuf {
    state.join("ruleset.nft")
}

/// Where the sets of ipset of a state folder lie.
pub fn ipset_file(state: &Path) -> PathBuf {
    state.join("ipset.save")
}

/// Writes after every change until `stopping` becomes true, and a last time then.
pub async fn keep(shared: Shared, path: PathBuf, mut stopping: watch::Receiver<bool>) {
    let mut follower = shared.hub.follow();
    let mut written = shared.policy.generation();
    while !*stopping.borrow() {
        tokio::select! {
            event = follower.next() => match event.map(|event| event.what) {
                None => break,
                Some(Happening::Change { .. } | Happening::Lost { .. }) => {}
                Some(_) => continue,
            },
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        if !*stopping.borrow() {
            tokio::time::sleep(GATHER).await;
        }
        let generation = shared.policy.generation();
        if generation == written {
            continue;
        }
        let (policy, target) = (shared.clone(), path.clone());
        let done = tokio::task::spawn_blocking(move || write(&policy, &target)).await;
        match done.map_err(io::Error::other).and_then(|result| result) {
            Ok(()) => written = generation,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the ruleset was not kept");
            }
        }
    }
}

fn write(shared: &Shared, path: &Path) -> io::Result<()> {
    let list = NftCommand {
        text: Some("list ruleset".to_owned()),
        ..NftCommand::default()
    };
    let done = shared
        .policy
        .run(list, None, false)
        .map_err(|refused| io::Error::other(format!("cannot list the ruleset: {refused:?}")))?;
    let save = IpsetCommand {
        words: vec!["save".to_owned()],
        ..IpsetCommand::default()
    };
    let sets = shared
        .policy
        .ipset(save, false)
        .map_err(|refused| io::Error::other(format!("cannot save the sets: {refused:?}")))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    replace(&ipset_file(folder), &[&sets.output])?;
    replace(path, &["flush ruleset\n", &done.answer.output])
}

/// Replaces a file as a whole.
fn replace(path: &Path, texts: &[&str]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    for text in texts {
        file.write_all(text.as_bytes())?;
    }
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    // The rename itself is safe only when the folder is.
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
