//! A made-up run for tests: three seeds of the MNIST suite, in the shape that `kd run` leaves.

use kd_core::Stream;
use kd_core::record::{
    CorrectionMethod, CorrectionRecord, DataFile, EpochRecord, Evaluation, FinalRecord, ModelId,
    Objective, ObjectiveKind, Record, RunRecord, Trained,
};
use kd_core::rng::Rng;
use serde_json::{Value, json};

const THREES: usize = 1010;

struct Spec {
    training: &'static str,
    model: String,
    claim: Option<String>,
    loss: Objective,
    top1: f64,
    omitted: bool,
}

/// The records of a run with `seeds` seeds; on official data unless `synthetic`.
pub(crate) fn records(seeds: u64, n_epochs: u64, synthetic: bool) -> Vec<Record> {
    let mut records = vec![Record::Run(provenance(seeds, synthetic))];
    for seed in 1..=seeds {
        for spec in specs() {
            let mut noise = Stream::new(seed).at(spec.training).at(&spec.model).rng();
            let shift = 0.0012 * (f64::from(noise.uniform()) - 0.5);
            records.extend(epochs(&spec, seed, n_epochs, shift, &mut noise));
            records.extend(finals(&spec, seed, n_epochs, shift));
        }
    }
    records.push(Record::Done { wall_seconds: 1394.0 });
    records
}

/// As a record keeps it.
pub(crate) fn objective(value: Value) -> Objective {
    serde_json::from_value(value).unwrap()
}

/// From labels and a teacher.
pub(crate) fn distill(alpha: f64, temperature: f64) -> Objective {
    let kind = ObjectiveKind::Distill;
    let (alpha, temperature) = (Some(alpha), Some(temperature));
    Objective { kind, alpha, temperature, ..Objective::default() }
}

fn provenance(seeds: u64, synthetic: bool) -> RunRecord {
    let file = |name: &str, sha256: &str, n_items| DataFile {
        name: name.into(),
        sha256: if synthetic { "00".repeat(32) } else { sha256.into() },
        n_items,
    };
    let train = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db";
    let test = "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7";
    RunRecord {
        suite: "mnist".into(),
        preset: "paper".into(),
        synthetic,
        reencoded: false,
        class_names: Vec::new(),
        seeds,
        device: "cpu".into(),
        cpu: "Made-up CPU @ 2.00GHz".into(),
        threads: 2,
        spec_hash: "5e".repeat(32),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        kd_version: "0.1.0".into(),
        candle_version: "0.11.1".into(),
        data: vec![
            file("train-images-idx3-ubyte", train, 60_000),
            file("t10k-images-idx3-ubyte", test, 10_000),
        ],
    }
}

fn specs() -> Vec<Spec> {
    let spec = |training, model: &str, claim: Option<&str>, loss, top1| {
        let omitted = training == "omit3";
        let claim = claim.map(str::to_owned);
        Spec { training, model: model.into(), claim, loss, top1, omitted }
    };
    let labels = Objective::default;
    let smoothing = || objective(json!({"kind": "label-smoothing", "epsilon": 0.1}));
    let mut specs = vec![
        spec("teacher", "teacher", Some("mnist/teacher"), labels(), 0.9915),
        spec("teacher-affine", "teacher", None, labels(), 0.9934),
    ];
    let baseline = Some("mnist/student30/baseline");
    specs.push(spec("student30", "baseline", baseline, labels(), 0.9722));
    specs.push(spec("student30", "label-smoothing", None, smoothing(), 0.9703));
    let ts = [1.0, 2.0, 3.0, 4.0, 5.0, 10.0];
    specs.extend(grid("student30", &[0.1, 0.5, 0.9], &ts, 0.9731));
    let baseline = Some("mnist/student300/baseline");
    specs.push(spec("student300", "baseline", baseline, labels(), 0.9896));
    specs.extend(grid("student300", &[0.1, 0.5, 0.9], &[1.0, 5.0, 10.0], 0.9902));
    specs.push(spec("omit3", "baseline", Some("mnist/omit3/baseline"), labels(), 0.8926));
    specs.extend(grid("omit3", &[0.9, 1.0], &[5.0, 10.0, 20.0], 0.9870));
    specs
}

fn grid(training: &'static str, alphas: &[f64], ts: &[f64], top1: f64) -> Vec<Spec> {
    let cells = alphas.iter().flat_map(|a| ts.iter().map(move |t| (*a, *t)));
    cells.map(|(alpha, temperature)| cell(training, alpha, temperature, top1)).collect()
}

