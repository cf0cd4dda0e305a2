//! Ridge regression (Hoerl, Kennard 1970).

use super::grid::N_KNOWN;

/// What a weight costs: as much as one example whose error it is.
const PENALTY: f64 = 1.0;
/// Rounds over all weights: they come near their limit by a factor in each.
const N_ROUNDS: usize = 500;

type Known = [f64; N_KNOWN];

/// A linear function of what is known.
#[derive(Debug, Clone)]
pub(super) struct Ridge {
    mean: Known,
    /// Standard deviations; 1 where all are the same.
    scale: Known,
    weights: Known,
    offset: f64,
}

impl Ridge {
    /// The least squares of `wanted` with small weights, of standardized numbers:
    /// `sum (y - w x)^2 + PENALTY |w|^2`, one weight after another.
    pub(super) fn fit(known: &[Known], wanted: &[f64]) -> Self {
        let n = known.len().max(1) as f64;
        let column = |i: usize| known.iter().map(move |row| row[i]);
        let mean: Known = std::array::from_fn(|i| column(i).sum::<f64>() / n);
        let scale: Known = std::array::from_fn(|i| {
            let variance = column(i).map(|x| (x - mean[i]).powi(2)).sum::<f64>() / n;
            if variance > 1e-18 { variance.sqrt() } else { 1.0 }
        });
        let offset = wanted.iter().sum::<f64>() / n;
        let mut fitted = Self { mean, scale, weights: [0.0; N_KNOWN], offset };
        let rows: Vec<Known> = known.iter().map(|row| fitted.standardized(row)).collect();
        let mut errors: Vec<f64> = wanted.iter().map(|y| y - offset).collect();
        for i in (0..N_ROUNDS).flat_map(|_| 0..N_KNOWN) {
            let weight = fitted.weights[i];
            let along: f64 =
                rows.iter().zip(&errors).map(|(x, e)| x[i] * (e + weight * x[i])).sum();
            let new = along / (rows.iter().map(|x| x[i] * x[i]).sum::<f64>() + PENALTY);
            rows.iter().zip(&mut errors).for_each(|(x, e)| *e -= (new - weight) * x[i]);
            fitted.weights[i] = new;
        }
        fitted
    }

    pub(super) fn predict(&self, known: &Known) -> f64 {
        let x = self.standardized(known);
        self.offset + x.iter().zip(&self.weights).map(|(x, w)| x * w).sum::<f64>()
    }

    fn standardized(&self, known: &Known) -> Known {
        std::array::from_fn(|i| (known[i] - self.mean[i]) / self.scale[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize) -> Vec<Known> {
        let value = |row: usize, i: usize| ((row * 7 + i * i * 5 + row * i * 3) % 11) as f64;
        (0..n).map(|row| std::array::from_fn(|i| value(row, i))).collect()
    }

    #[test]
    fn a_linear_function_is_found() {
        let (rows, f) = (rows(4000), |x: &Known| 3.0 + 0.5 * x[1] - 2.0 * x[4]);
        let fitted = Ridge::fit(&rows, &rows.iter().map(f).collect::<Vec<_>>());
        for row in &rows[..50] {
            assert!(
                (fitted.predict(row) - f(row)).abs() < 0.02,
                "{}",
                fitted.predict(row) - f(row)
            );
        }
    }

    /// Of one number, the weight is `sum x y / (sum x^2 + 1)`.
    #[test]
    fn few_examples_have_small_weights() {
        let row = |x: f64| [x, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let fitted = Ridge::fit(&[row(-1.0), row(1.0)], &[-3.0, 3.0]);
        assert!((fitted.predict(&row(1.0)) - 3.0 * 2.0 / 3.0).abs() < 1e-12);
        let none = Ridge::fit(&[], &[]);
        assert!(none.predict(&row(1.0)).abs() < 1e-12);
    }
}
