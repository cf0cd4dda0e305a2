//! The teacher of a training, ready to teach.

use kd_core::ops::Normalize;
use kd_core::record::ModelId;
use kd_core::{Classifier, Error, Net, Result};
use kd_train::{Ensemble, LogitsOf, TeacherLogits, TeacherSource};
use serde_json::json;

use super::context::{Context, load};
use super::images::Sets;
use super::setting::Setting;
use crate::suite::{Teacher, TrainingSpec};

/// A teacher that is ready.
pub(super) enum Ready {
    Network(Box<Net>),
    Several(Ensemble),
    Logits(TeacherLogits),
}

impl Ready {
    /// As the training loop takes it.
    pub(super) fn source(&self) -> TeacherSource<'_> {
        match self {
            Self::Network(net) => TeacherSource::Network(&**net),
            Self::Several(ensemble) => TeacherSource::Network(ensemble),
            Self::Logits(logits) => TeacherSource::Logits(logits),
        }
    }

    /// What is computed, besides the weights.
    pub(super) fn description(&self, teacher: &Teacher) -> serde_json::Value {
        match self {
            Self::Network(net) => json!(net.graph()),
            Self::Several(several) => {
                let graphs = several.members().iter().map(|member| member.graph());
                json!({ "average": teacher.average(), "graphs": graphs.collect::<Vec<_>>() })
            }
            Self::Logits(_) => json!(null),
        }
    }
}

/// Looks at what a teacher is made of that is not trained in the run, and says what is to be known of it.
///
/// # Errors
/// Those of the files, and what does not suit the images.
pub(super) fn check(
    training: &TrainingSpec,
    normalize: &Normalize,
    sets: &Sets,
    setting: &Setting,
) -> Result<()> {
    let Some(teacher) = &training.teacher else { return Ok(()) };
    for member in teacher.members() {
        if let Teacher::Weights { path, model, naming, .. } = member {
            let said = (model.as_ref(), Some(naming));
            load(path, said, (sets, normalize), &setting.device)?.tell(path);
        }
    }
    if teacher.logits().is_empty() {
        return Ok(());
    }
    let logits = logits(training, teacher, sets)?;
    logits.notes().iter().for_each(|note| eprintln!("{note}"));
    let agreement = logits.agreement(sets.train_part(training)?.labels())?;
    eprintln!(
        "{}: the teacher's logits are largest at the label of {:.1} % of the training images",
        training.name,
        100.0 * agreement
    );
    Ok(())
}

/// That of `training`, made ready.
///
/// # Errors
/// Those of the files.
pub(super) fn ready(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
) -> Result<Option<Ready>> {
    let Some(teacher) = &training.teacher else { return Ok(None) };
    if !teacher.logits().is_empty() {
        return logits(training, teacher, context.sets).map(|logits| Some(Ready::Logits(logits)));
    }
    let network = |member: &Teacher| network(context, member, seed);
    let mut networks = teacher.members().iter().map(network).collect::<Result<Vec<_>>>()?;
    if networks.len() == 1 {
        return Ok(networks.pop().map(|net| Ready::Network(Box::new(net))));
    }
    let boxed = networks.into_iter().map(|net| Box::new(net) as Box<dyn Classifier>);
    Ensemble::new(boxed.collect(), teacher.average()).map(|several| Some(Ready::Several(several)))
}

/// One network.
fn network(context: &Context<'_>, member: &Teacher, seed: u64) -> Result<Net> {
    match member {
        Teacher::Weights { path, model, naming, .. } => {
            context.loaded(path, (model.as_ref(), Some(naming)))
        }
        Teacher::Training(name) => {
            let model = context.spec.training(name)?.student[0].name.clone();
            context.trained(&ModelId::new(name, model), seed)
        }
        Teacher::Logits { .. } | Teacher::Several { .. } => {
            Err(Error::config("teacher", "is no network"))
        }
    }
}

/// The files of logits, for the images of `training`.
fn logits(training: &TrainingSpec, teacher: &Teacher, sets: &Sets) -> Result<TeacherLogits> {
    let train = sets.train(training, 0)?;
    let lists = sets.lists(training)?;
    let of = LogitsOf { source: &*train, lists: &lists };
    TeacherLogits::open(&teacher.logits(), teacher.average(), of)
}
