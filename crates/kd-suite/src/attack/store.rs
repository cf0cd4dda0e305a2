//! What `kd attack --out` keeps: groups of images while the work goes on, and the files at its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use kd_adv::{Outcome, encode_png};
use kd_core::{Error, Result, checkpoint, fsx};
use kd_models::weights::save_safetensors;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keep::Done;
use crate::run::Folder;

/// Images of a group.
pub(super) const GROUP: usize = 100;
/// Name of the tensor of adversarial images.
const IMAGES: &str = "images";

/// A folder with the results of one command.
pub(crate) struct Store {
    folder: Folder,
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

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A group that is done.
    pub(super) fn group(&self, name: &str, group: usize) -> Result<Option<Done>> {
        let path = self.group_path(name, group);
        let (tensors, done): (_, Done) = match checkpoint::load(&path, &Device::Cpu) {
            Err(Error::Missing { .. }) => return Ok(None),
            loaded => loaded?,
        };
        let images = tensors.get(IMAGES).ok_or_else(|| Error::Parse {
            path,
            offset: 0,
            reason: format!("no tensor `{IMAGES}`"),
        })?;
        Ok(Some(Done { pixels: images.flatten_all()?.to_vec1()?, ..done }))
    }

    /// Keeps a group.
    pub(super) fn keep(&self, name: &str, group: usize, done: &Done) -> Result<()> {
        let tensors = BTreeMap::from([(IMAGES.to_owned(), self.images(&done.pixels)?)]);
        checkpoint::save(&self.group_path(name, group), &tensors, done)
    }

    fn group_path(&self, name: &str, group: usize) -> PathBuf {
        self.path().join("checkpoints").join(format!("{name}-{group:04}"))
    }

    /// Writes `NAME.safetensors` and the folder `NAME-png`.
    pub(super) fn finish(&self, name: &str, done: &Done) -> Result<()> {
        let own = &done.own;
        let classes = |f: fn(&Outcome) -> u32| {
            Tensor::from_vec(own.iter().map(f).collect::<Vec<_>>(), own.len(), &Device::Cpu)
        };
        let tensors = BTreeMap::from([
            (IMAGES.to_owned(), self.images(&done.pixels)?),
            ("indices".to_owned(), classes(|outcome| outcome.index)?),
            ("labels".to_owned(), classes(|outcome| outcome.label)?),
            ("predictions".to_owned(), classes(|outcome| outcome.after)?),
        ]);
        save_safetensors(&self.path().join(format!("{name}.safetensors")), &tensors)?;
        self.write_pngs(name, done)
    }

    /// One PNG an image, in folders named by class, as `--data folder:` reads them.
    fn write_pngs(&self, name: &str, done: &Done) -> Result<()> {
        let root = self.path().join(format!("{name}-png"));
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

    /// Reads what was kept as `name`.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path().join(name);
        match fsx::read_bounded(&path, 1 << 24, "") {
            Err(Error::Missing { .. }) => Ok(None),
            bytes => super::parse(&path, &bytes?).map(Some),
        }
    }

    /// Writes `value` as JSON.
    pub(super) fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(value);
        let bytes = bytes.map_err(|e| Error::config(name, e.to_string()))?;
        fsx::write_atomic(&self.path().join(name), &bytes)
    }

    /// `(N, C, H, W)`.
    fn images(&self, pixels: &[f32]) -> Result<Tensor> {
        let [channels, height, width] = self.image_shape;
        let n = pixels.len() / (channels * height * width);
        Ok(Tensor::from_slice(pixels, (n, channels, height, width), &Device::Cpu)?)
    }
}
