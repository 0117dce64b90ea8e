//! The language from text to tree: every construct parses, complaints are nft's, no input is too much.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use sluice_config::syntax::ast::{ExprKind, Object, RelationalOp, StmtKind};
use sluice_config::syntax::{
    Bundle, Input, Loader, MAX_ERRORS, Options, Parsed, Recorder, parse, render_all,
};

/// Files by name.
#[derive(Default)]
struct Memory(BTreeMap<String, String>);

impl Memory {
    fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.to_owned(), text.to_owned());
        self
    }
}

impl Loader for Memory {
    fn read(&mut self, path: &str) -> Result<Arc<str>, String> {
        let text = self.0.get(path).ok_or("No such file or directory")?;
        Ok(text.as_str().into())
    }

    fn glob(&mut self, pattern: &str) -> Vec<String> {
        let matches = |path: &&String| match pattern.split_once('*') {
            Some((head, tail)) => path.starts_with(head) && path.ends_with(tail),
            None => *path == pattern,
        };
        self.0.keys().filter(matches).cloned().collect()
    }
}

fn file(text: &str) -> Parsed {
    let mut memory = Memory::default().with("t.nft", text);
    parse(
        &Input::File("t.nft".into()),
        &Options::default(),
        &mut memory,
    )
}

fn errors(text: &str) -> String {
    let parsed = file(text);
    render_all(&parsed.diagnostics, &parsed.sources)
}

fn corpus(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn every_construct_of_a_rule_parses() {
    for rule in corpus(include_str!("syntax/rules.txt")) {
        let parsed = file(&format!("add rule inet x y {rule}\n"));
        let complaints = render_all(&parsed.diagnostics, &parsed.sources);
        assert_eq!(complaints, "", "{rule}");
        assert_eq!(parsed.commands.len(), 1, "{rule}");
    }
}

#[test]
fn every_command_parses() {
    for line in corpus(include_str!("syntax/commands.txt"))
        .chain(corpus(include_str!("syntax/extensions.txt")))
    {
        assert_eq!(errors(&format!("{line}\n")), "", "{line}");
    }
}

#[test]
fn examples_of_debian_parse() {
    let folder = std::path::Path::new("/usr/share/doc/nftables/examples");
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("skipped: Debian's package nftables is not here");
        return;
    };
    let mut seen = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|e| e == "nft") {
            let text = std::fs::read_to_string(&path).unwrap();
            // Their includes name files that are not installed with them.
            let text: String = text
                .lines()
                .filter(|line| !line.starts_with("include"))
                .map(|line| format!("{line}\n"))
                .collect();
            assert_eq!(errors(&text), "", "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} examples");
}

/// Input and the real nft 1.0.6's answer (its complaints about syntax), separated by lines of `---` and `===`.
#[test]
fn complaints_are_those_of_nft() {
    let mut seen = 0;
    for case in include_str!("syntax/errors.txt").split("===\n").skip(1) {
        let (input, expected) = case.split_once("---\n").expect("input --- output");
        assert_eq!(errors(input), expected, "{input}");
        seen += 1;
    }
    assert!(seen > 50, "only {seen} cases");
}

#[test]
fn a_command_line_is_shown_without_a_position() {
    let parsed = parse(
        &Input::CommandLine("add table ip ip ip".into()),
        &Options::default(),
        &mut Memory::default(),
    );
    assert_eq!(
        render_all(&parsed.diagnostics, &parsed.sources),
        "Error: syntax error, unexpected ip, expecting string\nadd table ip ip ip\n             ^^\n"
    );
}

#[test]
fn a_missing_file_is_reported() {
    let parsed = parse(
        &Input::File("nonexist".into()),
        &Options::default(),
        &mut Memory::default(),
    );
    assert_eq!(
        render_all(&parsed.diagnostics, &parsed.sources),
        "internal:0:0-0: Error: Could not open file \"nonexist\": No such file or directory\n\n\n"
    );
}

