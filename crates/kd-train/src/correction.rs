//! Correcting the bias of a class that a student was never shown (Hinton et al. 2015, section 3).
//!
//! A student whose training images lack a class learns too low a bias for it. Adding a constant to
//! that class's logit mends most of it.

use kd_core::argmax;

/// Adds `bias` to the logit of `class` in each row.
pub fn add_bias(logits: &mut [f32], n_classes: usize, class: usize, bias: f64) {
    for row in logits.chunks_exact_mut(n_classes) {
        row[class] += bias as f32;
    }
}

/// The bias for `class` that makes the fewest errors on `labels`, the middle of the widest such
/// interval: chosen on the test set, as Hinton did, it is an upper bound of what a bias can do.
/// Where the class is best given to no row, or to all of them, 1 beyond the last bias that matters.
pub fn tuned_bias(logits: &[f32], labels: &[u32], n_classes: usize, class: usize) -> f64 {
    // With bias b, a row is given to `class` when b exceeds its margin. An image of the class is
    // then right; another one, if right before, is wrong from there on.
    let mut margins: Vec<(f64, i64)> = Vec::new();
    for (row, &label) in logits.chunks_exact(n_classes).zip(labels) {
        let (rival, margin) = margin(row, class);
        let change = match label as usize {
            label if label == class => 1,
            label if label == rival => -1,
            _ => continue,
        };
        margins.push((margin, change));
    }
    margins.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some(&(first, _)), Some(&(last, _))) = (margins.first(), margins.last()) else {
        return 0.0;
    };
    // So that below the first and above the last margin there are intervals as well.
    margins.insert(0, (first - 2.0, 0));
    margins.push((last + 2.0, 0));
    let (mut n_right, mut best, mut interval) = (0, i64::MIN, (0.0, 0.0));
    for pair in margins.windows(2) {
        n_right += pair[0].1;
        let (low, high) = (pair[0].0, pair[1].0);
        let wider = high - low > interval.1 - interval.0;
        if high > low && (n_right > best || (n_right == best && wider)) {
            (best, interval) = (n_right, (low, high));
        }
    }
    (interval.0 + interval.1) / 2.0
}

/// The largest logit of another class, as (class, its lead over `class`).
fn margin(row: &[f32], class: usize) -> (usize, f64) {
    let mut rival = usize::from(class == 0);
    for (k, z) in row.iter().enumerate() {
        if k != class && *z > row[rival] {
            rival = k;
        }
    }
    (rival, f64::from(row[rival]) - f64::from(row[class]))
}

/// The fraction of the rows that are given to `class`.
pub fn frequency(logits: &[f32], n_classes: usize, class: usize) -> f64 {
    let rows = logits.chunks_exact(n_classes);
    let n = rows.len().max(1);
    rows.filter(|row| argmax(row) == class).count() as f64 / n as f64
}

/// The bias for `class` with which it is predicted for the fraction `prior` of the rows: without
/// labels, from the frequency of the class alone.
pub fn matched_bias(logits: &[f32], n_classes: usize, class: usize, prior: f64) -> f64 {
    let mut margins: Vec<f64> =
        logits.chunks_exact(n_classes).map(|row| margin(row, class).1).collect();
    margins.sort_by(f64::total_cmp);
    let n = ((prior * margins.len() as f64).round() as usize).min(margins.len());
    match (n.checked_sub(1).and_then(|i| margins.get(i)), margins.get(n)) {
        (Some(last_in), Some(first_out)) => (last_in + first_out) / 2.0,
        (Some(last_in), None) => last_in + 1.0,
        (None, Some(first_out)) => first_out - 1.0,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "each is exact, or the same division")]
mod tests {
    use super::*;
    use crate::score::score;
    use kd_core::Stream;

    /// Margins of class 1: 2, 4 and 1.
    const LOGITS: [f32; 9] = [3.0, 1.0, 0.0, 4.0, 0.0, 1.0, 0.0, 1.0, 2.0];

    fn n_right(logits: &[f32], labels: &[u32], n_classes: usize, class: usize, bias: f64) -> usize {
        let mut corrected = logits.to_vec();
        add_bias(&mut corrected, n_classes, class, bias);
        score(&corrected, labels, n_classes, None).correct
    }

    #[test]
    fn a_bias_is_added_to_one_class() {
        let mut logits = [1.0, 2.0, 3.0, 4.0];
        add_bias(&mut logits, 2, 1, 0.5);
        assert_eq!(logits, [1.0, 2.5, 3.0, 4.5]);
    }

    #[test]
    fn the_frequency_is_a_fraction_of_the_rows() {
        assert_eq!(frequency(&LOGITS, 3, 0), 2.0 / 3.0);
        assert_eq!(frequency(&LOGITS, 3, 1), 0.0);
        assert_eq!(frequency(&[], 3, 1), 0.0);
    }

    #[test]
    fn the_tuned_bias_lies_in_the_middle_of_the_best_interval() {
        // The second row is right without a bias: from 4 on it would be lost.
        assert_eq!(tuned_bias(&LOGITS, &[1, 0, 1], 3, 1), 3.0);
        // No row is of the class: below the least margin, all that is right stays so.
        assert_eq!(tuned_bias(&LOGITS, &[0, 0, 2], 3, 1), 0.0);
        // All rows are: beyond the largest margin.
        assert_eq!(tuned_bias(&LOGITS, &[1, 1, 1], 3, 1), 5.0);
        // No bias changes anything.
        assert_eq!(tuned_bias(&LOGITS, &[2, 2, 0], 3, 1), 0.0);
    }

    #[test]
    fn the_matched_bias_lies_between_the_rows_that_it_gives_and_leaves() {
        assert_eq!(matched_bias(&LOGITS, 3, 1, 1.0 / 3.0), 1.5);
        assert_eq!(matched_bias(&LOGITS, 3, 1, 2.0 / 3.0), 3.0);
        assert_eq!(matched_bias(&LOGITS, 3, 1, 0.0), 0.0);
        assert_eq!(matched_bias(&LOGITS, 3, 1, 1.0), 5.0);
        assert_eq!(matched_bias(&[], 3, 1, 0.5), 0.0);
    }

    #[test]
    fn no_bias_on_a_grid_is_better_than_the_tuned_one() {
        for case in 0..40 {
            let mut rng = Stream::new(case).rng();
            let n = 1 + rng.below(12) as usize;
            let logits: Vec<f32> = (0..4 * n).map(|_| rng.uniform_in(-3.0, 3.0)).collect();
            let labels: Vec<u32> = (0..n).map(|_| rng.below(4)).collect();
            let class = rng.below(4) as usize;
            let right = |bias| n_right(&logits, &labels, 4, class, bias);
            let tuned = right(tuned_bias(&logits, &labels, 4, class));
            let best = (-800..=800).map(|i| right(f64::from(i) / 100.0)).max().unwrap();
            assert!(tuned >= best, "case {case}: {tuned} right, {best} are possible");
        }
    }

    #[test]
    fn the_matched_bias_gives_the_class_its_share() {
        for case in 0..40 {
            let mut rng = Stream::new(case).at("matched").rng();
            let logits: Vec<f32> = (0..4 * 20).map(|_| rng.uniform_in(-3.0, 3.0)).collect();
            let (class, share) = (rng.below(4) as usize, rng.below(21));
            let mut corrected = logits.clone();
            let prior = f64::from(share) / 20.0;
            add_bias(&mut corrected, 4, class, matched_bias(&logits, 4, class, prior));
            assert_eq!(frequency(&corrected, 4, class), prior, "case {case}");
        }
    }
}
