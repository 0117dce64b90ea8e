//! One request: a command line, and the text that goes with it.

use super::call::{self, At, Command, Env};
use super::refusal::Refusal;
use super::session::{Session, Stop, lines};
use super::words::words;

/// A command line of ipset(8), as the client sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpsetRequest {
    /// The words behind the program's name.
    pub words: Vec<String>,
    /// For `restore`, what is restored; in the interactive mode, one line.
    pub input: Option<String>,
    /// `input` is a line of the interactive mode.
    pub interactive: bool,
    /// The peer may only read.
    pub read_only: bool,
    /// Refused when the committed generation is another one.
    pub expected_generation: Option<u64>,
}

/// What the command says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// For standard output.
    pub output: String,
    /// For standard error.
    pub errors: String,
    /// Exit code.
    pub code: u8,
    /// Interactive mode: it ends here.
    pub quit: bool,
    /// Whether anything changed.
    pub changed: bool,
    /// The committed generation after the request.
    pub generation: u64,
    /// The line of `restore` that was refused.
    pub line: Option<usize>,
    /// The peer may not do this (403).
    pub forbidden: bool,
    /// The expected generation has passed (409).
    pub conflict: bool,
}

/// How a run ended.
enum End {
    Done,
    Quit,
    Stopped(Option<usize>, Stop),
}

/// Runs a request in a session. Whether an atomic restore failed shows in the answer's code: then
/// nothing of the session may be taken over.
pub fn run(request: &IpsetRequest, session: &mut Session<'_>) -> (Answer, bool) {
    let mut env = Env::default();
    let end = match (&request.input, request.interactive) {
        (Some(line), true) => interactive(&request.words, line, &mut env, session),
        _ => command_line(request, &mut env, session),
    };
    let (code, quit, forbidden, line) = match end {
        End::Done => (0, false, false, None),
        End::Quit => (0, true, false, None),
        End::Stopped(line, Stop::Refused(refusal)) => {
            if !env.quiet {
                let text = refusal.text(line);
                session.err.push_str(&text);
            }
            (refusal.code(), false, false, line)
        }
        End::Stopped(line, Stop::Forbidden) => (1, false, true, line),
    };
    let lost = env.atomic && code != 0;
    let answer = Answer {
        output: std::mem::take(&mut session.out),
        errors: std::mem::take(&mut session.err),
        code,
        quit,
        changed: session.changed && !lost,
        generation: 0,
        line,
        forbidden,
        conflict: false,
    };
    (answer, !lost)
}

fn command_line(request: &IpsetRequest, env: &mut Env, session: &mut Session<'_>) -> End {
    let command = match call::command(&request.words, env, At::Shell) {
        Ok(command) => command,
        Err(refusal) => return End::Stopped(None, refusal.into()),
    };
    if env.atomic {
        if command != Command::Restore {
            let word = "--atomic".to_owned();
            let refusal = Refusal::Usage(format!("Unknown argument: `{word}'"));
            return End::Stopped(None, refusal.into());
        }
        session.be_atomic();
    }
    match (&command, &request.input) {
        (Command::Restore, Some(text)) => restore(text, env, session),
        _ => match session.run(&command, env, At::Shell, 0) {
            Ok(()) => End::Done,
            Err((line, stop)) => End::Stopped(line, stop),
        },
    }
}

/// The lines of a `restore`, until one is refused.
fn restore(text: &str, env: &mut Env, session: &mut Session<'_>) -> End {
    let stopped = |(line, stop)| End::Stopped(Some(line), stop);
    for (number, line) in lines(text).enumerate() {
        let number = number + 1;
        let trimmed = line.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if matches!(trimmed, "COMMIT\n" | "COMMIT\r\n") {
            if let Err(refused) = session.commit() {
                return stopped(refused);
            }
            continue;
        }
        let command = match call::command(&words(trimmed), env, At::Restore) {
            // The original leaves at once: what waits is never sent.
            Ok(Command::Quit) => {
                return session.lose_pending().map_or_else(stopped, |()| End::Done);
            }
            Ok(command) => command,
            Err(refusal) => {
                let end = |()| End::Stopped(Some(number), refusal.into());
                return session.lose_pending().map_or_else(stopped, end);
            }
        };
        if let Err((line, stop)) = session.run(&command, env, At::Restore, number) {
            // Where the line was understood nothing waits any more.
            let end = |()| End::Stopped(line, stop);
            return session.lose_pending().map_or_else(stopped, end);
        }
    }
    match session.commit() {
        Ok(()) => End::Done,
        Err(refused) => stopped(refused),
    }
}

/// A line of the interactive mode.
fn interactive(options: &[String], line: &str, env: &mut Env, session: &mut Session<'_>) -> End {
    // The options of the program's own line stay in force.
    if let Err(refusal) = call::command(options, env, At::Interactive) {
        return End::Stopped(None, refusal.into());
    }
    env.file = None;
    let trimmed = line.trim_start_matches(|c: char| c.is_ascii_whitespace());
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return End::Done;
    }
    match call::command(&words(trimmed), env, At::Interactive) {
        Ok(Command::Quit) => End::Quit,
        Ok(command) => match session.run(&command, env, At::Interactive, 0) {
            Ok(()) => End::Done,
            Err((line, stop)) => End::Stopped(line, stop),
        },
        Err(refusal) => End::Stopped(None, refusal.into()),
    }
}
