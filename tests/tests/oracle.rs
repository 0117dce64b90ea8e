//! Random rulesets and frames through the kernel and through sluice: every frame out, byte by
//! byte, and every counter.
//!
//! `SLUICE_ORACLE_SEED` sets the first seed (default: a new one each time, which is printed),
//! `SLUICE_ORACLE_CASES` how many rulesets, `SLUICE_ORACLE_THREADS` how many bridges are asked at
//! once, `SLUICE_ORACLE_MATRIX` prints the matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_config::model::construct::{CONSTRUCTS, Construct, of_expr, of_stmt};
use sluice_config::store::place::{Visited, visit_rule};
use sluice_tests::oracle::compare::{Verdict, compare, shrink};
use sluice_tests::oracle::construct::{Sample, named, names, seeded};
use sluice_tests::oracle::fields;
use sluice_tests::oracle::generate::{Case, cut_off};
use sluice_tests::oracle::golden;
use sluice_tests::oracle::kernel::KernelBridge;
use sluice_tests::oracle::sluice::load;

const FAMILIES: [&str; 5] = ["ip", "ip6", "inet", "bridge", "netdev"];

/// Constructs whose rule counts each packet of its family: there is nothing that they miss.
const ALWAYS: &[&str] = &[
    "meta iiftype",
    "meta iifname",
    "symhash",
    "log",
    "nftrace",
    "dup",
    "set pkttype",
    "set ether daddr",
    "set ether daddr group",
    "set raw link",
];

/// The same in the families of one IP version, whose header each packet has.
const ALWAYS_OF_IP: &[&str] = &[
    "add with a counter",
    "add with a timeout",
    "set dscp",
    "set ip ecn",
    "set ip id",
    "set ip saddr",
    "set ttl",
    "set ip6 dscp",
    "set ip6 flowlabel",
    "set ip6 hoplimit",
    "set ip6 saddr",
    "set raw network",
];

/// Constructs that are not asked with cut-off headers, each with its place in docs/compatibility.md.
const NOT_CUT: &[&str] = &["set ip saddr"];

/// Whether a case has frames for a construct with its headers cut off, and frames of another protocol.
fn has_misfits(case: &Case, sample: &Sample) -> bool {
    let fit = &sample.frames[0];
    let cut = cut_off(fit);
    let is_cut = case.frames.iter().any(|frame| cut.contains(frame));
    let other = case
        .frames
        .iter()
        .any(|frame| frame.protocols() != fit.protocols());
    (is_cut || NOT_CUT.contains(&sample.construct.as_str())) && other
}

/// Rows of the construct table that the matrix does not ask about, and what holds them instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("ct", "tests/tests/oracle_ct.rs"),
    ("ct set", "tests/tests/oracle_ct.rs"),
    ("notrack", "tests/tests/oracle_ct.rs"),
    ("ct count", "tests/tests/explained.rs, 16"),
    (
        "dccp option",
        "newer than nft 1.0.6: tests/golden/dccp-options",
    ),
    ("last", "newer than nft 1.0.6: config/tests/packets"),
    (
        "meta broute set",
        "newer than nft 1.0.6, and no wire has it",
    ),
    ("rt", "a wire has no routes: tests/tests/gateway.rs"),
    ("rt mtu", "a wire has no routes: tests/tests/gateway.rs"),
    ("fib", "a wire has no routes: tests/tests/gateway.rs"),
    ("socket", "refused by name: there are no sockets"),
    ("osf", "refused by name: later"),
    ("queue", "refused by name: later; this kernel lacks it"),
    ("flow add", "refused by name; this kernel lacks it"),
    ("tproxy", "refused by name on a wire"),
    ("synproxy", "refused by name until its engine is there"),
    ("snat", "tests/tests/explained.rs, 13"),
    ("dnat", "tests/tests/explained.rs, 13"),
    ("masquerade", "tests/tests/explained.rs, 13"),
    ("redirect", "tests/tests/explained.rs, 13"),
    ("snpt", "an extension: nft does not know it"),
    ("dnpt", "an extension: nft does not know it"),
    ("nat64", "an extension: nft does not know it"),
    ("siit", "an extension: nft does not know it"),
    ("ipset", "an extension: config/tests/packets/ipset.rs"),
    ("ipset add", "an extension: config/tests/packets/ipset.rs"),
];

/// The rows of the construct table that the rules of a ruleset use, by number.
fn rows(ruleset: &str) -> BTreeSet<usize> {
    let engine = load(ruleset).unwrap_or_else(|words| panic!("{words}\n{ruleset}"));
    let mut rows = BTreeSet::new();
    let mut meet = |row: &'static Construct| {
        let same = |one: &&Construct| std::ptr::eq(*one, row);
        rows.extend(CONSTRUCTS.iter().position(same));
    };
    let tables = engine.ruleset().tables.iter();
    let chains = tables.flat_map(|table| table.chains.values());
    let chunks = chains.flat_map(|chain| chain.rules.chunks());
    for rule in chunks.flat_map(|chunk| &chunk.rules) {
        visit_rule(&rule.body, &mut |visited| match visited {
            Visited::Stmt(stmt) => meet(of_stmt(stmt)),
            Visited::Expr(expr) => of_expr(expr).into_iter().for_each(&mut meet),
            Visited::AnonymousChain(_) => {}
        });
    }
    rows
}

