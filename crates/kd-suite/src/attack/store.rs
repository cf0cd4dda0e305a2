//! What `kd attack --out` keeps: groups of images while the work goes on, and the files at its end.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use kd_adv::{Outcome, encode_png};
use kd_core::{Result, checkpoint, fsx};
use kd_models::weights::save_safetensors;
use rayon::prelude::*;

use super::keep::{Done, Groups, IMAGES, tensor};
use crate::run::Folder;

/// A folder with the results of one command.
pub(crate) struct Store {
    pub(super) folder: Folder,
    image_shape: [usize; 3],
    n_classes: usize,
}

impl Store {
    /// Creates or takes up `path` for a command with the settings `spec`.
    pub(super) fn open(
        path: &Path,
        spec: &str,
        (image_shape, n_classes): ([usize; 3], usize),
    ) -> Result<Self> {
        Ok(Self { folder: Folder::open(path, spec)?, image_shape, n_classes })
    }

    /// Where the groups of the attack `name` are.
    pub(super) fn groups(&self, name: &str) -> Groups {
        let folder = self.folder.path().join("checkpoints");
        Groups::of_outcomes(folder, name.into()).with_images(self.image_shape)
    }

    /// Writes `NAME.safetensors` and the folder `NAME-png`.
    pub(super) fn finish(&self, name: &str, done: &Done) -> Result<()> {
        let own = &done.own;
        let classes = |f: fn(&Outcome) -> u32| {
            Tensor::from_vec(own.iter().map(f).collect::<Vec<_>>(), own.len(), &Device::Cpu)
        };
        let tensors = BTreeMap::from([
            (IMAGES.to_owned(), tensor(self.image_shape, &done.pixels)?),
            ("indices".to_owned(), classes(|outcome| outcome.index)?),
            ("labels".to_owned(), classes(|outcome| outcome.label)?),
            ("predictions".to_owned(), classes(|outcome| outcome.after)?),
        ]);
        save_safetensors(&self.folder.path().join(format!("{name}.safetensors")), &tensors)?;
        self.write_pngs(name, done)
    }

    /// One PNG an image, in folders named by class, as `--data folder:` reads them.
    fn write_pngs(&self, name: &str, done: &Done) -> Result<()> {
        let root = self.folder.path().join(format!("{name}-png"));
        checkpoint::remove(&root)?;
        let width = (self.n_classes - 1).to_string().len();
        let class = |label: u32| root.join(format!("{label:0width$}"));
        (0..self.n_classes as u32).try_for_each(|label| fsx::create_folder(&class(label)))?;
        let size: usize = self.image_shape.iter().product();
        done.pixels.par_chunks(size).zip(&done.own).try_for_each(|(image, outcome)| {
            let path = class(outcome.label).join(format!("{:06}.png", outcome.index));
            fsx::write_atomic(&path, &encode_png(self.image_shape, image)?)
        })
    }
}