#[test]
fn includes_show_the_way_to_a_mistake() {
    let mut memory = Memory::default()
        .with("t.nft", "#hi\ninclude \"./b2.nft\"\n")
        .with("./b2.nft", "include \"./b1.nft\"\n")
        .with("./b1.nft", "add table ip ip ip\n");
    let parsed = parse(
        &Input::File("t.nft".into()),
        &Options::default(),
        &mut memory,
    );
    assert_eq!(
        render_all(&parsed.diagnostics, &parsed.sources),
        "In file included from ./b2.nft:1:1-19:\n                 from t.nft:2:1-19:\n\
         ./b1.nft:1:14-15: Error: syntax error, unexpected ip, expecting string\nadd table ip ip ip\n             ^^\n"
    );
}

#[test]
fn included_files_come_in_order_and_share_variables() {
    let mut memory = Memory::default()
        .with(
            "t.nft",
            "include \"/d/*.nft\"\nadd rule x y tcp dport $b\ninclude \"sub.nft\"\n",
        )
        .with("/d/1.nft", "define a = 5\nadd table one\n")
        .with("/d/2.nft", "define b = $a\nadd table two\n")
        .with("/inc/sub.nft", "add table three\n");
    let options = Options {
        include_paths: vec!["/none".into(), "/inc".into()],
        defines: vec![],
    };
    let mut recorder = Recorder::new(memory_loader(&mut memory));
    let input = Input::File("t.nft".into());
    let parsed = parse(&input, &options, &mut recorder);
    assert_eq!(render_all(&parsed.diagnostics, &parsed.sources), "");
    let tables: Vec<String> = parsed
        .commands
        .iter()
        .map(|c| parsed.sources.slice(c.span).trim().to_owned())
        .collect();
    assert_eq!(
        tables,
        [
            "add table one",
            "add table two",
            "add rule x y tcp dport $b",
            "add table three"
        ]
    );

    let mut bundle: Bundle = recorder.into_bundle();
    let text = serde_json::to_string(&bundle).unwrap();
    assert_eq!(serde_json::from_str::<Bundle>(&text).unwrap(), bundle);
    let again = parse(&input, &options, &mut bundle);
    assert_eq!(again.commands.len(), 4);
    assert!(again.diagnostics.is_empty());
}

struct Shared<'a>(&'a mut Memory);

impl Loader for Shared<'_> {
    fn read(&mut self, path: &str) -> Result<Arc<str>, String> {
        self.0.read(path)
    }

    fn glob(&mut self, pattern: &str) -> Vec<String> {
        self.0.glob(pattern)
    }
}

fn memory_loader(memory: &mut Memory) -> Shared<'_> {
    Shared(memory)
}

#[test]
fn a_file_that_includes_itself_ends() {
    let mut memory = Memory::default().with("./a.nft", "include \"./a.nft\"\n");
    let parsed = parse(
        &Input::File("./a.nft".into()),
        &Options::default(),
        &mut memory,
    );
    let text = render_all(&parsed.diagnostics, &parsed.sources);
    assert!(
        text.contains("Error: Include nested too deeply, max 16 levels"),
        "{text}"
    );
}

#[test]
fn variables_of_the_command_line_are_bound() {
    let options = Options {
        include_paths: vec![],
        defines: vec![("port".into(), "{ 22, 80 }".into())],
    };
    let mut memory = Memory::default().with("t.nft", "add rule x y tcp dport $port accept\n");
    let parsed = parse(&Input::File("t.nft".into()), &options, &mut memory);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let Object::Rule {
        rule: Some(rule), ..
    } = &parsed.commands[0].object
    else {
        panic!("{:?}", parsed.commands)
    };
    let StmtKind::Match(condition) = &rule.stmts[0].kind else {
        panic!("{rule:?}")
    };
    let ExprKind::Relational(RelationalOp::Implicit, sides) = &condition.kind else {
        panic!("{condition:?}")
    };
    assert!(matches!(&sides.1.value().kind, ExprKind::Set(elements) if elements.len() == 2));
    assert_eq!(parsed.sources.slice(sides.1.span), "$port");
}

#[test]
fn variables_end_with_their_block() {
    let text = "table x {\n\tdefine a = 5\n\tchain y {\n\t\tmark $a accept\n\t}\n}\nadd rule x y mark $a\n";
    assert_eq!(
        errors(text),
        "t.nft:7:20-20: Error: unknown identifier 'a'\nadd rule x y mark $a\n                   ^\n"
    );
}

