//! A made-up run of the suite on defensive distillation: a teacher, its students at T = 1 and
//! T = 100, and an adversarially trained control. The student at T = 100 hides its gradients.

use kd_core::Norm;
use kd_core::record::{
    AttackRecord, AttackSettings, AuditRecord, AuditVerdict, CensusRecord, CheckRecord, DataFile,
    Evaluation, FinalRecord, ModelId, Objective, PicturesRecord, Record, RunRecord, Trained,
    TransferRecord,
};
use serde_json::{Value, json};

use crate::Claims;
use crate::fixture::distill;
use crate::report::Report;
use crate::run::Run;

use super::Adversarial;

/// Training, name, temperature, and images of 1000 that are classified correctly.
const MODELS: [(&str, &str, f64, usize); 4] = [
    ("teacher", "teacher", 1.0, 993),
    ("uiuc", "student-t1", 1.0, 991),
    ("uiuc", "student-t100", 100.0, 990),
    ("adversarial", "pgd7", 1.0, 988),
];

/// Name and norm of each attack, and the images that each model still classifies correctly.
const ATTACKS: [(&str, Norm, [usize; 4]); 8] = [
    ("fgsm", Norm::Linf, [702, 695, 905, 975]),
    ("pgd", Norm::Linf, [351, 344, 893, 962]),
    ("pgd-margin", Norm::Linf, [345, 338, 25, 960]),
    ("pgd-t", Norm::Linf, [351, 344, 21, 962]),
    ("apgd-dlr", Norm::Linf, [330, 331, 12, 958]),
    ("square", Norm::Linf, [502, 490, 117, 965]),
    ("cw", Norm::L2, [0, 0, 0, 9]),
    ("worst-case", Norm::Linf, [322, 325, 2, 955]),
];

/// The records of a run with `seeds` seeds on the official data.
pub(crate) fn records(seeds: u64) -> Vec<Record> {
    let mut records = vec![Record::Run(provenance(seeds))];
    for seed in 0..seeds {
        records.extend((0..4).map(|model| Record::Final(last(seed, model).into())));
        for model in 0..4 {
            records.extend((0..8).map(|a| Record::Attack(attack(seed, model, a))));
            records.extend(curve(seed, model).map(Record::Attack));
            records.push(Record::Census(census(seed, model)));
            records.push(Record::Audit(audit(seed, model)));
            records.push(Record::Pictures(pictures(seed, model)));
        }
    }
    records.push(Record::Done { wall_seconds: 1394.0 });
    records
}

/// What the report says of `records`.
pub(crate) fn of(records: Vec<Record>) -> Adversarial {
    let report = Report::new(Run::group(records).unwrap(), &Claims::load().unwrap()).unwrap();
    report.adversarial.unwrap()
}

/// One seed.
pub(crate) fn summary() -> Adversarial {
    of(records(1))
}

fn provenance(seeds: u64) -> RunRecord {
    let sha256 = "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7";
    let file =
        DataFile { name: "t10k-images-idx3-ubyte".into(), sha256: sha256.into(), n_items: 10_000 };
    RunRecord {
        suite: "defensive".into(),
        preset: "paper".into(),
        seeds,
        device: "cpu".into(),
        cpu: "Made-up CPU @ 2.00GHz".into(),
        threads: 2,
        data: vec![file],
        ..RunRecord::default()
    }
}

fn last(seed: u64, model: usize) -> FinalRecord {
    let (training, name, temperature, correct) = MODELS[model];
    let distilled = training == "uiuc";
    FinalRecord {
        seed,
        id: ModelId::new(training, name),
        how: Trained {
            claim: (training != "adversarial").then(|| "defensive/mnist".into()),
            network: "papernot".into(),
            n_parameters: 312_202,
            loss: match distilled {
                true => distill(0.5, temperature),
                false => Objective::default(),
            },
            perturb: (training == "adversarial").then(|| settings(json!({"kind": "pgd"}))),
            n_epochs: 50,
            n_train: 60_000,
            ..Trained::default()
        },
        last: Evaluation {
            total: 10_000,
            correct: 10 * correct,
            top1: correct as f64 / 1000.0,
            ..Evaluation::default()
        },
        best_top1: correct as f64 / 1000.0,
        best_epoch: 50,
        ..FinalRecord::default()
    }
}

/// As a record keeps them.
pub(crate) fn settings(value: Value) -> AttackSettings {
    serde_json::from_value(value).unwrap()
}

