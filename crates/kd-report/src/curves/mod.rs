//! Errors in the course of trainings: the paper's Figures 3 to 6, and the order of its students.
//!
//! Key decision: a curve is a student over all seeds, drawn wherever a run recorded its points,
//! whatever the suite. What is special about one suite (the titles of the paper's figures, its
//! orders, what others published) stands in `claims.toml`.

mod figure;
#[cfg(test)]
mod fixture;
mod open;
mod order;
mod reference;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use kd_core::Result;
use kd_core::record::{CurveRecord, ModelId};
use serde::Serialize;

use crate::claims::{Claims, Measure, Reference};
use crate::document::Section;
use crate::report::{ModelSummary, Report};
use crate::run::{ModelRuns, Run};
use crate::share::Share;
use crate::stats::Stat;

pub(crate) use order::table as order_table;

/// Errors in the course of trainings, and what the paper says of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curves {
    /// Every student whose errors were recorded, in order of appearance.
    pub students: Vec<StudentCurve>,
    /// The paper's orders of students that were trained here.
    pub orders: Vec<OrderResult>,
    /// What others published; none in a run on synthetic data.
    pub references: Vec<ReferenceResult>,
    /// Teachers that were not trained in this run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teachers: Vec<TeacherErrors>,
    /// What the paper leaves open.
    pub remarks: Vec<String>,
    /// Of the four charts.
    #[serde(skip)]
    titles: [String; 4],
    /// Whether there are so few classes that the five largest logits are all.
    #[serde(skip)]
    few_classes: bool,
}

/// The course of one student's errors, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudentCurve {
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Seeds that ended; while none has, those that have begun.
    pub seeds: Vec<u64>,
    /// Whether they ended.
    pub finished: bool,
    /// Number of recorded points that all these seeds have.
    pub n_points: usize,
    /// Over the augmented training images of the last pass, as the student saw them.
    pub train: Option<Errors>,
    /// On the test images, at the last point.
    pub last: Errors,
    /// On the test images, at the point with the fewest top-1 errors: chosen on these images.
    pub best: Errors,
    /// Passes over the training images at that point.
    pub best_epoch: Stat,
    #[serde(skip)]
    points: Vec<Point>,
}

/// A teacher that was read from a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TeacherErrors {
    /// Training of its students.
    pub training: String,
    /// Name of its network.
    pub network: String,
    /// On the test images.
    pub errors: Errors,
}

/// Fractions of images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Errors {
    /// Not classified correctly.
    pub top1: Stat,
    /// Whose label is not among the five largest logits.
    pub top5: Stat,
}

/// One point of a student's curves.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    /// Passes over the training images done.
    epoch: f64,
    /// One for each chart.
    errors: [Stat; 4],
}

/// One of the paper's orders of students beside ours, by the errors at the end of the training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OrderResult {
    /// Id in `claims.toml`.
    pub id: String,
    /// Table, figure or section of the paper.
    pub source: String,
    /// What is counted.
    pub measure: Measure,
    /// Training of the students.
    pub training: String,
    /// The students, in the paper's order.
    pub students: Vec<Placed>,
    /// What that means.
    pub verdict: OrderVerdict,
}

/// A student in an order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Placed {
    /// Name of the model.
    pub model: String,
    /// Fraction of the images that it gets wrong.
    pub error: Share,
}

/// How our order stands to the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderVerdict {
    /// Each student is better than the next by more than the noise.
    Reproduced,
    /// Two students stand the other way round, by more than the noise.
    Contradicted,
    /// Neighbors are too close for the number of images and seeds.
    Undecided,
    /// The two may not be compared.
    None,
}

/// A published number beside ours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReferenceResult {
    /// What was published.
    #[serde(flatten)]
    pub reference: Reference,
    /// Our models that it may be set beside.
    pub ours: Vec<Beside>,
}

/// One of our models beside a published number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Beside {
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Errors on the test images after the last epoch.
    pub errors: Errors,
}

/// What the four charts show of a point, in the order of the paper's Figures 3 to 6.
const CHARTS: [fn(&CurveRecord) -> f64; 4] = [
    |point| error(point.train_top1),
    |point| error(point.train_top5),
    |point| error(point.test_top1),
    |point| error(point.test_top5),
];

/// The paper's orders that speak of them, and the titles where no figure of the paper shows them.
const MEASURES: [(Measure, &str); 4] = [
    (Measure::TrainTop1Order, "Top-1 error, training set"),
    (Measure::TrainTop5Order, "Top-5 error, training set"),
    (Measure::Top1Order, "Top-1 error, test set"),
    (Measure::Top5Order, "Top-5 error, test set"),
];

fn error(accuracy: f64) -> f64 {
    (1.0 - accuracy).clamp(0.0, 1.0)
}

/// Known when a model has ended.
fn few_classes(models: &[ModelRuns]) -> bool {
    let mut finals = models.iter().flat_map(|model| model.finals.values());
    finals.any(|last| last.last.has_few_classes())
}

impl Curves {
    /// Summarizes the curves of `run` and sets them beside the paper; `None` when there are none.
    pub(crate) fn of(run: &Run, claims: &Claims) -> Option<Self> {
        let students = summary::students(&run.models);
        if students.is_empty() {
            return None;
        }
        let suite = &run.provenance.suite;
        let mut remarks = claims.remarks(suite);
        if !remarks.is_empty() {
            remarks.extend(open::weights(&run.models));
        }
        Some(Self {
            students,
            teachers: summary::teachers(run),
            orders: order::results(run, claims),
            references: reference::results(run, claims),
            remarks,
            few_classes: few_classes(&run.models),
            titles: MEASURES.map(|(measure, title)| figure::title(claims, suite, measure, title)),
        })
    }

    /// Whether a verdict was given.
    pub(crate) fn is_judged(&self) -> bool {
        self.orders.iter().any(|order| order.verdict != OrderVerdict::None)
    }

    /// Whether anything of the suite stands in the paper, or is published elsewhere.
    pub(crate) fn is_beside_the_paper(&self) -> bool {
        !self.orders.is_empty() || !self.references.is_empty() || !self.remarks.is_empty()
    }

    /// Whether the course of `model` is drawn.
    pub(crate) fn shows(&self, model: &ModelSummary) -> bool {
        self.student(&model.id).is_some()
    }

    /// The student's curve, if it was recorded.
    fn student(&self, id: &ModelId) -> Option<&StudentCurve> {
        self.students.iter().find(|student| student.id == *id)
    }
}

/// The sections of a report with curves; none for others.
///
/// # Errors
/// When a chart cannot be drawn.
pub(crate) fn sections(report: &Report) -> Result<Vec<Section>> {
    let Some(curves) = &report.curves else { return Ok(Vec::new()) };
    let mut blocks = figure::figures(report, curves)?;
    blocks.push(table::block(report, curves));
    let sections = [
        Section::of("Errors in the course of training", blocks),
        order::section(curves),
        reference::section(curves),
        open::section(curves),
    ];
    Ok(sections.into_iter().flatten().collect())
}
