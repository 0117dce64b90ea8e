//! Every construct, listed as nft lists it; every mistake, refused in nft's words.
//!
//! The files in `rules/` hold rules and what the real nft said of each: `=>` the listing after a trip
//! through the kernel, `!!` the error, `~~` the carets. They were recorded from nft 1.0.6 in a network
//! namespace; `SLUICE_RECORD=1 cargo test -p sluice-config --test listing` records them anew.
//! A line `??` says why a difference is meant to be: what follows is our own answer.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sluice_config::model::expr::{DataType, KeyPart, SetType};
use sluice_config::model::rule::{PortNames, SetInfo};
use sluice_config::model::{
    ChainInfo, Family, ObjectKind, PrintOptions, RuleContext, Scope, TypeId, check_rule, print_rule,
};
use sluice_config::syntax::ast::{self, MapData, Object};
use sluice_config::syntax::{Files, Input, Options, SourceMap, parse};

/// What the rules refer to.
const OBJECTS: &str = include_str!("rules/objects.nft");

/// A rule of a file.
#[derive(Clone, Default)]
struct Case {
    rule: String,
    answer: Vec<String>,
    why: Option<String>,
}

/// Rules with the same family, chain and options.
struct Section {
    head: String,
    cases: Vec<Case>,
}

impl Section {
    fn family(&self) -> &str {
        self.head.split_whitespace().next().unwrap_or("inet")
    }

    /// `type filter hook ...`, without options.
    fn hook(&self) -> String {
        let words = self.head.split_whitespace().skip(1);
        words
            .filter(|w| !w.starts_with('-') || w[1..].parse::<i32>().is_ok())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn options(&self) -> Vec<&str> {
        let words = self.head.split_whitespace().skip(1);
        words
            .filter(|w| w.starts_with('-') && w[1..].parse::<i32>().is_err())
            .collect()
    }

    fn text(&self, rule: &str) -> String {
        let hook = self.hook();
        let hook = if hook.is_empty() {
            hook
        } else {
            format!("{hook};")
        };
        let objects: String = OBJECTS
            .lines()
            .filter(|l| {
                let tracker = l.contains(" ct ") || l.contains("synproxy") || l.trim() == "}";
                !tracker || matches!(self.family(), "ip" | "inet")
            })
            .map(|l| format!("{l}\n"))
            .collect();
        format!(
            "table {} t {{{objects}\n chain other {{ }}\n chain c {{\n{hook}\n{rule}\n}}\n}}\n",
            self.family()
        )
    }
}

fn read(path: &Path) -> Vec<Section> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            sections.push(Section {
                head: head.to_owned(),
                cases: Vec::new(),
            });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            continue;
        };
        match (line.strip_prefix('\t'), section.cases.last_mut()) {
            (Some(why), Some(case)) if why.starts_with("??") => case.why = Some(why.to_owned()),
            (Some(answer), Some(case)) => case.answer.push(answer.to_owned()),
            _ if line.is_empty() => {}
            _ => section.cases.push(Case {
                rule: line.to_owned(),
                ..Case::default()
            }),
        }
    }
    sections
}

fn write(path: &Path, sections: &[Section]) {
    let mut out = String::new();
    for section in sections {
        let _ = writeln!(out, "# {}", section.head);
        for case in &section.cases {
            let _ = writeln!(out, "{}", case.rule);
            for line in case.why.iter().chain(&case.answer) {
                let _ = writeln!(out, "\t{line}");
            }
        }
        out.push('\n');
    }
    std::fs::write(path, out).unwrap();
}

/// What the real nft says.
fn ask(section: &Section, rule: &str) -> Vec<String> {
    let text = section.text(rule);
    let script = format!(
        "nft -f - || exit 1; echo ====; nft {} list chain {} t c",
        section.options().join(" "),
        section.family()
    );
    let mut child = Command::new("unshare")
        .args(["-rn", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        return error_lines(&String::from_utf8_lossy(&output.stderr));
    }
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    rule_lines(
        listing.split("====\n").nth(1).unwrap_or(""),
        !section.hook().is_empty(),
    )
}

fn error_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let message = lines[0].split_once("Error: ").map_or(lines[0], |(_, m)| m);
    let mut out = vec![format!("!! {message}")];
    if let Some(carets) = lines.get(2) {
        out.push(format!("~~ {carets}"));
    }
    out
}

