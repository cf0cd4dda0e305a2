use std::path::Path;

use kd_adv::{AttackSpec, Audit, Objective};
use kd_core::ops::Normalize;
use kd_core::{Error, Result};
use kd_data::{Affine, Augment, DataSpec, Elastic, Mixup, ResizedCrop};
use kd_models::ModelSpec;
use kd_train::losses::{Dkd, Ttm};
use kd_train::{Average, LossSpec, OptimizerSpec, Plan, Schedule, SoftTargets};
use serde::de::DeserializeOwned;

use super::{
    AttackFile, AuditFile, CensusFile, Choose, Grid, Preset, Readings, Spec, Student, Suite,
    Teacher, TeacherFile, TrainingFile, loss, resolve,
};

const FORMAT: &str = include_str!("../../FORMAT.md");

const SUITE: &str = r#"
suite = "tiny"
data = { kind = "synthetic-digits" }
plan = { n_epochs = 3, batch_size = 20, learning_rate = 0.01 }

[[training]]
name = "teacher"
model = "mlp-8"
student = [{ name = "teacher", loss = { kind = "labels" } }]

[[training]]
name = "students"
model = { kind = "mlp", hidden = [4] }
teacher = "teacher"
student = [{ name = "alpha0.5-t4", loss = { kind = "labels" } }]
grid = { alpha = [0.5, 1], temperature = [1, 4] }
"#;

const ATTACKS: &str = r#"
[[attack]]
name = "fgsm"
attack = { kind = "fgsm", eps = 0.1 }
models = ["teacher"]
n_images = 6

[[audit]]
name = "audit"
models = ["teacher"]
n_images = 4
"#;

fn resolved(text: &str, preset: &str) -> Result<Spec> {
    resolve(&Suite::parse("suite", text)?, preset, false, 1)
}

/// The error of the suite with `new` in place of `old`, in the preset `quick`.
fn refused(old: &str, new: &str) -> String {
    let text = SUITE.to_owned() + ATTACKS;
    assert!(text.contains(old), "{old}");
    let error = resolved(&text.replacen(old, new, 1), "quick").unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
    error.to_string()
}

#[test]
fn every_suite_of_the_repository_resolves_in_every_preset() {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask");
    let folders = ["suites", "recipes"].map(|name| std::fs::read_dir(xtask.join(name)));
    let mut n_specs = 0;
    for entry in folders.into_iter().flat_map(std::result::Result::unwrap) {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let suite = Suite::read(&path).unwrap();
        for preset in suite.preset.keys() {
            let spec = resolve(&suite, preset, true, 1).unwrap();
            let text = spec.to_toml().unwrap();
            assert!(text.contains("[[training]]"), "{}: {text}", path.display());
            n_specs += 1;
        }
    }
    assert!(n_specs > 12);
}

#[test]
fn the_spec_says_how_convolutions_form_their_sums() {
    let text = |suite: &str| resolved(suite, "quick").unwrap().to_toml().unwrap();
    assert!(text(SUITE).contains("conv_sums = \"fast\""));
    let exact = SUITE.replacen("suite = ", "exact_conv = true\nsuite = ", 1);
    assert!(text(&exact).contains("conv_sums = \"exact\""));
}

