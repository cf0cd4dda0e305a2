//! What trainings write: epochs, learning curves, results, corrections.

use serde::{Deserialize, Serialize};

use super::{AttackSettings, ModelId, Objective, ObjectiveKind};

/// One model after one epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Epochs done.
    pub epoch: u64,
    /// Learning rate during the epoch; of its last step when it changes within.
    pub learning_rate: f64,
    /// Mean of the objective over the epoch's batches.
    pub train_loss: f64,
    /// Fraction of the test images classified correctly, when it was measured.
    pub test_top1: Option<f64>,
    /// Fraction of the test images whose label is among the five largest logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    /// Mean negative log-likelihood on the test images.
    pub test_nll: Option<f64>,
    /// Fraction of the held-out training images classified correctly, when there is such a split.
    pub holdout_top1: Option<f64>,
    /// Wall time of the epoch, for the whole cohort.
    pub seconds: f64,
    /// Training images a second, evaluations not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_per_second: Option<f64>,
    /// Fraction of that time in which the students waited for batches or for their teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_wait: Option<f64>,
}

/// One model in the course of its training: at fixed steps, and at the end of each epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CurveRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Steps done since the beginning of the training.
    pub step: u64,
    /// Passes over the training images done.
    pub epoch: f64,
    /// Number of training images since the last point. The next three are over these: augmented,
    /// seen in training mode by the network as it was then, as PyTorch's ImageNet example prints.
    pub n_train: usize,
    /// Fraction of them classified correctly.
    pub train_top1: f64,
    /// Fraction of them whose label is among the five largest logits.
    pub train_top5: f64,
    /// Mean of the objective over their batches.
    pub train_loss: f64,
    /// Fraction of the test images classified correctly.
    pub test_top1: f64,
    /// Fraction of the test images whose label is among the five largest logits.
    pub test_top5: f64,
    /// Mean negative log-likelihood on the test images.
    pub test_nll: f64,
}

/// A model, and how it was trained, whatever the seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Id of the paper's number that this model answers to, if any.
    pub claim: Option<String>,
    /// Name of the network, such as `mlp`.
    pub network: String,
    /// Number of trainable parameters.
    pub n_parameters: usize,
    /// What it learned from.
    pub loss: Objective,
    /// Whether a teacher is a part of that.
    #[serde(default)]
    pub taught: bool,
    /// Attack that every training batch went through; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perturb: Option<AttackSettings>,
    /// Number of epochs.
    pub n_epochs: u64,
    /// Number of training images.
    pub n_train: usize,
    /// Class that the training set lacks.
    pub omitted_class: Option<u32>,
}

impl Trained {
    /// Whether it learned from a teacher. Older records say so of the objective `distill` alone.
    pub fn is_distilled(&self) -> bool {
        self.taught || self.loss.kind == ObjectiveKind::Distill
    }

    /// Weight and temperature of one that learned by plain distillation: its place in a grid.
    pub fn cell(&self) -> Option<(f64, f64)> {
        let Objective { kind, alpha, temperature, .. } = &self.loss;
        alpha.zip(*temperature).filter(|_| *kind == ObjectiveKind::Distill)
    }
}

/// One model at the end of its training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FinalRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// What it is, and how it was trained.
    #[serde(flatten)]
    pub how: Trained,
    /// Evaluation on the test set after the last epoch.
    pub last: Evaluation,
    /// Best accuracy on the test set over all epochs (what papers print; chosen on the test set).
    pub best_top1: f64,
    /// The first epoch that reached it.
    pub best_epoch: u64,
    /// Accuracy on the held-out training images after the last epoch.
    pub holdout_top1: Option<f64>,
    /// Mean negative log-likelihood on them at the temperature that suits them best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_nll: Option<f64>,
    /// The epoch whose weights were kept, where held-out images chose it; else the last one's were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_epoch: Option<u64>,
    /// What it cost; not in the records of older programs.
    #[serde(flatten)]
    pub compute: Option<Compute>,
    /// Wall time of the training, for the whole cohort.
    pub seconds: f64,
}

/// What a training cost one student, whatever the machine: images that went through networks. All but
/// `teacher_computed` are the same for a training that was interrupted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compute {
    /// Images forward and backward through the student; each version that a step shows counts. Those of an
    /// attack that changes the batches do not.
    pub student_passes: u64,
    /// Images of which it asked its teacher; 0 without one.
    pub teacher_asked: u64,
    /// Images that went forward through the teacher, for all students of the cohort together; the others were
    /// remembered or read.
    pub teacher_computed: u64,
    /// Versions of each image that one step shows.
    pub n_views: u64,
}