/// The matrix is as wide as the language: a row of the construct table that it never asks about
/// is one of those that are known to be held elsewhere.
#[test]
fn each_row_of_the_construct_table_is_in_the_matrix() {
    let mut asked = BTreeSet::new();
    for family in FAMILIES {
        let mut rng = seeded(2);
        for name in names(family) {
            let samples: Vec<Sample> = (0..TRIES).filter_map(|_| named(&mut rng, name)).collect();
            asked.extend(rows(&Case::directed(0, family, &samples).ruleset()));
        }
        for samples in fields::directed(&mut rng, family).into_iter().step_by(16) {
            asked.extend(rows(&Case::directed(0, family, &samples).ruleset()));
        }
    }
    let elsewhere = |keyword: &str| ELSEWHERE.iter().any(|(named, _)| *named == keyword);
    let row = |number: &usize| (CONSTRUCTS[*number].keyword, CONSTRUCTS[*number].depends);
    let unasked: Vec<_> = (0..CONSTRUCTS.len())
        .filter(|number| !asked.contains(number))
        .map(|number| row(&number))
        .filter(|(keyword, _)| !elsewhere(keyword))
        .collect();
    assert!(unasked.is_empty(), "never asked about: {unasked:?}");
    let needless: Vec<_> = asked
        .iter()
        .map(row)
        .filter(|(keyword, _)| elsewhere(keyword))
        .collect();
    assert!(needless.is_empty(), "asked about after all: {needless:?}");
}

/// How often a construct is asked until it has hit and missed.
const TRIES: usize = 16;

/// Whether both cells of a construct are filled.
fn answered((family, construct): &(&str, String), cell: Option<&(u64, u64)>) -> bool {
    let always = ALWAYS.contains(&construct.as_str())
        || family.starts_with("ip") && ALWAYS_OF_IP.contains(&construct.as_str());
    cell.is_some_and(|cell| cell.0 > 0 && (cell.1 > 0 || always))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Differences, each shrunk and stored as a golden case.
struct Report {
    kernel: KernelBridge,
    differences: Vec<String>,
}

impl Report {
    fn new() -> Self {
        Self {
            kernel: KernelBridge::new().unwrap(),
            differences: Vec::new(),
        }
    }

    fn verdict(&mut self, case: &Case) -> Verdict {
        let verdict = compare(&self.kernel, case).unwrap();
        if let Verdict::Different(words) = &verdict {
            let least = shrink(&self.kernel, case).unwrap();
            let words = match compare(&self.kernel, &least).unwrap() {
                Verdict::Different(words) => words,
                _ => format!("(not seen again) {words}"),
            };
            let folder = golden::store(&self.kernel, &least, &words).unwrap();
            self.differences.push(format!(
                "seed {}, stored in {}\n{}{words}\n",
                case.seed,
                folder.display(),
                least.ruleset(),
            ));
        }
        verdict
    }
}

/// What a range of seeds has come to.
#[derive(Debug, Default)]
struct Tally {
    same: u64,
    frames: usize,
    refused: u64,
    differences: Vec<String>,
}

/// Asks seeds until none is left, or ten differ.
fn ask(seeds: &AtomicU64, end: u64, tally: &Mutex<Tally>) {
    let mut report = Report::new();
    loop {
        let seed = seeds.fetch_add(1, Ordering::Relaxed);
        if seed >= end || tally.lock().unwrap().differences.len() >= 10 {
            return;
        }
        let case = Case::random(seed);
        let verdict = report.verdict(&case);
        let mut tally = tally.lock().unwrap();
        tally.differences.append(&mut report.differences);
        match verdict {
            Verdict::Refused(_) => tally.refused += 1,
            Verdict::Same(_) => {
                tally.same += 1;
                tally.frames += case.frames.len();
            }
            Verdict::Different(_) => {}
        }
    }
}

/// A first seed that no run before has had: the seconds since 1970, with room for the cases between.
fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| now.as_secs() * 100_000)
}

