//! The options of nft(8), read as getopt_long reads them for nft: short options in bundles, long
//! ones abbreviated, arguments behind `=` or in the next word, nothing after the first command
//! word. Texts and exit codes are nft's.

use std::fmt;

/// The version of nft(8) whose options and texts these are.
pub const NFT_VERSION: &str = "1.0.6";

/// What a command line of nft asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NftOptions {
    /// `-f`: the file with the commands, `-` for standard input.
    pub file: Option<String>,
    /// `-D name=value`, in order.
    pub defines: Vec<(String, String)>,
    /// `-I`: folders that are searched for includes.
    pub include_paths: Vec<String>,
    /// `-c`
    pub check: bool,
    /// `-o`
    pub optimize: bool,
    /// `-i`
    pub interactive: bool,
    /// `-a`
    pub handle: bool,
    /// `-s`
    pub stateless: bool,
    /// `-t`
    pub terse: bool,
    /// `-S`
    pub service: bool,
    /// `-N`
    pub reverse_dns: bool,
    /// `-u`
    pub guid: bool,
    /// `-n`
    pub numeric: bool,
    /// `-y`
    pub numeric_priority: bool,
    /// `-p`
    pub numeric_protocol: bool,
    /// `-T`
    pub numeric_time: bool,
    /// `-e`
    pub echo: bool,
    /// `-j`
    pub json: bool,
    /// `-d`: levels, checked.
    pub debug: Vec<String>,
    /// The words behind the options.
    pub command: Vec<String>,
}

/// What to do with a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NftCall {
    /// Run it.
    Run(Box<NftOptions>),
    /// `-h`
    Help,
    /// `-v`
    Version,
    /// `-V`
    LongVersion,
}

/// Why a command line was not understood; prints what nft prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NftUsage {
    /// An option behind the first command word.
    Misplaced {
        /// All words, the program's name first.
        words: Vec<String>,
        /// Where the option stands in the words joined by blanks.
        column: usize,
    },
    /// A long option that does not exist.
    Unrecognized(String),
    /// A short option that does not exist.
    Invalid(char),
    /// A long option that could be several.
    Ambiguous(String, Vec<&'static str>),
    /// A long option that needs an argument and has none.
    LongNeedsArgument(&'static str),
    /// A long option that takes no argument and has one.
    LongTakesNone(&'static str),
    /// A short option that needs an argument and has none.
    ShortNeedsArgument(char),
    /// A definition without `=`.
    BadDefine(String),
    /// A definition, and no file that could use it.
    DefineWithoutFile,
    /// An unknown debug level.
    BadDebug(String),
    /// Neither a command nor a file.
    NoCommand,
}

impl fmt::Display for NftUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misplaced { words, column } => {
                writeln!(
                    f,
                    "Error: syntax error, options must be specified before commands"
                )?;
                writeln!(f, "{}", words.join(" "))?;
                write!(f, "{}^~~", " ".repeat(*column))
            }
            Self::Unrecognized(option) => write!(f, "nft: unrecognized option '--{option}'"),
            Self::Invalid(option) => write!(f, "nft: invalid option -- '{option}'"),
            Self::Ambiguous(option, candidates) => {
                write!(f, "nft: option '--{option}' is ambiguous; possibilities:")?;
                candidates
                    .iter()
                    .try_for_each(|candidate| write!(f, " '--{candidate}'"))
            }
            Self::LongNeedsArgument(option) => {
                write!(f, "nft: option '--{option}' requires an argument")
            }
            Self::LongTakesNone(option) => {
                write!(f, "nft: option '--{option}' doesn't allow an argument")
            }
            Self::ShortNeedsArgument(option) => {
                write!(f, "nft: option requires an argument -- '{option}'")
            }
            Self::BadDefine(define) => write!(f, "Failed to define variable '{define}'"),
            Self::DefineWithoutFile => {
                write!(f, "Error: -D/--define can only be used with -f/--filename")
            }
            Self::BadDebug(level) => write!(f, "invalid debug parameter `{level}'"),
            Self::NoCommand => write!(f, "nft: no command specified"),
        }
    }
}

