//! A row of K logits in K bytes.
//!
//! Objectives see logits through a softmax, which a shift of the whole row does not change: what counts is
//! the gap `g_k = max_j z_j - z_k`. Byte `255 - c` stands for the gap `2^(8 c / 254) - 1`, of `c` from 0 to
//! 254: steps of 0.02 at the top, each wider by 2.2 % than the one before, up to 255. Rounded, a gap `g` is
//! off by at most `r (1 + g)`, `r = 2^(4/254) - 1 = 0.011`: small where a probability is large, and in
//! proportion to the gap where it is not, so that it serves all temperatures; that of the objective need not be
//! known when a row is stored. With `q` the probabilities at T, their logits `z / T` are off by
//! `e_k <= r (1 + g_k) / T`, and to first order `sum_k |dq_k| <= 2 sum_k q_k e_k <= 2 r (1 / T + H(q))`, since
//! `E_q[g / T] = H(q) + log max q`; errors of both signs leave a quarter of that, which the tests print.
//!
//! No byte of a stored row is 0 and one at least is 255: rows that were never written, or of which a part
//! was, are told without a checksum or a scale, and two classes take no more than a byte each, as a
//! thousand do.

use std::sync::LazyLock;

/// Steps between the least gap and the largest.
const N_STEPS: f64 = 254.0;
/// log2 of one more than the largest gap.
const LOG_RANGE: f64 = 8.0;

/// The logit for each byte, where the largest of a row is 0.
static LOGITS: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let step = (255 - byte) as f64;
        (1.0 - (step * LOG_RANGE / N_STEPS).exp2()) as f32
    })
});

/// The row in bytes.
pub(super) fn pack(row: &[f32]) -> Vec<u8> {
    let max = row.iter().fold(f32::NEG_INFINITY, |max, z| max.max(*z));
    let byte = |z: &f32| {
        let gap = f64::from(max) - f64::from(*z);
        if gap.is_nan() {
            // The byte that no whole row has.
            return 0;
        }
        let step = ((1.0 + gap).log2() * (N_STEPS / LOG_RANGE)).round();
        (255.0 - step.min(N_STEPS)) as u8
    };
    row.iter().map(byte).collect()
}

/// Writes the logits for `bytes` to `row`; false, and nothing written, where they are no whole row.
pub(super) fn unpack(bytes: &[u8], row: &mut [f32]) -> bool {
    let is_whole = bytes.contains(&255) && !bytes.contains(&0);
    if is_whole {
        row.iter_mut().zip(bytes).for_each(|(z, byte)| *z = LOGITS[usize::from(*byte)]);
    }
    is_whole
}

#[cfg(test)]
mod tests {
    use kd_core::{Stream, argmax};

    use super::*;

    fn rebuilt(row: &[f32]) -> Vec<f32> {
        let (bytes, mut out) = (pack(row), vec![f32::NAN; row.len()]);
        assert_eq!(bytes.len(), row.len());
        assert!(unpack(&bytes, &mut out), "{row:?}");
        out
    }

    fn probs(row: &[f32], temperature: f64) -> Vec<f64> {
        let max = row.iter().fold(f32::NEG_INFINITY, |max, z| max.max(*z));
        let exp = |z: &f32| ((f64::from(*z) - f64::from(max)) / temperature).exp();
        let sum: f64 = row.iter().map(exp).sum();
        row.iter().map(|z| exp(z) / sum).collect()
    }

