use candle_core::Device;
use kd_adv::Fgsm;
use kd_data::{Dataset, Split, SyntheticDigits};

use super::*;
use crate::{examples, model, weights};

const N: usize = 250;

fn outcome(index: u32) -> Outcome {
    let (label, clean, after, rounded) = (0, 0, 1, 1);
    Outcome { index, label, clean, after, rounded, distance: 0.5, succeeded: true }
}

#[test]
fn parts_add_up_and_come_apart_again() {
    let part = |rows: std::ops::Range<u32>, seconds| Done {
        own: rows.clone().map(outcome).collect(),
        others: vec![rows.clone().map(outcome).collect()],
        seconds,
        pixels: rows.flat_map(|i| [i as f32; 2]).collect(),
    };
    let mut done = Done::default();
    done.append(part(0..3, 1.0));
    done.append(part(3..5, 0.5));
    assert_eq!(done, part(0..5, 1.5));
    assert_eq!(done.slice(2..4, 0.25), part(2..4, 0.25));
}

fn models() -> Models {
    let digits = SyntheticDigits::default();
    let (mlp, shape) = (model("mlp-8").unwrap(), ([1, 28, 28], 10));
    let net = |seed| {
        let drawn = (Stream::new(seed), &Device::Cpu);
        weights::network(&mlp, shape, &digits.normalize(), drawn).unwrap()
    };
    let named = |model: &str| ModelId::new("t", model);
    Models { own: (named("own"), net(0)), others: vec![(named("other"), net(1))] }
}

fn bench<'a>(models: &'a Models, stop: &'a AtomicBool) -> Bench<'a> {
    let digits = SyntheticDigits { n_train: 10, n_test: N, seed: 0 };
    let images = digits.load_split(None, Split::Test).unwrap();
    Bench::new(models, examples::first(&images, N), (3, stop), &Device::Cpu).unwrap()
}

#[test]
fn an_attack_goes_on_from_its_groups() {
    let (models, folder) = (models(), tempfile::tempdir().unwrap());
    let go_on = AtomicBool::new(false);
    let bench = bench(&models, &go_on);
    let spec = AttackSpec::Fgsm(Fgsm { eps: 0.1, ..Fgsm::default() });
    let attack = |groups| bench.attack(("fgsm", "fgsm"), &spec, groups).unwrap().unwrap();
    let groups = |name: &str| Groups::of_outcomes(folder.path().into(), name.into());
    let with_images = |name: &str| Some(groups(name).with_images([1, 28, 28]));

    let (record, whole) = attack(with_images("whole"));
    assert_eq!((record.total, record.id.model.as_str(), record.seed), (N, "own", 3));
    assert_eq!((record.transfer.len(), record.transfer[0].id.model.as_str()), (1, "other"));
    let n_groups = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!((whole.pixels.len(), n_groups), (N * 784, 3));
    // Without a folder the images are not held on to.
    let (_, unkept) = attack(None);
    assert_eq!((&unkept.own, unkept.pixels.len()), (&whole.own, 0));

    // As an interrupted process leaves it; the time says that the first group was not done again.
    let first = whole.slice(0..100, 1000.0);
    with_images("cut").unwrap().save(&first).unwrap();
    let (record, resumed) = attack(with_images("cut"));
    assert!(record.seconds >= 1000.0);
    assert_eq!(Done { seconds: whole.seconds, ..resumed }, whole);

    groups("outcomes").save(&first).unwrap();
    let (_, resumed) = attack(Some(groups("outcomes")));
    assert_eq!((&resumed.own, &resumed.others), (&whole.own, &whole.others));
    assert_eq!(groups("outcomes").take_up().unwrap().len(), 100, "it was done in no time");
}

#[test]
fn a_signal_ends_an_attack_between_parts() {
    let (models, folder) = (models(), tempfile::tempdir().unwrap());
    let stop = AtomicBool::new(true);
    let bench = bench(&models, &stop);
    let groups = Groups::of_outcomes(folder.path().into(), "fgsm".into());
    let spec = AttackSpec::Fgsm(Fgsm::default());
    assert!(bench.attack(("fgsm", "fgsm"), &spec, Some(groups)).unwrap().is_none());
}
