//! The texts of an nft command, read with the client's own rights.
//!
//! The client parses once to find out which files the commands include, and sends what it read;
//! the daemon parses the same from what it was sent and opens nothing.

use sluice_config::syntax::{self, Files, Input, Recorder};

use crate::api::wire::{FileText, NftCommand};

/// What surrounds the commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// `-I`.
    pub include_paths: &'a [String],
    /// `-D`.
    pub defines: &'a [(String, String)],
}

/// The command for words of a command line.
pub fn command_line(text: &str, around: Surroundings<'_>) -> NftCommand {
    let command = gather(&Input::CommandLine(text.to_owned()), around);
    NftCommand {
        text: Some(text.to_owned()),
        ..command
    }
}

/// The command for a file, `-` for standard input. A file that cannot be read is part of the
/// command too: the daemon words the complaint.
pub fn file(name: &str, around: Surroundings<'_>) -> NftCommand {
    let command = gather(&Input::File(name.to_owned()), around);
    NftCommand {
        file: Some(name.to_owned()),
        ..command
    }
}

fn gather(input: &Input, around: Surroundings<'_>) -> NftCommand {
    let options = syntax::Options {
        include_paths: around.include_paths.to_vec(),
        defines: around.defines.to_vec(),
    };
    let mut recorder = Recorder::new(Files);
    // Complaints are the daemon's affair: it parses the same and knows how to print them.
    let _ = syntax::parse(input, &options, &mut recorder);
    let bundle = recorder.into_bundle();
    let file = |(path, text): (String, Result<std::sync::Arc<str>, String>)| {
        let text = match text {
            Ok(text) => FileText::Text(text.to_string()),
            Err(error) => FileText::Error(error),
        };
        (path, text)
    };
    NftCommand {
        files: bundle.files.into_iter().map(file).collect(),
        globs: bundle.globs,
        include_paths: around.include_paths.to_vec(),
        defines: around.defines.to_vec(),
        ..NftCommand::default()
    }
}
