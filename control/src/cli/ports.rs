//! `sluice ports`

use clap::Subcommand;

use super::status::port_table;
use super::{Failed, print, wait};
use crate::api::wire::{PortRequest, PortStatus};
use crate::appliance::Driver;
use crate::client::Client;

/// What `sluice ports` takes.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Every port with its counters
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Open a port
    Add(Add),
    /// Close a port
    Remove {
        /// The port's name
        name: String,
        /// Refuse unless this generation is in force
        #[arg(long, value_name = "NUMBER")]
        generation: Option<u64>,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Add {
    /// The device; NETNS:DEVICE for one in another namespace
    device: String,
    /// Wire: the port where frames from here go
    #[arg(long, default_value = "")]
    peer: String,
    /// How frames come and go: af-packet, tap or tun
    #[arg(long, value_parser = driver, default_value = "af-packet")]
    driver: Driver,
    /// Gateway: an address with its network's prefix length; may be repeated
    #[arg(long = "address", value_name = "ADDRESS/LENGTH")]
    addresses: Vec<String>,
    /// Gateway: a prefix to answer for beside the addresses; may be repeated
    #[arg(long, value_name = "PREFIX")]
    proxy: Vec<String>,
    /// What rules call the port (default: the device's name)
    #[arg(long)]
    name: Option<String>,
    /// meta iifgroup
    #[arg(long, default_value_t = 0)]
    group: u32,
    /// The device may be changed so that it can be used
    #[arg(long)]
    prepare: bool,
    /// The pair's name for ibrname and obrname
    #[arg(long)]
    bridge: Option<String>,
    /// Refuse unless this generation is in force
    #[arg(long, value_name = "NUMBER")]
    generation: Option<u64>,
    /// Print the port as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(client: &Client, options: Options) -> Result<(), Failed> {
    match options.action {
        None => list(client, options.json),
        Some(Action::List { json }) => list(client, json),
        Some(Action::Add(add)) => add.run(client),
        Some(Action::Remove { name, generation }) => {
            let client = expecting(client, generation);
            let path = format!("/v1/ports/{}", escape(&name));
            wait(client.delete::<serde_json::Value>(&path)).map(|_| ())
        }
    }
}

fn list(client: &Client, json: bool) -> Result<(), Failed> {
    let ports: Vec<PortStatus> = wait(client.get("/v1/ports"))?.body;
    print(json, &ports, |ports| port_table(ports).to_string())
}

impl Add {
    fn run(self, client: &Client) -> Result<(), Failed> {
        let request = PortRequest {
            device: self.device,
            name: self.name,
            group: self.group,
            prepare: self.prepare,
            peer: self.peer,
            bridge: self.bridge,
            driver: self.driver,
            addresses: self.addresses,
            proxy: self.proxy,
        };
        let client = expecting(client, self.generation);
        let port: PortStatus = wait(client.post("/v1/ports", &request))?.body;
        if self.json {
            print(true, &port, |_| String::new())
        } else {
            Ok(())
        }
    }
}

fn driver(word: &str) -> Result<Driver, String> {
    let all = [Driver::AfPacket, Driver::Tap, Driver::Tun];
    let found = all.into_iter().find(|driver| driver.word() == word);
    found.ok_or_else(|| "allowed: af-packet, tap, tun".to_owned())
}

fn expecting(client: &Client, generation: Option<u64>) -> Client {
    match generation {
        Some(generation) => client.clone().expecting(generation),
        None => client.clone(),
    }
}

/// A name as one segment of a path.
fn escape(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(super::escape("eth0.7"), "eth0.7");
        assert_eq!(super::escape("a/b c"), "a%2Fb%20c");
    }
}
