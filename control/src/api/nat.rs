//! `/v1/nat`: which external addresses are in use, and who is bound to what.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluice_dataplane::conntrack::Tuple;
use sluice_dataplane::nat::pool::{Allocator, Binding, External, Usage};
use sluice_dataplane::nat::{Endpoint, Filtering};

use super::Shared;
use crate::flows::protocol_name;

/// Address translation as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NatStatus {
    /// External addresses that have been used, one entry for each transport protocol.
    pub pools: Vec<PoolStatus>,
    /// Endpoint-independent mappings.
    pub bindings: Vec<BindingStatus>,
    /// New flows that found no address or port.
    pub exhausted: u64,
}

/// The ports of one external address for one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolStatus {
    /// The address.
    pub address: String,
    /// Transport protocol.
    pub protocol: String,
    /// Zone.
    pub zone: u16,
    /// Ports in use, each counted once however many flows share it.
    pub used: u32,
    /// Most ports that were in use at once.
    pub peak: u32,
    /// New flows that found no port here.
    pub exhausted: u64,
}

/// An inside endpoint and the external endpoint that it has, whatever it talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BindingStatus {
    /// Transport protocol.
    pub protocol: String,
    /// Zone.
    pub zone: u16,
    /// The inside endpoint, `address:port`.
    pub internal: String,
    /// The external endpoint, `address:port`.
    pub external: String,
    /// Who may send to it: `endpoint-independent`, `address` or `address-port`.
    pub filtering: String,
    /// Flows that use it.
    pub flows: u32,
    /// Milliseconds since its first flow.
    pub age_ms: u64,
}

pub(super) async fn serve(State(shared): State<Shared>) -> Json<NatStatus> {
    Json(shared.plane.nat())
}

/// What the allocator holds at a moment of the workers' clock.
pub fn status(allocator: &Allocator, now_ns: u64) -> NatStatus {
    let mut usage = allocator.usage();
    usage.sort_by_key(|one| (one.realm, one.address, one.protocol));
    let mut bindings = allocator.bindings();
    bindings.sort_by_key(|(external, binding)| {
        let inside = binding.internal;
        (
            external.realm,
            inside.address,
            external.protocol,
            inside.port,
        )
    });
    NatStatus {
        pools: usage.iter().map(pool).collect(),
        bindings: bindings
            .iter()
            .map(|(external, binding)| bound(external, binding, now_ns))
            .collect(),
        exhausted: allocator.exhausted(),
    }
}

fn pool(usage: &Usage) -> PoolStatus {
    PoolStatus {
        address: address(usage.realm.ip6, usage.address).to_string(),
        protocol: protocol_name(usage.protocol).to_owned(),
        zone: usage.realm.zone,
        used: usage.used,
        peak: usage.peak,
        exhausted: usage.exhausted,
    }
}

fn bound(external: &External, binding: &Binding, now_ns: u64) -> BindingStatus {
    let endpoint = |endpoint: &Endpoint| {
        let address = address(external.realm.ip6, endpoint.address);
        std::net::SocketAddr::new(address, endpoint.port).to_string()
    };
    BindingStatus {
        protocol: protocol_name(external.protocol).to_owned(),
        zone: external.realm.zone,
        internal: endpoint(&binding.internal),
        external: endpoint(&external.endpoint),
        filtering: match binding.filtering {
            Filtering::EndpointIndependent => "endpoint-independent",
            Filtering::Address => "address",
            Filtering::AddressPort => "address-port",
        }
        .to_owned(),
        flows: binding.flows,
        age_ms: now_ns.saturating_sub(binding.since_ns) / 1_000_000,
    }
}

/// An address as a tuple has it.
fn address(ip6: bool, bytes: [u8; 16]) -> IpAddr {
    use sluice_dataplane::conntrack::tuple::{IPV4, IPV6};
    let tuple = Tuple {
        src: bytes,
        l3: if ip6 { IPV6 } else { IPV4 },
        ..Tuple::default()
    };
    tuple.source()
}
