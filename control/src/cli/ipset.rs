//! `sluice ipset`, and the program when it is called by the name ipset.
//!
//! Texts, streams and exit codes are those of ipset 7.17. Files are read and written here, with the
//! client's own rights, and host names are looked up here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;

use sluice_config::ipset::call::{self, At, Command, Env};
use sluice_config::ipset::help;
use sluice_config::ipset::refusal::Refusal;

use super::ipset_names::with_names;
use crate::api::wire::{IpsetAnswer, IpsetCommand};
use crate::client::{Client, ClientError};

/// What the original leaves with when it cannot read what it shall restore.
const CANNOT_READ: u8 = 255;

/// Why a call ended: its exit code, and what goes to standard error.
struct Ended {
    code: u8,
    text: String,
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self {
            code: 1,
            text: format!("ipset: {error}\n"),
        }
    }
}

pub(super) fn main(socket: &Path, words: Vec<OsString>) -> ExitCode {
    let words: Result<Vec<String>, OsString> =
        words.into_iter().map(OsString::into_string).collect();
    let done = match words {
        Ok(words) => act(&Client::new(socket), words),
        Err(word) => Err(Ended {
            code: 1,
            text: format!("ipset: not UTF-8: {}\n", word.display()),
        }),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(ended) => {
            // Nothing is left to say it to when standard error is closed.
            let _ = io::stderr().write_all(ended.text.as_bytes());
            ExitCode::from(ended.code)
        }
    }
}

fn refused(refusal: &Refusal, env: &Env) -> Ended {
    let text = if env.quiet {
        String::new()
    } else {
        refusal.text(None)
    };
    Ended {
        code: refusal.code(),
        text,
    }
}

fn act(client: &Client, words: Vec<String>) -> Result<u8, Ended> {
    let mut env = Env::default();
    let command =
        call::command(&words, &mut env, At::Shell).map_err(|refusal| refused(&refusal, &env))?;
    match command {
        Command::Help(ty) => {
            let (text, known) = help::help(ty.as_deref());
            write_out(None, &text)?;
            match ty {
                Some(ty) if !known => {
                    let refusal = Refusal::Usage(format!("Unknown settype: `{ty}'"));
                    Err(refused(&refusal, &env))
                }
                _ => Ok(0),
            }
        }
        Command::Version => write_out(None, help::VERSION).map(|()| 0),
        Command::Quit => Ok(0),
        Command::Interactive => interactive(client, &words, &env),
        Command::Restore => {
            let input = read_in(env.file.as_deref())?;
            one(client, &words, Some(input), &env, None)
        }
        _ => {
            let file = env.file.as_deref().map(open_out).transpose()?;
            one(client, &words, None, &env, file)
        }
    }
}

/// The whole text that is to be restored.
fn read_in(file: Option<&str>) -> Result<String, Ended> {
    let mut bytes = Vec::new();
    let read = match file {
        Some(path) => File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
        None => io::stdin().lock().read_to_end(&mut bytes),
    };
    let failed = |why: String| Ended {
        code: CANNOT_READ,
        text: format!(
            "ipset v7.17: Cannot open {} for reading: {why}\n",
            file.unwrap_or("standard input")
        ),
    };
    read.map_err(|error| failed(reason(&error)))?;
    String::from_utf8(bytes).map_err(|_| failed("not UTF-8".to_owned()))
}

fn open_out(path: &str) -> Result<File, Ended> {
    File::create(path).map_err(|error| Ended {
        code: 1,
        text: format!(
            "ipset v7.17: Cannot open {path} for writing: {}\n",
            reason(&error)
        ),
    })
}

/// What the system says, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn write_out(file: Option<File>, text: &str) -> Result<(), Ended> {
    let written = match file {
        Some(mut file) => file.write_all(text.as_bytes()),
        None => io::stdout().lock().write_all(text.as_bytes()),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// One command line, and what it says.
fn one(
    client: &Client,
    words: &[String],
    input: Option<String>,
    env: &Env,
    file: Option<File>,
) -> Result<u8, Ended> {
    let command = IpsetCommand {
        words: words.to_vec(),
        input,
        ..IpsetCommand::default()
    };
    let answer = ask(client, command)?;
    let output = if env.resolve {
        with_names(&answer.output)
    } else {
        answer.output
    };
    write_out(file, &output)?;
    io::stderr().lock().write_all(answer.errors.as_bytes())?;
    Ok(answer.code)
}

/// Asks the daemon; names that it does not know are looked up, and it is asked again.
fn ask(client: &Client, mut command: IpsetCommand) -> Result<IpsetAnswer, Ended> {
    let (mut output, mut warnings) = (String::new(), String::new());
    loop {
        let mut answer = send(client, &command)?;
        let found = look_up(&answer.unknown_hosts, &command.hosts);
        if found.is_empty() {
            answer.output.insert_str(0, &output);
            answer.errors.insert_str(0, &warnings);
            return Ok(answer);
        }
        for (name, addresses) in found {
            if addresses.len() > 1 {
                warnings.push_str(&format!(
                    "Warning: {name} resolves to multiple addresses: using only the first one \
                     returned by the resolver.\n"
                ));
            }
            command.hosts.insert(name, addresses);
        }
        // The lines before the one that waits are done, unless all or none are; what is left keeps
        // its numbers.
        let atomic = command.words.iter().any(|word| word == "--atomic");
        if let (Some(input), Some(line), false) = (&command.input, answer.line, atomic) {
            let rest = input.split_inclusive('\n').skip(line - 1);
            command.input = Some(std::iter::repeat_n("\n", line - 1).chain(rest).collect());
            output.push_str(&answer.output);
        }
    }
}

/// The addresses of names that are not known yet.
fn look_up(names: &[String], known: &BTreeMap<String, Vec<IpAddr>>) -> Vec<(String, Vec<IpAddr>)> {
    let fresh = names.iter().filter(|name| !known.contains_key(*name));
    fresh
        .filter_map(|name| {
            let all = (name.as_str(), 0).to_socket_addrs().ok()?;
            let mut addresses: Vec<IpAddr> = all.map(|address| address.ip()).collect();
            addresses.dedup();
            (!addresses.is_empty()).then(|| (name.clone(), addresses))
        })
        .collect()
}

fn send(client: &Client, command: &IpsetCommand) -> Result<IpsetAnswer, Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let failed = |error: ClientError| Ended {
        code: 1,
        text: format!("ipset: {error}\n"),
    };
    runtime
        .block_on(client.post("/v1/ipset", command))
        .map(|answer| answer.body)
        .map_err(failed)
}

/// Reads commands from standard input until `quit`.
fn interactive(client: &Client, words: &[String], env: &Env) -> Result<u8, Ended> {
    // The options of our own line stay in force; its dash is no command of the lines.
    let options: Vec<String> = words.iter().filter(|word| *word != "-").cloned().collect();
    let mut lines = io::stdin().lock().lines();
    loop {
        write_out(None, "ipset> ")?;
        io::stdout().flush()?;
        let Some(line) = lines.next().transpose()? else {
            return Ok(0);
        };
        let command = IpsetCommand {
            words: options.clone(),
            input: Some(line),
            interactive: true,
            ..IpsetCommand::default()
        };
        let answer = ask(client, command)?;
        let output = if env.resolve {
            with_names(&answer.output)
        } else {
            answer.output
        };
        write_out(None, &output)?;
        io::stderr().lock().write_all(answer.errors.as_bytes())?;
        if answer.quit {
            return Ok(0);
        }
    }
}
