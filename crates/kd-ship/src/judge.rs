//! How good a network is on the images that judge.

use kd_core::record::Evaluation;
use kd_core::{Net, Result};
use kd_report::Lost;
use kd_train::EvalSet;

/// What a network says of a set of images.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    /// How good that is.
    pub(crate) evaluation: Evaluation,
    /// The class of each image.
    pub(crate) predictions: Vec<u32>,
}

impl Judged {
    pub(crate) fn of(network: &Net, set: &EvalSet) -> Result<Self> {
        let (evaluation, predictions) = set.evaluate_teacher(network)?;
        Ok(Self { evaluation, predictions })
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
pub(crate) fn lost(teacher: &Judged, student: &Judged, labels: &[u32]) -> Vec<Lost> {
    let both = teacher.predictions.iter().zip(&student.predictions).zip(labels).enumerate();
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
            evaluation: Evaluation::default(),
            predictions: predictions.to_vec(),
        };
        let (teacher, student) = (judged(&[0, 1, 1, 0]), judged(&[0, 0, 1, 1]));
        let lost = lost(&teacher, &student, &[0, 1, 0, 1]);
        let found: Vec<_> = lost.iter().map(|l| (l.place, l.label, l.prediction)).collect();
        assert_eq!(found, [(1, 1, 0)]);
        assert_eq!(student.agreeing(&teacher).evaluation.agreement, Some(0.5));
    }
}
