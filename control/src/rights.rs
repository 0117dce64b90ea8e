//! Who may read and who may change, by the credentials that the kernel reports for the peer of a
//! control connection. Changing includes reading.

use std::fmt;

use nix::unistd::{Gid, Group, Uid, User};

use crate::appliance::{Control, Who};

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Looking at state.
    Read,
    /// Changing state.
    Change,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Change => "change",
        })
    }
}

/// The process at the other end of a control connection, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Process id, where the kernel says it.
    pub pid: Option<i32>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match User::from_uid(Uid::from_raw(self.uid)).ok().flatten() {
            Some(user) => write!(f, "{} (uid {})", user.name, self.uid)?,
            None => write!(f, "uid {}", self.uid)?,
        }
        self.pid.map_or(Ok(()), |pid| write!(f, ", process {pid}"))
    }
}

impl Peer {
    fn belongs_to(&self, gid: u32) -> bool {
        if self.gid == gid {
            return true;
        }
        let Some(user) = User::from_uid(Uid::from_raw(self.uid)).ok().flatten() else {
            return false;
        };
        let Ok(name) = std::ffi::CString::new(user.name) else {
            return false;
        };
        nix::unistd::getgrouplist(&name, user.gid)
            .is_ok_and(|groups| groups.contains(&Gid::from_raw(gid)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    User(u32),
    Group(u32),
}

impl Holder {
    fn covers(self, peer: &Peer) -> bool {
        match self {
            Self::User(uid) => peer.uid == uid,
            Self::Group(gid) => peer.belongs_to(gid),
        }
    }
}

/// A name in `[control]` that this machine does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// No such user.
    #[error("control.{key}: this machine has no user \"{name}\"")]
    User {
        /// The key that names it.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// No such group.
    #[error("control.{key}: this machine has no group \"{name}\"")]
    Group {
        /// The key that names it.
        key: &'static str,
        /// The name.
        name: String,
    },
}

/// The rights of one control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    change: Vec<Holder>,
    read: Option<Vec<Holder>>,
}

impl Rights {
    /// Resolves the names of `[control]` on this machine.
    ///
    /// # Errors
    /// When a user or group does not exist: a right that nobody can hold is a mistake.
    pub fn resolve(control: &Control) -> Result<Self, UnknownName> {
        let change = match &control.change {
            Some(names) => holders("change", names)?,
            None => vec![Holder::User(0), Holder::User(Uid::effective().as_raw())],
        };
        let read = control
            .read
            .as_ref()
            .map(|names| holders("read", names))
            .transpose()?;
        Ok(Self { change, read })
    }

    /// Whether `peer` holds `right`.
    pub fn allow(&self, peer: &Peer, right: Right) -> bool {
        if self.change.iter().any(|holder| holder.covers(peer)) {
            return true;
        }
        match (right, &self.read) {
            (Right::Change, _) => false,
            (Right::Read, None) => true,
            (Right::Read, Some(read)) => read.iter().any(|holder| holder.covers(peer)),
        }
    }
}

fn holders(key: &'static str, names: &[Who]) -> Result<Vec<Holder>, UnknownName> {
    names.iter().map(|who| holder(key, who)).collect()
}

fn holder(key: &'static str, who: &Who) -> Result<Holder, UnknownName> {
    match who {
        Who::User(name) => match User::from_name(name) {
            Ok(Some(user)) => Ok(Holder::User(user.uid.as_raw())),
            _ => Err(UnknownName::User {
                key,
                name: name.clone(),
            }),
        },
        Who::Group(name) => Ok(Holder::Group(group_id(key, name)?)),
    }
}

/// The id of a group that `[control]` names.
///
/// # Errors
/// When this machine does not know it.
pub fn group_id(key: &'static str, name: &str) -> Result<u32, UnknownName> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(UnknownName::Group {
            key,
            name: name.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer {
            uid,
            gid,
            pid: None,
        }
    }

    fn rights(change: Option<Vec<Who>>, read: Option<Vec<Who>>) -> Rights {
        Rights::resolve(&Control {
            change,
            read,
            ..Control::default()
        })
        .unwrap()
    }

    #[test]
    fn without_lists_root_changes_and_everyone_who_connects_reads() {
        let rights = rights(None, None);
        assert!(rights.allow(&peer(0, 0), Right::Change));
        assert!(rights.allow(&peer(4_000_000, 4_000_000), Right::Read));
        assert!(!rights.allow(&peer(4_000_000, 4_000_000), Right::Change));
    }

    #[test]
    fn lists_are_exact_and_change_includes_read() {
        let rights = rights(
            Some(vec![Who::Group("daemon".into())]),
            Some(vec![Who::User("nobody".into())]),
        );
        let daemon = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
        let nobody = User::from_name("nobody").unwrap().unwrap().uid.as_raw();
        assert!(!rights.allow(&peer(0, 0), Right::Read));
        assert!(rights.allow(&peer(4_000_000, daemon), Right::Change));
        assert!(rights.allow(&peer(4_000_000, daemon), Right::Read));
        assert!(rights.allow(&peer(nobody, 4_000_000), Right::Read));
        assert!(!rights.allow(&peer(nobody, 4_000_000), Right::Change));
    }

    #[test]
    fn a_name_that_nobody_has_is_refused() {
        let control = Control {
            change: Some(vec![Who::User("no-such-user".into())]),
            ..Control::default()
        };
        assert_eq!(
            Rights::resolve(&control).unwrap_err().to_string(),
            "control.change: this machine has no user \"no-such-user\""
        );
    }
}
