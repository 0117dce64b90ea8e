//! Both sides, their differences, and the smallest case that still shows one.

use super::conversation::Said;
use super::generate::Case;
use super::kernel::{KernelBridge, Outcome};
use super::sluice;

/// What came of one case.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Both sides did the same; with the kernel's outcome.
    Same(Outcome),
    /// nft refused the ruleset, and so did sluice, or it is one of the things that sluice takes
    /// and nft does not.
    Refused(String),
    /// A difference, in words.
    Different(String),
}

/// Sends one case through both sides.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn compare(kernel: &KernelBridge, case: &Case) -> std::io::Result<Verdict> {
    let (ruleset, frames) = (case.ruleset(), case.bytes());
    let judged = match kernel.judge(&ruleset, &frames) {
        Ok(outcome) => outcome,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Ok(Verdict::Refused(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    Ok(judged_by(
        &ruleset,
        judged,
        sluice::judge(&ruleset, &frames),
    ))
}

/// Plays a conversation through both sides.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn compare_conversation(
    kernel: &KernelBridge,
    ruleset: &str,
    conversation: &[Said],
) -> std::io::Result<Verdict> {
    let judged = match kernel.converse(ruleset, conversation) {
        Ok(outcome) => outcome,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Ok(Verdict::Refused(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let ours = sluice::converse(ruleset, conversation);
    Ok(judged_by(ruleset, judged, ours))
}

fn judged_by(ruleset: &str, judged: Outcome, ours: Result<Outcome, String>) -> Verdict {
    match ours {
        Err(refusal) => {
            Verdict::Different(format!("sluice refuses what the kernel takes:\n{refusal}"))
        }
        Ok(ours) => match difference(ruleset, judged.clone(), ours) {
            None => Verdict::Same(judged),
            Some(words) => Verdict::Different(words),
        },
    }
}

/// The first difference, in words.
fn difference(ruleset: &str, mut kernel: Outcome, mut ours: Outcome) -> Option<String> {
    // Frames that a rule makes leave behind the batch that made them.
    if ["dup to ", "fwd to ", "reject"]
        .iter()
        .any(|word| ruleset.contains(word))
    {
        for side in [&mut kernel, &mut ours] {
            side.right.sort();
            side.left.sort();
        }
    }
    for (side, kernel, ours) in [
        ("right", &kernel.right, &ours.right),
        ("left", &kernel.left, &ours.left),
    ] {
        for (at, (theirs, ours)) in kernel.iter().zip(ours).enumerate() {
            if theirs != ours {
                return Some(format!(
                    "frame {at} out at the {side} differs\n kernel {}\n sluice {}",
                    hex(theirs),
                    hex(ours)
                ));
            }
        }
        if kernel.len() != ours.len() {
            return Some(format!(
                "{side}: kernel sends {} frames, sluice {}",
                kernel.len(),
                ours.len()
            ));
        }
    }
    if kernel.counters != ours.counters {
        return Some(format!(
            "counters differ\n kernel {:?}\n sluice {:?}",
            kernel.counters, ours.counters
        ));
    }
    let again = ours.again.as_deref().unwrap_or(&ours.listing);
    line_difference("nft", &kernel.listing, &ours.listing)
        // nft lists sets of flags in another order when it has loaded its own listing.
        .or_else(|| line_difference("listed first", &in_order(&ours.listing), &in_order(again)))
}

/// A listing with the elements of each set in the order of their texts.
fn in_order(listing: &str) -> String {
    let sorted = |line: &str| {
        let (Some(begin), Some(end)) = (line.find('{'), line.rfind('}')) else {
            return line.to_owned();
        };
        let mut elements: Vec<&str> = line[begin + 1..end].split(',').map(str::trim).collect();
        elements.sort_unstable();
        format!("{}{}{}", &line[..begin], elements.join(","), &line[end..])
    };
    listing.lines().map(sorted).collect::<Vec<_>>().join("\n")
}

/// The first line in which two listings differ; how long elements have left is not compared.
fn line_difference(one: &str, left: &str, right: &str) -> Option<String> {
    let (left, right) = (without_expiry(left), without_expiry(right));
    let mut sides = (left.lines(), right.lines());
    loop {
        match (sides.0.next(), sides.1.next()) {
            (None, None) => return None,
            (theirs, ours) if theirs == ours => {}
            // How nft 1.0.6 lists masks and prefixes of extension headers (docs/compatibility.md, 19).
            (Some(theirs), Some(_)) if theirs.contains(" unknown ") => {}
            (theirs, ours) => {
                return Some(format!(
                    "listings differ\n {one} {}\n sluice {}",
                    theirs.unwrap_or("(ends)"),
                    ours.unwrap_or("(ends)")
                ));
            }
        }
    }
}

fn without_expiry(listing: &str) -> String {
    let mut parts = listing.split(" expires ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let behind = part.find([' ', ',', '\n']).unwrap_or(part.len());
        text.push_str(&part[behind..]);
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes rules, chains, tables and frames away as long as the difference remains.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn shrink(kernel: &KernelBridge, case: &Case) -> std::io::Result<Case> {
    let mut least = case.clone();
    loop {
        let mut smaller = None;
        for candidate in candidates(&least) {
            if matches!(compare(kernel, &candidate)?, Verdict::Different(_)) {
                smaller = Some(candidate);
                break;
            }
        }
        match smaller {
            Some(case) => least = case,
            None => return Ok(least),
        }
    }
}

/// Cases with one thing less, large steps first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    let half = case.frames.len() / 2;
    if half > 0 {
        for range in [0..half, half..case.frames.len()] {
            candidates.push(Case {
                frames: case.frames[range].to_vec(),
                ..case.clone()
            });
        }
    }
    for table in 0..case.tables.len() {
        let mut less = case.clone();
        less.tables.remove(table);
        candidates.push(less);
        for declaration in 0..case.tables[table].declarations.len() {
            let mut less = case.clone();
            less.tables[table].declarations.remove(declaration);
            candidates.push(less);
        }
        for chain in 0..case.tables[table].chains.len() {
            let mut less = case.clone();
            less.tables[table].chains.remove(chain);
            candidates.push(less);
            for rule in 0..case.tables[table].chains[chain].rules.len() {
                let mut less = case.clone();
                less.tables[table].chains[chain].rules.remove(rule);
                candidates.push(less);
            }
        }
    }
    if case.frames.len() <= 8 {
        for frame in 0..case.frames.len() {
            let mut less = case.clone();
            less.frames.remove(frame);
            candidates.push(less);
        }
    }
    candidates
}
