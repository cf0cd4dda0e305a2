//! What students are tried to learn from.

use kd_core::ops::{Op, Reduction};
use kd_core::{Graph, Result};
use kd_models::head;
use kd_suite::Student;
use kd_train::LossSpec;
use kd_train::losses::{Distill, Features, Labels};

/// What [`labels`] is called.
pub(crate) const LABELS: &str = "labels";
/// Weights of the soft targets and temperatures.
const SOFT: [(f64, f64); 4] = [(0.5, 2.0), (0.5, 5.0), (1.0, 2.0), (1.0, 5.0)];
/// Weights of the teacher's features beside the soft targets of the first kind, where the student has
/// features of their shape. At ten they lead at first and fade as the two come to agree.
const BETAS: [f64; 2] = [3.0, 10.0];
/// Students that are tried of each network, at most.
pub(crate) const MOST: usize = 1 + SOFT.len() + BETAS.len();

/// The parts of a student and of its teacher that the last layers read, where these are alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taps {
    student: String,
    teacher: String,
}

impl Taps {
    /// # Errors
    /// Those of the graphs.
    pub(crate) fn of(student: &Graph, teacher: &Graph) -> Result<Option<Self>> {
        let ((student, own), (teacher, theirs)) = (features(student)?, features(teacher)?);
        Ok((own == theirs).then_some(Self { student, teacher }))
    }
}

/// The node that the last layer reads, a dropout between them aside, and its shape.
fn features(graph: &Graph) -> Result<(String, Vec<usize>)> {
    let mut name = &head(graph)?.inputs[0];
    while let Some(node) = graph.node(name).filter(|node| matches!(node.op, Op::Dropout(_))) {
        name = &node.inputs[0];
    }
    Ok((name.clone(), graph.shapes()?.get(name).to_vec()))
}

/// The student that learns from labels alone.
pub(crate) fn labels() -> Student {
    student(LABELS, LossSpec::Labels(Labels::default()))
}

/// Every objective, the one of labels first.
pub(crate) fn tried(taps: Option<&Taps>) -> Vec<Student> {
    let mut all = vec![labels()];
    all.extend(SOFT.map(|(alpha, temperature)| {
        let reduction = Reduction::BatchMean;
        let loss = LossSpec::Distill(Distill { alpha, temperature, reduction });
        student(&format!("alpha{alpha}-t{temperature}"), loss)
    }));
    let (alpha, temperature) = SOFT[0];
    let with_features = |taps: &Taps, beta: f64| {
        let (tap, teacher_tap) = (taps.student.clone(), Some(taps.teacher.clone()));
        let loss = Features { tap, teacher_tap, beta, alpha, temperature };
        student(&format!("features{beta}-alpha{alpha}-t{temperature}"), LossSpec::Features(loss))
    };
    all.extend(taps.iter().flat_map(|taps| BETAS.map(|beta| with_features(taps, beta))));
    all
}

fn student(name: &str, loss: LossSpec) -> Student {
    Student::new(name, loss)
}

#[cfg(test)]
mod tests {
    use kd_models::{ModelSpec, cut_within, shrink};

    use super::*;

    #[test]
    fn features_are_asked_of_students_that_have_them() {
        let model = ModelSpec::from_name("resnet8").unwrap();
        let teacher = model.as_dyn().graph([3, 32, 32], 5).unwrap();
        let taps = Taps::of(&shrink(&teacher, 2).unwrap(), &teacher).unwrap();
        assert_eq!(
            taps.as_ref().map(|taps| taps.student.clone()),
            Some(features(&teacher).unwrap().0)
        );
        let all = tried(taps.as_ref());
        assert_eq!((all.len(), &*all[6].name), (MOST, "features10-alpha0.5-t2"));
        let beginning = cut_within(&teacher, 0.5, 5).unwrap();
        assert_eq!(Taps::of(&beginning, &teacher).unwrap(), None);
        assert_eq!(tried(None).len(), 5);
    }
}
