//! A process that trains with the first one, which writes and speaks.

use kd_core::Result;
use kd_train::{MetricsLog, Outcome};

use super::context::Context;
use super::folder::Folder;
use super::meeting::{Place, meet};
use super::ready::Ready;
use super::setting::Setting;
use super::training;
use crate::suite::Spec;

/// Does the trainings of `spec` with the first process, which writes what comes of them.
///
/// # Errors
/// As [`super::run`].
pub fn follow(spec: Spec, setting: &Setting) -> Result<Outcome> {
    let ready = Ready::load(spec, setting)?;
    let folder = Folder::of_another(&setting.out);
    let context = ready.context(setting, &folder);
    let outcome = trainings(&context)?;
    meet(&context, Place::End)?;
    Ok(outcome)
}

fn trainings(context: &Context<'_>) -> Result<Outcome> {
    for seed in 0..context.spec.seeds {
        for training in &context.spec.training {
            let mut log = MetricsLog::none();
            if training::run(context, training, seed, (&[], &mut log))?.is_none() {
                return Ok(Outcome::Interrupted);
            }
        }
    }
    Ok(Outcome::Finished)
}
