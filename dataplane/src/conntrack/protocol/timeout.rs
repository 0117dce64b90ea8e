//! How long a flow may be silent after a packet: the time of a class, cut by others.

use super::super::timeouts::TimeoutClass;

/// The time of a class, but not longer than those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// The class of the state that the flow is in.
    pub class: TimeoutClass,
    /// Not longer than these.
    pub limits: [Option<TimeoutClass>; 2],
}

impl Timeout {
    /// The time of a class.
    pub const fn of(class: TimeoutClass) -> Self {
        Self {
            class,
            limits: [None; 2],
        }
    }

    /// The class whose time it is, when `seconds` says the time of each.
    #[inline]
    pub fn shortest(self, seconds: impl Fn(TimeoutClass) -> u32) -> TimeoutClass {
        let mut shortest = self.class;
        for limit in self.limits.into_iter().flatten() {
            if seconds(limit) < seconds(shortest) {
                shortest = limit;
            }
        }
        shortest
    }
}

impl From<TimeoutClass> for Timeout {
    fn from(class: TimeoutClass) -> Self {
        Self::of(class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_wins_and_none_lengthens() {
        let seconds = |class| match class {
            TimeoutClass::TcpEstablished => 432_000,
            TimeoutClass::TcpRetrans => 300,
            TimeoutClass::TcpSynRecv => 60,
            _ => 10,
        };
        let timeout = |class, limits| Timeout { class, limits };
        let (long, cut, short) = (
            TimeoutClass::TcpEstablished,
            TimeoutClass::TcpRetrans,
            TimeoutClass::TcpSynRecv,
        );
        assert_eq!(timeout(long, [Some(cut), None]).shortest(seconds), cut);
        assert_eq!(timeout(short, [Some(cut), None]).shortest(seconds), short);
        assert_eq!(
            timeout(long, [Some(cut), Some(short)]).shortest(seconds),
            short
        );
        assert_eq!(Timeout::of(long).shortest(seconds), long);
    }
}
