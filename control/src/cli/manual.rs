//! `sluice completion` and `sluice man`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Arguments, Failed};

/// What `sluice completion` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Completion {
    /// The shell
    shell: Shell,
}

/// What `sluice man` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Man {
    /// Write sluice.1 and one page per command into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(super) fn completion(options: &Completion) -> Result<(), Failed> {
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut Arguments::command(),
        "sluice",
        &mut script,
    );
    Ok(io::stdout().lock().write_all(&script)?)
}

pub(super) fn man(options: &Man) -> Result<(), Failed> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    match &options.dir {
        None => Ok(io::stdout().lock().write_all(&page(command)?)?),
        Some(folder) => pages(folder, &command),
    }
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

/// The page of `command` and those of its subcommands, named by their full path.
fn pages(folder: &Path, command: &clap::Command) -> Result<(), Failed> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let file = folder.join(format!("{name}.1"));
    std::fs::write(&file, page(command.clone())?).map_err(|error| {
        Failed::Text(format!("sluice: cannot write {}: {error}", file.display()))
    })?;
    command
        .get_subcommands()
        .try_for_each(|command| pages(folder, command))
}
