//! Where the teachers of a training come from.

use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};
use kd_models::weights::Naming;
use kd_train::Average;

use super::file::{AverageOf, TeacherFile, TrainingFile};
use super::names::model;
use super::spec::{StudentSpec, Teacher, TrainingSpec};
use crate::weights;

impl TeacherFile {
    /// Those whose weights are in the files `weights`, each of the network of the same place in `models`, of
    /// the only one there, or of the one that it says itself; and those of whom there are `logits`.
    ///
    /// # Errors
    /// [`Error::Config`] for no network's name, and another number of names.
    pub fn several(
        (weights, logits): (&[PathBuf], &[PathBuf]),
        models: &[String],
        naming: &Naming,
    ) -> Result<Vec<Self>> {
        let models = models.iter().map(|name| model(name)).collect::<Result<Vec<_>>>()?;
        let (n_models, n) = (models.len(), weights.len());
        if ![0, 1, n].contains(&n_models) {
            let reason = format!("{n_models} of them for {n} teachers; one is enough for all");
            return Err(Error::config("teacher-model", reason));
        }
        let weights = weights.iter().enumerate().map(|(i, path)| Self {
            weights: Some(path.clone()),
            model: models.get(if n_models == 1 { 0 } else { i }).cloned(),
            naming: naming.clone(),
            ..Self::default()
        });
        let logits = logits.iter();
        let logits = logits.map(|path| Self { logits: Some(path.clone()), ..Self::default() });
        Ok(weights.chain(logits).collect())
    }
}

/// The teacher of `file`: one, whichever way it is given, or several.
///
/// # Errors
/// [`Error::Config`] for what does not go together; those of the files.
pub(super) fn resolve(file: &TrainingFile, students: &[StudentSpec]) -> Result<Option<Teacher>> {
    let alone = TeacherFile {
        training: file.teacher.clone(),
        weights: file.teacher_weights.clone(),
        model: file.teacher_model.clone(),
        naming: file.teacher_naming.clone(),
        logits: file.teacher_logits.clone(),
    };
    let has_one = alone.training.is_some() || alone.weights.is_some() || alone.logits.is_some();
    let given: Vec<&TeacherFile> = match (has_one, &file.teachers[..]) {
        (true, [_, ..]) => {
            return Err(Error::config(
                "teachers",
                "give one `teacher` or several `teachers`, not both",
            ));
        }
        (true, []) => vec![&alone],
        (false, several) => several.iter().collect(),
    };
    let mut members = given.into_iter().map(member).collect::<Result<Vec<_>>>()?;
    match (members.len(), file.average) {
        (0, None) => Ok(None),
        (1, None) => Ok(members.pop()),
        (0 | 1, Some(_)) => Err(Error::config("average", "is for several teachers; leave it out")),
        (_, Some(average)) => several(members, average, students).map(Some),
        (_, None) => {
            let reason = "several teachers give the mean of their `probabilities` or their `logits`; \
                          say which";
            Err(Error::config("average", reason))
        }
    }
}

/// One teacher.
fn member(file: &TeacherFile) -> Result<Teacher> {
    match (&file.training, &file.weights, &file.logits) {
        (Some(name), None, None) => Ok(Teacher::Training(name.clone())),
        (None, Some(path), None) => weights(file, path),
        (None, None, Some(path)) if file.model.is_some() || !file.naming.is_default() => {
            let reason = format!("{} has logits, no network; leave it out", path.display());
            Err(Error::config("teacher_model", reason))
        }
        (None, None, Some(path)) => {
            let sha256 = fsx::sha256_of(path, "give a .npy or safetensors file of logits")?;
            Ok(Teacher::Logits { path: path.clone(), sha256 })
        }
        _ => {
            let reason = "give one of `teacher`, `teacher_weights` and `teacher_logits`; of `teachers`, \
                          each has one of `training`, `weights` and `logits`";
            Err(Error::config("teacher", reason))
        }
    }
}

fn weights(file: &TeacherFile, path: &Path) -> Result<Teacher> {
    let sha256 = fsx::sha256(&weights::read(path)?);
    let (model, naming) = (file.model.clone(), file.naming.clone());
    let network = match &model {
        Some(model) => model.short_name(),
        None => weights::name(path)?.ok_or_else(|| {
            let reason = format!(
                "{} does not say what network it holds; --teacher-model names it",
                path.display()
            );
            Error::config("teacher_model", reason)
        })?,
    };
    Ok(Teacher::Weights { path: path.into(), sha256, network, model, naming })
}

fn several(members: Vec<Teacher>, average: AverageOf, students: &[StudentSpec]) -> Result<Teacher> {
    let n_logits = members.iter().filter(|one| matches!(one, Teacher::Logits { .. })).count();
    if n_logits != 0 && n_logits != members.len() {
        let reason = "are networks and files of logits; give all as networks, or the logits of all";
        return Err(Error::config("teachers", reason));
    }
    let average = match average {
        AverageOf::Logits => Average::Logits,
        AverageOf::Probabilities => Average::Probabilities { temperature: temperature(students)? },
    };
    Ok(Teacher::Several { average, members })
}

/// The one temperature at which the students take their teacher's probabilities.
fn temperature(students: &[StudentSpec]) -> Result<f64> {
    let losses = students.iter().flat_map(StudentSpec::objectives);
    let taught = losses.map(|loss| loss.as_dyn()).filter(|loss| loss.needs_teacher());
    let mut all: Vec<f64> = taught.map(|loss| loss.temperature().unwrap_or(1.0)).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    match all[..] {
        [] => Ok(1.0),
        [one] => Ok(one),
        _ => {
            let reason = format!(
                "the mean of probabilities is at one temperature, and the students have {all:?}; give \
                 each its own training, or `average = \"logits\"`"
            );
            Err(Error::config("average", reason))
        }
    }
}

/// Refuses a training whose teacher is missing, or is none of the trainings before it.
pub(super) fn check(spec: &TrainingSpec, earlier: &[TrainingSpec]) -> Result<()> {
    let Some(teacher) = &spec.teacher else { return check_none(spec) };
    if spec.soft_targets.is_some() && !teacher.logits().is_empty() {
        let reason = format!("`{}` has its teacher's logits in a file already", spec.name);
        return Err(Error::config("soft_targets", reason));
    }
    let trained = teacher.members().iter().filter_map(|member| match member {
        Teacher::Training(name) => Some(name),
        _ => None,
    });
    for name in trained {
        let reason = match earlier.iter().find(|other| other.name == *name) {
            Some(other) if other.student.len() == 1 => continue,
            Some(_) => format!("`{name}` has several models"),
            None => {
                let known: Vec<&str> = earlier.iter().map(|other| &*other.name).collect();
                let (own, known) = (&spec.name, known.join(", "));
                format!("`{name}` is no training before `{own}`; those are: {known}")
            }
        };
        return Err(Error::config("teacher", reason));
    }
    Ok(())
}

fn check_none(spec: &TrainingSpec) -> Result<()> {
    if spec.soft_targets.is_some() {
        let reason = format!("`{}` has no teacher to keep them of", spec.name);
        return Err(Error::config("soft_targets", reason));
    }
    let needs_one = |student: &&StudentSpec| {
        student.objectives().iter().any(|loss| loss.as_dyn().needs_teacher())
    };
    match spec.student.iter().find(needs_one) {
        Some(student) => {
            let reason = format!("student `{}` of `{}` needs one", student.name, spec.name);
            Err(Error::config("teacher", reason))
        }
        None => Ok(()),
    }
}
