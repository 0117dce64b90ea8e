//! A port that is open: what it was asked to be and what was found.

use std::net::IpAddr;
use std::sync::Arc;

use sluice_dataplane::gateway::{Address, Prefix};
use sluice_dataplane::port::LinkState;

use crate::api::wire::PortRequest;
use crate::appliance;

/// A port that is open.
pub(super) struct OpenPort {
    pub(super) spec: PortRequest,
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) kind: String,
    pub(super) mac: [u8; 6],
    pub(super) link: Arc<LinkState>,
    pub(super) addresses: Vec<(IpAddr, u8)>,
    pub(super) proxy: Vec<(IpAddr, u8)>,
}

pub(super) fn port_name(spec: &PortRequest) -> String {
    let device = spec.device.rsplit(':').next().unwrap_or(&spec.device);
    spec.name.clone().unwrap_or_else(|| device.to_owned())
}

pub(super) fn spec(port: &appliance::Port) -> PortRequest {
    PortRequest {
        device: match &port.netns {
            Some(netns) => format!("{netns}:{}", port.device),
            None => port.device.clone(),
        },
        name: Some(port.name.clone()),
        group: port.group,
        prepare: port.prepare,
        peer: port.peer.clone(),
        bridge: port.bridge.clone(),
        driver: port.driver,
        addresses: port.addresses.iter().map(in_words).collect(),
        proxy: port.proxy.iter().map(in_words).collect(),
    }
}

fn in_words((address, length): &(IpAddr, u8)) -> String {
    format!("{address}/{length}")
}

/// Addresses with their prefix lengths.
pub(super) fn prefixes(texts: &[String]) -> Result<Vec<(IpAddr, u8)>, String> {
    let parse = |text: &String| {
        let (address, length) = text.split_once('/')?;
        let (address, length) = (address.parse().ok()?, length.parse().ok()?);
        Prefix::new(Address::from(address), length).map(|_| (address, length))
    };
    texts
        .iter()
        .map(|text| parse(text).ok_or_else(|| format!("\"{text}\" is no address/length")))
        .collect()
}

pub(super) fn peer_of(spec: &PortRequest) -> Option<String> {
    (!spec.peer.is_empty()).then(|| spec.peer.clone())
}
