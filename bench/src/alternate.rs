//! Contestants in turn: A B C A B C ..., so that a drift of the machine hits all of them alike.

use crate::report::Figure;

/// Runs every contestant once per round and returns the samples of each. The first round warms
/// up and is not counted.
///
/// # Errors
/// With the first error of a contestant.
pub(crate) fn alternate<C>(
    contestants: &mut [C],
    rounds: usize,
    mut run: impl FnMut(&mut C) -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut samples = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..=rounds {
        for (contestant, samples) in contestants.iter_mut().zip(&mut samples) {
            let sample = run(contestant)?;
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    Ok(samples)
}

/// The ratio of two contestants, pair by pair.
pub(crate) fn ratio(samples: &[f64], base: &[f64]) -> Figure {
    let ratios: Vec<f64> = samples
        .iter()
        .zip(base)
        .map(|(sample, base)| sample / base)
        .collect();
    Figure::of(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contestants_take_turns_and_the_first_round_does_not_count() {
        let mut order = Vec::new();
        let samples = alternate(&mut ["a", "b"], 2, |name| {
            order.push(*name);
            Ok(order.len() as f64)
        })
        .unwrap();
        assert_eq!(order, ["a", "b", "a", "b", "a", "b"]);
        assert_eq!(samples, [[3.0, 5.0], [4.0, 6.0]]);
        assert_eq!(ratio(&samples[1], &samples[0]).greatest, 4.0 / 3.0);
    }
}
