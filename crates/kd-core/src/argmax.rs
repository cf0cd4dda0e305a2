//! The prediction.

/// Index of the largest value; the first one among equals, 0 when all are NaN.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (k, value) in row.iter().enumerate() {
        if *value > row[best] || (row[best].is_nan() && !value.is_nan()) {
            best = k;
        }
    }
    best
}