/// Short name, long name, name of the argument, help text.
type Spec = (char, &'static str, Option<&'static str>, &'static str);

/// Headings of the help text, each with its options.
const GROUPS: &[(&str, &[Spec])] = &[
    (
        "Options (general):",
        &[
            ('h', "help", None, "Show this help"),
            ('v', "version", None, "Show version information"),
            ('V', "", None, "Show extended version information"),
        ],
    ),
    (
        "Options (ruleset input handling):",
        &[
            (
                'f',
                "file",
                Some("<filename>"),
                "Read input from <filename>",
            ),
            (
                'D',
                "define",
                Some("<name=value>"),
                "Define variable, e.g. --define foo=1.2.3.4",
            ),
            ('i', "interactive", None, "Read input from interactive CLI"),
            (
                'I',
                "includepath",
                Some("<directory>"),
                "Add <directory> to the paths searched for include files. Default is: /etc",
            ),
            (
                'c',
                "check",
                None,
                "Check commands validity without actually applying the changes.",
            ),
            ('o', "optimize", None, "Optimize ruleset"),
        ],
    ),
    (
        "Options (ruleset list formatting):",
        &[
            ('a', "handle", None, "Output rule handle."),
            (
                's',
                "stateless",
                None,
                "Omit stateful information of ruleset.",
            ),
            ('t', "terse", None, "Omit contents of sets."),
            (
                'S',
                "service",
                None,
                "Translate ports to service names as described in /etc/services.",
            ),
            ('N', "reversedns", None, "Translate IP addresses to names."),
            (
                'u',
                "guid",
                None,
                "Print UID/GID as defined in /etc/passwd and /etc/group.",
            ),
            ('n', "numeric", None, "Print fully numerical output."),
            (
                'y',
                "numeric-priority",
                None,
                "Print chain priority numerically.",
            ),
            (
                'p',
                "numeric-protocol",
                None,
                "Print layer 4 protocols numerically.",
            ),
            ('T', "numeric-time", None, "Print time values numerically."),
        ],
    ),
    (
        "Options (command output formatting):",
        &[
            (
                'e',
                "echo",
                None,
                "Echo what has been added, inserted or replaced.",
            ),
            ('j', "json", None, "Format output in JSON"),
            (
                'd',
                "debug",
                Some("<level [,level...]>"),
                "Specify debugging level (scanner, parser, eval, netlink, mnl, proto-ctx, segtree, all)",
            ),
        ],
    ),
];

const DEBUG_LEVELS: &[&str] = &[
    "scanner",
    "parser",
    "eval",
    "netlink",
    "mnl",
    "proto-ctx",
    "segtree",
    "all",
];

fn specs() -> impl Iterator<Item = &'static Spec> {
    GROUPS.iter().flat_map(|(_, specs)| specs.iter())
}

/// What `nft --help` prints.
pub fn help() -> String {
    let mut text = String::from("Usage: nft [ options ] [ cmds... ]\n");
    for (heading, specs) in GROUPS {
        text += &format!("\n{heading}\n");
        for (short, long, argument, help) in *specs {
            let mut names = format!("  -{short}");
            if !long.is_empty() {
                names += &format!(", --{long}");
            }
            if let Some(argument) = argument {
                names += &format!(" {argument}");
            }
            text += &format!("{names:<33} {help}\n");
        }
    }
    text
}

