//! The suite about tracking: a stateful policy next to a stateless one, ours, the kernel's bridge and Open
//! vSwitch, pair by pair.

use super::bed::Receive;
use super::contestant::{Contestant, Kind};
use super::generator::{self, Flows};
use super::{Options, beds, ratio_goal};
use crate::alternate::{alternate, ratio};
use crate::report::{Figure, Report, Table};

pub(super) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let kinds = options.there(&Kind::TRACKING);
    for (title, flows) in [
        ("1,000 flows", Flows::Same(1000)),
        ("100,000 flows", Flows::Same(100_000)),
        ("every packet a new flow", Flows::New),
    ] {
        let mut beds = beds(&kinds, Receive::Own)?;
        let mut remarks = vec![None; kinds.len()];
        let samples = alternate(&mut beds, options.runs, |(place, kind, bed)| {
            let contestant = Contestant::start(*kind, bed, options.slots)?;
            remarks[*place] = contestant.remark();
            let flood = generator::flood(bed, flows, options.length())?;
            contestant.stop()?;
            Ok(flood.delivered_per_second / 1e6)
        })?;
        let of = |wanted: Kind| kinds.iter().position(|kind| *kind == wanted);
        let to = |place: usize, base: Option<Kind>| {
            let base = base.and_then(of)?;
            Some(ratio(&samples[place], &samples[base]))
        };
        let mut table = Table::new(
            &format!("Small packets, receive on its own core, {title}"),
            &["Mpps", "of bare", "of stateless"],
        );
        for (place, kind) in kinds.iter().enumerate() {
            let (of_bare, of_stateless) = (to(place, Some(Kind::Bare)), to(place, kind.plain()));
            let mpps = Some(Figure::of(&samples[place]));
            table.push(kind.name(), vec![mpps, of_bare, of_stateless]);
            table.remark(remarks[place].take().unwrap_or_default());
        }
        report.tables.push(table);
        let (base, least, goal) = match flows {
            Flows::Same(_) => (
                Kind::Stateless,
                0.95,
                "a stateful policy: at least 0.95 of the stateless rate",
            ),
            Flows::New => (
                Kind::BridgeStateful,
                2.0,
                "new flows: at least twice the kernel's bridge with its tracker",
            ),
        };
        if let Some(ratio) = of(Kind::Stateful).and_then(|place| to(place, Some(base))) {
            let goal = format!("{title}, {goal}");
            report.goals.push(ratio_goal(&goal, least, ratio));
        }
    }
    Ok(())
}
