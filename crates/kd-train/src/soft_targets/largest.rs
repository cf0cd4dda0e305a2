//! The k largest logits of a row as f32, and one number for all others: the logarithm of the mean of
//! their exponentials.
//!
//! Rebuilt, the others share it. Probabilities at T = 1 are then those of FKD's "marginal smoothing"
//! (Shen and Xing 2022, arXiv:2112.01528): the k largest are exact, the rest of the probability is
//! spread evenly. With k = K the logits are the same bits. At other temperatures the sum over the other
//! classes is not kept: at T > 1 it comes out too large, at T < 1 too small, the more so the more unequal
//! those classes are (the tests print by how much). Each row has a checksum over its place and its content:
//! one that is torn or damaged counts as unknown.

use crate::score::log_sum_exp;

/// Bytes of a stored row: a checksum, the others' logit, k times class and logit.
pub(super) fn row_bytes(top_k: usize) -> usize {
    8 + 6 * top_k
}

/// A row of logits in short: checksum, the others' logit, the classes, their logits. Ties go to the class
/// of smaller index.
pub(super) fn pack(top_k: usize, place: usize, row: &[f32]) -> Vec<u8> {
    let mut classes: Vec<u16> = (0..row.len()).map(|k| k as u16).collect();
    let logit = |class: &u16| row[usize::from(*class)];
    let before = |a: &u16, b: &u16| logit(b).total_cmp(&logit(a)).then(a.cmp(b));
    if top_k < classes.len() {
        classes.select_nth_unstable_by(top_k, before);
    }
    let (first, others) = classes.split_at_mut(top_k);
    first.sort_unstable();
    others.sort_unstable();
    let rest: Vec<f32> = others.iter().map(logit).collect();
    let rest = log_sum_exp(&rest) - (rest.len().max(1) as f64).ln();
    let mut content = (rest as f32).to_le_bytes().to_vec();
    content.extend(first.iter().flat_map(|class| class.to_le_bytes()));
    content.extend(first.iter().flat_map(|class| logit(class).to_le_bytes()));
    [&checksum_of(place, &content)[..], &content].concat()
}

/// Writes the logits that [`pack`] made short to `row`; false for a row that is not whole.
pub(super) fn unpack(top_k: usize, place: usize, bytes: &[u8], row: &mut [f32]) -> bool {
    let (checksum, content) = bytes.split_at(4);
    if *checksum != checksum_of(place, content) {
        return false;
    }
    let (rest, top) = content.split_at(4);
    let (classes, logits) = top.split_at(2 * top_k);
    let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    row.fill(float(rest));
    for (class, logit) in classes.chunks_exact(2).zip(logits.chunks_exact(4)) {
        let class = u16::from_le_bytes([class[0], class[1]]);
        let Some(place) = row.get_mut(usize::from(class)) else { return false };
        *place = float(logit);
    }
    true
}

/// Of a row at `place`; never that of the zeros that stand where nothing was written.
fn checksum_of(place: usize, content: &[u8]) -> [u8; 4] {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&(place as u64).to_le_bytes());
    hash.update(content);
    hash.finalize().max(1).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use kd_core::Stream;

    use super::*;

    fn rebuilt(row: &[f32], top_k: usize) -> Vec<f32> {
        let mut out = vec![0.0; row.len()];
        let bytes = pack(top_k, 7, row);
        assert_eq!(bytes.len(), row_bytes(top_k));
        assert!(!unpack(top_k, 8, &bytes, &mut out), "it belongs to place 7");
        assert!(unpack(top_k, 7, &bytes, &mut out));
        out
    }

    fn probs(row: &[f32], temperature: f64) -> Vec<f64> {
        let row: Vec<f32> = row.iter().map(|z| (f64::from(*z) / temperature) as f32).collect();
        let log_sum = log_sum_exp(&row);
        row.iter().map(|z| (f64::from(*z) - log_sum).exp()).collect()
    }

    fn kl(p: &[f64], q: &[f64]) -> f64 {
        p.iter().zip(q).map(|(p, q)| p * (p.max(1e-300) / q).ln()).sum()
    }

    #[test]
    fn all_classes_give_the_same_bits() {
        let mut rng = Stream::new(1).rng();
        let row: Vec<f32> = (0..50).map(|_| 5.0 * rng.normal()).collect();
        assert_eq!(rebuilt(&row, 50), row);
    }

    #[test]
    fn a_row_by_hand() {
        // The others are ln 1 and ln 3: the mean of their exponentials is 2.
        let got = rebuilt(&[0.0, 4.0, 3f32.ln(), 5.0], 2);
        assert_eq!((got[1], got[3]), (4.0, 5.0));
        assert!((got[0] - 2f32.ln()).abs() < 1e-6 && (got[2] - 2f32.ln()).abs() < 1e-6);
        // Of two equal logits the first class is kept.
        assert_eq!(pack(1, 0, &[0.0, 1.0, 1.0])[8..10], [1, 0]);
    }

    /// Rows as a good network's: one class ahead, a few near it, many far behind.
    fn peaked(n: u64) -> Vec<Vec<f32>> {
        let row = |i| {
            let mut rng = Stream::new(2).number(i).rng();
            let mut row: Vec<f32> = (0..1000).map(|_| 1.5 * rng.normal()).collect();
            (0..20).for_each(|k| row[37 * k] += 4.0 + 2.0 * rng.normal());
            row[500] += 14.0;
            row
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn at_temperature_1_the_kept_probabilities_are_exact_and_the_rest_is_spread_evenly() {
        for row in peaked(5) {
            let (p, q) = (probs(&row, 1.0), probs(&rebuilt(&row, 10), 1.0));
            let mut order: Vec<usize> = (0..1000).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let rest: f64 = order[10..].iter().map(|k| p[*k]).sum::<f64>() / 990.0;
            for (i, k) in order.into_iter().enumerate() {
                let want = if i < 10 { p[k] } else { rest };
                assert!((q[k] - want).abs() < 1e-6 * want.max(1e-6), "{} at {i}, {want}", q[k]);
            }
        }
    }

    #[test]
    fn the_error_grows_with_the_temperature_and_shrinks_with_k() {
        println!("KL(exact || rebuilt), nats, mean of 50 rows of 1000 classes");
        let rows = peaked(50);
        let mean = |top_k: usize, temperature: f64| {
            let one = |row: &Vec<f32>| {
                kl(&probs(row, temperature), &probs(&rebuilt(row, top_k), temperature))
            };
            rows.iter().map(one).sum::<f64>() / rows.len() as f64
        };
        for temperature in [0.5, 1.0, 2.0, 4.0, 10.0] {
            let errors = [5, 10, 50, 1000].map(|k| mean(k, temperature));
            let columns = errors.map(|error| format!("{error:9.1e}")).join(" ");
            println!("T = {temperature:4}: {columns} for k = 5, 10, 50, 1000");
            assert!(errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
            assert!(errors[3].abs() < 1e-12);
        }
        assert!(mean(50, 1.0) < 0.02);
    }
}
