//! `/v1/conntrack`: the tracker's settings and figures.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use sluice_dataplane::conntrack::{
    InvalidReason, ProxyStatistics, Settings, Statistics, TimeoutClass, Timeouts, Tracker,
};

use super::flow::{Conntrack, ConntrackChange, ConntrackSettings, Saved};
use super::flows::tracker;
use super::gate::Caller;
use super::{Body, Refusal, Shared, aside};
use crate::appliance::conntrack::{PROTOCOLS, class_names};
use crate::flows::change_settings;

/// Settings and figures.
pub(super) async fn serve(State(shared): State<Shared>) -> Result<Json<Conntrack>, Refusal> {
    Ok(Json(figures(&*tracker(&shared)?)))
}

/// What the tracker says of itself.
pub(crate) fn figures(tracker: &Tracker) -> Conntrack {
    let settings = tracker.settings();
    Conntrack {
        flows: tracker.count().into(),
        max: settings.max.into(),
        expected: tracker.expectations().len() as u64,
        settings: wire_settings(&settings),
        workers: (0..tracker.workers())
            .map(|worker| counts(&tracker.statistics(worker)))
            .collect(),
        invalid: InvalidReason::ALL
            .iter()
            .zip(tracker.invalids())
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect(),
        synproxy: proxied(tracker),
        lost_events: tracker.events_lost(),
    }
}

/// Each counter of the SYN proxy with the kernel's name for it.
pub(crate) fn proxy_named(statistics: &ProxyStatistics) -> [(&'static str, u64); 5] {
    [
        ("syn_received", statistics.syn_received),
        ("cookie_invalid", statistics.cookie_invalid),
        ("cookie_valid", statistics.cookie_valid),
        ("cookie_retrans", statistics.cookie_retrans),
        ("conn_reopened", statistics.conn_reopened),
    ]
}

fn proxied(tracker: &Tracker) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for worker in 0..tracker.workers() {
        for (name, count) in proxy_named(&tracker.proxy_statistics(worker)) {
            *sums.entry(name.to_owned()).or_default() += count;
        }
    }
    sums
}

