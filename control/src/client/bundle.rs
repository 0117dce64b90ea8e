//! The texts of an nft command, read with the client's own rights.

use std::io::Read;

use crate::api::wire::{NftCommand, TextKind};

/// The command for words of a command line.
pub fn command_line(text: &str, _include_paths: &[String]) -> NftCommand {
    NftCommand { text: text.to_owned(), kind: TextKind::CommandLine, ..NftCommand::default() }
}

/// The command for a file, `-` for standard input.
///
/// # Errors
/// What nft prints when the file cannot be read.
pub fn file(name: &str, _include_paths: &[String]) -> Result<NftCommand, String> {
    let name = if name == "-" { "/dev/stdin" } else { name };
    let text = read(name).map_err(|error| {
        let error = error.to_string();
        // The system's words alone, as strerror gives them.
        let error = error.split(" (os error").next().unwrap_or_default().to_owned();
        format!("internal:0:0-0: Error: Could not open file \"{name}\": {error}\n\n\n")
    })?;
    Ok(NftCommand {
        text,
        name: Some(name.to_owned()),
        kind: TextKind::File,
        ..NftCommand::default()
    })
}

fn read(name: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if name == "/dev/stdin" {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(name)?.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
