//! The allocator alone: what a port costs when few are left.

use sluice_dataplane::nat::Endpoint;
use sluice_dataplane::nat::Request;
use sluice_dataplane::nat::pool::{Allocator, External, Filtering, Mapping, Realm};

use crate::pipeline::stand::cpu_ns;

const UDP: u8 = 17;
const FIRST: u16 = 1024;
const PORTS: u32 = 65_536 - FIRST as u32;
const ROUNDS: usize = 20_000;

fn address(number: u32) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&number.to_be_bytes());
    address
}

/// The one address that everything is hidden behind.
const OUTSIDE: u32 = 0xc000_0201;

fn request(host: u32, mapping: Mapping) -> Request {
    Request {
        realm: Realm::default(),
        protocol: UDP,
        internal: Endpoint {
            address: address(0x0a00_0000 + host),
            port: 4000,
        },
        remote: Endpoint {
            address: address(0xc633_6401),
            port: 53,
        },
        first: address(OUTSIDE),
        last: address(OUTSIDE),
        ports: Some((FIRST, u16::MAX)),
        random: true,
        persistent: false,
        mapping,
    }
}

/// Nanoseconds to take a port and to give it back, when `full` of a thousand ports are taken.
///
/// # Errors
/// When there is none, though some are left.
pub(super) fn cost(full: u32, independent: bool) -> anyhow::Result<f64> {
    let pool = Allocator::default();
    let mapping = if independent {
        Mapping::EndpointIndependent(Filtering::EndpointIndependent)
    } else {
        Mapping::Overloaded
    };
    // Held alone, so that a shared port is none of them.
    let taken = u64::from(PORTS) * u64::from(full) / 1000;
    let alone = Mapping::EndpointIndependent(Filtering::EndpointIndependent);
    for host in 0..taken as u32 {
        pool.allocate(&request(host, alone), 0, u64::from(host) << 16, |_| true)?;
    }
    let mut chance = 0x9e37_79b9_7f4a_7c15u64;
    let begun = cpu_ns();
    for round in 0..ROUNDS {
        chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let request = request(1_000_000 + round as u32, mapping);
        let grant = pool.allocate(&request, 0, chance >> 16, |_| true)?;
        let external = External {
            realm: request.realm,
            protocol: UDP,
            endpoint: grant.endpoint,
        };
        pool.release(&external, &request.remote, grant.binding.is_some());
    }
    Ok((cpu_ns() - begun) as f64 / ROUNDS as f64)
}
