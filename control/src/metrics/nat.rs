//! Metrics of address translation.

use super::family::Family;
use crate::api::nat::NatStatus;

pub(super) fn nat(status: &NatStatus, families: &mut Vec<Family>) {
    let mut used = Family::gauge(
        "sluice_nat_ports_used",
        "Ports of an external address in use.",
    );
    let mut peak = Family::gauge(
        "sluice_nat_ports_peak",
        "Most ports of an external address that were in use at once.",
    );
    let mut exhausted = Family::counter(
        "sluice_nat_exhausted_total",
        "New flows that found no port of an external address.",
    );
    for pool in &status.pools {
        let zone = pool.zone.to_string();
        let labels = [
            ("address", pool.address.as_str()),
            ("protocol", pool.protocol.as_str()),
            ("zone", zone.as_str()),
        ];
        used.add(&labels, f64::from(pool.used));
        peak.add(&labels, f64::from(pool.peak));
        exhausted.add(&labels, pool.exhausted as f64);
    }
    let mut bindings = Family::gauge(
        "sluice_nat_bindings",
        "Endpoint-independent mappings in force.",
    );
    bindings.add(&[], status.bindings.len() as f64);
    families.extend([used, peak, exhausted, bindings]);
}
