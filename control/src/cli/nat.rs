//! `sluice nat`

use super::table::Table;
use super::{Failed, print, wait};
use crate::api::nat::{BindingStatus, NatStatus, PoolStatus};
use crate::client::Client;

/// What it takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn show(client: &Client, options: &Options) -> Result<(), Failed> {
    let status: NatStatus = wait(client.get("/v1/nat"))?.body;
    print(options.json, &status, text)
}

fn text(status: &NatStatus) -> String {
    if status.pools.is_empty() && status.exhausted == 0 {
        return "no external address has been used yet\n".to_owned();
    }
    let mut text = pools(&status.pools).to_string();
    if !status.bindings.is_empty() {
        text.push('\n');
        text.push_str(&bindings(&status.bindings).to_string());
    }
    if status.exhausted != 0 {
        text.push_str(&format!(
            "\n{} new flows found no address or port (drop reason nat_exhausted)\n",
            status.exhausted
        ));
    }
    text
}

fn pools(pools: &[PoolStatus]) -> Table {
    let mut table = Table::new(&["ADDRESS", "PROTOCOL", "ZONE", "USED", "PEAK", "EXHAUSTED"]);
    for pool in pools {
        table.row([
            pool.address.clone(),
            pool.protocol.clone(),
            pool.zone.to_string(),
            pool.used.to_string(),
            pool.peak.to_string(),
            pool.exhausted.to_string(),
        ]);
    }
    table
}

fn bindings(bindings: &[BindingStatus]) -> Table {
    let mut table = Table::new(&["INSIDE", "OUTSIDE", "PROTOCOL", "FILTERING", "FLOWS", "AGE"]);
    for one in bindings {
        table.row([
            one.internal.clone(),
            one.external.clone(),
            one.protocol.clone(),
            one.filtering.clone(),
            one.flows.to_string(),
            format!("{} s", one.age_ms / 1000),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_bindings_and_exhaustion_are_told() {
        assert!(text(&NatStatus::default()).contains("no external address"));
        let status = NatStatus {
            pools: vec![PoolStatus {
                address: "192.0.2.1".to_owned(),
                protocol: "udp".to_owned(),
                zone: 0,
                used: 2,
                peak: 7,
                exhausted: 3,
            }],
            bindings: vec![BindingStatus {
                protocol: "udp".to_owned(),
                zone: 0,
                internal: "10.0.0.2:4000".to_owned(),
                external: "192.0.2.1:4000".to_owned(),
                filtering: "address".to_owned(),
                flows: 2,
                age_ms: 12_345,
            }],
            exhausted: 3,
        };
        let text = text(&status);
        for part in ["192.0.2.1", "10.0.0.2:4000", "12 s", "nat_exhausted"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
