//! Evaluation: accuracy, likelihood, calibration, confusion, agreement.

use kd_core::record::Evaluation;
use kd_core::{Batch, BatchSource, Classifier, Mode, Result, argmax};
use rayon::prelude::*;

/// Images to evaluate on, assembled once.
#[derive(Debug)]
pub struct EvalSet {
    batches: Vec<Batch>,
    labels: Vec<u32>,
    n_classes: usize,
}

impl EvalSet {
    /// Images of one forward pass: so few that a convolution's output stays near the processor.
    const BATCH_SIZE: usize = 100;

    /// All images of `source`, in the order of its epoch 0.
    ///
    /// # Errors
    /// Whatever `source` reports.
    pub fn new(source: &dyn BatchSource) -> Result<Self> {
        let order = source.order(0);
        let batches = order.chunks(Self::BATCH_SIZE).map(|indices| source.batch(0, indices));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let mut labels = Vec::with_capacity(order.len());
        for batch in &batches {
            labels.extend(batch.labels.to_vec1::<u32>()?);
        }
        Ok(Self { batches, labels, n_classes: source.n_classes() })
    }

    /// The labels of all images.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Number of classes, K.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// The logits of all images, `(N, K)` row-major; one batch a thread, which takes fewer waits
    /// than sharing each batch's operations. An image's logits do not depend on its batch.
    ///
    /// # Errors
    /// Whatever the network reports.
    pub fn logits(&self, model: &dyn Classifier) -> Result<Vec<f32>> {
        let mut logits = Vec::with_capacity(self.labels.len() * self.n_classes);
        let forward = |batch: &Batch| -> Result<Vec<f32>> {
            let output = model.forward(&batch.images, Mode::Eval)?;
            Ok(output.flatten_all()?.to_vec1::<f32>()?)
        };
        for batches in self.batches.chunks(rayon::current_num_threads()) {
            let parts = batches.par_iter().map(forward).collect::<Result<Vec<_>>>()?;
            parts.into_iter().for_each(|part| logits.extend(part));
        }
        Ok(logits)
    }

    /// How `model` does on these images. With `teacher`, the teacher's predictions on them, also
    /// how often the two agree.
    ///
    /// # Errors
    /// Whatever the network reports.
    pub fn evaluate(&self, model: &dyn Classifier, teacher: Option<&[u32]>) -> Result<Evaluation> {
        Ok(score(&self.logits(model)?, &self.labels, self.n_classes, teacher))
    }

    /// The class that `model` predicts for each image.
    ///
    /// # Errors
    /// Whatever the network reports.
    pub fn predictions(&self, model: &dyn Classifier) -> Result<Vec<u32>> {
        let logits = self.logits(model)?;
        Ok(logits.chunks_exact(self.n_classes).map(|row| argmax(row) as u32).collect())
    }
}

