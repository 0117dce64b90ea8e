//! The suite about translation: the gateway with and without masquerade, next to the kernel's router, to Open
//! vSwitch and to the bare forwarder.

use super::bed::Receive;
use super::contestant::{Contestant, Kind};
use super::generator::{self, Flows};
use super::{Options, beds, host, ratio_goal};
use crate::alternate::{alternate, ratio};
use crate::report::{Figure, Report, Table};

pub(super) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let kinds = options.there(&Kind::NAT);
    let mut beds = beds(&kinds, Receive::Own)?;
    let mut remarks = vec![None; kinds.len()];
    let packets = alternate(&mut beds, options.runs, |(place, kind, bed)| {
        let contestant = Contestant::start(*kind, bed, options.slots)?;
        remarks[*place] = contestant.remark();
        let flood = generator::flood(bed, Flows::Same(generator::FLOWS), options.length())?;
        contestant.stop()?;
        Ok(flood.delivered_per_second / 1e6)
    })?;
    // New ones: the flood has taken the offloads away from the hosts of these.
    drop(beds);
    let mut beds = super::beds(&kinds, Receive::Own)?;
    let mut tcp = Vec::new();
    for streams in [1, 4] {
        tcp.push(alternate(
            &mut beds,
            options.runs.min(5),
            |(_, kind, bed)| {
                if !kind.carries_tcp() {
                    return Ok(f64::NAN);
                }
                let contestant = Contestant::start(*kind, bed, options.slots)?;
                let bits = host::tcp(bed, streams, options.length())?;
                contestant.stop()?;
                Ok(bits / 1e9)
            },
        )?);
    }
    let to = |samples: &[Vec<f64>], one: Kind, base: Option<Kind>| {
        let of = |wanted: Kind| kinds.iter().position(|kind| *kind == wanted);
        Some(ratio(&samples[of(one)?], &samples[of(base?)?]))
    };
    let mut table = Table::new(
        "Translation, receive on its own core",
        &[
            "Mpps",
            "of bare",
            "of untranslated",
            "TCP, 1 stream, Gbit/s",
            "4 streams",
        ],
    );
    for (place, &kind) in kinds.iter().enumerate() {
        let mut figures = vec![Some(Figure::of(&packets[place]))];
        figures.push(to(&packets, kind, Some(Kind::Bare)));
        figures.push(to(&packets, kind, kind.plain()));
        let carries = kind.carries_tcp();
        figures.extend(tcp.iter().map(|s| carries.then(|| Figure::of(&s[place]))));
        table.push(kind.name(), figures);
        table.remark(remarks[place].take().unwrap_or_default());
    }
    report.tables.push(table);
    for (text, least, samples, base) in [
        (
            "masquerade: at least 0.9 of the bare forwarder",
            0.9,
            &packets,
            Kind::Bare,
        ),
        (
            "TCP through masquerade: at least 0.6 of the kernel's",
            0.6,
            &tcp[0],
            Kind::RouterNat,
        ),
    ] {
        if let Some(ratio) = to(samples, Kind::GatewayNat, Some(base)) {
            report.goals.push(ratio_goal(text, least, ratio));
        }
    }
    Ok(())
}
