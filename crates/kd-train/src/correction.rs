//! Correcting the bias of a class that a student was never shown (Hinton et al. 2015, section 3).
//!
//! A student whose training images lack a class learns too low a bias for it. Adding a constant to
//! that class's logit mends most of it.

use crate::evaluate::argmax;

/// Adds `bias` to the logit of `class` in each row.
pub fn add_bias(logits: &mut [f32], n_classes: usize, class: usize, bias: f64) {
    for row in logits.chunks_exact_mut(n_classes) {
        row[class] += bias as f32;
    }
}

/// The bias for `class` that makes the fewest errors on `labels`, the middle of the widest such
/// interval: chosen on the test set, as Hinton did, it is an upper bound of what a bias can do.
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
