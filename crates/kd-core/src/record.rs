//! The lines of `metrics.jsonl`, the source of truth that reports are made from.
//!
//! One JSON object a line, tagged by `event`. Accuracies are fractions, losses nats, times
//! seconds; epochs count from 1. A torn last line, left by a killed process, is dropped on read.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, fsx};

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    /// What is run, on what, by which program; the first line.
    Run(RunRecord),
    /// One model after one epoch.
    Epoch(EpochRecord),
    /// One model at the end of its training.
    Final(FinalRecord),
    /// A correction of the bias of a class that was never seen (Hinton et al. 2015, section 3).
    Correction(CorrectionRecord),
    /// One attack on one model.
    Attack(AttackRecord),
    /// How large a model's logits and pixel gradients are.
    Census(CensusRecord),
    /// The verdict on a model's robustness.
    Audit(AuditRecord),
    /// A file of pictures of one attack.
    Pictures(PicturesRecord),
    /// The run is complete; the last line.
    Done {
        /// Sum of the wall time of all processes that worked on the run.
        wall_seconds: f64,
    },
}

/// Provenance of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the suite, such as `mnist`.
    pub suite: String,
    /// `smoke`, `quick` or `paper`.
    pub preset: String,
    /// True when the images were generated, not read from the real data set.
    pub synthetic: bool,
    /// Number of seeds.
    pub seeds: u64,
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// Name of the processor.
    pub cpu: String,
    /// Number of threads.
    pub threads: usize,
    /// SHA-256 of the resolved spec.
    pub spec_hash: String,
    /// Commit of the program's source, with `+dirty` when it had changes; `unknown` outside git.
    pub commit: String,
    /// Version of kd.
    pub kd_version: String,
    /// Version of candle.
    pub candle_version: String,
    /// Files of the data set.
    pub data: Vec<DataFile>,
}

/// One file of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// File name.
    pub name: String,
    /// SHA-256 of the decompressed content.
    pub sha256: String,
    /// Number of items in it.
    pub n_items: usize,
}

/// One model after one epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Name of the training (a teacher or a cohort), such as `student30`.
    pub training: String,
    /// Name of the model in it, such as `alpha0.5-t5`.
    pub model: String,
    /// Epochs done.
    pub epoch: u64,
    /// Learning rate during the epoch; of its last step when it changes within.
    pub learning_rate: f64,
    /// Mean of the objective over the epoch's batches.
    pub train_loss: f64,
    /// Fraction of the test images classified correctly, when it was measured.
    pub test_top1: Option<f64>,
    /// Mean negative log-likelihood on the test images.
    pub test_nll: Option<f64>,
    /// Fraction of the held-out training images classified correctly, when there is such a split.
    pub holdout_top1: Option<f64>,
    /// Wall time of the epoch, for the whole cohort.
    pub seconds: f64,
}

/// One model at the end of its training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FinalRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Name of the training.
    pub training: String,
    /// Name of the model in it.
    pub model: String,
    /// Id of the paper's number that this model answers to, if any.
    pub claim: Option<String>,
    /// Name of the network, such as `mlp`.
    pub network: String,
    /// Number of trainable parameters.
    pub n_parameters: usize,
    /// Objective, as in the suite file: `{"kind":"distill","alpha":0.5,"temperature":5.0}`.
    pub loss: serde_json::Value,
    /// Attack that every training batch went through, as in the suite file; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perturb: Option<serde_json::Value>,
    /// Number of epochs.
    pub n_epochs: u64,
    /// Number of training images.
    pub n_train: usize,
    /// Class that the training set lacks.
    pub omitted_class: Option<u32>,
    /// Evaluation on the test set after the last epoch.
    pub last: Evaluation,
    /// Best accuracy on the test set over all epochs (what papers print; chosen on the test set).
    pub best_top1: f64,
    /// The first epoch that reached it.
    pub best_epoch: u64,
    /// Accuracy on the held-out training images after the last epoch.
    pub holdout_top1: Option<f64>,
    /// Wall time of the training, for the whole cohort.
    pub seconds: f64,
}

/// Result of one bias correction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CorrectionRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Name of the training.
    pub training: String,
    /// Name of the model in it.
    pub model: String,
    /// `test-tuned` (as Hinton did) or `label-free` (from the training data alone).
    pub method: String,
    /// The class whose bias was changed.
    pub class: u32,
    /// What was added to its logit.
    pub bias: f64,
    /// Evaluation on the test set with the changed bias.
    pub evaluation: Evaluation,
}

/// One attack on one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Training of the model that was attacked.
    pub training: String,
    /// Name of the model in it.
    pub model: String,
    /// Name of the attack in the suite, such as `pgd`; `worst-case` joins all attacks of one norm
    /// and radius: an image counts as robust when none of them succeeds.
    pub attack: String,
    /// Its settings, as in the suite file: `{"kind":"pgd","eps":0.1}`; null for `worst-case`.
    pub settings: serde_json::Value,
    /// `linf`, `l2` or `l0`.
    pub norm: String,
    /// Radius in units of `[0, 1]` pixels; none for attacks that look for the nearest image.
    pub eps: Option<f64>,
    /// Number of images.
    pub total: usize,
    /// Number that the model classifies correctly before the attack.
    pub correct: usize,
    /// Number that it classifies correctly before and after.
    pub robust: usize,
    /// As `robust`, with the adversarial pixels rounded to 8 bits.
    pub robust_rounded: usize,
    /// Mean distance of the successful images, in the attack's norm; none without success.
    pub mean_distance: Option<f64>,
    /// Median of the same.
    pub median_distance: Option<f64>,
    /// What other models make of the same images.
    pub transfer: Vec<TransferRecord>,
    /// Wall time.
    pub seconds: f64,
}

