//! The promises of the training loop, kept by a convolutional network with batch norm: the same
//! bits alone or in a cohort, on any number of threads, stopped and resumed, or killed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kd_models::ModelSpec;
use kd_train::{Outcome, Student};

use crate::support::{
    Action, Probe, loss, plan, student_of, timeless_metrics, train, weights, whole, with_threads,
};

/// A ResNet-8 that learns from labels, and one that is distilled.
fn students() -> Vec<Student> {
    let model = ModelSpec::from_name("resnet8").unwrap();
    ["labels", "distill"].map(|name| student_of(&model, name, loss(name))).into()
}

#[test]
fn alone_or_together_and_on_any_number_of_threads_the_bits_are_the_same() {
    let together = with_threads(1, || whole(students()));
    assert_eq!(with_threads(2, || whole(students())), together);
    assert_ne!(together.0[0], together.0[1]);
    for (i, student) in students().into_iter().enumerate() {
        assert_eq!(whole(vec![student]).0[0], together.0[i], "student {i}");
    }
}

#[test]
fn stopped_or_killed_and_resumed_the_bits_are_the_same() {
    let uninterrupted = whole(students());
    let never = AtomicBool::new(false);
    for at in [3, 7] {
        let stop = Arc::new(AtomicBool::new(false));
        for action in [Action::Stop(stop.clone()), Action::Die] {
            let folder = tempfile::tempdir().unwrap();
            let mut interrupted = students();
            interrupted[1].perturb = Probe::at(at, action);
            let result = train(folder.path(), interrupted, &plan(), &stop);
            assert!(!matches!(result, Ok((Outcome::Finished, _))));
            let (_, cohort) = train(folder.path(), students(), &plan(), &never).unwrap();
            let metrics = timeless_metrics(&folder.path().join("metrics.jsonl"));
            assert_eq!((weights(&cohort), metrics), uninterrupted, "interrupted at step {at}");
            stop.store(false, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
