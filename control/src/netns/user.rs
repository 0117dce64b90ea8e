//! A user namespace for those who are not root.

use std::io;

use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Whether this process may make network namespaces as it is.
pub fn may_make_namespaces() -> bool {
    super::Namespace::new("probe").is_ok()
}

/// Makes this process root of a user namespace of its own, with its own network and mounts,
/// if it may not make network namespaces otherwise. Call it before any thread is started.
///
/// # Errors
/// Where unprivileged user namespaces are switched off (`EPERM`, `ENOSPC`), or when the process
/// already has several threads (`EINVAL`).
pub fn become_root_of_user_namespace() -> io::Result<()> {
    if geteuid().is_root() && may_make_namespaces() {
        return Ok(());
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare_user()?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

#[allow(unsafe_code)]
fn unshare_user() -> io::Result<()> {
    // SAFETY: the process has one thread (the kernel refuses a new user namespace otherwise),
    // and none of these flags unshares memory or the table of descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?;
    Ok(())
}