/// One of several objectives of a student, after a short training, on held-out images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// Seed of the short training.
    pub seed: u64,
    /// The student whose objective is to be chosen.
    #[serde(flatten)]
    pub id: ModelId,
    /// The short training of all candidates, in the records of its epochs.
    pub cohort: String,
    /// Its place in the suite file among the student's candidates, counted from 1.
    pub candidate: usize,
    /// Number of candidates that a student could have had.
    pub most: usize,
    /// What it learned from.
    pub loss: Objective,
    /// Number of epochs.
    pub n_epochs: u64,
    /// Number of held-out images.
    pub n_holdout: usize,
    /// Accuracy on them; none where its objective was not finite any more.
    pub holdout_top1: Option<f64>,
    /// Mean negative log-likelihood on them at the temperature that suits them best.
    pub holdout_nll: Option<f64>,
    /// Whether it is the one that the student learns from.
    pub chosen: bool,
    /// What it cost.
    #[serde(flatten)]
    pub compute: Compute,
    /// Wall time of the short training, for the whole cohort.
    pub seconds: f64,
}

/// Where the bias of a class that was never seen comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CorrectionMethod {
    /// From the training data alone.
    #[default]
    LabelFree,
    /// Tuned on the test set, as Hinton did.
    TestTuned,
}

impl CorrectionMethod {
    /// Its name in records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::LabelFree => "label-free",
            Self::TestTuned => "test-tuned",
        }
    }
}

/// Result of one bias correction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CorrectionRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Where the bias comes from.
    pub method: CorrectionMethod,
    /// The class whose bias was changed.
    pub class: u32,
    /// What was added to its logit.
    pub bias: f64,
    /// Evaluation on the test set with the changed bias.
    pub evaluation: Evaluation,
}

/// Photographs that could not be decoded as they should and were left out or repaired.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadImagesRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Name of the training.
    pub training: String,
    /// Number of photographs.
    pub n: usize,
    /// Name and reason of each, sorted; the first 1000.
    pub images: Vec<[String; 2]>,
}

/// A teacher that was not trained in the run, on the test set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TeacherRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Training of its students.
    pub training: String,
    /// Name of the network, such as `resnet50`.
    pub network: String,
    /// Evaluation on the test set.
    pub last: Evaluation,
}

/// A model of the run on another set of images than its test set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Name of the evaluation.
    pub name: String,
    /// The figures.
    pub evaluation: Evaluation,
}

/// What a file of soft targets held and saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftTargetsRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// Training of the students.
    pub training: String,
    /// Classes whose logits are stored, the largest of each row.
    pub top_k: usize,
    /// Bits of a stored logit.
    #[serde(default = "exact")]
    pub bits: u32,
    /// Stored versions of each image.
    pub n_views: usize,
    /// Size of the file when every version of every image is in it.
    pub bytes: u64,
    /// Rows of the teacher's logits that the students learned from.
    pub asked: u64,
    /// Rows among them that the teacher computed; the others were read.
    pub computed: u64,
}

/// Bits of an f32.
fn exact() -> u32 {
    32
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
    /// `confusion[label][prediction]`, counts; left out above [`Evaluation::MAX_CONFUSION`] classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<usize>>,
    /// Where the matrix is left out, for each class its images and how many are correct.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<[usize; 2]>,
    /// Fraction of images on which the model predicts what its teacher predicts.
    pub agreement: Option<f64>,
}

impl Evaluation {
    /// The largest number of classes whose confusion matrix is kept: of 1000 classes it would be
    /// a line of a million numbers.
    pub const MAX_CONFUSION: usize = 100;

    /// Number of images classified wrongly.
    pub fn errors(&self) -> usize {
        self.total.saturating_sub(self.correct)
    }

    /// Number of classes, K.
    pub fn n_classes(&self) -> usize {
        self.confusion.len().max(self.classes.len())
    }

    /// Whether the five largest logits are all, so that a top-5 accuracy says nothing.
    pub fn has_few_classes(&self) -> bool {
        (1..=5).contains(&self.n_classes())
    }

    /// Number of images of `class`.
    pub fn images_of(&self, class: usize) -> usize {
        self.counts(class)[0]
    }

    /// Number of images of `class` classified wrongly.
    pub fn errors_on(&self, class: usize) -> usize {
        let [total, correct] = self.counts(class);
        total.saturating_sub(correct)
    }

    /// Images of `class`, and how many of them are classified correctly.
    fn counts(&self, class: usize) -> [usize; 2] {
        match self.confusion.get(class) {
            Some(row) => [row.iter().sum(), row.get(class).copied().unwrap_or(0)],
            None => self.classes.get(class).copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_objective_with_a_teacher_is_distillation() {
        let of = |kind, taught| {
            let loss = Objective { kind, ..Objective::default() };
            Trained { loss, taught, ..Trained::default() }.is_distilled()
        };
        assert!(of(ObjectiveKind::Distill, false) && of(ObjectiveKind::Other("dkd".into()), true));
        assert!(!of(ObjectiveKind::Labels, false));
        assert!(!of(ObjectiveKind::Other("label-smoothing".into()), false));
    }
}