#[test]
fn a_network_is_a_name_or_a_table() {
    let spec = resolved(SUITE, "quick").unwrap();
    let hidden = |i: usize| match &spec.training[i].model {
        ModelSpec::Mlp(mlp) => mlp.hidden.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((hidden(0), hidden(1)), (vec![8], vec![4]));
    for (new, words) in [
        ("\"resnet9\"", "`resnet9` names no network; such names are mlp-"),
        ("3", "a network: a name such as \"resnet8\""),
        ("{ kind = \"mlp\", width = 3 }", "unknown field `width`, expected one of `hidden`"),
        ("{ hidden = [3] }", "missing field `kind`"),
        ("{ kind = \"lenet\" }", "unknown variant `lenet`, expected one of `mlp`"),
    ] {
        let error = refused("\"mlp-8\"", new);
        assert!(error.contains(words) && error.contains("`suite:8`"), "{new}: {error}");
    }
}

#[test]
fn errors_name_line_key_and_choices() {
    for (old, new, words) in [
        ("n_epochs", "n_epoch", &["`suite:4`", "unknown field `n_epoch`", "`n_epochs`"][..]),
        ("teacher = \"t", "tutor = \"t", &["unknown field `tutor`", "`teacher`"]),
        ("\"labels\"", "\"label\"", &["`suite:9`", "unknown variant `label`", "`labels`"]),
        ("\"synthetic-digits\"", "\"digits\"", &["`suite:3`", "`digits`", "`mnist`"]),
        ("\"fgsm\", eps", "\"fgsm\", epsilon", &["unknown field `epsilon`", "`eps`"]),
        ("[\"teacher\"]", "[\"tutor\"]", &["`attack.models`", "`tutor`", "teacher/teacher"]),
        (
            "teacher = \"teacher\"",
            "teacher = \"tutor\"",
            &["`teacher`", "no training before `students`", "those are: teacher"],
        ),
    ] {
        let error = refused(old, new);
        assert!(words.iter().all(|word| error.contains(word)), "{new}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn an_objective_is_a_name_with_settings() {
    let dkd = Dkd { beta: 2.0, warmup: 5, ..Dkd::default() };
    assert_eq!(loss("dkd,beta=2.0,warmup=5").unwrap(), dkd.into());
    assert_eq!(loss("ttm").unwrap(), Ttm::default().into());
    assert_eq!(loss("distill,alpha=1,temperature=4,reduction=li2018").unwrap().name(), "distill");
    for (text, words) in [
        ("kdk", "`kdk` is none of labels"),
        ("dkd,beta", "`beta` is not KEY=VALUE"),
        ("dkd,gamma=1", "unknown field `gamma`"),
        ("dkd,beta=large", "invalid type"),
    ] {
        let error = loss(text).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn names_must_not_clash() {
    let two = "[[attack]]\nname = \"fgsm\"\nattack = { kind = \"fgsm\" }\nmodels = [\"teacher\"]\n\
               n_images = 1\n\n[[audit]]";
    let again = "[[audit]]\nname = \"again\"\nmodels = [\"teacher\"]\nn_images = 1\n\n[[audit]]";
    for (old, new, words) in [
        ("name = \"students\"", "name = \"teacher\"", "two trainings `teacher`"),
        ("[0.5, 1]", "[0.5, 1, 1]", "two students `alpha1-t1`"),
        ("[[audit]]", two, "two of them are called `fgsm`"),
        ("[[audit]]", again, "`teacher/teacher` is audited twice"),
        ("name = \"fgsm\"", "name = \"worst-case\"", "the name of all attacks together"),
        ("name = \"students\"", "name = \"../x\"", "`../x`"),
        ("name = \"students\"", "name = \".x\"", "does not begin with a dot"),
    ] {
        let error = refused(old, new);
        assert!(error.contains(words), "{new}: {error}");
    }
}

#[test]
fn attacks_must_not_write_the_same_files() {
    let training = |name: &str| {
        let student = r#"student = [{ name = "x", loss = { kind = "labels" } }]"#;
        format!("[[training]]\nname = \"{name}\"\nmodel = \"mlp-4\"\n{student}\n")
    };
    let attack = |name: &str, model: &str| {
        let settings = "attack = { kind = \"fgsm\" }\nn_images = 1";
        format!("[[attack]]\nname = \"{name}\"\nmodels = [\"{model}\"]\n{settings}\n")
    };
    let trainings = SUITE.to_owned() + &training("b") + &training("a-b");
    let both = |one: &str, two: &str| trainings.clone() + &attack(one, "b") + &attack(two, "a-b");
    assert_eq!(resolved(&both("fgsm", "fgsm-a"), "x").unwrap().questions.attack.len(), 2);
    let error = resolved(&both("fgsm-a", "fgsm"), "x").unwrap_err().to_string();
    assert!(error.contains("`attack.name`") && error.contains("`fgsm-a-b-x`"), "{error}");
}

#[test]
fn a_grid_is_spelt_out_and_a_listed_student_replaces_its_cell() {
    let spec = resolved(SUITE, "quick").unwrap();
    let students = &spec.training[1].student;
    let names: Vec<_> = students.iter().map(|student| student.name.as_str()).collect();
    assert_eq!(names, ["alpha0.5-t4", "alpha0.5-t1", "alpha1-t1", "alpha1-t4"]);
    assert!(!students[0].loss.as_dyn().needs_teacher());
    assert!(students[1..].iter().all(|student| student.loss.as_dyn().needs_teacher()));
    assert_eq!(spec.training[1].teacher, Some(Teacher::Training("teacher".into())));
}

#[test]
fn several_teachers_are_named_with_their_average() {
    let another = SUITE.replacen(
        "[[training]]\nname = \"students\"",
        "[[training]]\nname = \"other\"\n\
        model = \"mlp-6\"\nstudent = [{ name = \"x\", loss = { kind = \"labels\" } }]\n\n\
        [[training]]\nname = \"students\"",
        1,
    );
    let both = "teachers = [{ training = \"teacher\" }, { training = \"other\" }]\n";
    let of = |teachers: &str, grid: &str| {
        let text = another.replacen("teacher = \"teacher\"\n", teachers, 1);
        resolved(&text.replace("temperature = [1, 4]", grid), "x")
    };
    let spec = of(&format!("{both}average = \"logits\"\n"), "temperature = [1, 4]").unwrap();
    let members = vec![Teacher::Training("teacher".into()), Teacher::Training("other".into())];
    let average = Average::Logits;
    let teacher = Teacher::Several { average, members: members.clone() };
    assert_eq!(spec.training[2].teacher, Some(teacher));
    let text = spec.to_toml().unwrap();
    assert!(
        text.contains("average = \"logits\"") && text.contains("training = \"other\""),
        "{text}"
    );
    let mean = format!("{both}average = \"probabilities\"\n");
    let spec = of(&mean, "temperature = [3]").unwrap();
    let average = Average::Probabilities { temperature: 3.0 };
    assert_eq!(spec.training[2].teacher, Some(Teacher::Several { average, members }));
    assert!(spec.to_toml().unwrap().contains("temperature = 3.0"));
    let one = "teachers = [{ training = \"teacher\" }]\n";
    let spec = of(one, "temperature = [1, 4]").unwrap();
    assert_eq!(spec.training[2].teacher, Some(Teacher::Training("teacher".into())));
    for (teachers, words) in [
        (mean.clone(), "the students have [1.0, 4.0]"),
        (both.into(), "the mean of their `probabilities` or their `logits`"),
        (format!("{one}average = \"logits\"\n"), "is for several teachers"),
        (format!("teacher = \"other\"\n{mean}"), "not both"),
        (
            mean.replace("\"other\"", "\"students\"").replace("probabilities", "logits"),
            "no training before `students`",
        ),
        ("teachers = [{}]\n".into(), "each has one of `training`, `weights` and `logits`"),
        ("teacher_logits = \"none.npy\"\n".into(), "none.npy: not found"),
        (mean.replace("\"logits\"", "\"median\"").replace("probabilities", "median"), "`median`"),
    ] {
        let error = of(&teachers, "temperature = [1, 4]").unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains('\n'), "{teachers}: {error}");
    }
}

#[test]
fn a_file_of_logits_is_known_by_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.npy", "b.npy"].map(|name| folder.path().join(name));
    std::fs::write(&a, "abc").unwrap();
    std::fs::write(&b, "abd").unwrap();
    let of = |teacher: &str| resolved(&SUITE.replacen("teacher = \"teacher\"\n", teacher, 1), "x");
    let (a, b) = (a.display(), b.display());
    let spec = of(&format!("teacher_logits = '{a}'\n")).unwrap();
    let text = spec.to_toml().unwrap();
    assert!(text.contains("sha256 = \"ba7816bf8f01cfea"), "{text}");
    let both = of(&format!(
        "teachers = [{{ logits = '{a}' }}, {{ logits = '{b}' }}]\n\
        average = \"logits\"\n"
    ))
    .unwrap();
    assert_eq!(both.training[1].teacher.as_ref().unwrap().logits().len(), 2);
    for (teacher, words) in [
        (format!("teacher_logits = '{a}'\nsoft_targets = {{}}\n"), "in a file already"),
        (format!("teacher_logits = '{a}'\nteacher_model = \"mlp-4\"\n"), "no network"),
        (
            format!(
                "teachers = [{{ logits = '{a}' }}, {{ training = \"teacher\" }}]\n\
                average = \"logits\"\n"
            ),
            "networks and files of logits",
        ),
    ] {
        let error = of(&teacher).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains('\n'), "{teacher}: {error}");
    }
}

#[test]
fn presets_are_optional_and_change_what_they_name() {
    assert_eq!(resolved(SUITE, "anything").unwrap().training.len(), 2);
    let text = SUITE.to_owned()
        + "[preset.one]\nn_epochs = 1\nn_train = 50\ntrainings = [\"teacher\"]\n[preset.all]\n";
    let one = resolved(&text, "one").unwrap();
    assert_eq!((one.training.len(), one.training[0].plan.n_epochs), (1, 1));
    assert_eq!((one.n_train, one.training[0].plan.batch_size), (Some(50), 20));
    assert_eq!(resolved(&text, "all").unwrap().training[0].plan.n_epochs, 3);
    let error = resolved(&text, "quick").unwrap_err().to_string();
    assert_eq!(error, "`preset`: `quick` is none of all, one");
    let text = text.replace("[\"teacher\"]\n[preset.all]", "[\"tutor\"]\n[preset.all]");
    let error = resolved(&text, "one").unwrap_err().to_string();
    let words = "`preset.trainings`: there is no training `tutor` among teacher, students";
    assert_eq!(error, words);
}

#[test]
fn synthetic_data_are_optional() {
    let mnist = SUITE.replace("synthetic-digits", "mnist");
    let resolve =
        |text: &str, synthetic| resolve(&Suite::parse("suite", text).unwrap(), "x", synthetic, 1);
    assert_eq!(resolve(&mnist, false).unwrap().data.name(), "mnist");
    let error = resolve(&mnist, true).unwrap_err().to_string();
    assert!(error.contains("`synthetic`: the suite names no synthetic data"), "{error}");
    assert_eq!(resolve(SUITE, true).unwrap().data.name(), "synthetic-digits");
    let both = mnist.replace("plan =", "synthetic = { kind = \"synthetic-objects\" }\nplan =");
    assert_eq!(resolve(&both, true).unwrap().data.name(), "synthetic-objects");
}

#[test]
fn every_example_of_the_format_resolves_in_every_preset() {
    let blocks = FORMAT.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let mut n_specs = 0;
    for text in blocks {
        let suite = Suite::parse("FORMAT.md", text).unwrap_or_else(|e| panic!("{e} in\n{text}"));
        let presets = suite.preset.keys().map(String::as_str);
        let presets: Vec<&str> =
            if suite.preset.is_empty() { vec!["x"] } else { presets.collect() };
        for preset in presets {
            resolve(&suite, preset, false, 1).unwrap_or_else(|e| panic!("{e} in\n{text}"));
            n_specs += 1;
        }
    }
    assert!(n_specs >= 3);
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What may stand in place of what is wrong in `text`, in the words of the error that refuses it.
fn choices<T: DeserializeOwned>(text: &str) -> Vec<String> {
    let error = toml::from_str::<T>(text).err();
    let message = error.map_or(String::new(), |e| e.message().to_owned());
    let (_, expected) = message.split_once("expected").unwrap_or_default();
    quoted(expected).into_iter().map(str::to_owned).collect()
}

/// The keys of a table, behind `prefix`.
fn keys<T: DeserializeOwned>(prefix: &str) -> Vec<String> {
    choices::<T>("no_such_key = 0").iter().map(|key| format!("{prefix}{key}")).collect()
}

/// The keys of each kind, behind its name; the name alone where there are none.
fn kinds<T: DeserializeOwned>() -> Vec<String> {
    let of = |kind: String| {
        let keys = choices::<T>(&format!("kind = \"{kind}\"\nno_such_key = 0"));
        let named = keys.iter().map(|key| format!("{kind}.{key}")).collect();
        if keys.is_empty() { vec![kind] } else { named }
    };
    choices::<T>("kind = \"no such kind\"").into_iter().flat_map(of).collect()
}

/// The keys in the table under `heading`.
fn documented(heading: &str) -> Vec<String> {
    let (_, section) = FORMAT.split_once(&format!("# {heading}\n")).expect(heading);
    let rows = section.split("\n#").next().unwrap_or_default().lines();
    // The key, with its kind before it where the first column says that.
    let key = |row: &str| {
        let cells: Vec<&str> = row.split('|').skip(1).take(2).collect();
        quoted(&cells.concat()).join(".")
    };
    rows.filter(|row| row.starts_with("| `")).map(key).collect()
}

#[test]
fn the_format_says_every_key() {
    for (heading, mut want) in [
        ("The suite", [keys::<Suite>(""), keys::<Normalize>("normalize.")].concat()),
        ("Plans", keys::<Plan>("")),
        (
            "Augmentation",
            [
                keys::<Augment>(""),
                keys::<Affine>("affine."),
                keys::<Elastic>("elastic."),
                keys::<ResizedCrop>("resized_crop."),
                keys::<Mixup>("mixup."),
            ]
            .concat(),
        ),
        (
            "Trainings",
            [
                keys::<TrainingFile>(""),
                keys::<TeacherFile>("teachers."),
                keys::<SoftTargets>("soft_targets."),
                keys::<Choose>("choose."),
            ]
            .concat(),
        ),
        ("Students", keys::<Student>("")),
        ("Grids", keys::<Grid>("")),
        ("Attacks", keys::<AttackFile>("")),
        ("Objectives", keys::<Objective>("")),
        ("The census", keys::<CensusFile>("")),
        ("Audits", [keys::<AuditFile>(""), keys::<Audit>("audit.")].concat()),
        ("Presets", keys::<Preset>("")),
        ("Readings", keys::<Readings>("")),
    ] {
        let mut got = documented(heading);
        got.sort();
        want.sort();
        assert_eq!(got, want, "{heading}");
    }
}

/// A new kind needs no line there: `kd list` shows it.
#[test]
fn the_format_says_every_setting_of_the_kinds_that_it_has() {
    for (heading, mut want) in [
        ("Data", kinds::<DataSpec>()),
        ("Optimizers", kinds::<OptimizerSpec>()),
        ("Schedules", kinds::<Schedule>()),
        ("Losses", kinds::<LossSpec>()),
        ("Networks", kinds::<ModelSpec>()),
        ("The attacks and their settings", kinds::<AttackSpec>()),
    ] {
        let mut got = documented(heading);
        let kind = |key: &str| key.split('.').next().map(str::to_owned);
        want.retain(|key| got.iter().any(|other| kind(other) == kind(key)));
        got.sort();
        want.sort();
        assert_eq!(got, want, "{heading}");
    }
}
