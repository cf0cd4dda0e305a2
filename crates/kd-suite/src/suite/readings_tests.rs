use kd_core::record::{ModelId, Setting};
use kd_core::{Error, Result};
use kd_models::ModelSpec;
use kd_train::LossSpec;

use crate::suite::{Spec, Suite, resolve};

const SUITE: &str = r#"
suite = "tiny"
data = { kind = "synthetic-digits" }
plan = { n_epochs = 3, batch_size = 20, learning_rate = 0.01 }
augment = { crop_padding = 2 }

[[training]]
name = "teacher"
model = "mlp-8"
student = [{ name = "teacher", loss = { kind = "labels" }, claim = "mnist/teacher" }]

[[training]]
name = "student30"
model = { kind = "mlp", hidden = [30, 30] }
teacher = "teacher"
student = [
    { name = "baseline", loss = { kind = "labels" }, claim = "mnist/student30/baseline" },
    { name = "smoothed", loss = { kind = "label-smoothing", smoothing = 0.1 } },
]
grid = { alpha = [0.1, 0.9], temperature = [5], claim = "mnist/student30" }

[readings]
trainings = ["student30"]
"#;

fn resolved(axes: &str) -> Result<Spec> {
    resolve(&Suite::parse("suite", &format!("{SUITE}{axes}"))?, "quick", false, 1)
}

/// The model that answers `claim` in the reading of number `i`.
fn cell(spec: &Spec, i: usize, claim: &str) -> ModelId {
    spec.readings.as_ref().unwrap().readings[i].cells[&format!("mnist/student30/{claim}")].clone()
}

#[test]
fn readings_are_all_combinations_and_share_what_they_can() {
    let axes = "crop_padding = [0, 2]\nreduction = [\"batch-mean\", \"li2018\"]\nepoch = [\"best\", \"last\"]\n";
    let spec = resolved(axes).unwrap();
    let names: Vec<&str> = spec.training.iter().map(|training| &*training.name).collect();
    assert_eq!(names, ["teacher", "student30-1", "student30-2"], "one of each padding");
    let students: Vec<&str> = spec.training[1].student.iter().map(|s| &*s.name).collect();
    let expected = ["baseline", "alpha0.1-t5", "alpha0.9-t5", "alpha0.1-t5-2", "alpha0.9-t5-2"];
    assert_eq!(students, expected, "what claims nothing is left out");
    assert!(spec.training[1].student.iter().all(|student| student.claim.is_none()));
    assert_eq!([1, 2].map(|i| spec.training[i].augment.crop_padding), [0, 2]);
    let readings = &spec.readings.as_ref().unwrap().readings;
    assert_eq!(readings.len(), 8);
    assert_eq!(readings[5].values, [1, 0, 1], "the last axis changes first");
    assert!(readings.iter().enumerate().all(|(i, reading)| reading.last == (i % 2 == 1)));
    assert_eq!(cell(&spec, 2, "alpha0.1-t5"), ModelId::new("student30-1", "alpha0.1-t5-2"));
    assert_eq!(cell(&spec, 2, "baseline"), cell(&spec, 0, "baseline"));
    assert_eq!(spec.readings.unwrap().axes[1].values[1], Setting::Text("li2018".into()));
}

#[test]
fn soft_targets_alone_have_no_other_term() {
    let text =
        SUITE.replace("alpha = [0.1, 0.9], temperature = [5]", "alpha = [1], temperature = [5]");
    let text = text.replace("claim = \"mnist/student30\" }", "}").replace("student30\"]", "student30\"]\nalpha_on = [\"hard\"]")
        .replace("name = \"smoothed\", loss = { kind = \"label-smoothing\", smoothing = 0.1 }",
            "name = \"a\", claim = \"mnist/omit3/distilled\", loss = { kind = \"distill\", alpha = 1, temperature = 20 }");
    let spec = resolve(&Suite::parse("suite", &text).unwrap(), "quick", false, 1).unwrap();
    let loss = &spec.training[1].student[1].loss;
    assert!(matches!(loss, LossSpec::Distill(distill) if distill.alpha.total_cmp(&1.0).is_eq()));
}

/// On the other term, alpha 0.1 is alpha 0.9.
#[test]
fn alpha_on_the_hard_term_exchanges_cells() {
    let spec = resolved("alpha_on = [\"soft\", \"hard\"]\n").unwrap();
    assert_eq!((spec.training.len(), spec.training[1].student.len()), (2, 3));
    assert_eq!(cell(&spec, 1, "alpha0.1-t5"), cell(&spec, 0, "alpha0.9-t5"));
    let loss = &spec.training[1].student[1].loss;
    assert!(matches!(loss, LossSpec::Distill(distill) if distill.alpha.total_cmp(&0.1).is_eq()));
}

#[test]
fn every_axis_changes_its_setting() {
    let axes = "student_dropout = [0.2]\nbatch_size = [64]\nlearning_rate = [0.1]\nn_epochs = [7]\n\
                optimizer = [{ kind = \"sgd\", momentum = 0.9 }]\nteacher = [\"teacher\"]\n\
                schedule = [{ kind = \"exponential\", gamma = 0.9 }]\n";
    let spec = resolved(axes).unwrap();
    let training = &spec.training[1];
    let plan = &training.plan;
    assert_eq!((plan.batch_size, plan.n_epochs), (64, 7));
    assert!((plan.learning_rate - 0.1).abs() < 1e-12);
    assert!(matches!(&training.model, ModelSpec::Mlp(mlp) if (mlp.dropout - 0.2).abs() < 1e-6));
    let text = spec.to_toml().unwrap();
    assert!(text.contains("momentum = 0.9") && text.contains("gamma = 0.9"));
    assert!(text.contains("name = \"student_dropout\""), "the axes are in the spec: {text}");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |text: String| {
        let error = Suite::parse("suite", &text).and_then(|s| resolve(&s, "quick", false, 1));
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
        error.to_string()
    };
    let with = |old: &str, new: &str| {
        assert!(SUITE.contains(old));
        SUITE.replace(old, new)
    };
    let named = "trainings = [\"student30\"]";
    assert!(refused(with(named, "")).contains("name the trainings"));
    assert!(refused(with(named, "trainings = [\"x\"]")).contains("`x` is no training"));
    let unclaimed =
        with(", claim = \"mnist/teacher\"", "").replace(named, "trainings = [\"teacher\"]");
    assert!(refused(unclaimed).contains("no student with a `claim`"));
    let many: Vec<String> = (1..=65).map(|n| n.to_string()).collect();
    let many = many.join(", ");
    let many = format!("{SUITE}batch_size = [{many}]\nn_epochs = [{many}]\n");
    assert!(refused(many).contains("4225 combinations; there may be 4096"));
    let other = with("{ kind = \"mlp\", hidden = [30, 30] }", "\"resnet8\"");
    let other = format!("{other}student_dropout = [0.5]\n");
    assert!(refused(other).contains("no multilayer perceptron"));
    assert!(refused(format!("{SUITE}padding = [2]\n")).contains("padding"));
    assert!(refused(format!("{SUITE}teacher = [\"nobody\"]\n")).contains("nobody"));
}