/// One model on images that were made against another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TransferRecord {
    /// Training of the model that is tested.
    pub training: String,
    /// Name of the model in it.
    pub model: String,
    /// Number of images that it classifies correctly before the attack.
    pub correct: usize,
    /// Number that it classifies correctly before and after: over `correct`, what it defends.
    pub robust: usize,
    /// Number that both models classify correctly before and the attacked one wrongly after.
    pub fooled_source: usize,
    /// Number of those that this model, too, classifies wrongly: over `fooled_source`, the
    /// transfer rate.
    pub fooled_both: usize,
}

/// How large a model's logits and pixel gradients are, on clean images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CensusRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Name of the training.
    pub training: String,
    /// Name of the model in it.
    pub model: String,
    /// Number of images.
    pub total: usize,
    /// Number whose gradient of the cross entropy, computed in f32, is exactly zero in every pixel.
    pub zero_gradients: usize,
    /// Number with a value in that gradient that is not finite.
    pub non_finite_gradients: usize,
    /// Fraction of all values of that gradient that are exactly zero.
    pub zero_fraction: f64,
    /// Mean L2 norm of that gradient.
    pub mean_gradient_norm: f64,
    /// Mean L2 norm of the logits.
    pub mean_logit_norm: f64,
    /// Mean difference of the largest and second largest logit.
    pub mean_logit_gap: f64,
}

/// The verdict on a model's robustness.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Name of the training.
    pub training: String,
    /// Name of the model in it.
    pub model: String,
    /// The checks, in order.
    pub checks: Vec<CheckRecord>,
    /// `sound`, `masked` (gradients hide what other attacks find) or `not-robust`.
    pub verdict: String,
    /// The verdict in words, with its figures.
    pub words: String,
}

/// One check of an audit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// Short name, such as `iterative-beats-one-step`.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// The figures that decided, in words.
    pub figures: String,
}

/// A file of pictures of one attack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PicturesRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Training of the model that was attacked.
    pub training: String,
    /// Name of the model in it.
    pub model: String,
    /// Name of the attack in the suite.
    pub attack: String,
    /// PNG file, relative to the run's folder: one row an image, clean, change times 10,
    /// adversarial.
    pub file: String,
    /// For each row of the picture, the label and the prediction after the attack.
    pub labels: Vec<[u32; 2]>,
}

/// How a model does on a set of images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of images.
    pub total: usize,
    /// Number classified correctly.
    pub correct: usize,
    /// Fraction classified correctly.
    pub top1: f64,
    /// Fraction whose label is among the five largest logits.
    pub top5: f64,
    /// Mean negative log-likelihood, nats.
    pub nll: f64,
    /// Expected calibration error: 15 equal bins of confidence (Guo et al. 2017), a fraction.
    pub ece: f64,
    /// `confusion[label][prediction]`, counts.
    pub confusion: Vec<Vec<usize>>,
    /// Fraction of images on which the model predicts what its teacher predicts.
    pub agreement: Option<f64>,
}

impl Evaluation {
    /// Number of images classified wrongly.
    pub fn errors(&self) -> usize {
        self.total.saturating_sub(self.correct)
    }

    /// Number of images of `class` classified wrongly.
    pub fn errors_on(&self, class: usize) -> usize {
        let row = self.confusion.get(class).map_or(&[][..], Vec::as_slice);
        row.iter().sum::<usize>() - row.get(class).copied().unwrap_or(0)
    }
}

/// Reads `metrics.jsonl`.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`], and [`Error::Parse`] for a line, other than a torn last
/// one, that is no record.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    const LIMIT: u64 = 1 << 30;
    let bytes = fsx::read_bounded(path, LIMIT, "it is written by `kd run`")?;
    let mut records = Vec::new();
    let mut offset = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if line.ends_with(b"\n") {
            records.push(parse(path, offset, line)?);
        }
        offset += line.len() as u64;
    }
    Ok(records)
}

fn parse(path: &Path, offset: u64, line: &[u8]) -> Result<Record> {
    serde_json::from_slice(line).map_err(|e| Error::Parse {
        path: path.into(),
        offset,
        reason: format!("not a record of metrics.jsonl: {e}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_dropped_and_a_bad_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let done = Record::Done { wall_seconds: 1.5 };
        let line = serde_json::to_string(&done).unwrap() + "\n";
        assert_eq!(line, "{\"event\":\"done\",\"wall_seconds\":1.5}\n");
        std::fs::write(&path, format!("{line}{}", &line[..9])).unwrap();
        assert_eq!(read(&path).unwrap(), [done]);
        std::fs::write(&path, format!("{line}nonsense\n{line}")).unwrap();
        let offset = line.len() as u64;
        assert!(matches!(read(&path), Err(Error::Parse { offset: o, .. }) if o == offset));
    }

    #[test]
    fn errors_are_counted_per_class() {
        let evaluation = Evaluation {
            total: 10,
            correct: 7,
            confusion: vec![vec![4, 1], vec![2, 3]],
            ..Evaluation::default()
        };
        let errors = (evaluation.errors(), evaluation.errors_on(0), evaluation.errors_on(1));
        assert_eq!(errors, (3, 1, 2));
        assert_eq!(evaluation.errors_on(7), 0);
    }
}
