//! "did you mean": the nearest known name, by nft's measure.

/// The candidate nearest to `word`, if one is near enough; the first of several.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let (a, b) = (word.as_bytes(), candidate.as_bytes());
        let (longer, shorter) = (a.len().max(b.len()), a.len().min(b.len()));
        // Names are short; nothing that long is a slip of the finger, and the measure is quadratic.
        if longer <= 1 || longer > 128 {
            continue;
        }
        let threshold = if longer - shorter <= 1 {
            longer.div_ceil(3).max(1)
        } else {
            (longer + 2).div_ceil(3)
        };
        let distance = distance(a, b);
        if distance <= threshold && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        assert_eq!(nearest("fop", ["foo", "bar"]), Some("foo"));
        assert_eq!(nearest("inptu", ["output", "input"]), Some("input"));
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("something", ["else"]), None);
    }
}
