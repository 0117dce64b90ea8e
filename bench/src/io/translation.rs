//! The suite about translation: the gateway with and without masquerade, next to the kernel's router and to
//! the bare forwarder.

use super::bed::{Bed, Receive};
use super::contestant::{Contestant, Kind};
use super::generator::{self, Flows};
use super::{Options, host, routed};
use crate::alternate::{alternate, ratio};
use crate::report::{Figure, Goal, Report, Table};

fn beds(kinds: &[Kind]) -> anyhow::Result<Vec<(Kind, Bed)>> {
    let bed = |kind: &Kind| {
        let bed = if kind.is_routed() {
            routed::bed(Receive::Own)?
        } else {
            Bed::new(Receive::Own)?
        };
        Ok((*kind, bed))
    };
    kinds.iter().map(bed).collect()
}

pub(super) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let kinds = options.there(Kind::NAT.to_vec());
    let mut beds = beds(&kinds)?;
    let packets = alternate(&mut beds, options.runs, |(kind, bed)| {
        let contestant = Contestant::start(*kind, bed, options.slots)?;
        let flood = generator::flood(bed, Flows::Same(generator::FLOWS), options.length())?;
        contestant.stop()?;
        Ok(flood.delivered_per_second / 1e6)
    })?;
    // New ones: the flood has taken the offloads away from the hosts of these.
    drop(beds);
    let mut beds = self::beds(&kinds)?;
    let mut tcp = Vec::new();
    for streams in [1, 4] {
        tcp.push(alternate(&mut beds, options.runs.min(5), |(kind, bed)| {
            if !kind.is_routed() {
                return Ok(f64::NAN);
            }
            let contestant = Contestant::start(*kind, bed, options.slots)?;
            let bits = host::tcp(bed, streams, options.length())?;
            contestant.stop()?;
            Ok(bits / 1e9)
        })?);
    }
    let mut table = Table::new(
        "Translation, receive on its own core",
        &["Mpps", "TCP, 1 stream, Gbit/s", "4 streams"],
    );
    for (place, kind) in kinds.iter().enumerate() {
        let mut figures = vec![Some(Figure::of(&packets[place]))];
        let carries = kind.is_routed();
        figures.extend(tcp.iter().map(|s| carries.then(|| Figure::of(&s[place]))));
        table.push(kind.name(), figures);
    }
    report.tables.push(table);
    let of = |wanted: Kind| kinds.iter().position(|kind| *kind == wanted);
    let mut goal = |text: &str, least: f64, samples: &[Vec<f64>], one: Kind, other: Kind| {
        let (Some(one), Some(other)) = (of(one), of(other)) else {
            return;
        };
        let ratio = ratio(&samples[one], &samples[other]);
        let shown = format!(
            "{:.2} ({:.2}-{:.2})",
            ratio.median, ratio.least, ratio.greatest
        );
        report
            .goals
            .push(Goal::new(text, shown, ratio.median >= least));
    };
    goal(
        "masquerade: at least 0.9 of the bare forwarder",
        0.9,
        &packets,
        Kind::GatewayNat,
        Kind::Bare,
    );
    goal(
        "TCP through masquerade: at least 0.6 of the kernel's",
        0.6,
        &tcp[0],
        Kind::GatewayNat,
        Kind::RouterNat,
    );
    Ok(())
}
