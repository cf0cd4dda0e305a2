//! What the tests of runs share.

use std::path::Path;

use kd_core::record;
use kd_core::record::Record;
use serde_json::Value;

use crate::suite::{Spec, Suite, resolve};

/// A suite of every kind of job.
const SUITE: &str = r#"
    suite = "tiny"
    data = { kind = "synthetic-digits", n_train = 60, n_test = 40 }
    plan = { n_epochs = 1, batch_size = 20, learning_rate = 0.01 }

    [[training]]
    name = "teacher"
    model = "mlp-8"
    student = [{ name = "teacher", loss = { kind = "labels" } }]

    [[training]]
    name = "students"
    model = "mlp-4"
    teacher = "teacher"
    grid = { alpha = [0.5], temperature = [1, 4] }

    [[evaluation]]
    name = "seen"
    models = ["students"]
    split = "train"

    [census]
    models = ["teacher"]
    n_images = 4

    [[attack]]
    name = "fgsm"
    attack = { kind = "fgsm", eps = 0.1 }
    models = ["teacher", "students/alpha0.5-t4"]
    curve = [0.2]
    n_images = 6
    pictures = 1

    [[attack]]
    name = "pgd"
    attack = { kind = "pgd", eps = 0.1, step_size = 0.05, n_steps = 2 }
    models = ["teacher"]
    transfer_to = ["students"]
    n_images = 6

    [[audit]]
    name = "audit"
    models = ["teacher"]
    n_images = 4
    audit = { eps = 0.1, n_steps = 2, n_queries = 3 }
"#;

/// That of [`SUITE`].
pub(super) fn spec(seeds: u64) -> Spec {
    resolve(&Suite::parse("suite", SUITE).unwrap(), "quick", false, seeds).unwrap()
}

/// The records without what the clock says, and without what depends on interruptions.
pub(super) fn timeless(out: &Path) -> Vec<Value> {
    let records = record::read(&out.join("metrics.jsonl")).unwrap();
    let timeless = |record: &Record| {
        let mut value = serde_json::to_value(record).unwrap();
        let fields = value.as_object_mut().unwrap();
        let clocks =
            ["seconds", "wall_seconds", "images_per_second", "data_wait", "teacher_computed"];
        fields.retain(|key, _| !clocks.contains(&key.as_str()));
        value
    };
    records.iter().map(timeless).collect()
}
