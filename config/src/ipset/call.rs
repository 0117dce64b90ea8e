//! The command line: options that may stand anywhere, then a command with its arguments.

use super::output::Mode;
use super::refusal::Refusal;

/// What the options say; in `restore` and in the interactive mode they stay in force from line to line,
/// as in the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// `-exist`
    pub exist: bool,
    /// `-quiet`
    pub quiet: bool,
    /// `-resolve`
    pub resolve: bool,
    /// `-sorted`
    pub sorted: bool,
    /// `-name`
    pub names: bool,
    /// `-terse`
    pub terse: bool,
    /// `-output`
    pub mode: Option<Mode>,
    /// `-file`
    pub file: Option<String>,
    /// `--atomic`: ours, all lines of a `restore` or none.
    pub atomic: bool,
}

/// Where a command line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// It is the program's.
    Shell,
    /// It is a line of `restore`.
    Restore,
    /// It is a line of the interactive mode.
    Interactive,
}

/// What is done with an element.
pub use super::element::Verb;

/// A command with its arguments, as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `create SET TYPE ...`
    Create {
        /// Name.
        set: String,
        /// Type.
        ty: String,
        /// Options.
        rest: Vec<String>,
    },
    /// `add`, `del`, `test SET ELEMENT ...`
    Element {
        /// Which of them.
        verb: Verb,
        /// Name.
        set: String,
        /// Element.
        element: String,
        /// Options.
        rest: Vec<String>,
    },
    /// `destroy [SET]`
    Destroy(Option<String>),
    /// `list [SET]`
    List(Option<String>),
    /// `save [SET]`
    Save(Option<String>),
    /// `restore`
    Restore,
    /// `flush [SET]`
    Flush(Option<String>),
    /// `rename FROM TO`
    Rename(String, String),
    /// `swap FROM TO`
    Swap(String, String),
    /// `help [TYPE]`
    Help(Option<String>),
    /// `version`
    Version,
    /// `quit`
    Quit,
    /// `-`
    Interactive,
    /// Nothing, in the interactive mode.
    Nothing,
}

impl Command {
    /// Whether it may change something.
    pub fn changes(&self) -> bool {
        match self {
            Self::Element { verb, .. } => *verb != Verb::Test,
            Self::Create { .. }
            | Self::Destroy(_)
            | Self::Flush(_)
            | Self::Rename(..)
            | Self::Swap(..) => true,
            _ => false,
        }
    }
}

/// How many arguments a command has by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arity {
    Nothing,
    Optional,
    Two,
}

/// A command's names: any beginning of the first one, and the others just as they are.
struct Row {
    names: &'static [&'static str],
    arity: Arity,
}

const fn row(names: &'static [&'static str], arity: Arity) -> Row {
    Row { names, arity }
}

/// In the order in which beginnings of names are compared.
const COMMANDS: [Row; 14] = [
    row(&["create", "-N", "n"], Arity::Two),
    row(&["add", "-A"], Arity::Two),
    row(&["del", "-D"], Arity::Two),
    row(&["test", "-T"], Arity::Two),
    row(&["destroy", "-X", "x"], Arity::Optional),
    row(&["list", "-L"], Arity::Optional),
    row(&["save", "-S"], Arity::Optional),
    row(&["restore", "-R"], Arity::Nothing),
    row(&["flush", "-F"], Arity::Optional),
    row(&["rename", "-E", "e"], Arity::Two),
    row(&["swap", "-W", "w"], Arity::Two),
    row(&["help", "-h", "-H"], Arity::Optional),
    row(&["version", "-v", "-V"], Arity::Nothing),
    row(&["quit"], Arity::Nothing),
];

impl Row {
    fn is(&self, word: &str) -> bool {
        let word = word.strip_prefix("--").unwrap_or(word);
        !word.is_empty()
            && word.len() <= self.names[0].len()
            && (self.names[0].starts_with(word) || self.names[1..].contains(&word))
    }
}

/// Takes the options out of the words.
fn options(words: &[String], env: &mut Env) -> Result<Vec<String>, Refusal> {
    let mut rest = Vec::with_capacity(words.len());
    let mut all = words.iter();
    while let Some(word) = all.next() {
        // One of two leading dashes is skipped.
        let short = word
            .strip_prefix('-')
            .filter(|short| short.starts_with('-'))
            .unwrap_or(word);
        let mut value = |name: &str| {
            all.next().cloned().ok_or_else(|| {
                Refusal::Usage(format!("Missing mandatory argument to option {name}"))
            })
        };
        match short {
            "-!" | "-exist" => env.exist = true,
            "-q" | "-quiet" => env.quiet = true,
            "-r" | "-resolve" => env.resolve = true,
            "-s" | "-sorted" => env.sorted = true,
            "-n" | "-name" => env.names = true,
            "-t" | "-terse" => env.terse = true,
            "-atomic" if word.starts_with("--") => env.atomic = true,
            "-o" | "-output" => {
                env.mode = Some(match value("-o")?.as_str() {
                    "plain" => Mode::Plain,
                    "save" => Mode::Save,
                    "xml" => Mode::Xml,
                    "json" => Mode::Json,
                    other => {
                        return Err(Refusal::syntax(format_args!(
                            "unknown output mode '{other}'"
                        )));
                    }
                });
            }
            "-f" | "-file" => {
                let file = value("-f")?;
                if env.file.replace(file).is_some() {
                    return Err(Refusal::Usage(
                        "-file option cannot be used when full io is activated".to_owned(),
                    ));
                }
            }
            _ => rest.push(word.clone()),
        }
    }
    Ok(rest)
}

