//! Becoming an unprivileged user, once what needs privileges has been split off or opened.

use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};

/// Why the daemon could not change its user.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// No such user.
    #[error("daemon.user: this machine has no user \"{0}\"")]
    Unknown(String),
    /// The system refuses.
    #[error("daemon.user: cannot become {user}: {source}")]
    Refused {
        /// The user.
        user: String,
        /// What the system says.
        source: nix::Error,
    },
}

/// Becomes `user` with its groups, for good. The process must have one thread only: user ids
/// belong to threads in Linux, and the C library carries a change to the others only as long as
/// they were started by it.
///
/// # Errors
/// When there is no such user, or the process may not change its own.
pub fn become_user(user: &str) -> Result<(), PrivilegeError> {
    let refused = |source| PrivilegeError::Refused {
        user: user.to_owned(),
        source,
    };
    let entry = User::from_name(user)
        .map_err(refused)?
        .ok_or_else(|| PrivilegeError::Unknown(user.to_owned()))?;
    if entry.uid == Uid::effective() && entry.gid == Gid::effective() {
        return Ok(());
    }
    let name = std::ffi::CString::new(user).map_err(|_| PrivilegeError::Unknown(user.into()))?;
    initgroups(&name, entry.gid).map_err(refused)?;
    setgid(entry.gid).map_err(refused)?;
    setuid(entry.uid).map_err(refused)?;
    if entry.uid.as_raw() != 0 && setuid(Uid::from_raw(0)).is_ok() {
        // Never observed; going on with a way back to root would be a lie.
        return Err(refused(nix::Error::EPERM));
    }
    Ok(())
}
