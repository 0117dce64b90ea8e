//! The two who are asked.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use sluice_config::engine::Engine;
use sluice_config::ipset::IpsetRequest;
use sluice_config::ipset::address::NoNames;
use sluice_config::ipset::call::{self, At, Env};
use sluice_control::netns::Namespace;

/// What a command said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

/// A command line, and what it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The words.
    pub words: Vec<String>,
    /// Standard input.
    pub input: String,
}

impl Line {
    /// A command line without input.
    pub fn of(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            input: String::new(),
        }
    }

    /// A restore of these lines.
    pub fn restore(input: &str) -> Self {
        Self {
            words: vec!["restore".to_owned()],
            input: input.to_owned(),
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.input.is_empty() {
            write!(f, "printf {:?} | ", self.input)?;
        }
        write!(f, "ipset {}", self.words.join(" "))
    }
}

/// The kernel's, in a namespace of its own.
#[derive(Debug)]
pub struct Kernel(Namespace);

impl Kernel {
    /// With no sets.
    ///
    /// # Errors
    /// When there can be no namespace.
    pub fn new() -> io::Result<Self> {
        Namespace::new("ipset").map(Self)
    }

    /// Asks it.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn ask(&self, line: &Line) -> io::Result<Said> {
        let mut command = Command::new("ipset");
        command
            .args(&line.words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.0.spawn(&mut command)?;
        if let Some(mut input) = child.stdin.take() {
            match input.write_all(line.input.as_bytes()) {
                // It may end before it has read everything.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        let output = child.wait_with_output()?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Ours: the engine, as the client and the daemon ask it.
#[derive(Debug)]
pub struct Ours(pub Engine);

impl Ours {
    /// With no sets.
    pub fn new() -> Self {
        Self(Engine::workbench())
    }

    /// Asks it.
    pub fn ask(&mut self, line: &Line) -> Said {
        let mut env = Env::default();
        let restores = call::command(&line.words, &mut env, At::Shell)
            .is_ok_and(|command| command == call::Command::Restore);
        let request = IpsetRequest {
            words: line.words.clone(),
            input: restores.then(|| line.input.clone()),
            ..IpsetRequest::default()
        };
        let answer = self.0.ipset(&request, &NoNames);
        Said {
            code: answer.code.into(),
            output: answer.output,
            errors: answer.errors,
        }
    }
}

impl Default for Ours {
    fn default() -> Self {
        Self::new()
    }
}
