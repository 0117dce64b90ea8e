//! Routes: longest prefix first, then the lowest metric, several next hops by the flow's hash.
//!
//! A table is made once, when ports or routes change, and read by all workers without a lock. The
//! prefixes are cut into intervals that do not overlap, so a look-up is one binary search; a route
//! whose ports are all down gives way to the next one that covers the address. A packet's mark may
//! choose another table; what that table does not know, the main table does (as with `ip rule`).

use super::address::{Address, Prefix};
use crate::port::PortId;

/// Number of the table of routes that name none.
pub const MAIN: u32 = 254;

/// What becomes of packets that a route covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// They go to a next hop.
    Unicast,
    /// They end silently.
    Blackhole,
    /// They end, and the sender is told that the host cannot be reached.
    Unreachable,
    /// They end, and the sender is told that it is forbidden.
    Prohibit,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The network of a port's address.
    Connected,
    /// The appliance file.
    Static,
}

/// One next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The way out.
    pub port: PortId,
    /// The neighbour that carries on; `None`: the destination itself is a neighbour.
    pub via: Option<Address>,
    /// Its share among the hops of the route, from 1.
    pub weight: u16,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub to: Prefix,
    /// Its table.
    pub table: u32,
    /// The lowest wins among routes of one prefix.
    pub metric: u32,
    /// What becomes of the packets.
    pub kind: RouteKind,
    /// Next hops, at least one for [`RouteKind::Unicast`].
    pub hops: Vec<Hop>,
    /// Largest packet on the way, where it is less than the port's.
    pub mtu: Option<u32>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Route {
    /// The next hop for a flow with this hash, among those whose port is up.
    pub fn hop(&self, hash: u32, up: impl Fn(PortId) -> bool) -> Option<Hop> {
        if let [only] = self.hops[..] {
            return up(only.port).then_some(only);
        }
        let alive = || self.hops.iter().filter(|hop| up(hop.port));
        let shares: u64 = alive().map(|hop| u64::from(hop.weight)).sum();
        let mut at = (u64::from(hash) * shares) >> 32;
        for hop in alive() {
            match at.checked_sub(u64::from(hop.weight)) {
                Some(rest) => at = rest,
                None => return Some(*hop),
            }
        }
        None
    }
}

/// Packets with this mark use that table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// The mark, under the mask.
    pub mark: u32,
    /// Bits that count.
    pub mask: u32,
    /// Number of the table.
    pub table: u32,
}

const NONE: u32 = u32::MAX;

/// The routes of one table.
#[derive(Clone, Debug, Default)]
struct Table {
    number: u32,
    routes: Vec<Route>,
    /// For each route the one that covers its addresses next.
    next: Vec<u32>,
    /// Where each interval begins, ascending, and the route that covers it.
    starts: Vec<u128>,
    covering: Vec<u32>,
}

impl Table {
    fn new(number: u32, mut routes: Vec<Route>) -> Self {
        // Outer prefixes before inner ones; of the same prefix the best last, so that it is innermost.
        routes.sort_by(|a, b| {
            let place = |route: &Route| (route.to.first(), route.to.bits());
            place(a).cmp(&place(b)).then(b.metric.cmp(&a.metric))
        });
        let mut table = Self {
            number,
            next: vec![NONE; routes.len()],
            ..Self::default()
        };
        let mut open: Vec<usize> = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let first = route.to.first().number();
            table.close(&mut open, &routes, Some(first));
            table.next[index] = open.last().map_or(NONE, |outer| *outer as u32);
            table.mark(first, index as u32);
            open.push(index);
        }
        table.close(&mut open, &routes, None);
        table.routes = routes;
        table
    }

    /// Ends the intervals of open prefixes that end before `first` (all of them for `None`).
    fn close(&mut self, open: &mut Vec<usize>, routes: &[Route], first: Option<u128>) {
        while let Some(&inner) = open.last() {
            let last = routes[inner].to.last().number();
            if first.is_some_and(|first| first <= last) {
                return;
            }
            open.pop();
            if let Some(behind) = last.checked_add(1) {
                self.mark(behind, open.last().map_or(NONE, |outer| *outer as u32));
            }
        }
    }

    fn mark(&mut self, start: u128, route: u32) {
        if self.starts.last() == Some(&start) {
            self.covering.pop();
            self.starts.pop();
        }
        self.starts.push(start);
        self.covering.push(route);
    }

    fn find(&self, to: Address, usable: impl Fn(&Route) -> bool) -> Option<&Route> {
        let behind = self.starts.partition_point(|start| *start <= to.number());
        let mut index = *self.covering.get(behind.checked_sub(1)?)?;
        while let Some(route) = self.routes.get(index as usize) {
            // The whole IPv6 space covers the mapped addresses too: an IPv4 packet must not take it.
            if route.to.contains(to) && usable(route) {
                return Some(route);
            }
            index = self.next[index as usize];
        }
        None
    }
}

/// All tables.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    tables: Vec<Table>,
    marks: Vec<MarkRule>,
}

impl Routes {
    /// Tables of these routes, and which marks choose which.
    pub fn new(routes: Vec<Route>, marks: Vec<MarkRule>) -> Self {
        let mut numbers: Vec<u32> = routes.iter().map(|route| route.table).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let of = |number: u32| {
            let list = routes.iter().filter(|route| route.table == number);
            Table::new(number, list.cloned().collect())
        };
        Self {
            tables: numbers.into_iter().map(of).collect(),
            marks,
        }
    }

    /// The route to an address for packets of a mark, among those that are usable.
    pub fn find(
        &self,
        mark: u32,
        to: Address,
        usable: impl Fn(&Route) -> bool + Copy,
    ) -> Option<&Route> {
        let chosen = self.marks.iter().find(|rule| mark & rule.mask == rule.mark);
        let table = |number: u32| self.tables.iter().find(|table| table.number == number);
        chosen
            .and_then(|rule| table(rule.table)?.find(to, usable))
            .or_else(|| table(MAIN)?.find(to, usable))
    }

    /// Every route, table by table.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.tables.iter().flat_map(|table| &table.routes)
    }

    /// Which marks choose which table.
    pub fn marks(&self) -> &[MarkRule] {
        &self.marks
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
