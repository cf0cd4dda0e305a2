//! A teacher's soft targets in short, kept in a file.
//!
//! Key decision: of each row of logits the k largest are stored, and one number for all others:
//! the logarithm of the mean of their exponentials. Rebuilt, the others share it. Probabilities at
//! T = 1 are then those of FKD's "marginal smoothing" (Shen and Xing 2022, arXiv:2112.01528): the k
//! largest are exact, the rest of the probability is spread evenly. With k = K the logits are the
//! same bits. At other temperatures the sum over the other classes is not kept: at T > 1 it comes
//! out too large, at T < 1 too small, the more so the more unequal those classes are (the tests
//! print by how much). Logits are stored as f32: as f16 they would take a third less space, and
//! would no longer be exact.

mod file;

use std::path::Path;

use kd_core::{BatchSource, Error, Result};
use serde::{Deserialize, Serialize};

use crate::score::log_sum_exp;
pub(crate) use file::TargetFile;

/// Keeps a teacher's logits on stored versions of the training images, in short, so that it
/// computes each of them once for all trainings that see the same images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftTargets {
    /// Classes whose logits are stored, the largest of each row: k, between 1 and K.
    pub top_k: usize,
}

/// Where soft targets are kept, and whose they are.
#[derive(Debug, Clone, Copy)]
pub struct SoftTargetStore<'a> {
    /// What is kept.
    pub targets: SoftTargets,
    /// Folder of the file; its name is a digest of everything below.
    pub folder: &'a Path,
    /// What decides the teacher's logits besides its weights (which are digested here) and the
    /// number of images, versions and classes: the data set's files, which of their images in
    /// which order, augmentation, the teacher's network, the device.
    pub identity: &'a str,
}

impl SoftTargets {
    /// Bytes of the file for `n_rows` rows, one for each version of each image.
    pub fn n_bytes(self, n_rows: usize) -> u64 {
        (n_rows as u64).saturating_mul(self.row_bytes() as u64)
    }

    /// Versions of each image of `source` that are stored.
    ///
    /// # Errors
    /// [`Error::Config`] when they are without number, or when k is not between 1 and K.
    pub fn n_views(self, source: &dyn BatchSource) -> Result<usize> {
        self.check(source.n_classes())?;
        source.n_views().ok_or_else(|| {
            let reason = "every epoch shows other versions of the images; store some by \
                          `augment.resized_crop.n_views`";
            Error::config("soft_targets", reason)
        })
    }

    /// Refuses a `top_k` that does not suit K classes.
    fn check(self, n_classes: usize) -> Result<()> {
        let field = "soft_targets.top_k";
        if !(1..=n_classes).contains(&self.top_k) {
            let reason = format!("{} is not between 1 and the {n_classes} classes", self.top_k);
            return Err(Error::config(field, reason));
        }
        if n_classes > 1 << 16 {
            return Err(Error::config(
                field,
                format!("{n_classes} classes are too many to number"),
            ));
        }
        Ok(())
    }

    /// Bytes of a stored row: a checksum, the others' logit, k times class and logit.
    fn row_bytes(self) -> usize {
        8 + 6 * self.top_k
    }

    /// A row of logits in short, without its checksum: the others' logit, the classes, their
    /// logits. Ties go to the class of smaller index.
    fn pack(self, row: &[f32]) -> Vec<u8> {
        let mut classes: Vec<u16> = (0..row.len()).map(|k| k as u16).collect();
        let logit = |class: &u16| row[usize::from(*class)];
        let before = |a: &u16, b: &u16| logit(b).total_cmp(&logit(a)).then(a.cmp(b));
        if self.top_k < classes.len() {
            classes.select_nth_unstable_by(self.top_k, before);
        }
        let (first, others) = classes.split_at_mut(self.top_k);
        first.sort_unstable();
        others.sort_unstable();
        let rest: Vec<f32> = others.iter().map(logit).collect();
        let rest = log_sum_exp(&rest) - (rest.len().max(1) as f64).ln();
        let mut bytes = (rest as f32).to_le_bytes().to_vec();
        bytes.extend(first.iter().flat_map(|class| class.to_le_bytes()));
        bytes.extend(first.iter().flat_map(|class| logit(class).to_le_bytes()));
        bytes
    }

    /// Writes the logits that [`SoftTargets::pack`] made short to `row`; false when a class is
    /// none of the row's.
    fn unpack(self, bytes: &[u8], row: &mut [f32]) -> bool {
        let (rest, top) = bytes.split_at(4);
        let (classes, logits) = top.split_at(2 * self.top_k);
        let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        row.fill(float(rest));
        for (class, logit) in classes.chunks_exact(2).zip(logits.chunks_exact(4)) {
            let class = u16::from_le_bytes([class[0], class[1]]);
            let Some(place) = row.get_mut(usize::from(class)) else { return false };
            *place = float(logit);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use kd_core::Stream;

    use super::*;

    fn rebuilt(row: &[f32], top_k: usize) -> Vec<f32> {
        let targets = SoftTargets { top_k };
        let mut out = vec![0.0; row.len()];
        let bytes = targets.pack(row);
        assert_eq!(bytes.len() + 4, targets.row_bytes());
        assert!(targets.unpack(&bytes, &mut out));
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
        let bytes = SoftTargets { top_k: 1 }.pack(&[0.0, 1.0, 1.0]);
        assert_eq!(bytes[4..6], [1, 0]);
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

    #[test]
    fn settings_that_do_not_suit_the_classes_are_refused() {
        let check = |top_k, n_classes| SoftTargets { top_k }.check(n_classes);
        assert!(check(1, 10).is_ok() && check(10, 10).is_ok());
        for (top_k, n_classes) in [(0, 10), (11, 10), (5, 70_000)] {
            assert!(matches!(check(top_k, n_classes), Err(Error::Config { .. })));
        }
    }
}