    #[test]
    fn a_row_by_hand() {
        // Gaps 0, 1 = 2^(8 * 31.75 / 254) - 1, 3 and more than there is.
        assert_eq!(pack(&[7.0, 6.0, 4.0, -1000.0]), [255, 223, 191, 1]);
        let row = rebuilt(&[7.0, 6.0, 4.0, -1000.0]);
        let want =
            [0.0, 1.0 - 2f64.powf(32.0 * 8.0 / 254.0), 1.0 - 2f64.powf(64.0 * 8.0 / 254.0), -255.0];
        for (got, want) in row.iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "{got}, want {want}");
        }
        assert_eq!(pack(&rebuilt(&[7.0, 6.0, 4.0, -3.0])), pack(&[7.0, 6.0, 4.0, -3.0]));
    }

    #[test]
    fn rows_that_are_not_whole_are_unknown() {
        let mut row = [1.0f32; 3];
        for bytes in [[0, 0, 0], [255, 0, 0], [255, 7, 0], [254, 7, 9]] {
            assert!(!unpack(&bytes, &mut row), "{bytes:?}");
        }
        assert_eq!(row.to_vec(), vec![1.0; 3]);
        for bad in [[f32::NAN, 1.0], [f32::INFINITY, 1.0], [f32::NAN, f32::NAN]] {
            assert!(!unpack(&pack(&bad), &mut row[..2]), "{bad:?}");
        }
        assert!(unpack(&pack(&[f32::NEG_INFINITY, 1.0]), &mut row[..2]));
    }

    #[test]
    fn every_gap_is_off_by_no_more_than_a_share_of_it() {
        let r = 2f64.powf(4.0 / 254.0) - 1.0;
        for i in 0..=25_500 {
            let gap = f64::from(i) / 100.0;
            let off = (-f64::from(rebuilt(&[0.0, -gap as f32])[1]) - gap).abs();
            assert!(off <= r * (1.0 + gap) + 1e-5, "{gap}: {off}");
        }
    }

    /// Rows of K logits: all near each other, one ahead, and far apart.
    fn rows(n_classes: usize) -> Vec<Vec<f32>> {
        let row = |i: u64| -> Vec<f32> {
            let mut rng = Stream::new(3).number(i).rng();
            let scale = [0.3, 1.0, 3.0, 10.0][(i % 4) as usize];
            let mut row: Vec<f32> = (0..n_classes).map(|_| scale * rng.normal()).collect();
            row[(i % n_classes as u64) as usize] += [0.0, 2.0, 8.0][(i % 3) as usize];
            row
        };
        (0..400).map(row).collect()
    }

    #[test]
    fn no_probability_of_random_rows_changes_by_much_at_any_temperature() {
        println!("largest change of a probability, and mean KL in nats, over 400 rows");
        let r = 2f64.powf(4.0 / 254.0) - 1.0;
        for n_classes in [2, 10, 100, 1000] {
            for temperature in [1.0, 2.0, 4.0, 10.0, 20.0] {
                let (mut worst, mut divergence) = (0f64, 0.0);
                for row in rows(n_classes) {
                    let (p, q) = (probs(&row, temperature), probs(&rebuilt(&row), temperature));
                    let change: Vec<f64> = p.iter().zip(&q).map(|(p, q)| (p - q).abs()).collect();
                    let entropy: f64 = p.iter().map(|p| -p * p.max(1e-300).ln()).sum();
                    let bound = 2.0 * r * (1.0 / temperature + entropy);
                    assert!(
                        change.iter().sum::<f64>() <= 1.02 * bound,
                        "{n_classes} at {temperature}"
                    );
                    worst = change.into_iter().fold(worst, f64::max);
                    let one = |(p, q): (&f64, &f64)| p * (p.max(1e-300) / q.max(1e-300)).ln();
                    divergence += p.iter().zip(&q).map(one).sum::<f64>() / 400.0;
                }
                println!("K = {n_classes:4}, T = {temperature:2}: {worst:.4} {divergence:.1e}");
                assert!(worst < 0.006 && divergence < 3e-4, "{n_classes} at {temperature}");
            }
        }
    }

    #[test]
    fn the_bound_holds_where_all_errors_have_one_sign() {
        let r = 2f64.powf(4.0 / 254.0) - 1.0;
        for n_classes in [2, 10, 1000] {
            for i in 0..200u16 {
                let mut row = vec![-f32::from(i) / 20.0; n_classes];
                row[0] = 0.0;
                let (p, q) = (probs(&row, 1.0), probs(&rebuilt(&row), 1.0));
                let change: f64 = p.iter().zip(&q).map(|(p, q)| (p - q).abs()).sum();
                let entropy: f64 = p.iter().map(|p| -p * p.max(1e-300).ln()).sum();
                assert!(change <= 1.02 * 2.0 * r * (1.0 + entropy), "{n_classes} at {i}: {change}");
            }
        }
    }

    #[test]
    fn the_prediction_stays_where_it_is_not_a_matter_of_a_hundredth() {
        for row in rows(10) {
            let best = argmax(&row);
            let second = (0..10).filter(|k| *k != best).map(|k| row[k]).fold(f32::MIN, f32::max);
            if row[best] - second > 0.011 {
                assert_eq!(argmax(&rebuilt(&row)), best);
            }
        }
    }
}
