//! `sluice check`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use sluice_config::engine::{Engine, Mode, NoWorkers, PortProfile, Profile};
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::worker::SystemClock;

use super::Failed;
use crate::appliance::Appliance;
use crate::client::bundle;
use crate::daemon::policy::{Policy, Refused};
use crate::daemon::ruleset::EnginePolicy;
use crate::daemon::wire::{GATEWAY_ENGINES, WIRE_ENGINES};

/// What `sluice check` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// An appliance file (.toml; its ruleset files are checked too), or a ruleset
    file: PathBuf,
    /// What a ruleset is to run on; an appliance file says it itself
    #[arg(long, value_enum, default_value_t = On::Wire)]
    on: On,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum On {
    /// A wire: what cannot be executed is refused, what is never reached is named
    Wire,
    /// A workbench: everything that can be checked
    Workbench,
}

impl From<On> for Mode {
    fn from(on: On) -> Self {
        match on {
            On::Wire => Self::Wire,
            On::Workbench => Self::Workbench,
        }
    }
}

pub(super) fn main(options: &Options) -> Result<(), Failed> {
    let file = &options.file;
    if file.extension().is_none_or(|extension| extension != "toml") {
        let policy = policy(Profile {
            mode: options.on.into(),
            ports: Vec::new(),
        });
        return ruleset(&policy, file);
    }
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failed::Text(format!("sluice: cannot read {name}: {error}")))?;
    let appliance =
        Appliance::read(&name, &text).map_err(|errors| Failed::Text(errors.to_string()))?;
    let policy = policy(profile(&appliance));
    appliance
        .ruleset
        .files
        .iter()
        .try_for_each(|file| ruleset(&policy, file))
}

fn policy(profile: Profile) -> EnginePolicy {
    let counters = Arc::new(Counters::new(1));
    let routed = profile.mode == Mode::Gateway;
    let mut engine = Engine::new(
        profile,
        counters,
        Arc::new(SystemClock),
        Box::new(NoWorkers),
    );
    engine.set_engines(if routed {
        GATEWAY_ENGINES
    } else {
        WIRE_ENGINES
    });
    EnginePolicy::new(engine)
}

/// The ports as the daemon would have them; the devices' own numbers are not known here.
fn profile(appliance: &Appliance) -> Profile {
    if appliance.is_workbench() {
        return Profile::workbench();
    }
    let port = |(number, port): (usize, &crate::appliance::Port)| PortProfile {
        name: port.name.clone(),
        index: number as u32 + 1,
        group: port.group,
        kind: 1,
        peer: (!port.peer.is_empty()).then(|| port.peer.clone()),
        bridge: port.bridge.clone(),
    };
    Profile {
        mode: match appliance.dataplane.mode {
            Some(crate::appliance::Mode::Gateway) => Mode::Gateway,
            Some(crate::appliance::Mode::Wire) | None => Mode::Wire,
        },
        ports: appliance.ports.iter().enumerate().map(port).collect(),
    }
}

fn ruleset(policy: &EnginePolicy, file: &Path) -> Result<(), Failed> {
    let name = file.display().to_string();
    let command = bundle::file(&name, bundle::Surroundings::default());
    match policy.run(command, None, true) {
        Ok(done) => {
            let mut err = io::stderr().lock();
            done.answer
                .warnings
                .iter()
                .try_for_each(|line| writeln!(err, "{}", line.trim_end()))?;
            Ok(())
        }
        Err(Refused::Text { rendered, .. }) => Err(Failed::Text(rendered.trim_end().to_owned())),
        Err(other) => Err(Failed::Text(format!("sluice: {name}: {other:?}"))),
    }
}
