//! From a suite file and flags to the full description of a run.

use kd_core::ops::ConvSums;
use kd_core::record::ModelId;
use kd_core::{Error, Result, fsx};
use kd_report::Claims;
use kd_train::losses::Distill;
use kd_train::{LossSpec, Plan};

use super::choose;
use super::file::{Grid, Preset, Suite, TrainingFile};
use super::names::check_name;
use super::questions;
use super::readings;
use super::spec::{InitWeights, Spec, StudentSpec, TrainingSpec};
use super::teacher;
use crate::weights;

/// Expands grids, applies the preset and checks every setting.
///
/// # Errors
/// [`Error::Config`] naming the setting; those of the files of teachers.
pub fn resolve(suite: &Suite, preset: &str, synthetic: bool, seeds: u64) -> Result<Spec> {
    let changes = match suite.preset.get(preset) {
        Some(changes) => changes.clone(),
        None if suite.preset.is_empty() => Preset::default(),
        None => {
            let names: Vec<_> = suite.preset.keys().map(String::as_str).collect();
            let reason = format!("`{preset}` is none of {}", names.join(", "));
            return Err(Error::config("preset", reason));
        }
    };
    if seeds == 0 || seeds > choose::SEED {
        let reason = format!("must be from 1 to {}", choose::SEED);
        return Err(Error::config("seeds", reason));
    }
    let data = match (&suite.synthetic, synthetic || changes.synthetic) {
        (_, false) => suite.data.clone(),
        (Some(stand_in), true) => stand_in.clone(),
        (None, true) if suite.data.as_dyn().is_synthetic() => suite.data.clone(),
        (None, true) => {
            let reason = "the suite names no synthetic data: `synthetic = { kind = .. }`";
            return Err(Error::config("synthetic", reason));
        }
    };
    let chosen = chosen(suite, &changes)?;
    if chosen.is_empty() {
        return Err(Error::config("preset", format!("`{preset}` runs no training")));
    }
    let mut training: Vec<TrainingSpec> = Vec::new();
    for file in chosen {
        let mut spec = self::training(suite, &changes, file)?;
        spec.init = init(file, &training)?;
        training.push(spec);
    }
    let (training, readings) = match changes.readings.as_ref().or(suite.readings.as_ref()) {
        Some(open) => readings::expand(open, &training).map(|(all, read)| (all, Some(read)))?,
        None => (training, None),
    };
    for (i, spec) in training.iter().enumerate() {
        check_is_new(spec, &training[..i])?;
        teacher::check(spec, &training[..i])?;
    }
    Ok(Spec {
        readings,
        suite: suite.suite.clone(),
        preset: preset.into(),
        about: changes.about.clone(),
        seeds,
        conv_sums: if suite.exact_conv { ConvSums::Exact } else { ConvSums::Fast },
        holdout: suite.holdout,
        n_train: changes.n_train,
        n_test: changes.n_test,
        questions: questions::resolve(suite, (&changes, &data), &training)?,
        normalize: suite.normalize.clone().unwrap_or_else(|| data.as_dyn().normalize()),
        data,
        files: Vec::new(),
        training,
    })
}

/// The trainings that the preset runs, in the suite's order.
fn chosen<'s>(suite: &'s Suite, preset: &Preset) -> Result<Vec<&'s TrainingFile>> {
    let all: Vec<&str> = suite.training.iter().map(|training| &*training.name).collect();
    for name in preset.plan.keys() {
        check_is_one("preset.plan", name, &all)?;
    }
    let Some(names) = &preset.trainings else { return Ok(suite.training.iter().collect()) };
    for name in names {
        check_is_one("preset.trainings", name, &all)?;
    }
    Ok(suite.training.iter().filter(|t| names.contains(&t.name)).collect())
}

fn check_is_one(field: &str, name: &str, trainings: &[&str]) -> Result<()> {
    if trainings.contains(&name) {
        return Ok(());
    }
    let reason = format!("there is no training `{name}` among {}", trainings.join(", "));
    Err(Error::config(field, reason))
}

fn training(suite: &Suite, preset: &Preset, file: &TrainingFile) -> Result<TrainingSpec> {
    let plan = plan(suite, preset, file)?;
    let students = file.student.iter().map(|student| choose::student(&file.name, student));
    let mut students = students.collect::<Result<Vec<_>>>()?;
    if let Some(grid) = &file.grid {
        // A student that is listed by name stands in for its cell.
        let listed: Vec<String> = students.iter().map(|s| s.name.clone()).collect();
        students.extend(cells(grid)?.into_iter().filter(|cell| !listed.contains(&cell.name)));
    }
    for student in &mut students {
        student.perturb = student.perturb.take().or_else(|| file.perturb.clone());
    }
    check_students(&file.name, &students)?;
    check_transfer(file, &students)?;
    let choose = choose::resolve((suite, preset), file, (&plan, &students))?;
    Ok(TrainingSpec {
        name: file.name.clone(),
        omit_class: file.omit_class.clone(),
        transfer: file.transfer.clone(),
        n_train: file.n_train,
        model: file.model.clone(),
        teacher: teacher::resolve(file, &students)?,
        plan,
        choose,
        augment: file.augment.clone().unwrap_or_else(|| suite.augment.clone()),
        soft_targets: file.soft_targets,
        init: None,
        init_weights: init_weights(file)?,
        freeze: file.freeze.clone(),
        learning_rate_of: file.learning_rate_of.clone(),
        student: students,
    })
}