/// Each counter with the name that conntrack(8) and the metrics give it.
pub(crate) fn named(statistics: &Statistics) -> [(&'static str, u64); 14] {
    [
        ("found", statistics.found),
        ("invalid", statistics.invalid),
        ("insert", statistics.insert),
        ("insert_failed", statistics.insert_failed),
        ("drop", statistics.drop),
        ("early_drop", statistics.early_drop),
        ("error", statistics.error),
        ("search_restart", statistics.search_restart),
        ("clash_resolve", statistics.clash_resolve),
        ("chaintoolong", statistics.chain_too_long),
        ("expect_new", statistics.expect_new),
        ("expect_create", statistics.expect_new),
        ("expect_delete", statistics.expect_delete),
        ("destroy", statistics.destroy),
    ]
}

fn counts(statistics: &Statistics) -> BTreeMap<String, u64> {
    named(statistics)
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

fn wire_settings(settings: &Settings) -> ConntrackSettings {
    let of_protocol = |protocol: u8| {
        let own = TimeoutClass::ALL.iter();
        own.filter(|class| class.protocol() == protocol)
            .map(|class| {
                let seconds = settings.timeouts.seconds(*class);
                (class.name().to_owned(), u64::from(seconds))
            })
            .collect()
    };
    ConntrackSettings {
        loose: settings.rules.loose,
        liberal: settings.rules.liberal,
        liberal_zones: settings.liberal_zones.clone(),
        verify_checksums: settings.rules.checksum,
        timeouts: PROTOCOLS
            .iter()
            .map(|(name, protocol)| ((*name).to_owned(), of_protocol(*protocol)))
            .collect(),
    }
}

/// Changes settings.
pub(super) async fn change(
    State(shared): State<Shared>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Body(change): Body<ConntrackChange>,
) -> Result<Json<ConntrackSettings>, Refusal> {
    let tracker = tracker(&shared)?;
    let now = change_settings(&tracker, |settings| {
        let mut changed = settings.clone();
        apply(&change, &mut changed)?;
        *settings = changed;
        Ok(wire_settings(settings))
    })
    .map_err(|error: String| Refusal::new(StatusCode::BAD_REQUEST, error))?;
    tracing::info!(peer = %caller.name(), "conntrack settings changed");
    Ok(Json(now))
}

fn apply(change: &ConntrackChange, settings: &mut Settings) -> Result<(), String> {
    if let Some(name) = &change.profile {
        settings.timeouts = Timeouts::profile(name)
            .ok_or_else(|| format!("profile: \"{name}\" is not known; allowed: linux, rfc"))?;
    }
    let rules = &mut settings.rules;
    rules.loose = change.loose.unwrap_or(rules.loose);
    rules.liberal = change.liberal.unwrap_or(rules.liberal);
    rules.checksum = change.verify_checksums.unwrap_or(rules.checksum);
    if let Some(zones) = &change.liberal_zones {
        settings.liberal_zones.clone_from(zones);
    }
    for (name, states) in &change.timeouts {
        let known = PROTOCOLS.iter().find(|(known, _)| known == name);
        let (_, protocol) = known.ok_or_else(|| {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            format!(
                "timeouts.{name} is not known; allowed: {}",
                names.join(", ")
            )
        })?;
        for (state, seconds) in states {
            let class = TimeoutClass::named(*protocol, state).ok_or_else(|| {
                let names = class_names(*protocol).join(", ");
                format!("timeouts.{name}.{state} is not known; allowed: {names}")
            })?;
            let seconds = u32::try_from(*seconds).ok().filter(|seconds| *seconds > 0);
            let seconds = seconds.ok_or_else(|| {
                format!(
                    "timeouts.{name}.{state}: allowed: 1 to {} seconds",
                    u32::MAX
                )
            })?;
            settings.timeouts.set(class, seconds);
        }
    }
    Ok(())
}

/// Saves the table into the state folder.
pub(super) async fn save(State(shared): State<Shared>) -> Result<Json<Saved>, Refusal> {
    let failed = |error: String| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    tracker(&shared)?;
    let plane = shared.plane.clone();
    aside(move || plane.save_flows(true))
        .await
        .map_err(failed)?
        .map(Json)
        .map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(json: serde_json::Value) -> Result<Settings, String> {
        let change: ConntrackChange = serde_json::from_value(json).map_err(|e| e.to_string())?;
        let mut settings = Settings::default();
        apply(&change, &mut settings)?;
        Ok(settings)
    }

    #[test]
    fn what_is_left_out_stays() {
        let settings = changed(serde_json::json!({
            "liberal": true,
            "timeouts": { "tcp": { "established": 77 } },
        }))
        .unwrap();
        assert!(settings.rules.liberal && settings.rules.loose);
        assert_eq!(settings.timeouts.seconds(TimeoutClass::TcpEstablished), 77);
        assert_eq!(settings.timeouts.seconds(TimeoutClass::UdpUnreplied), 30);
    }

    #[test]
    fn a_profile_comes_before_the_timeouts_that_are_named() {
        let settings = changed(serde_json::json!({
            "profile": "rfc",
            "timeouts": { "udp": { "replied": 200 } },
        }))
        .unwrap();
        let rfc = Timeouts::rfc();
        assert_eq!(settings.timeouts.seconds(TimeoutClass::UdpReplied), 200);
        assert_eq!(
            settings.timeouts.seconds(TimeoutClass::UdpUnreplied),
            rfc.seconds(TimeoutClass::UdpUnreplied)
        );
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |json| changed(json).unwrap_err();
        assert_eq!(
            refused(serde_json::json!({ "timeouts": { "udp": { "established": 1 } } })),
            "timeouts.udp.established is not known; allowed: unreplied, replied"
        );
        assert!(refused(serde_json::json!({ "profile": "bsd" })).contains("allowed: linux, rfc"));
        assert!(
            refused(serde_json::json!({ "timeouts": { "udp": { "replied": 0 } } }))
                .contains("1 to")
        );
        assert!(refused(serde_json::json!({ "lose": true })).contains("unknown field"));
    }
}
