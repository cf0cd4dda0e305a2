//! The order in which shards are joined.

/// Which of `n` parts, a power of two, is joined with which later one, in order: in the end the first
/// one has all.
pub(crate) fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    let gaps = std::iter::successors(Some(1), |gap| Some(2 * gap)).take_while(move |gap| *gap < n);
    gaps.flat_map(move |gap| (0..n).step_by(2 * gap).map(move |first| (first, first + gap)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_make_a_tree() {
        let tree: Vec<_> = pairs(8).collect();
        assert_eq!(tree, [(0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (4, 6), (0, 4)]);
        assert_eq!(pairs(1).count(), 0);
    }
}
