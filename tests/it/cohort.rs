//! The promises of the training loop: the same bits alone or in a cohort, on any number of
//! threads, stopped and resumed at any step, or killed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor};
use kd_core::ops::Sgd;
use kd_core::{Batch, Classifier, Error, Perturb, Result, Stream};
use kd_train::{Cohort, OptimizerSpec, Outcome, Plan, Student};

use crate::support::{
    Action, N_STEPS, Probe, SPEC_HASH, all_students, loss, plan, student, timeless_metrics, train,
    weights, whole, with_threads,
};

/// Students that learn a projector, keep memories, or look at two versions of the images.
fn students_with_more() -> Vec<Student> {
    ["variational", "contrastive", "ctkd", "mlkd"].map(|name| student(name, loss(name))).into()
}

fn two_students() -> Vec<Student> {
    vec![student("plain", loss("labels")), student("distilled", loss("distill"))]
}

#[test]
fn a_student_of_any_objective_ends_with_the_same_bits_alone_and_in_a_cohort() {
    let (together, _) = whole(all_students());
    for (i, student) in all_students().into_iter().enumerate() {
        let (alone, _) = whole(vec![student]);
        assert_eq!(alone[0], together[i], "student {i}");
    }
    assert_ne!(together[0], together[1]);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let on = |n| with_threads(n, || whole(all_students()));
    assert_eq!(on(1), on(3));
}

#[test]
fn stopped_at_every_kth_step_and_resumed_the_result_is_the_same() {
    let uninterrupted = whole(two_students());
    for k in [1, 3, 4] {
        let folder = tempfile::tempdir().unwrap();
        let mut n_stops = 0;
        let cohort = loop {
            let stop = Arc::new(AtomicBool::new(false));
            let mut students = two_students();
            students[0].perturb = Probe::at(k, Action::Stop(stop.clone()));
            let (outcome, cohort) = train(folder.path(), students, &plan(), &stop).unwrap();
            if outcome == Outcome::Finished {
                break cohort;
            }
            n_stops += 1;
        };
        assert_eq!(n_stops, (N_STEPS - 1) / k, "stops at every step {k} but the last of all");
        let metrics = timeless_metrics(&folder.path().join("metrics.jsonl"));
        assert_eq!((weights(&cohort), metrics), uninterrupted, "every {k} steps");
    }
}

#[test]
fn killed_at_any_step_and_resumed_the_result_is_the_same() {
    let uninterrupted = whole(two_students());
    let never = AtomicBool::new(false);
    for at in 1..=N_STEPS {
        let folder = tempfile::tempdir().unwrap();
        let mut students = two_students();
        students[1].perturb = Probe::at(at, Action::Die);
        assert!(train(folder.path(), students, &plan(), &never).is_err());
        let (_, cohort) = train(folder.path(), two_students(), &plan(), &never).unwrap();
        let metrics = timeless_metrics(&folder.path().join("metrics.jsonl"));
        assert_eq!((weights(&cohort), metrics), uninterrupted, "killed at step {at}");
    }
}

#[test]
fn what_objectives_learn_themselves_is_in_the_checkpoint() {
    let uninterrupted = whole(students_with_more());
    let stop = AtomicBool::new(true);
    let folder = tempfile::tempdir().unwrap();
    let mut n_stops = 0;
    let cohort = loop {
        let (outcome, cohort) = train(folder.path(), students_with_more(), &plan(), &stop).unwrap();
        if outcome == Outcome::Finished {
            break cohort;
        }
        n_stops += 1;
    };
    assert_eq!(n_stops, N_STEPS - 1);
    let metrics = timeless_metrics(&folder.path().join("metrics.jsonl"));
    assert_eq!((weights(&cohort), metrics), uninterrupted);
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), two_students(), &plan(), &AtomicBool::new(false)).unwrap();
    let state = folder.path().join("state");
    let resume = |mut cohort: Cohort, hash| cohort.resume(&state, hash, &Device::Cpu);
    let refused = |result| matches!(result, Err(Error::Config { .. }));
    assert!(resume(Cohort::new("lab", 1, two_students()), SPEC_HASH).unwrap().is_some());
    assert!(refused(resume(Cohort::new("lab", 1, two_students()), "another spec")));
    assert!(refused(resume(Cohort::new("other", 1, two_students()), SPEC_HASH)));
    assert!(refused(resume(Cohort::new("lab", 2, two_students()), SPEC_HASH)));
    assert!(refused(resume(Cohort::new("lab", 1, all_students()), SPEC_HASH)));
}

/// Multiplies the images by a number.
struct Scale(f64);

impl Perturb for Scale {
    fn perturb(&self, _: &dyn Classifier, batch: &Batch, _: Stream) -> Result<Tensor> {
        Ok((&batch.images * self.0)?)
    }
}

#[test]
fn students_learn_from_the_perturbed_images() {
    let scaled = |factor| {
        let mut students = two_students();
        students[0].perturb = Some(Box::new(Scale(factor)));
        whole(students).0
    };
    let (plain, same, black) = (whole(two_students()).0, scaled(1.0), scaled(0.0));
    assert_eq!(same, plain);
    assert_ne!(black[0], plain[0]);
    assert_eq!(black[1], plain[1], "the other student's images are its own");
}

#[test]
fn what_diverges_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let sgd = OptimizerSpec::Sgd(Sgd::default());
    let plan = Plan { learning_rate: 1e30, optimizer: sgd.clone(), ..plan() };
    let mut students = two_students();
    for student in &mut students {
        student.optimizer = Box::new(kd_train::Optimizer::new(sgd.clone(), student.model.params()));
    }
    let result = train(folder.path(), students, &plan, &AtomicBool::new(false));
    let Err(Error::Diverged { what, epoch: 1, step }) = result else {
        panic!("it did not diverge in the first epoch")
    };
    assert!(what.contains("plain") || what.contains("distilled"), "{what}");
    assert!(step > 1, "the first loss is that of the initial values");
}