fn rule_lines(listing: &str, hook: bool) -> Vec<String> {
    let lines: Vec<&str> = listing.lines().collect();
    let first = if hook { 3 } else { 2 };
    lines[first..lines.len() - 2]
        .iter()
        .map(|l| format!("=> {}", l.strip_prefix("\t\t").unwrap_or(l)))
        .collect()
}

/// What the objects of [`OBJECTS`] are.
struct Names {
    sets: HashMap<String, SetInfo>,
    objects: Vec<(ObjectKind, String)>,
}

impl Scope for Names {
    fn set(&self, name: &str) -> Option<SetInfo> {
        self.sets.get(name).cloned()
    }
    fn object(&self, kind: ObjectKind, name: &str) -> bool {
        self.objects.iter().any(|(k, n)| *k == kind && n == name)
    }
    fn chain(&self, name: &str) -> bool {
        name == "other"
    }
    fn flowtable(&self, _: &str) -> bool {
        false
    }
    fn port_index(&self, name: &str) -> Option<u32> {
        (name == "lo").then_some(1)
    }
}

impl PortNames for Names {
    fn port_name(&self, index: u32) -> Option<String> {
        (index == 1).then(|| "lo".to_owned())
    }
}

fn set_type(ty: &ast::SetType) -> SetType {
    let ast::SetType::Type(names) = ty else {
        panic!("typeof in the objects")
    };
    let parts = names
        .iter()
        .map(|n| {
            let ty = TypeId::by_name(&n.value).unwrap();
            KeyPart {
                ty,
                bits: ty.info().bits,
                order: ty.info().order,
            }
        })
        .collect();
    SetType {
        parts,
        type_of: None,
    }
}

fn names(body: &ast::TableBody) -> Names {
    let sets = body.sets.iter().map(|decl| {
        let data = decl.body.data.as_ref().map(|d| match d {
            MapData::Object(kind) => DataType::Object(kind.value),
            MapData::Type {
                of: ast::SetType::Type(n),
                ..
            } if &*n[0].value == "verdict" => DataType::Verdict,
            MapData::Type { of, .. } => DataType::Value(set_type(of)),
        });
        let info = SetInfo {
            name: decl.name.value.to_string(),
            key: set_type(decl.body.key.as_ref().unwrap()),
            data,
            interval: decl.body.flags.interval,
            dynamic: decl.body.flags.dynamic,
            constant: decl.body.flags.constant,
            timeout: decl.body.flags.timeout,
            auto_merge: decl.body.auto_merge,
            stmts: Vec::new(),
        };
        (info.name.clone(), info)
    });
    Names {
        sets: sets.collect(),
        objects: body
            .objects
            .iter()
            .map(|o| (o.kind, o.name.value.to_string()))
            .collect(),
    }
}

fn print_options<'a>(flags: &[&str], ports: &'a Names) -> PrintOptions<'a> {
    let mut options = PrintOptions {
        ports: Some(ports),
        ..PrintOptions::default()
    };
    for flag in flags.iter().flat_map(|f| f[1..].chars()) {
        match flag {
            's' => options.stateless = true,
            'S' => options.service = true,
            'u' => options.guid = true,
            'y' => options.numeric_priority = true,
            'p' => options.numeric_protocol = true,
            'T' => options.numeric_time = true,
            'n' => {
                options.numeric_priority = true;
                options.numeric_protocol = true;
                options.numeric_time = true;
                options.numeric_symbol = true;
            }
            _ => {}
        }
    }
    options
}

fn chain_info(hook: Option<&ast::Hook>) -> Option<ChainInfo> {
    let hook = hook?;
    let ast::PriorityValue::Number(priority) = hook.priority.value else {
        panic!("named priority")
    };
    Some(ChainInfo {
        kind: hook.chain_type.value,
        hook: hook.hook.value,
        priority: priority as i32,
    })
}

