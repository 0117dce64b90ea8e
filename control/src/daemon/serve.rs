//! Listening: the control socket with its permissions, the metrics address, and serving both
//! until the daemon is told to stop.

use std::future::IntoFuture;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::api::gate::Caller;
use crate::api::{Shared, routes};
use crate::appliance::Control;
use crate::rights::{UnknownName, group_id};

/// How long a stop waits for requests that are under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon answers there.
    #[error("control.socket: another daemon listens at {}", .0.display())]
    Taken(PathBuf),
    /// The system refuses.
    #[error("control.socket: {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The socket's group does not exist.
    #[error(transparent)]
    Group(#[from] UnknownName),
}

/// Binds the control socket with its group and permissions. Takes over the place of a daemon
/// that is gone.
///
/// Must run before any thread: nobody else may create files while the mask is set.
///
/// # Errors
/// When another daemon listens there, or the system refuses.
pub fn bind(control: &Control) -> Result<UnixListener, ListenError> {
    let path = &control.socket;
    let failed = |source| ListenError::Socket {
        path: path.clone(),
        source,
    };
    let group = control
        .group
        .as_deref()
        .map(|name| group_id("group", name))
        .transpose()?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(ListenError::Taken(path.clone()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // Nobody may connect between bind and chmod.
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
    let listener = UnixListener::bind(path);
    nix::sys::stat::umask(mask);
    let listener = listener.map_err(failed)?;
    std::os::unix::fs::chown(path, None, group).map_err(failed)?;
    let mode = std::fs::Permissions::from_mode(control.mode);
    std::fs::set_permissions(path, mode).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves the control API until `stopping` becomes true, and then until the requests under way
/// are answered, for a bounded time.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    shared: Shared,
    listener: UnixListener,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let service = routes::router(shared).into_make_service_with_connect_info::<Caller>();
    let server = axum::serve(listener, service).with_graceful_shutdown(stopped(stopping.clone()));
    tokio::select! {
        result = server.into_future() => result,
        () = async { stopped(stopping).await; tokio::time::sleep(PATIENCE).await } => Ok(()),
    }
}

/// Waits until `stopping` becomes true (or nobody is left who could say so).
pub(super) async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Removes the socket; what cannot be removed is taken over by the next start.
pub(super) fn unbind(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "the control socket stays behind");
    }
}