fn settings_of(name: &str, temperature: f64) -> Option<AttackSettings> {
    let objective =
        |kind: &str, temperature: f64| json!({"kind": kind, "temperature": temperature});
    Some(settings(match name {
        "fgsm" => json!({"kind": "fgsm", "eps": 0.1}),
        "pgd" => json!({"kind": "pgd", "eps": 0.1, "n_steps": 40, "step_size": 0.01}),
        "pgd-margin" => {
            json!({"kind": "pgd", "n_steps": 40, "objective": objective("margin", 1.0)})
        }
        "pgd-t" => json!({"kind": "pgd", "objective": objective("cross-entropy", temperature)}),
        "apgd-dlr" => json!({"kind": "apgd", "objective": objective("dlr", 1.0)}),
        "square" => json!({"kind": "square", "n_queries": 5000}),
        "cw" => json!({"kind": "cw", "kappa": 0.0}),
        _ => return None,
    }))
}

fn attack(seed: u64, model: usize, attack: usize) -> AttackRecord {
    let (training, name, temperature, correct) = MODELS[model];
    let (attack, norm, robust) = ATTACKS[attack];
    let robust = robust[model] + seed as usize;
    let distance = 1.4 + 0.1 * model as f64;
    let nearest = norm == Norm::L2;
    AttackRecord {
        seed,
        id: ModelId::new(training, name),
        attack: attack.into(),
        settings: settings_of(attack, temperature),
        norm,
        eps: (!nearest).then_some(0.1),
        total: 1000,
        correct,
        robust,
        robust_rounded: robust,
        mean_distance: Some(if nearest { distance } else { 0.1 }),
        median_distance: Some(if nearest { 0.98 * distance } else { 0.1 }),
        transfer: match attack {
            "fgsm" | "pgd" => transfer(model, correct - robust),
            _ => Vec::new(),
        },
        seconds: 12.5,
    }
}

/// The other models on images made against `model`, of which `fooled` fool it.
fn transfer(model: usize, fooled: usize) -> Vec<TransferRecord> {
    let to = |target: usize| {
        let (training, name, _, correct) = MODELS[target];
        let both = fooled * if target == 3 { 1 } else { 4 } / 8;
        let others = if MODELS[model].2 > 1.0 { 260 } else { 5 };
        TransferRecord {
            id: ModelId::new(training, name),
            correct,
            robust: correct - both - others,
            fooled_source: fooled,
            fooled_both: both,
        }
    };
    (0..4).filter(|target| *target != model).map(to).collect()
}

fn curve(seed: u64, model: usize) -> impl Iterator<Item = AttackRecord> {
    let own = attack(seed, model, 1);
    [0.05, 0.2, 0.3].into_iter().map(move |eps| AttackRecord {
        eps: Some(eps),
        robust: (own.robust as f64 * (1.0 - 3.0 * (eps - 0.1)).clamp(0.0, 1.0)) as usize,
        transfer: Vec::new(),
        ..own.clone()
    })
}

fn census(seed: u64, model: usize) -> CensusRecord {
    let (training, name, temperature, _) = MODELS[model];
    let saturated = temperature > 1.0;
    CensusRecord {
        seed,
        id: ModelId::new(training, name),
        total: 1000,
        zero_gradients: if saturated { 913 } else { 4 },
        non_finite_gradients: 0,
        zero_fraction: if saturated { 0.921 } else { 0.108 },
        mean_gradient_norm: if saturated { 0.0031 } else { 0.0172 },
        mean_logit_norm: 19.5 * temperature.powf(0.8),
        mean_logit_gap: 11.3 * temperature.powf(0.8),
    }
}

fn audit(seed: u64, model: usize) -> AuditRecord {
    let (training, name, temperature, _) = MODELS[model];
    let masked = temperature > 1.0;
    let check = |name: &str, passed, figures: &str| CheckRecord {
        name: name.into(),
        passed,
        figures: figures.into(),
    };
    let (zero, verdict) =
        if masked { ("913", AuditVerdict::Masked) } else { ("4", AuditVerdict::Sound) };
    AuditRecord {
        seed,
        id: ModelId::new(training, name),
        checks: vec![
            check("outputs-are-logits", true, "some are below 0 or above 1"),
            check("gradients-are-not-zero", !masked, &format!("{zero} of 1000 are exactly 0")),
        ],
        verdict,
        n_images: Some(990),
        words: format!("In words: at L-infinity radius 0.1, this model is {verdict:?}."),
    }
}

fn pictures(seed: u64, model: usize) -> PicturesRecord {
    let (training, name, _, _) = MODELS[model];
    PicturesRecord {
        seed,
        id: ModelId::new(training, name),
        attack: "pgd".into(),
        file: format!("pictures/{name}-{seed}-pgd.png"),
        labels: vec![[7, 3], [2, 2], [1, 7]],
    }
}
