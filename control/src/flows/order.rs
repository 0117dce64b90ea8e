//! Flows in order: the first so many by a key, without keeping all of them.

use std::collections::BinaryHeap;

use super::view::View;

/// By what flows are sorted; numbers begin with the largest, addresses with the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Bytes of both directions.
    Bytes,
    /// Packets of both directions.
    Packets,
    /// How long the flow has been there.
    Age,
    /// Source address of the original direction.
    Src,
    /// Destination address of the original direction.
    Dst,
}

const NAMES: &[(&str, Key)] = &[
    ("bytes", Key::Bytes),
    ("packets", Key::Packets),
    ("age", Key::Age),
    ("src", Key::Src),
    ("dst", Key::Dst),
];

impl Key {
    /// The key of this name.
    ///
    /// # Errors
    /// A sentence that names the keys that there are.
    pub fn read(name: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, key)| *key).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!(
                "sort: \"{name}\" is not known; allowed: {}",
                names.join(", ")
            )
        })
    }

    /// The rank of a flow: the smallest comes first.
    fn rank(self, flow: &View<'_>) -> u128 {
        let address = |at: usize| match flow.addresses[at] {
            std::net::IpAddr::V4(address) => u128::from(u32::from(address)),
            std::net::IpAddr::V6(address) => u128::from(address),
        };
        match self {
            Self::Bytes => u128::from(u64::MAX - flow.bytes),
            Self::Packets => u128::from(u64::MAX - flow.packets),
            Self::Age => u128::from(flow.start_ns),
            Self::Src => address(0),
            Self::Dst => address(1),
        }
    }
}

/// The first so many by a key; ties stay in the order in which they came.
#[derive(Debug)]
pub struct Sorted<T> {
    key: Key,
    limit: usize,
    met: u64,
    kept: BinaryHeap<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    rank: (u128, u64),
    item: T,
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl<T> Eq for Kept<T> {}

impl<T> PartialOrd for Kept<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Kept<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl<T> Sorted<T> {
    /// Keeps the first `limit`.
    pub fn new(key: Key, limit: usize) -> Self {
        Self {
            key,
            limit,
            met: 0,
            kept: BinaryHeap::new(),
        }
    }

    /// Shows it a flow.
    pub fn push(&mut self, flow: &View<'_>, item: impl FnOnce() -> T) {
        let rank = (self.key.rank(flow), self.met);
        self.met += 1;
        let full = self.kept.len() >= self.limit;
        if full && self.kept.peek().is_none_or(|worst| worst.rank <= rank) {
            return;
        }
        self.kept.push(Kept { rank, item: item() });
        if full {
            self.kept.pop();
        }
    }

    /// What was kept, in order.
    pub fn into_sorted(self) -> impl Iterator<Item = T> {
        self.kept
            .into_sorted_vec()
            .into_iter()
            .map(|kept| kept.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(bytes: u64, host: u8) -> View<'static> {
        let address = std::net::IpAddr::from([10, 0, 0, host]);
        View {
            l3: 2,
            protocol: 17,
            addresses: [address; 4],
            ports: [0; 4],
            state: None,
            status: 0,
            mark: 0,
            zones: [0; 2],
            id: 0,
            packets: 0,
            bytes,
            start_ns: 0,
        }
    }

    #[test]
    fn the_first_few_are_kept_in_order() {
        let mut sorted = Sorted::new(Key::Bytes, 3);
        for (bytes, host) in [(5, 1), (9, 2), (1, 3), (9, 4), (7, 5)] {
            sorted.push(&view(bytes, host), || host);
        }
        assert_eq!(sorted.into_sorted().collect::<Vec<_>>(), [2, 4, 5]);
        let mut sorted = Sorted::new(Key::Src, 10);
        for host in [3, 1, 2] {
            sorted.push(&view(0, host), || host);
        }
        assert_eq!(sorted.into_sorted().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_limit_of_zero_keeps_nothing() {
        let mut sorted = Sorted::new(Key::Age, 0);
        sorted.push(&view(1, 1), || ());
        assert_eq!(sorted.into_sorted().count(), 0);
    }
}