/// The logits of all images of `source`, in the order of its epoch 0, `(N, K)` row-major; batch by
/// batch, for sets that are looked at once.
///
/// # Errors
/// Whatever data and network report.
pub fn logits(model: &dyn Classifier, source: &dyn BatchSource) -> Result<Vec<f32>> {
    let mut logits = Vec::with_capacity(source.n_samples() * source.n_classes());
    for indices in source.order(0).chunks(EvalSet::BATCH_SIZE) {
        let batch = source.batch(0, indices)?;
        let output = model.forward(&batch.images, Mode::Eval)?;
        logits.extend(output.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(logits)
}

/// Number of bins of confidence for the expected calibration error.
const N_BINS: usize = 15;

/// Scores `logits`, `(N, K)` row-major, against `labels` below K.
///
/// Ties go to the class of smaller index, for the prediction and for the five largest alike.
pub fn score(
    logits: &[f32],
    labels: &[u32],
    n_classes: usize,
    teacher: Option<&[u32]>,
) -> Evaluation {
    let total = labels.len();
    let mut confusion = vec![vec![0; n_classes]; n_classes];
    let (mut n_top5, mut n_agree, mut nll) = (0, 0, 0.0);
    let mut bins = [(0.0, 0.0); N_BINS];
    for (i, (row, &label)) in logits.chunks_exact(n_classes).zip(labels).enumerate() {
        let (label, prediction) = (label as usize, argmax(row));
        let log_sum = log_sum_exp(row);
        let confidence = (f64::from(row[prediction]) - log_sum).exp();
        confusion[label][prediction] += 1;
        n_top5 += usize::from(rank(row, label) < 5);
        nll += log_sum - f64::from(row[label]);
        let bin = &mut bins[bin(confidence)];
        bin.0 += confidence;
        bin.1 += f64::from(u8::from(prediction == label));
        n_agree += usize::from(teacher.is_some_and(|t| t.get(i) == Some(&(prediction as u32))));
    }
    let fraction = |n: usize| n as f64 / total.max(1) as f64;
    let correct = (0..n_classes).map(|k| confusion[k][k]).sum();
    Evaluation {
        total,
        correct,
        top1: fraction(correct),
        top5: fraction(n_top5),
        nll: nll / total.max(1) as f64,
        ece: bins.iter().map(|(c, a)| (c - a).abs()).sum::<f64>() / total.max(1) as f64,
        confusion,
        agreement: teacher.map(|_| fraction(n_agree)),
    }
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let max = row.iter().fold(f64::NEG_INFINITY, |max, &z| max.max(f64::from(z)));
    max + row.iter().map(|&z| (f64::from(z) - max).exp()).sum::<f64>().ln()
}

/// The bin of a confidence in (0, 1]: `(m / 15, (m + 1) / 15]`, as in Guo et al. 2017.
fn bin(confidence: f64) -> usize {
    ((confidence * N_BINS as f64).ceil() as usize).clamp(1, N_BINS) - 1
}

/// How many classes come before `label`.
fn rank(row: &[f32], label: usize) -> usize {
    let before = |(k, z): (usize, &f32)| *z > row[label] || (*z >= row[label] && k < label);
    row.iter().enumerate().filter(|&entry| before(entry)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn numbers(value: &Value) -> Vec<f64> {
        match value {
            Value::Array(items) => items.iter().flat_map(numbers).collect(),
            other => vec![other.as_f64().unwrap()],
        }
    }

    #[test]
    fn scores_equal_the_golden_values() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/metrics.json");
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let floats =
            |key: &str| numbers(&golden[key]).iter().map(|&x| x as f32).collect::<Vec<_>>();
        let labels: Vec<u32> = numbers(&golden["labels"]).iter().map(|&x| x as u32).collect();
        let teacher: Vec<u32> =
            floats("other_logits").chunks(6).map(|row| argmax(row) as u32).collect();
        let got = score(&floats("logits"), &labels, 6, Some(&teacher));
        let close = |got: f64, want: &Value| {
            assert!((got - want.as_f64().unwrap()).abs() < 1e-6, "{got}, want {want}");
        };
        close(got.top1, &golden["top1"]);
        close(got.top5, &golden["top5"]);
        close(got.nll, &golden["nll"]);
        close(got.ece, &golden["calibration"]["ece"]);
        close(got.agreement.unwrap(), &golden["agreement"]);
        let confusion: Vec<f64> = got.confusion.iter().flatten().map(|&n| n as f64).collect();
        assert_eq!(confusion, numbers(&golden["confusion"]));
    }

    #[test]
    fn extreme_and_broken_logits_do_not_panic() {
        let big = score(&[1e4, -1e4, -1e4, 1e4], &[0, 0], 2, None);
        assert_eq!((big.correct, big.nll), (1, 1e4));
        let broken = score(&[f32::NAN, f32::NAN], &[1], 2, None);
        assert!(broken.nll.is_nan() && broken.correct == 0);
        assert_eq!(score(&[], &[], 3, None).total, 0);
    }
}
