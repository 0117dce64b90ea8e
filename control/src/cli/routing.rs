//! `sluice routes` and `sluice neighbours`

use super::table::Table;
use super::{Failed, print, wait};
use crate::api::wire::{HopStatus, NeighbourStatus, RouteStatus};
use crate::client::Client;

/// What both take.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn routes(client: &Client, options: &Options) -> Result<(), Failed> {
    let routes: Vec<RouteStatus> = wait(client.get("/v1/routes"))?.body;
    print(options.json, &routes, |routes| {
        route_table(routes).to_string()
    })
}

pub(super) fn neighbours(client: &Client, options: &Options) -> Result<(), Failed> {
    let neighbours: Vec<NeighbourStatus> = wait(client.get("/v1/neighbours"))?.body;
    print(options.json, &neighbours, |neighbours| {
        let mut table = Table::new(&["PORT", "ADDRESS", "MAC", "STATE"]);
        for one in neighbours {
            table.row([
                one.port.clone(),
                one.address.clone(),
                one.mac.clone().unwrap_or_else(|| "-".to_owned()),
                one.state.clone(),
            ]);
        }
        table.to_string()
    })
}

/// One line a next hop.
fn route_table(routes: &[RouteStatus]) -> Table {
    let mut table = Table::new(&[
        "TO", "VIA", "PORT", "METRIC", "WEIGHT", "MTU", "TABLE", "ORIGIN", "STATE",
    ]);
    for route in routes {
        let mut line = |via: String, port: String, weight: String, state: &str| {
            table.row([
                route.to.clone(),
                via,
                port,
                route.metric.to_string(),
                weight,
                route
                    .mtu
                    .map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
                if route.table == 254 {
                    "main".to_owned()
                } else {
                    route.table.to_string()
                },
                route.origin.clone(),
                state.to_owned(),
            ]);
        };
        if route.hops.is_empty() {
            line("-".to_owned(), "-".to_owned(), "-".to_owned(), &route.kind);
        }
        for HopStatus {
            port,
            via,
            weight,
            up,
        } in &route.hops
        {
            let via = via.clone().unwrap_or_else(|| "-".to_owned());
            let state = if *up { "up" } else { "down" };
            line(via, port.clone(), weight.to_string(), state);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_next_hop_has_a_line() {
        let hop = |port: &str, up| HopStatus {
            port: port.to_owned(),
            via: Some("10.0.0.2".to_owned()),
            weight: 1,
            up,
        };
        let route = RouteStatus {
            to: "0.0.0.0/0".to_owned(),
            kind: "unicast".to_owned(),
            hops: vec![hop("a", true), hop("b", false)],
            metric: 5,
            mtu: None,
            table: 254,
            origin: "static".to_owned(),
        };
        let refused = RouteStatus {
            to: "10.9.0.0/16".to_owned(),
            kind: "blackhole".to_owned(),
            hops: Vec::new(),
            ..route.clone()
        };
        let text = route_table(&[route, refused]).to_string();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("main"), "{text}");
        assert!(text.lines().nth(2).unwrap().ends_with("down"), "{text}");
        assert!(
            text.lines().nth(3).unwrap().ends_with("blackhole"),
            "{text}"
        );
    }
}