/// Reads the words behind the program's name.
///
/// # Errors
/// What nft would print, with exit code 1.
pub fn parse(words: &[String]) -> Result<NftCall, NftUsage> {
    check_order(words)?;
    let mut options = NftOptions::default();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        if word == "--" {
            break;
        } else if let Some(long) = word.strip_prefix("--") {
            if let Some(call) = long_option(&mut options, long, words, &mut at)? {
                return Ok(call);
            }
        } else if word.len() > 1 && word.starts_with('-') {
            if let Some(call) = short_options(&mut options, &word[1..], words, &mut at)? {
                return Ok(call);
            }
        } else {
            at -= 1;
            break;
        }
    }
    options.command = words[at..].to_vec();
    if !options.defines.is_empty() && options.file.is_none() {
        return Err(NftUsage::DefineWithoutFile);
    }
    if options.command.is_empty() && options.file.is_none() && !options.interactive {
        return Err(NftUsage::NoCommand);
    }
    Ok(NftCall::Run(Box::new(options)))
}

/// nft's own check before getopt: no word with a dash behind the first command word, up to a `{`.
fn check_order(words: &[String]) -> Result<(), NftUsage> {
    let (mut skip, mut command) = (false, false);
    let mut column = "nft".len() + 1;
    for word in words {
        if word.starts_with('{') {
            break;
        } else if skip {
            skip = false;
        } else if word.starts_with('-') {
            if command {
                let words = std::iter::once("nft".to_owned()).chain(words.iter().cloned());
                return Err(NftUsage::Misplaced {
                    words: words.collect(),
                    column,
                });
            }
            let second = word.chars().nth(1);
            let takes_argument = specs().any(|(short, long, argument, _)| {
                argument.is_some()
                    && (second == Some(*short) || word.strip_prefix("--") == Some(*long))
            });
            // `-fFILE` and `--file=FILE` carry their argument themselves.
            skip = takes_argument && (word.len() == 2 || word.starts_with("--"));
        } else {
            command = true;
        }
        column += word.len() + 1;
    }
    Ok(())
}

fn long_option(
    options: &mut NftOptions,
    word: &str,
    words: &[String],
    at: &mut usize,
) -> Result<Option<NftCall>, NftUsage> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let named = || specs().filter(|(_, long, _, _)| !long.is_empty() && long.starts_with(name));
    let exact = named().find(|(_, long, _, _)| *long == name);
    let (short, long, argument, _) = match (exact, named().count()) {
        (Some(spec), _) => spec,
        (None, 0) => return Err(NftUsage::Unrecognized(word.to_owned())),
        (None, 1) => named()
            .next()
            .ok_or_else(|| NftUsage::Unrecognized(word.to_owned()))?,
        (None, _) => {
            let candidates = named().map(|(_, long, _, _)| *long).collect();
            return Err(NftUsage::Ambiguous(word.to_owned(), candidates));
        }
    };
    let value = match (argument, value) {
        (None, Some(_)) => return Err(NftUsage::LongTakesNone(long)),
        (Some(_), None) => {
            let next = words
                .get(*at)
                .cloned()
                .ok_or(NftUsage::LongNeedsArgument(long))?;
            *at += 1;
            next
        }
        (_, value) => value.unwrap_or_default(),
    };
    apply(options, *short, value)
}

fn short_options(
    options: &mut NftOptions,
    letters: &str,
    words: &[String],
    at: &mut usize,
) -> Result<Option<NftCall>, NftUsage> {
    for (place, letter) in letters.char_indices() {
        let Some((_, _, argument, _)) = specs().find(|(short, ..)| *short == letter) else {
            return Err(NftUsage::Invalid(letter));
        };
        if argument.is_some() {
            let attached = &letters[place + letter.len_utf8()..];
            let value = if attached.is_empty() {
                let next = words
                    .get(*at)
                    .cloned()
                    .ok_or(NftUsage::ShortNeedsArgument(letter))?;
                *at += 1;
                next
            } else {
                attached.to_owned()
            };
            return apply(options, letter, value);
        }
        if let Some(call) = apply(options, letter, String::new())? {
            return Ok(Some(call));
        }
    }
    Ok(None)
}

