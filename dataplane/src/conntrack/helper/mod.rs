//! Helpers: protocols whose control connections announce further connections.
//!
//! A helper reads the payload of a flow that a rule has given it to (`ct helper set`), never of a
//! flow chosen by its port alone, and yields announcements: which tuple will come, and which bytes of the
//! payload say so, for a translation to rewrite. It never blocks a flow, but for a line that is cut off in
//! the middle of an announcement ([`ftp`]).

pub mod conversations;
pub mod ftp;
pub mod tftp;

use super::expect::SourceMask;
use super::tuple::Tuple;
use crate::packet::headers::protocol;

/// How long an announced connection is waited for, as in Linux.
pub const TIMEOUT_NS: u64 = 300_000_000_000;

/// A helper, by the number that flows carry; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Helper {
    /// RFC 959, RFC 2428.
    Ftp = 1,
    /// RFC 1350.
    Tftp = 2,
}

impl Helper {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ftp, Self::Tftp];

    /// The name in `type "ftp" protocol tcp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Tftp => "tftp",
        }
    }

    /// The transport protocol of its control connections.
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Ftp => protocol::TCP,
            Self::Tftp => protocol::UDP,
        }
    }

    /// The helper of a name and protocol.
    pub fn find(name: &str, protocol: u8) -> Option<Self> {
        let same = |helper: &Self| helper.name() == name && helper.protocol() == protocol;
        Self::ALL.into_iter().find(same)
    }

    /// The helper of a number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|helper| *helper as u16 == number)
    }
}

/// A connection that will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its tuple; the source port is not known.
    pub tuple: Tuple,
    /// What of the source counts.
    pub mask: SourceMask,
}

impl Expected {
    /// A connection of `from`'s host to a port of `to`'s host.
    fn new(from: [u8; 16], to: [u8; 16], port: u16, like: &Tuple) -> Self {
        Self {
            tuple: Tuple {
                src: from,
                dst: to,
                sport: 0,
                dport: port,
                ..*like
            },
            mask: SourceMask::ADDRESS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_found_by_name_and_number() {
        for helper in Helper::ALL {
            assert_eq!(Helper::find(helper.name(), helper.protocol()), Some(helper));
            assert_eq!(Helper::from_number(helper as u16), Some(helper));
        }
        assert_eq!(Helper::find("ftp", protocol::UDP), None);
        assert_eq!(Helper::find("irc", protocol::TCP), None);
        assert_eq!(Helper::from_number(0), None);
    }
}
