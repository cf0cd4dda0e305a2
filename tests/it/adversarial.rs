//! Attacks on the real networks, and training against them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use kd_adv::{AdversarialTraining, AttackSpec, Attacked, Examples, Fgsm, Pgd, Victim, attack};
use kd_core::{BatchSource, Classifier, Perturb, Stream, nn};
use kd_data::{Augment, Dataset, Images, Loader, SyntheticDigits};
use kd_models::{Mlp, ModelSpec};
use kd_train::{Cohort, Outcome, Student, prepare, train_step};

use crate::support::{
    Action, Probe, SHAPE, build, loss, networks, plan, student_of, timeless_metrics, train,
    weights, whole, with_threads,
};

const EPS: f32 = 0.04;

/// Training and test images.
static DIGITS: LazyLock<(Arc<Images>, Images)> = LazyLock::new(|| {
    let splits = digits().load(None).unwrap();
    (Arc::new(splits.train), splits.test)
});

fn digits() -> SyntheticDigits {
    SyntheticDigits { n_train: 500, n_test: 100, seed: 3 }
}

fn victim(model: &dyn Classifier) -> Victim<'_> {
    Victim::new(model, SHAPE, &Device::Cpu).unwrap()
}

/// The first test images.
fn examples(n: usize) -> Examples {
    let images = &DIGITS.1;
    let bytes = (0..n).flat_map(|i| images.image(i));
    Examples {
        pixels: bytes.map(|&byte| f32::from(byte) / 255.0).collect(),
        labels: images.labels()[..n].to_vec(),
        indices: (0..n as u32).collect(),
        targets: None,
    }
}

fn pgd(n_steps: usize) -> AttackSpec {
    AttackSpec::Pgd(Pgd { eps: EPS, step_size: Some(EPS / 4.0), n_steps, ..Pgd::default() })
}

fn against(attack: AttackSpec) -> Option<Box<dyn Perturb>> {
    Some(Box::new(AdversarialTraining::new(attack).unwrap()))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Convolutions and batch norm keep images apart as well, and no parameter gets a gradient.
#[test]
fn on_every_network_an_images_result_is_its_own() {
    let examples = examples(3);
    for spec in networks() {
        let model = build(&spec, 1);
        let victim = victim(&*model);
        let run = |examples: &Examples| -> Attacked {
            attack(&pgd(2), &victim, examples, Stream::new(5)).unwrap()
        };
        let on_threads = |n| with_threads(n, || run(&examples).pixels);
        let together = on_threads(1);
        assert_eq!(bits(&on_threads(2)), bits(&together), "{}: two threads", spec.name());
        for i in 0..3 {
            let alone = run(&examples.select(&[i])).pixels;
            let among = &together[i * 784..(i + 1) * 784];
            assert_eq!(bits(&alone), bits(among), "{}: image {i}", spec.name());
        }
        assert_ne!(bits(&together), bits(&examples.pixels), "{}", spec.name());
        let no_gradient = |(_, param): (&str, &kd_core::Param)| param.grad().get().is_none();
        assert!(model.params().iter().all(no_gradient), "{}", spec.name());
    }
}

/// A small MLP that learns from labels, against `attack`.
fn student(name: &str, attack: Option<AttackSpec>) -> Student {
    let model = Mlp { hidden: vec![40], dropout: 0.0, input_dropout: 0.0 };
    let mut student = student_of(&ModelSpec::Mlp(model), name, loss("labels"));
    student.perturb = attack.and_then(against);
    student
}

fn students() -> Vec<Student> {
    let fast = AttackSpec::Fgsm(Fgsm { eps: EPS, random_start: true, ..Fgsm::default() });
    vec![student("plain", None), student("fgsm", Some(fast)), student("pgd-3", Some(pgd(3)))]
}

#[test]
fn adversarial_training_keeps_the_promises_of_the_training_loop() {
    let uninterrupted = whole(students());
    for (i, student) in students().into_iter().enumerate() {
        assert_eq!(whole(vec![student]).0[0], uninterrupted.0[i], "student {i} alone");
    }
    let folder = tempfile::tempdir().unwrap();
    let never = AtomicBool::new(false);
    let mut interrupted = students();
    interrupted[0].perturb = Probe::at(7, Action::Die);
    assert!(train(folder.path(), interrupted, &plan(), &never).is_err());
    let (outcome, cohort) = train(folder.path(), students(), &plan(), &never).unwrap();
    assert_eq!(outcome, Outcome::Finished);
    let metrics = timeless_metrics(&folder.path().join("metrics.jsonl"));
    assert_eq!((weights(&cohort), metrics), uninterrupted);
}

/// The same of candle-nn's layers, with the same initial values.
fn candle_student(name: &str, attack: Option<AttackSpec>) -> Student {
    let varmap = VarMap::new();
    let at = VarBuilder::from_varmap(&varmap, DType::F32, &Device::Cpu);
    let fc1 = candle_nn::linear(784, 40, at.pp("fc1")).unwrap();
    let fc2 = candle_nn::linear(40, 10, at.pp("fc2")).unwrap();
    let forward = move |x: &Tensor| x.flatten_from(1)?.apply(&fc1)?.relu()?.apply(&fc2);
    let model = nn::Module::new(candle_nn::func(forward), &varmap, 10).unwrap();
    let mut student = student(name, attack);
    model.params().load(&student.model.params().tensors()).unwrap();
    student.model = Arc::new(model);
    student
}

/// The control of every defense: students that trained against the attack withstand it.
#[test]
fn adversarial_training_makes_robust() {
    let stream = Stream::new(1);
    let loader = Loader::new(DIGITS.0.clone(), Augment::default(), stream).unwrap();
    let mut cohort = Cohort::new("robust", 1, students());
    cohort.students.push(candle_student("candle-plain", None));
    cohort.students.push(candle_student("candle-pgd-3", Some(pgd(3))));
    for epoch in 0..6 {
        for (step, indices) in loader.order(epoch).chunks(50).enumerate() {
            let prepared = prepare(loader.batch(epoch, indices).unwrap(), None, &[]).unwrap();
            let stream = stream.number(epoch).number(step as u64);
            train_step(&mut cohort, &prepared, 3e-3, stream).unwrap();
        }
    }
    let n_robust = |student: &Student| {
        let attacked = attack(&pgd(10), &victim(&*student.model), &examples(100), stream).unwrap();
        attacked.successes.iter().filter(|success| !**success).count()
    };
    let n_robust: Vec<usize> = cohort.students.iter().map(n_robust).collect();
    assert!(n_robust[1].min(n_robust[2]) > n_robust[0] + 10, "{n_robust:?}");
    assert!(n_robust[4] > n_robust[3] + 10, "candle-nn: {n_robust:?}");
}