#[test]
fn the_kernel_and_sluice_agree_on_random_rulesets() {
    if !sluice_tests::needs(&["nft"]) {
        return;
    }
    let first = number("SLUICE_ORACLE_SEED").unwrap_or_else(new_seed);
    let count = number("SLUICE_ORACLE_CASES").unwrap_or(60);
    let threads = number("SLUICE_ORACLE_THREADS").unwrap_or(4);
    println!("oracle: {count} rulesets from seed {first}");
    // nft waits for the kernel's grace periods most of the time: several bridges wait at once.
    let (seeds, tally) = (AtomicU64::new(first), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| ask(&seeds, first + count, &tally));
        }
    });
    let tally = tally.into_inner().unwrap();
    println!(
        "seeds from {first}: {} the same ({} frames), {} refused by nft, {} different",
        tally.same,
        tally.frames,
        tally.refused,
        tally.differences.len()
    );
    let all = tally.differences.join("\n----\n");
    assert!(tally.differences.is_empty(), "{all}");
    assert!(
        tally.same * 2 > count,
        "most rulesets are refused by nft: {} of {count}",
        tally.refused
    );
}

/// Family and construct.
type Row = (&'static str, String);

/// What asking about each construct has come to.
#[derive(Debug, Default)]
struct Matrix {
    /// How many rules counted some packet, and how many left some uncounted.
    cells: BTreeMap<Row, (u64, u64)>,
    refusals: BTreeMap<Row, String>,
    different: BTreeSet<Row>,
    differences: Vec<String>,
}

impl Matrix {
    /// Asks about every construct of a family.
    fn of(family: &'static str) -> Self {
        let mut rng = seeded(1);
        let mut groups: Vec<Vec<Sample>> = fields::directed(&mut rng, family);
        for name in names(family) {
            groups.extend((0..TRIES).filter_map(|_| Some(vec![named(&mut rng, name)?])));
        }
        let mut report = Report::new();
        let mut matrix = Self::default();
        for (at, samples) in groups.into_iter().enumerate() {
            matrix.ask(&mut report, family, at as u64, samples);
            if report.differences.len() >= 30 {
                break;
            }
        }
        matrix.differences = report.differences;
        matrix
    }

    /// Asks about those of some samples whose cells are still open.
    fn ask(&mut self, report: &mut Report, family: &'static str, at: u64, samples: Vec<Sample>) {
        let row = |sample: &Sample| (family, sample.construct.clone());
        let open: Vec<Sample> = samples
            .into_iter()
            .filter(|sample| !answered(&row(sample), self.cells.get(&row(sample))))
            // One difference of a construct is enough.
            .filter(|sample| !self.different.contains(&row(sample)))
            .take(24)
            .collect();
        let Some(first) = open.first() else {
            return;
        };
        for sample in &open {
            self.cells.entry(row(sample)).or_default();
        }
        let case = Case::directed(at, family, &open);
        for sample in &open {
            assert!(
                has_misfits(&case, sample),
                "{:?}: nothing cut off",
                row(sample)
            );
        }
        let outcome = match report.verdict(&case) {
            Verdict::Same(outcome) => outcome,
            Verdict::Refused(words) => {
                self.refusals.insert(row(first), words);
                return;
            }
            Verdict::Different(_) => return self.different.extend(open.iter().map(row)),
        };
        let counters = Case::rule_counters(&outcome.listing);
        for (at, sample) in open.iter().enumerate() {
            let cell = self.cells.entry(row(sample)).or_default();
            cell.0 += u64::from(counters[&(at + 1)] > 0);
            cell.1 += u64::from(counters[&(at + 1)] < counters[&0]);
        }
    }

    /// The rows that have not been both hit and missed, each with what nft said of it.
    fn empty(&self) -> Vec<String> {
        let open = self.cells.iter();
        let open = open.filter(|(row, cell)| !answered(row, Some(*cell)));
        open.map(|(row, cell)| {
            let said = self.refusals.get(row).map_or("", |words| words);
            format!("{row:?} {cell:?} {said}")
        })
        .collect()
    }
}

#[test]
fn each_construct_hits_and_misses_in_each_family() {
    if !sluice_tests::needs(&["nft"]) {
        return;
    }
    // nft waits for the kernel most of the time: the families wait at once.
    let parts: Vec<Matrix> = std::thread::scope(|scope| {
        let threads = FAMILIES.map(|family| scope.spawn(move || Matrix::of(family)));
        threads.map(|thread| thread.join().unwrap()).into()
    });
    if std::env::var_os("SLUICE_ORACLE_MATRIX").is_some() {
        for ((family, construct), (hit, miss)) in parts.iter().flat_map(|part| &part.cells) {
            println!("{family:7} {construct:50} hit {hit:5} miss {miss:5}");
        }
    }
    let rows: usize = parts.iter().map(|part| part.cells.len()).sum();
    println!("matrix: {rows} rows");
    let all: Vec<&str> = parts
        .iter()
        .flat_map(|part| &part.differences)
        .map(String::as_str)
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n----\n"));
    let empty: Vec<String> = parts.iter().flat_map(Matrix::empty).collect();
    assert!(empty.is_empty(), "empty cells:\n{}", empty.join("\n"));
}
