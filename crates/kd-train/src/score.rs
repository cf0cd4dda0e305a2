//! Scores: accuracy, likelihood, calibration, confusion, agreement.

use kd_core::argmax;
use kd_core::record::Evaluation;

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
    let mut scores = Scores::new(n_classes, teacher);
    scores.add(logits, labels);
    scores.evaluation()
}

/// [`score`] of the logits divided by `temperature`.
pub fn score_at(logits: &[f32], labels: &[u32], n_classes: usize, temperature: f64) -> Evaluation {
    let scaled = logits.iter().map(|z| (f64::from(*z) / temperature) as f32);
    score(&scaled.collect::<Vec<f32>>(), labels, n_classes, None)
}

/// What counts of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scored {
    label: usize,
    prediction: usize,
    confidence: f64,
    /// Negative log-likelihood.
    nll: f64,
    is_top5: bool,
}

/// Numbers that a [`Scored`] is.
pub(crate) const N_NUMBERS: usize = 5;

impl Scored {
    /// By its logits.
    pub(crate) fn of(row: &[f32], label: usize) -> Self {
        let (prediction, log_sum) = (argmax(row), log_sum_exp(row));
        let confidence = (f64::from(row[prediction]) - log_sum).exp();
        let nll = log_sum - f64::from(row[label]);
        Self { label, prediction, confidence, nll, is_top5: is_top5(row, label) }
    }

    /// To be sent to another process.
    pub(crate) fn to_numbers(self) -> [f64; N_NUMBERS] {
        let Self { label, prediction, confidence, nll, is_top5 } = self;
        [label as f64, prediction as f64, confidence, nll, f64::from(u8::from(is_top5))]
    }

    /// What [`Scored::to_numbers`] gave; nothing for what stands for no image.
    pub(crate) fn of_numbers(numbers: &[f64]) -> Option<Self> {
        let &[label, prediction, confidence, nll, is_top5] = numbers else { return None };
        let (label, prediction) = (label as usize, prediction as usize);
        let scored = Self { label, prediction, confidence, nll, is_top5: is_top5 > 0.0 };
        (!numbers[0].is_nan()).then_some(scored)
    }
}

/// Sums over the images scored so far: those of a whole set, part by part.
pub(crate) struct Scores<'a> {
    n_classes: usize,
    teacher: Option<&'a [u32]>,
    total: usize,
    n_top5: usize,
    n_agree: usize,
    nll: f64,
    /// Sum of confidence and number of correct images in each bin.
    bins: [(f64, f64); N_BINS],
    /// Images of each class, and how many of them are correct.
    classes: Vec<[usize; 2]>,
    /// Empty where the classes are too many.
    confusion: Vec<Vec<usize>>,
}

impl<'a> Scores<'a> {
    /// Before the first image; `teacher` holds a teacher's predictions on all images.
    pub(crate) fn new(n_classes: usize, teacher: Option<&'a [u32]>) -> Self {
        let n_rows = if n_classes > Evaluation::MAX_CONFUSION { 0 } else { n_classes };
        Self {
            n_classes,
            teacher,
            total: 0,
            n_top5: 0,
            n_agree: 0,
            nll: 0.0,
            bins: [(0.0, 0.0); N_BINS],
            classes: vec![[0; 2]; n_classes],
            confusion: vec![vec![0; n_classes]; n_rows],
        }
    }

    /// Adds the next images, `(N, K)` logits row-major.
    pub(crate) fn add(&mut self, logits: &[f32], labels: &[u32]) {
        for (row, &label) in logits.chunks_exact(self.n_classes).zip(labels) {
            self.add_one(Scored::of(row, label as usize));
        }
    }

    /// Adds the next image.
    pub(crate) fn add_one(&mut self, scored: Scored) {
        let Scored { label, prediction, confidence, nll, is_top5 } = scored;
        let is_correct = prediction == label;
        let bin = &mut self.bins[bin(confidence)];
        bin.0 += confidence;
        bin.1 += f64::from(u8::from(is_correct));
        self.nll += nll;
        self.n_top5 += usize::from(is_top5);
        self.classes[label][0] += 1;
        self.classes[label][1] += usize::from(is_correct);
        if let Some(counts) = self.confusion.get_mut(label) {
            counts[prediction] += 1;
        }
        let teacher = self.teacher.and_then(|teacher| teacher.get(self.total));
        self.n_agree += usize::from(teacher == Some(&(prediction as u32)));
        self.total += 1;
    }

    /// The scores over all images added.
    pub(crate) fn evaluation(self) -> Evaluation {
        let n = self.total.max(1) as f64;
        let correct = self.classes.iter().map(|[_, correct]| correct).sum::<usize>();
        Evaluation {
            total: self.total,
            correct,
            top1: correct as f64 / n,
            top5: self.n_top5 as f64 / n,
            nll: self.nll / n,
            ece: self.bins.iter().map(|(c, a)| (c - a).abs()).sum::<f64>() / n,
            classes: if self.confusion.is_empty() { self.classes } else { Vec::new() },
            confusion: self.confusion,
            agreement: self.teacher.map(|_| self.n_agree as f64 / n),
        }
    }
}

/// Natural logarithm of the sum of the exponentials.
pub(crate) fn log_sum_exp(row: &[f32]) -> f64 {
    let max = row.iter().fold(f64::NEG_INFINITY, |max, &z| max.max(f64::from(z)));
    max + row.iter().map(|&z| (f64::from(z) - max).exp()).sum::<f64>().ln()
}

/// The bin of a confidence in (0, 1]: `(m / 15, (m + 1) / 15]`, as in Guo et al. 2017.
fn bin(confidence: f64) -> usize {
    ((confidence * N_BINS as f64).ceil() as usize).clamp(1, N_BINS) - 1
}

/// Whether fewer than five classes come before `label`.
pub(crate) fn is_top5(row: &[f32], label: usize) -> bool {
    let before = |(k, z): (usize, &f32)| *z > row[label] || (*z >= row[label] && k < label);
    row.iter().enumerate().filter(|&entry| before(entry)).count() < 5
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

    #[test]
    fn of_many_classes_only_the_diagonal_is_kept() {
        let n_classes = Evaluation::MAX_CONFUSION + 1;
        let row = |best: usize| (0..n_classes).map(move |k| f32::from(u8::from(k == best)));
        let logits: Vec<f32> = [7, 7, 100].into_iter().flat_map(row).collect();
        let got = score(&logits, &[7, 8, 100], n_classes, None);
        assert_eq!((got.correct, got.confusion.len(), got.n_classes()), (2, 0, n_classes));
        assert_eq!((got.classes[7], got.classes[8], got.classes[100]), ([1, 1], [1, 0], [1, 1]));
        assert_eq!((got.errors_on(8), got.images_of(9)), (1, 0));
    }

    #[test]
    fn scores_of_parts_are_those_of_the_whole() {
        let mut rng = kd_core::Stream::new(3).rng();
        let logits: Vec<f32> = (0..30 * 7).map(|_| rng.uniform_in(-3.0, 3.0)).collect();
        let labels: Vec<u32> = (0..30).map(|_| rng.below(7)).collect();
        let teacher: Vec<u32> = (0..30).map(|_| rng.below(7)).collect();
        let mut parts = Scores::new(7, Some(&teacher));
        for (from, to) in [(0, 11), (11, 11), (11, 12), (12, 30)] {
            parts.add(&logits[from * 7..to * 7], &labels[from..to]);
        }
        assert_eq!(parts.evaluation(), score(&logits, &labels, 7, Some(&teacher)));
    }
}