/// The preset's plan for this training; else the training's or the suite's, with what the preset
/// changes in all of them.
fn plan(suite: &Suite, preset: &Preset, file: &TrainingFile) -> Result<Plan> {
    let plan = file.plan.clone().unwrap_or_else(|| suite.plan.clone());
    let plan = preset.plan.get(&file.name).cloned().unwrap_or(Plan {
        n_epochs: preset.n_epochs.unwrap_or(plan.n_epochs),
        batch_size: preset.batch_size.unwrap_or(plan.batch_size),
        learning_rate: preset.learning_rate.unwrap_or(plan.learning_rate),
        optimizer: preset.optimizer.clone().unwrap_or(plan.optimizer),
        schedule: preset.schedule.unwrap_or(plan.schedule),
        ..plan
    });
    plan.check()?;
    Ok(plan)
}

fn init_weights(file: &TrainingFile) -> Result<Option<InitWeights>> {
    let Some(path) = &file.init_weights else { return Ok(None) };
    let reason = match (&file.init, file.model.as_dyn().is_in_a_file()) {
        (Some(_), _) => "give `init` or `init_weights`, not both",
        (None, true) => "a network in a file has its weights with it; leave out `init_weights`",
        (None, false) => {
            let sha256 = fsx::sha256(&weights::read(path)?);
            let (path, naming) = (path.clone(), file.init_naming.clone());
            return Ok(Some(InitWeights { path, sha256, naming }));
        }
    };
    Err(Error::config("init", reason))
}

/// The students of a grid, alpha by alpha.
fn cells(grid: &Grid) -> Result<Vec<StudentSpec>> {
    let claims = Claims::load()?;
    let mut cells = Vec::new();
    for &alpha in &grid.alpha {
        for &temperature in &grid.temperature {
            let name = format!("alpha{alpha}-t{temperature}");
            let claim = grid.claim.as_ref().map(|prefix| format!("{prefix}/{name}"));
            let claim = claim.filter(|id| claims.answered_by(id).is_ok());
            let reduction = grid.reduction;
            let loss = LossSpec::Distill(Distill { alpha, temperature, reduction });
            cells.push(StudentSpec { name, claim, loss, losses: Vec::new(), perturb: None });
        }
    }
    Ok(cells)
}

fn check_students(training: &str, students: &[StudentSpec]) -> Result<()> {
    if students.is_empty() {
        return Err(Error::config(training, "a training needs a `student` or a `grid`"));
    }
    let claims = Claims::load()?;
    check_name(training)?;
    for (i, student) in students.iter().enumerate() {
        check_name(&student.name)?;
        student.objectives().iter().try_for_each(|loss| loss.as_dyn().check())?;
        student.perturb.iter().try_for_each(|attack| attack.as_dyn().check())?;
        if let Some(claim) = &student.claim {
            claims.answered_by(claim)?;
        }
        if students[..i].iter().any(|other| other.name == student.name) {
            return Err(Error::config(training, format!("two students `{}`", student.name)));
        }
    }
    Ok(())
}

/// Refuses what needs the labels of images that are learned from without them.
fn check_transfer(file: &TrainingFile, students: &[StudentSpec]) -> Result<()> {
    if file.transfer.is_none() {
        return Ok(());
    }
    let looks = |student: &&StudentSpec| {
        student.perturb.is_some()
            || student.objectives().iter().any(|loss| loss.as_dyn().needs_labels())
    };
    let reason = match (students.iter().find(looks), &file.omit_class) {
        (Some(student), _) => {
            format!(
                "`{}` of `{}` looks at labels, which these images have not",
                student.name, file.name
            )
        }
        (None, Some(_)) => {
            "its images have no labels, so that none of a class can be left out".into()
        }
        (None, None) => return Ok(()),
    };
    Err(Error::config("transfer", reason))
}

/// The one model of the earlier training that `file` begins with.
fn init(file: &TrainingFile, earlier: &[TrainingSpec]) -> Result<Option<ModelId>> {
    let Some(name) = &file.init else { return Ok(None) };
    let source = &questions::one_source("init", name, earlier)?;
    match earlier.iter().find(|other| other.name == source.training) {
        Some(other) if other.model == file.model => Ok(Some(source.clone())),
        _ => {
            Err(Error::config("init", format!("`{name}` is another network than `{}`", file.name)))
        }
    }
}

fn check_is_new(spec: &TrainingSpec, earlier: &[TrainingSpec]) -> Result<()> {
    let own = spec.names();
    let is_taken = |name: &&String| earlier.iter().any(|other| other.names().contains(name));
    match own.iter().find(is_taken) {
        Some(name) => Err(Error::config("training", format!("two trainings `{name}`"))),
        None => Ok(()),
    }
}
