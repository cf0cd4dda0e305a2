//! What students are tried to learn from.

use kd_core::ops::Reduction;
use kd_core::{Graph, Result};
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

/// What the last layer reads ([`Graph::stages`]).
const POOLED: &str = "pooled";

/// Whether the last layers of student and teacher read features of one shape.
///
/// # Errors
/// Those of the graphs.
pub(crate) fn are_alike(student: &Graph, teacher: &Graph) -> Result<bool> {
    let (own, theirs) = (features(student)?, features(teacher)?);
    Ok(own.is_some() && own == theirs)
}

/// The shape of what the last layer reads.
fn features(graph: &Graph) -> Result<Option<Vec<usize>>> {
    let stages = graph.stages()?;
    let pooled = stages.iter().find(|(name, _)| name == POOLED);
    pooled.map(|(_, node)| Ok(graph.shapes()?.get(node).to_vec())).transpose()
}

/// The student that learns from labels alone.
pub(crate) fn labels() -> Student {
    student(LABELS, LossSpec::Labels(Labels::default()))
}

/// Every objective, the one of labels first; those on features for networks that are alike.
pub(crate) fn tried(are_alike: bool) -> Vec<Student> {
    let mut all = vec![labels()];
    all.extend(SOFT.map(|(alpha, temperature)| {
        let reduction = Reduction::BatchMean;
        let loss = LossSpec::Distill(Distill { alpha, temperature, reduction });
        student(&format!("alpha{alpha}-t{temperature}"), loss)
    }));
    let (alpha, temperature) = SOFT[0];
    let with_features = |beta: f64| {
        let loss = Features { tap: POOLED.into(), beta, alpha, temperature };
        student(&format!("features{beta}-alpha{alpha}-t{temperature}"), LossSpec::Features(loss))
    };
    all.extend(are_alike.then_some(BETAS).into_iter().flatten().map(with_features));
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
        assert!(are_alike(&shrink(&teacher, 2).unwrap(), &teacher).unwrap());
        let all = tried(true);
        assert_eq!((all.len(), &*all[6].name), (MOST, "features10-alpha0.5-t2"));
        let beginning = cut_within(&teacher, 0.5, 5).unwrap();
        assert!(!are_alike(&beginning, &teacher).unwrap());
        assert_eq!(tried(false).len(), 5);
    }
}
