//! `sluice check`

use std::path::PathBuf;

use super::Failed;
use crate::appliance::Appliance;

/// What `sluice check` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// An appliance file (.toml; its ruleset files are checked too), or a ruleset
    file: PathBuf,
}

pub(super) fn main(options: &Options) -> Result<(), Failed> {
    let name = options.file.display().to_string();
    let text = std::fs::read_to_string(&options.file)
        .map_err(|error| Failed::Text(format!("sluice: cannot read {name}: {error}")))?;
    Appliance::read(&name, &text).map_err(|errors| Failed::Text(errors.to_string()))?;
    Ok(())
}