fn cell(training: &'static str, alpha: f64, temperature: f64, top1: f64) -> Spec {
    let model = format!("alpha{alpha}-t{temperature}");
    let claim = match (training, model.as_str()) {
        ("student30", _) if [1.0, 5.0, 10.0].contains(&temperature) => {
            Some(format!("mnist/student30/{model}"))
        }
        ("student300", "alpha0.5-t5") => Some("mnist/student300/distilled".into()),
        ("omit3", "alpha1-t20") => Some("mnist/omit3/distilled".into()),
        _ => None,
    };
    Spec {
        training,
        model,
        claim,
        loss: distill(alpha, temperature),
        top1: top1 - 0.0004 * (temperature - 3.0).abs() * alpha,
        omitted: training == "omit3",
    }
}

fn epochs(spec: &Spec, seed: u64, n: u64, shift: f64, noise: &mut Rng) -> Vec<Record> {
    let speed = if spec.loss.kind == ObjectiveKind::Distill { 0.16 } else { 0.12 };
    let at = |epoch: u64, noise: &mut Rng| {
        let start = 0.05 * (-speed * epoch as f64).exp();
        let jitter = if epoch == n { 0.0 } else { 0.0012 * (f64::from(noise.uniform()) - 0.6) };
        Record::Epoch(EpochRecord {
            seed,
            id: ModelId::new(spec.training, &spec.model),
            epoch,
            learning_rate: 0.001 * 0.95_f64.powi(epoch as i32),
            train_loss: 0.1,
            test_top1: Some(spec.top1 + shift - start + jitter),
            test_nll: Some(0.1),
            seconds: 4.0,
            ..EpochRecord::default()
        })
    };
    (1..=n).map(|epoch| at(epoch, noise)).collect()
}

fn finals(spec: &Spec, seed: u64, n_epochs: u64, shift: f64) -> Vec<Record> {
    let distilled = spec.loss.kind == ObjectiveKind::Distill;
    let on_three = if spec.omitted { if distilled { 40 } else { THREES } } else { 5 };
    let last = evaluation(spec.top1 + shift, on_three, distilled);
    let mut records = vec![Record::Final(Box::new(FinalRecord {
        seed,
        id: ModelId::new(spec.training, &spec.model),
        how: Trained {
            claim: spec.claim.clone(),
            network: "mlp".into(),
            n_parameters: 24_790,
            loss: spec.loss.clone(),
            taught: false,
            perturb: None,
            n_epochs,
            n_train: if spec.omitted { 53_869 } else { 60_000 },
            omitted_class: spec.omitted.then_some(3),
        },
        best_top1: last.top1 + 0.0007,
        best_epoch: n_epochs * 9 / 10,
        last,
        holdout_top1: None,
        holdout_nll: None,
        chosen_epoch: None,
        compute: None,
        seconds: 260.0,
    }))];
    if spec.omitted {
        let methods =
            [(CorrectionMethod::LabelFree, 2.0, 20), (CorrectionMethod::TestTuned, 3.5, 14)];
        records.extend(methods.map(|(method, bias, on_three)| {
            Record::Correction(CorrectionRecord {
                seed,
                id: ModelId::new(spec.training, &spec.model),
                method,
                class: 3,
                bias,
                evaluation: evaluation(spec.top1 + shift + 0.001, on_three, distilled),
            })
        }));
    }
    records
}

/// 10,000 images of which the stated fraction is right and `on_three` threes are wrong.
fn evaluation(top1: f64, on_three: usize, distilled: bool) -> Evaluation {
    let others = [980, 1135, 1032, THREES, 982, 892, 958, 1028, 974, 1009];
    let wrong = ((1.0 - top1) * 10_000.0).round() as usize;
    let rest = wrong.saturating_sub(on_three);
    let errors = |class: usize| match class {
        3 => on_three,
        9 => rest - rest / 9 * 8,
        _ => rest / 9,
    };
    let row = |class: usize| {
        let mut row = vec![0; 10];
        row[class] = others[class] - errors(class);
        row[(class + 5) % 10] = errors(class);
        row
    };
    let confusion: Vec<Vec<usize>> = (0..10).map(row).collect();
    let correct = (0..10).map(|class| confusion[class][class]).sum::<usize>();
    Evaluation {
        total: 10_000,
        correct,
        top1: correct as f64 / 10_000.0,
        top5: 0.9995,
        nll: 3.2 * (1.0 - top1),
        ece: if distilled { 0.004 } else { 0.007 },
        confusion,
        agreement: distilled.then_some(0.985),
        ..Evaluation::default()
    }
}