#[test]
fn depth_is_bounded() {
    let deep = |open: &str, close: &str, n: usize| {
        errors(&format!(
            "add rule x y ip saddr {}1{}\n",
            open.repeat(n),
            close.repeat(n)
        ))
    };
    assert_eq!(deep("(", ")", 50), "");
    for (open, close) in [("(", ")"), ("{", "}"), ("1 | ", "")] {
        assert!(
            deep(open, close, 100_000).contains("nested too deeply"),
            "{open}"
        );
    }
    let mut chain = String::from("define a0 = { 1 }\n");
    for n in 1..1000 {
        chain.push_str(&format!("define a{n} = {{ $a{} }}\n", n - 1));
    }
    assert!(errors(&chain).contains("nested too deeply"));
    assert!(errors(&"table x { chain y { jump {".repeat(1000)).contains("Error"));
}

#[test]
fn complaints_are_limited() {
    let parsed = file(&"add foo\n".repeat(1000));
    assert_eq!(parsed.diagnostics.len(), MAX_ERRORS);
}

const WORDS: &[&str] = &[
    "add", "table", "chain", "set", "map", "rule", "element", "ip", "inet", "x", "y", "{", "}",
    "(", ")", ";", "\n", ",", ":", ".", "@", "$", "=", "==", "!=", "&", "|", "<<", "-", "/", "*",
    "\"a\"", "\"", "#", "\\", "22", "0x1", "10.0.0.1", "::1", "eth*", "5m", "1:2", "type",
    "filter", "hook", "priority", "policy", "drop", "tcp", "dport", "saddr", "ct", "state", "meta",
    "mark", "counter", "limit", "rate", "vmap", "jump", "log", "prefix", "snat", "to", "define",
    "undefine", "include", "typeof", "flags", "elements", "comment", "timeout", "delete", "list",
    "nat64", "bind", "reset", "option", "queue", "num", "fib", "rt", "update", "meter", "destroy",
    "last", "\u{e9}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_words_are_survived(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        let parsed = file(&words.join(" "));
        let _ = render_all(&parsed.diagnostics, &parsed.sources);
        prop_assert!(parsed.diagnostics.len() <= MAX_ERRORS + 1);
    }

    #[test]
    fn any_text_is_survived(text in "\\PC*") {
        let parsed = file(&text);
        let _ = render_all(&parsed.diagnostics, &parsed.sources);
    }

    #[test]
    fn cut_and_spliced_rules_are_survived(a in 0usize..600, b in 0usize..600, cut in 0usize..80) {
        let rules: Vec<&str> = corpus(include_str!("syntax/rules.txt")).collect();
        let (first, second) = (rules[a % rules.len()], rules[b % rules.len()]);
        let cut = (0..=cut.min(first.len())).rev().find(|&at| first.is_char_boundary(at)).unwrap_or(0);
        let parsed = file(&format!("add rule x y {} {second}\n", &first[..cut]));
        prop_assert!(!parsed.commands.is_empty() || !parsed.diagnostics.is_empty());
    }
}

/// Questions and the real nft 1.0.6's answers.
#[test]
fn descriptions_are_those_of_nft() {
    let mut seen = 0;
    let mut wrong = String::new();
    for case in include_str!("syntax/describe.txt").split("===\n").skip(1) {
        let (what, expected) = case.split_once("\n---\n").expect("question --- answer");
        let expected = expected.strip_suffix("\\\n").unwrap_or(expected);
        let parsed = parse(
            &Input::CommandLine(format!("describe {what}")),
            &Options::default(),
            &mut Memory::default(),
        );
        let Some(Object::Expr(expr)) = parsed.commands.first().map(|c| &c.object) else {
            panic!("{what}: {:?}", parsed.diagnostics)
        };
        let answer = sluice_config::describe::describe(expr);
        if answer != expected {
            wrong.push_str(&format!("{what}: {answer}instead of {expected}"));
        }
        seen += 1;
    }
    assert_eq!(wrong, "");
    assert!(seen > 80, "only {seen} cases");
}

/// What `iptables-restore-translate` makes of a common set of filter, nat, mangle and raw rules.
#[test]
fn translated_iptables_rules_parse() {
    let text = include_str!("syntax/iptables.nft");
    assert_eq!(errors(text), "");
    let rules = text
        .lines()
        .filter(|line| line.starts_with("add rule"))
        .count();
    assert!(rules > 15, "only {rules} rules");
}