fn apply(
    options: &mut NftOptions,
    letter: char,
    value: String,
) -> Result<Option<NftCall>, NftUsage> {
    match letter {
        'h' => return Ok(Some(NftCall::Help)),
        'v' => return Ok(Some(NftCall::Version)),
        'V' => return Ok(Some(NftCall::LongVersion)),
        'f' => options.file = Some(value),
        'D' => match value.split_once('=') {
            Some((name, text)) => options.defines.push((name.to_owned(), text.to_owned())),
            None => return Err(NftUsage::BadDefine(value)),
        },
        'I' => options.include_paths.push(value),
        'i' => options.interactive = true,
        'c' => options.check = true,
        'o' => options.optimize = true,
        'a' => options.handle = true,
        's' => options.stateless = true,
        't' => options.terse = true,
        'S' => options.service = true,
        'N' => options.reverse_dns = true,
        'u' => options.guid = true,
        'n' => options.numeric = true,
        'y' => options.numeric_priority = true,
        'p' => options.numeric_protocol = true,
        'T' => options.numeric_time = true,
        'e' => options.echo = true,
        'j' => options.json = true,
        'd' => {
            for level in value.split(',') {
                if !DEBUG_LEVELS.contains(&level) {
                    return Err(NftUsage::BadDebug(level.to_owned()));
                }
                options.debug.push(level.to_owned());
            }
        }
        _ => return Err(NftUsage::Invalid(letter)),
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<NftCall, NftUsage> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    fn run(line: &str) -> NftOptions {
        match call(line) {
            Ok(NftCall::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn bundles_and_arguments() {
        let options = run("-anf rules.nft");
        assert!(options.handle && options.numeric);
        assert_eq!(options.file.as_deref(), Some("rules.nft"));
        assert_eq!(run("-frules.nft").file.as_deref(), Some("rules.nft"));
        assert_eq!(run("--file=rules.nft").file.as_deref(), Some("rules.nft"));
        assert_eq!(
            run("-D a=b=c -f x").defines,
            [("a".to_owned(), "b=c".to_owned())]
        );
        assert_eq!(run("-I x -I y list").include_paths, ["x", "y"]);
        assert_eq!(run("-- list ruleset").command, ["list", "ruleset"]);
    }

    #[test]
    fn long_options_may_be_abbreviated() {
        assert!(run("--hand list ruleset").handle);
        assert!(run("--numeric list ruleset").numeric);
        assert_eq!(
            call("--nu list ruleset").unwrap_err().to_string(),
            "nft: option '--nu' is ambiguous; possibilities: '--numeric' '--numeric-priority' \
             '--numeric-protocol' '--numeric-time'"
        );
    }

    #[test]
    fn mistakes_read_as_nfts() {
        for (line, text) in [
            ("", "nft: no command specified"),
            ("-a", "nft: no command specified"),
            ("--bogus", "nft: unrecognized option '--bogus'"),
            ("-x", "nft: invalid option -- 'x'"),
            ("-f", "nft: option requires an argument -- 'f'"),
            ("--file", "nft: option '--file' requires an argument"),
            ("--json=1", "nft: option '--json' doesn't allow an argument"),
            ("-d foo list ruleset", "invalid debug parameter `foo'"),
            ("-D foo list ruleset", "Failed to define variable 'foo'"),
            (
                "-D a=1 list ruleset",
                "Error: -D/--define can only be used with -f/--filename",
            ),
            (
                "list ruleset -a",
                "Error: syntax error, options must be specified before commands\n\
                 nft list ruleset -a\n                 ^~~",
            ),
        ] {
            assert_eq!(call(line).unwrap_err().to_string(), text, "{line}");
        }
    }

    #[test]
    fn a_dash_inside_braces_is_no_option() {
        let line = "add chain ip t c { type filter hook input priority -150; }";
        assert_eq!(run(line).command.len(), 13);
        assert!(matches!(
            call("add chain ip t c -150"),
            Err(NftUsage::Misplaced { column: 21, .. })
        ));
    }
}
