//! The kernel's errors, in the words of libc.

/// Why a command was refused by what would be the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// EPERM: another session owns the table.
    NotPermitted,
    /// ENOENT
    NoEntry,
    /// EBUSY: something refers to it.
    Busy,
    /// EEXIST
    Exists,
    /// EINVAL
    Invalid,
    /// ENFILE: a set is full.
    TableFull,
    /// EMLINK: a loop, or jumps nested too deep.
    TooManyLinks,
    /// ERANGE
    Range,
    /// EOPNOTSUPP
    NotSupported,
    /// ENAMETOOLONG
    NameTooLong,
    /// EPROTO: the family has no tracking.
    Protocol,
    /// EAFNOSUPPORT: the family is none that connections have.
    Family,
}

impl Errno {
    /// `strerror`.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotPermitted => "Operation not permitted",
            Self::NoEntry => "No such file or directory",
            Self::Busy => "Device or resource busy",
            Self::Exists => "File exists",
            Self::Invalid => "Invalid argument",
            Self::TableFull => "Too many open files in system",
            Self::TooManyLinks => "Too many links",
            Self::Range => "Numerical result out of range",
            Self::NotSupported => "Operation not supported",
            Self::NameTooLong => "File name too long",
            Self::Protocol => "Protocol error",
            Self::Family => "Address family not supported by protocol",
        }
    }
}
