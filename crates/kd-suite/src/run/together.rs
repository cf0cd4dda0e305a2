//! A process that trains with the first one, which writes and speaks.

use kd_core::{Result, fsx};
use kd_train::{MetricsLog, Outcome};

use super::context::Context;
use super::folder::Folder;
use super::images::Sets;
use super::meeting::{Place, meet};
use super::setting::Setting;
use super::training;
use crate::suite::Spec;

/// Does the trainings of `spec` with the first process, which writes what comes of them.
///
/// # Errors
/// As [`super::run`].
pub fn follow(spec: Spec, setting: &Setting) -> Result<Outcome> {
    let sets = Sets::load(&spec, setting.data_dir.as_deref(), &setting.device)?;
    let spec = spec.with_channels(sets.shape().0[0]).with_files(&sets.files());
    let spec_hash = &*fsx::sha256(spec.to_toml()?.as_bytes());
    let folder = Folder::of_another(&setting.out);
    let (spec, sets, folder) = (&spec, &sets, &folder);
    let context = Context { spec, sets, setting, folder, spec_hash };
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
