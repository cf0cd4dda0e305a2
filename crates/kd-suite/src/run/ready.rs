//! A spec with the data that it is run on.

use kd_core::{Result, fsx};

use super::context::Context;
use super::folder::Folder;
use super::images::Sets;
use super::setting::Setting;
use super::training;
use crate::suite::Spec;

/// A spec in full, and its data.
pub(super) struct Ready {
    spec: Spec,
    sets: Sets,
    /// What `spec.toml` says.
    pub(super) text: String,
    hash: String,
}

impl Ready {
    /// Loads the data of `spec`.
    ///
    /// # Errors
    /// Those of data and files.
    pub(super) fn load(spec: Spec, setting: &Setting) -> Result<Self> {
        let sets = Sets::load(&spec, setting.data_dir.as_deref(), &setting.device)?;
        let spec = spec.with_channels(sets.shape().0[0]).with_files(&sets.files());
        let text = spec.to_toml()?;
        // The state of a training is the same, however many seeds there are.
        let of_one_seed = Spec { seeds: 1, ..spec.clone() }.to_toml()?;
        let hash = fsx::sha256(of_one_seed.as_bytes());
        Ok(Self { spec, sets, text, hash })
    }

    /// As [`Ready::load`]; what is amiss with the trainings is said before anything is written.
    ///
    /// # Errors
    /// Those of data and files, and of what does not suit them.
    pub(super) fn checked(spec: Spec, setting: &Setting) -> Result<Self> {
        if let Some(about) = &spec.about {
            eprintln!("{} {}: {about}", spec.suite, spec.preset);
        }
        let ready = Self::load(spec, setting)?;
        let Self { spec, sets, .. } = &ready;
        let check = |training| training::check(training, &spec.normalize, sets, setting);
        spec.training.iter().try_for_each(check)?;
        for section in &spec.questions.evaluation {
            sets.other(section, setting.data_dir.as_deref())?;
        }
        Ok(ready)
    }

    pub(super) fn n_seeds(&self) -> u64 {
        self.spec.seeds
    }

    /// The same run with so many seeds.
    ///
    /// # Errors
    /// As [`Spec::to_toml`].
    pub(super) fn with_seeds(self, seeds: u64) -> Result<Self> {
        let spec = Spec { seeds, ..self.spec };
        Ok(Self { text: spec.to_toml()?, spec, ..self })
    }

    /// What all jobs share, in `folder`.
    pub(super) fn context<'a>(&'a self, setting: &'a Setting, folder: &'a Folder) -> Context<'a> {
        let Self { spec, sets, hash: spec_hash, .. } = self;
        Context { spec, sets, setting, folder, spec_hash }
    }
}
