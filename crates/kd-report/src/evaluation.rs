//! How good a model is, over all seeds.

use kd_core::record::Evaluation;
use serde::Serialize;

use crate::stats::{Stat, over, over_some};

/// An evaluation over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationSummary {
    /// Number of test images classified wrongly.
    pub errors: Stat,
    /// The same by class; left out above [`Evaluation::MAX_CONFUSION`] classes.
    pub class_errors: Vec<Stat>,
    /// Fraction of the test images whose label is among the five largest logits.
    pub top5: Stat,
    /// Mean negative log-likelihood, nats.
    pub nll: Stat,
    /// Expected calibration error, a fraction.
    pub ece: Stat,
    /// Fraction of images on which the model predicts what its teacher predicts.
    pub agreement: Option<Stat>,
    /// Number of test images.
    #[serde(skip)]
    pub total: usize,
    /// The same by class; left out as the errors are.
    #[serde(skip)]
    pub images: Vec<usize>,
    /// Test images by class and prediction, means over seeds; left out as the errors are.
    #[serde(skip)]
    pub confusion: Vec<Vec<f64>>,
}

impl EvaluationSummary {
    pub(crate) fn of<'a>(
        evaluations: impl Iterator<Item = &'a Evaluation> + Clone,
    ) -> Option<Self> {
        let n_classes = evaluations.clone().map(Evaluation::n_classes).min();
        let n_classes = n_classes.filter(|n| *n <= Evaluation::MAX_CONFUSION).unwrap_or(0);
        let on = |class| over(evaluations.clone(), &|e: &Evaluation| e.errors_on(class) as f64);
        Some(Self {
            errors: over(evaluations.clone(), &|e: &Evaluation| e.errors() as f64)?,
            class_errors: (0..n_classes).filter_map(on).collect(),
            top5: over(evaluations.clone(), &|e: &Evaluation| e.top5)?,
            nll: over(evaluations.clone(), &|e: &Evaluation| e.nll)?,
            ece: over(evaluations.clone(), &|e: &Evaluation| e.ece)?,
            agreement: over_some(evaluations.clone().map(|e| e.agreement)),
            total: evaluations.clone().map(|e| e.total).min()?,
            images: first(evaluations.clone(), n_classes),
            confusion: confusion(evaluations, n_classes),
        })
    }
}

/// All seeds are tested on the same images.
fn first<'a>(
    mut evaluations: impl Iterator<Item = &'a Evaluation>,
    n_classes: usize,
) -> Vec<usize> {
    let first = evaluations.next();
    first.map_or(Vec::new(), |e| (0..n_classes).map(|class| e.images_of(class)).collect())
}

fn confusion<'a>(
    evaluations: impl Iterator<Item = &'a Evaluation> + Clone,
    n_classes: usize,
) -> Vec<Vec<f64>> {
    let mean = |label: usize, prediction: usize| {
        let count = |e: &Evaluation| e.confusion.get(label)?.get(prediction).map(|n| *n as f64);
        over_some(evaluations.clone().map(count)).map_or(0.0, |stat| stat.mean)
    };
    let row = |label| (0..n_classes).map(|prediction| mean(label, prediction)).collect();
    (0..n_classes).map(row).collect()
}
