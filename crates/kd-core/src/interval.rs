//! The uncertainty of a counted fraction.

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval of the fraction `count / total`; `[0, 1]` for no images.
///
/// `(p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)` (Wilson 1927). Unlike
/// `p +- z sqrt(p (1 - p) / n)` it keeps its width where no image, or every image, counts, as is
/// usual under attack.
pub fn wilson(count: usize, total: usize) -> [f64; 2] {
    if total == 0 {
        return [0.0, 1.0];
    }
    let n = total as f64;
    let p = count.min(total) as f64 / n;
    let scale = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let low = if count == 0 { 0.0 } else { middle - half };
    let high = if count >= total { 1.0 } else { middle + half };
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends from R's `prop.test(k, n, correct = FALSE)`; for 0 of n the upper end is
    /// z^2 / (n + z^2).
    #[test]
    fn intervals_of_known_counts() {
        let close = |[low, high]: [f64; 2], expected: [f64; 2]| {
            (low - expected[0]).abs() < 1e-6 && (high - expected[1]).abs() < 1e-6
        };
        assert!(close(wilson(5, 10), [0.236_593, 0.763_407]));
        assert!(close(wilson(0, 10), [0.0, 3.841_459 / 13.841_459]));
        assert!(close(wilson(10, 10), [10.0 / 13.841_459, 1.0]));
        assert!(close(wilson(0, 0), [0.0, 1.0]));
    }

    #[test]
    fn intervals_hold_their_fraction_and_shrink() {
        for count in 0..=20 {
            let [low, high] = wilson(count, 20);
            let p = count as f64 / 20.0;
            assert!(0.0 <= low && low <= p && p <= high && high <= 1.0);
            let [closer_low, closer_high] = wilson(50 * count, 1000);
            assert!(closer_high - closer_low < high - low);
        }
    }
}
