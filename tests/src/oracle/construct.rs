//! The constructs that the oracle asks about: for each a piece of rule text with frames that it
//! is aimed at, hits and misses at its boundaries.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng, seq::IndexedRandom};

use super::declared::DECLARED;
use super::fields;
use super::matches::MATCHES;
use super::options::OPTIONS;
use super::statements::STATEMENTS;
use crate::frames::Frame;

/// A part of a rule, with frames aimed at it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name of the construct, for the matrix.
    pub construct: String,
    /// What has to be declared in the table.
    pub declaration: String,
    /// The text, one or more matches or statements without verdict.
    pub text: String,
    /// Frames just inside and just outside of what it matches.
    pub frames: Vec<Frame>,
}

/// Name, families that see its frames, and what makes the text and the frames.
pub type Construct = (
    &'static str,
    &'static [&'static str],
    fn(&mut SmallRng) -> (String, Vec<Frame>),
);

/// Constructs with nothing declared for them.
fn plain() -> impl Iterator<Item = &'static Construct> {
    MATCHES.iter().chain(OPTIONS).chain(STATEMENTS)
}

/// The names of the constructs of a family, without the comparisons of header fields.
pub fn names(family: &str) -> Vec<&'static str> {
    let plain = plain().map(|(name, families, _)| (*name, *families));
    let declared = DECLARED
        .iter()
        .map(|(name, families, _)| (*name, *families));
    plain
        .chain(declared)
        .filter(|(_, families)| families.contains(&family))
        .map(|(name, _)| name)
        .collect()
}

/// A sample of the construct of this name.
pub fn named(rng: &mut SmallRng, construct: &str) -> Option<Sample> {
    if let Some((name, _, make)) = plain().find(|(name, ..)| *name == construct) {
        let (text, frames) = make(rng);
        return Some(Sample {
            construct: (*name).to_owned(),
            declaration: String::new(),
            text,
            frames,
        });
    }
    let (name, _, make) = DECLARED.iter().find(|(name, ..)| *name == construct)?;
    let free = format!("n{}", rng.random::<u32>());
    let (declaration, text, frames) = make(rng, &free);
    Some(Sample {
        construct: (*name).to_owned(),
        declaration,
        text,
        frames,
    })
}

/// A sample of any construct that a family knows.
pub fn any(rng: &mut SmallRng, family: &str) -> Sample {
    loop {
        let sample = if rng.random_bool(0.4) {
            fields::field(rng, family)
        } else {
            let name = names(family).choose(rng).copied();
            name.and_then(|name| named(rng, name))
        };
        if let Some(sample) = sample {
            return sample;
        }
    }
}

/// A generator of this seed.
pub fn seeded(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}
