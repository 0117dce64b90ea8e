//! "did you mean": which known name is near to one that was not found.
//!
//! nft's own distance indexes its matrix with a row that is one too short, so that neighbouring
//! rows overlap, and compares characters one place too far. Which names it suggests follows from
//! that, so both are kept here.

/// The best name so far.
#[derive(Debug)]
pub struct Nearest<T> {
    distance: usize,
    /// What the best name belongs to.
    pub found: Option<T>,
}

impl<T> Default for Nearest<T> {
    fn default() -> Self {
        Self {
            distance: usize::MAX,
            found: None,
        }
    }
}

impl<T> Nearest<T> {
    /// Looks at a name; says whether it is the best so far.
    pub fn offer(&mut self, known: &str, wanted: &str, what: T) -> bool {
        let (longer, shorter) = (known.len().max(wanted.len()), known.len().min(wanted.len()));
        if longer <= 1 {
            return false;
        }
        let threshold = if longer - shorter <= 1 {
            longer.div_ceil(3).max(1)
        } else {
            (longer + 2).div_ceil(3)
        };
        let distance = distance(known.as_bytes(), wanted.as_bytes());
        if distance > threshold || distance >= self.distance {
            return false;
        }
        self.distance = distance;
        self.found = Some(what);
        true
    }
}

fn distance(a: &[u8], b: &[u8]) -> usize {
    let at = |text: &[u8], index: usize| text.get(index).copied().unwrap_or(0);
    let row = b.len();
    let mut cost = vec![0usize; (a.len() + 1) * (b.len() + 1)];
    for i in 0..=a.len() {
        cost[i * row] = i;
    }
    for (j, first) in cost.iter_mut().enumerate().take(b.len() + 1) {
        *first = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(at(a, i) != at(b, j));
            let mut best = (cost[(i - 1) * row + j] + 1)
                .min(cost[i * row + j - 1] + 1)
                .min(cost[(i - 1) * row + j - 1] + change);
            if i > 1 && j > 1 && at(a, i) == at(b, j - 1) && at(a, i - 1) == at(b, j) {
                best = best.min(cost[(i - 2) * row + j - 2] + change);
            }
            cost[i * row + j] = best;
        }
    }
    cost[a.len() * row + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggests(known: &str, wanted: &str) -> bool {
        Nearest::default().offer(known, wanted, ())
    }

    #[test]
    fn suggests_what_nft_suggests() {
        assert!(suggests("x", "yy"));
        assert!(suggests("a", "zz"));
        assert!(suggests("c1", "zz"));
        assert!(suggests("x", "nox"));
        assert!(suggests("x", "foo"));
        assert!(!suggests("x", "y"));
    }
}
