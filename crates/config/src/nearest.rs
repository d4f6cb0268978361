//! Owns what somebody may have meant: the known word that is nearest to one that is not known.

/// No key or name is so long, nor meant by what is longer: the cost of comparing grows with the length.
const WORD_MOST: usize = 64;

/// So many places of all words are compared: whoever asks for a name among 100,000 must not hold up who answers for milliseconds.
const PLACES_MOST: usize = 2_000_000;

/// The nearest of the known words, if it is near. None too where there are too many to compare: some thousands. Cost: known words times the
/// square of their length.
#[must_use]
pub fn nearest<'k>(known: impl IntoIterator<Item = &'k str>, word: &str) -> Option<&'k str> {
    if word.len() > WORD_MOST {
        return None;
    }
    let mut places = 0;
    let mut best = None;
    for known in known.into_iter().filter(|known| known.len() <= WORD_MOST) {
        places += (known.len() + 1) * (word.len() + 1);
        if places > PLACES_MOST {
            return None;
        }
        let this = (distance(known, word), known);
        best = Some(best.map_or(this, |best| this.min(best)));
    }
    let (distance, nearest) = best?;
    (distance <= 1 + word.len() / 4).then_some(nearest)
}

/// Edits from one word to another: insertions, deletions, replacements, swaps of neighbours (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for at in 1..=one.len() {
        let mut row = vec![at];
        for to in 1..=other.len() {
            let same = usize::from(one[at - 1] != other[to - 1]);
            let mut best = (rows[at - 1][to] + 1)
                .min(row[to - 1] + 1)
                .min(rows[at - 1][to - 1] + same);
            if at > 1 && to > 1 && one[at - 1] == other[to - 2] && one[at - 2] == other[to - 1] {
                best = best.min(rows[at - 2][to - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_near_is_meant_unless_too_many_may_be() {
        assert_eq!(nearest(["weight", "zone"], "wieght"), Some("weight"));
        assert_eq!(nearest(["weight", "zone"], "policy"), None);
        let names =
            |count: usize| -> Vec<String> { (0..count).map(|at| format!("{at:060}")).collect() };
        let meant =
            |names: &[String]| nearest(names.iter().map(|one| &**one), &"0".repeat(61)).is_some();
        // 61 by 62 places for each.
        assert!(meant(&names(528)) && !meant(&names(529)));
    }
}