/// What sluice says.
fn answer(section: &Section, rule: &str) -> Vec<String> {
    let path = std::env::temp_dir().join(format!(
        "sluice-listing-{}-{:?}.nft",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&path, section.text(rule)).unwrap();
    let input = Input::File(path.to_string_lossy().into_owned());
    let parsed = parse(&input, &Options::default(), &mut Files);
    std::fs::remove_file(&path).unwrap();
    if let Some(first) = parsed.diagnostics.first() {
        return error_lines(&first.render(&parsed.sources));
    }
    let Object::Table {
        body: Some(body), ..
    } = &parsed.commands[0].object
    else {
        panic!("no table")
    };
    check(section, body, &parsed.sources)
}

fn check(section: &Section, body: &ast::TableBody, sources: &SourceMap) -> Vec<String> {
    let family = Family::from_keyword(section.family()).unwrap();
    let names = names(body);
    let chain = body.chains.iter().find(|c| &*c.name.value == "c").unwrap();
    let context = RuleContext {
        family,
        table: "t",
        chain: chain_info(chain.body.hook.as_deref()),
        scope: &names,
    };
    let options = print_options(&section.options(), &names);
    let mut out = Vec::new();
    for rule in &chain.body.rules {
        match check_rule(rule, &context) {
            Err(error) => return error_lines(&error.render(sources)),
            Ok(rule) => {
                let text = print_rule(&rule, family, &options);
                out.extend(
                    text.lines()
                        .map(|l| format!("=> {}", l.strip_prefix("\t\t").unwrap_or(l))),
                );
            }
        }
    }
    out
}

/// nft's hint names things of the table; the store's tests look at it.
fn without_hint(line: &str) -> &str {
    line.split("; did you mean").next().unwrap_or(line)
}

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "rules"));
    files.sort();
    files
}

#[test]
fn rules_list_as_nft_lists_them() {
    let record = std::env::var_os("SLUICE_RECORD").is_some();
    let mut report = String::new();
    let (mut total, mut bad) = (0, 0);
    for path in files() {
        let mut sections = read(&path);
        if record {
            for section in &mut sections {
                for i in 0..section.cases.len() {
                    if section.cases[i].why.is_none() {
                        section.cases[i].answer = ask(section, &section.cases[i].rule);
                    }
                }
            }
            write(&path, &sections);
        }
        for section in &sections {
            for case in &section.cases {
                total += 1;
                let got = answer(section, &case.rule);
                let same = got.len() == case.answer.len()
                    && got
                        .iter()
                        .zip(&case.answer)
                        .all(|(a, b)| without_hint(a) == without_hint(b));
                if !same {
                    bad += 1;
                    let _ = writeln!(report, "[{}] {}", section.head, case.rule);
                    let _ = writeln!(report, "  nft:    {}", case.answer.join("\n          "));
                    let _ = writeln!(report, "  sluice: {}", got.join("\n          "));
                }
            }
        }
    }
    assert!(total > 0, "no rules");
    assert!(bad == 0, "{bad} of {total} rules differ:\n{report}");
}

#[test]
fn listings_load_and_list_the_same() {
    let mut report = String::new();
    let mut total = 0;
    for path in files() {
        for section in &read(&path) {
            // Numbers for names are for reading, not for loading.
            if !section.options().is_empty() {
                continue;
            }
            for case in &section.cases {
                let listed = answer(section, &case.rule);
                if listed.first().is_none_or(|l| !l.starts_with("=>")) {
                    continue;
                }
                total += 1;
                let reload = |listing: &[String]| {
                    let text: Vec<&str> = listing.iter().map(|l| &l[3..]).collect();
                    answer(section, &text.join("\n"))
                };
                let again = reload(&listed);
                // Few of nft's listings settle at the second load: sets of one element lose their
                // braces, equal flags change places.
                let settles = again[0].starts_with("=>") && {
                    let third = reload(&again);
                    third == again || third == listed
                };
                if again != listed && !settles {
                    let _ = writeln!(report, "[{}] {}", section.head, case.rule);
                    let _ = writeln!(report, "  first:  {}", listed.join("\n          "));
                    let _ = writeln!(report, "  second: {}", again.join("\n          "));
                }
            }
        }
    }
    assert!(total > 1000, "only {total} listings");
    assert!(
        report.is_empty(),
        "listings that do not load again:\n{report}"
    );
}