/// Reads the words of a command line; options change `env`.
///
/// # Errors
/// With the original's words.
pub fn command(words: &[String], env: &mut Env, at: At) -> Result<Command, Refusal> {
    let words = options(words, env)?;
    let mut words = words.into_iter();
    let Some(word) = words.next() else {
        return match at {
            At::Interactive => Ok(Command::Nothing),
            _ => Err(Refusal::Usage("No command specified.".to_owned())),
        };
    };
    let Some(row) = COMMANDS.iter().find(|row| row.is(&word)) else {
        return match (word.as_str(), at) {
            (_, At::Interactive) => Ok(Command::Nothing),
            ("-", At::Shell) => Ok(Command::Interactive),
            ("-", At::Restore) => Err(invalid_in_restore("-")),
            _ => Err(Refusal::Usage(format!(
                "No command specified: unknown argument {word}"
            ))),
        };
    };
    let name = row.names[0];
    if at == At::Restore && matches!(name, "restore" | "help" | "version") {
        return Err(invalid_in_restore(name));
    }
    let missing = |which: &str| {
        Refusal::Usage(format!(
            "Missing {which}mandatory argument to command {name}"
        ))
    };
    let (mut first, mut second) = (None, None);
    if row.arity != Arity::Nothing {
        first = words.next();
    }
    if first.is_none() && row.arity == Arity::Two {
        return Err(missing(""));
    }
    if row.arity == Arity::Two {
        second = Some(words.next().ok_or_else(|| missing("second "))?);
    }
    let rest: Vec<String> = words.collect();
    build(name, first, second, rest)
}

fn invalid_in_restore(name: &str) -> Refusal {
    Refusal::Usage(format!("Command `{name}' is invalid in restore mode."))
}

/// The command of a name. All but the ones with options take no further words.
fn build(
    name: &str,
    first: Option<String>,
    second: Option<String>,
    rest: Vec<String>,
) -> Result<Command, Refusal> {
    let (one, two) = (
        first.clone().unwrap_or_default(),
        second.unwrap_or_default(),
    );
    let verb = match name {
        "create" => {
            return Ok(Command::Create {
                set: one,
                ty: two,
                rest,
            });
        }
        "add" => Some(Verb::Add),
        "del" => Some(Verb::Del),
        "test" => Some(Verb::Test),
        _ => None,
    };
    if let Some(verb) = verb {
        return Ok(Command::Element {
            verb,
            set: one,
            element: two,
            rest,
        });
    }
    let command = match name {
        "destroy" => Command::Destroy(first),
        "list" => Command::List(first),
        "save" => Command::Save(first),
        "restore" => Command::Restore,
        "flush" => Command::Flush(first),
        "rename" => Command::Rename(one, two),
        "swap" => Command::Swap(one, two),
        // Help and version heed no further words.
        "help" => return Ok(Command::Help(first)),
        "version" => return Ok(Command::Version),
        _ => return Ok(Command::Quit),
    };
    let names = match &command {
        Command::Rename(one, two) | Command::Swap(one, two) => vec![one, two],
        Command::Destroy(one) | Command::List(one) | Command::Save(one) | Command::Flush(one) => {
            one.iter().collect()
        }
        _ => Vec::new(),
    };
    for name in names {
        super::element::set_name(name)?;
    }
    match rest.first() {
        Some(word) => Err(Refusal::Usage(format!("Unknown argument {word}"))),
        None => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Result<Command, Refusal>, Env) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut env = Env::default();
        (command(&words, &mut env, At::Shell), env)
    }

    #[test]
    fn beginnings_of_names_and_old_short_forms_are_commands() {
        let named = |name: &str| Some(name.to_owned());
        for (line, command) in [
            ("dest a", Command::Destroy(named("a"))),
            ("x a", Command::Destroy(named("a"))),
            ("-X a", Command::Destroy(named("a"))),
            ("l", Command::List(None)),
            ("-L a -n", Command::List(named("a"))),
            ("re", Command::Restore),
            ("ren a b", Command::Rename("a".into(), "b".into())),
            ("-E a b", Command::Rename("a".into(), "b".into())),
            ("sw a b", Command::Swap("a".into(), "b".into())),
            ("--list s4 --sorted", Command::List(named("s4"))),
            ("-", Command::Interactive),
        ] {
            assert_eq!(read(line).0, Ok(command), "{line}");
        }
        let Ok(Command::Element { verb, .. }) = read("d a 1.2.3.4").0 else {
            panic!("d is del")
        };
        assert_eq!(verb, Verb::Del);
    }

    #[test]
    fn usage_is_refused_in_the_originals_words() {
        for (line, text) in [
            ("", "No command specified."),
            ("foo", "No command specified: unknown argument foo"),
            (
                "-create a hash:ip",
                "No command specified: unknown argument -create",
            ),
            ("add", "Missing mandatory argument to command add"),
            ("add a", "Missing second mandatory argument to command add"),
            ("list a b", "Unknown argument b"),
            ("list -o", "Missing mandatory argument to option -o"),
            (
                "-f a -f b save",
                "-file option cannot be used when full io is activated",
            ),
        ] {
            assert_eq!(read(line).0, Err(Refusal::Usage(text.to_owned())), "{line}");
        }
        let mode = "Syntax error: unknown output mode 'foo'";
        assert_eq!(read("-o foo list").0, Err(Refusal::Failed(mode.to_owned())));
        let (_, env) = read("list a -t -! -s -o xml -f x");
        assert!(env.terse && env.exist && env.sorted);
        assert_eq!(
            (env.mode, env.file.as_deref()),
            (Some(Mode::Xml), Some("x"))
        );
    }
}
