//! What all jobs of a run share.

use std::path::Path;

use candle_core::Device;
use kd_core::ops::Normalize;
use kd_core::record::ModelId;
use kd_core::{Net, Result, Stream};
use kd_models::ModelSpec;
use kd_models::weights::Naming;

use super::folder::Folder;
use super::images::Sets;
use super::setting::Setting;
use crate::suite::{CHOICE_SEED, Spec};
use crate::weights::{self, Loaded, Wanted};

/// What all jobs of a run share.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) sets: &'a Sets,
    pub(crate) setting: &'a Setting,
    pub(crate) folder: &'a Folder,
    /// Digest of the spec, by which states of other runs are told.
    pub(crate) spec_hash: &'a str,
}

impl Context<'_> {
    /// `title` with the seed, where there are several.
    pub(crate) fn titled(&self, title: String, seed: u64) -> String {
        match self.spec.seeds {
            1 => title,
            _ => format!("{title} (seed {seed})"),
        }
    }

    /// A network of `model` before its first step, with the run's normalization inside.
    pub(crate) fn network(&self, model: &ModelSpec, stream: Stream) -> Result<Net> {
        let drawn = (stream, &self.setting.device);
        let network = weights::network(model, self.sets.shape(), &self.spec.normalize, drawn)?;
        Ok(network.with_conv_sums(self.spec.conv_sums))
    }

    /// The network that `source` ended with; candidates build on those of the first seed.
    pub(crate) fn trained(&self, source: &ModelId, seed: u64) -> Result<Net> {
        let seed = if seed == CHOICE_SEED { 0 } else { seed };
        let model = &self.spec.training(&source.training)?.model;
        let path = self.folder.checkpoint(&source.training, seed, &source.model);
        self.loaded(&path, (Some(model), None))
    }

    /// The network at `path`, as [`load`], for evaluation.
    pub(crate) fn loaded(
        &self,
        path: &Path,
        said: (Option<&ModelSpec>, Option<&Naming>),
    ) -> Result<Net> {
        let run = (self.sets, &self.spec.normalize);
        let Loaded { network, .. } = load(path, said, run, &self.setting.device)?;
        Ok(network.with_conv_sums(self.spec.conv_sums).fixed())
    }
}

/// The network at `path`; where that does not say how it normalizes, as those of the run.
pub(super) fn load(
    path: &Path,
    (model, naming): (Option<&ModelSpec>, Option<&Naming>),
    (sets, normalize): (&Sets, &Normalize),
    device: &Device,
) -> Result<Loaded> {
    weights::load(path, &wanted((model, naming), (sets, normalize)), device)
}

/// What of a file is wanted for these images.
pub(super) fn wanted<'a>(
    (model, naming): (Option<&'a ModelSpec>, Option<&'a Naming>),
    (sets, normalize): (&'a Sets, &'a Normalize),
) -> Wanted<'a> {
    let of = Wanted::of(sets.shape(), sets.class_names());
    Wanted { model, naming, default_normalize: Some(normalize), ..of }
}
