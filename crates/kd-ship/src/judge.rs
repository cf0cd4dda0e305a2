//! How good a network is on the images that judge.

use kd_core::record::Evaluation;
use kd_core::{Classifier, Net, Result, argmax};
use kd_report::Lost;
use kd_train::{EvalSet, score, score_at};

/// What a network says of a set of images.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judged {
    logits: Vec<f32>,
    labels: Vec<u32>,
    /// How good that is.
    pub(crate) evaluation: Evaluation,
    /// The class of each image.
    predictions: Vec<u32>,
}

impl Judged {
    pub(crate) fn of(network: &Net, set: &EvalSet) -> Result<Self> {
        let ((logits, labels), n_classes) = (set.logits(network)?, network.n_classes());
        let predictions = logits.chunks_exact(n_classes).map(|row| argmax(row) as u32);
        let predictions = predictions.collect();
        let evaluation = score(&logits, &labels, n_classes, None);
        Ok(Self { logits, labels, evaluation, predictions })
    }

    /// How good the probabilities at this temperature are.
    pub(crate) fn at(&self, temperature: f64) -> Evaluation {
        let n_classes = self.logits.len() / self.labels.len().max(1);
        score_at(&self.logits, &self.labels, n_classes, temperature)
    }

    /// With how often it agrees with its teacher.
    pub(crate) fn agreeing(mut self, teacher: &Self) -> Self {
        self.evaluation.agreement = Some(self.same(teacher));
        self
    }

    /// The share of images of which both say the same.
    pub(crate) fn same(&self, other: &Self) -> f64 {
        let pairs = self.predictions.iter().zip(&other.predictions);
        let n_same = pairs.filter(|(own, theirs)| own == theirs).count();
        n_same as f64 / self.predictions.len().max(1) as f64
    }
}

/// The images that the teacher has right and the student has not, by their places.
pub(crate) fn lost(teacher: &Judged, student: &Judged) -> Vec<Lost> {
    let both =
        teacher.predictions.iter().zip(&student.predictions).zip(&student.labels).enumerate();
    let lost = both.filter(|(_, ((theirs, own), label))| theirs == label && own != label);
    lost.map(|(place, ((_, own), label))| Lost {
        place,
        label: *label,
        prediction: *own,
        png: Vec::new(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_is_what_the_teacher_alone_has_right() {
        let judged = |predictions: &[u32]| Judged {
            labels: vec![0, 1, 0, 1],
            predictions: predictions.to_vec(),
            ..Judged::default()
        };
        let (teacher, student) = (judged(&[0, 1, 1, 0]), judged(&[0, 0, 1, 1]));
        let lost = lost(&teacher, &student);
        let found: Vec<_> = lost.iter().map(|l| (l.place, l.label, l.prediction)).collect();
        assert_eq!(found, [(1, 1, 0)]);
        assert_eq!(student.agreeing(&teacher).evaluation.agreement, Some(0.5));
    }
}
