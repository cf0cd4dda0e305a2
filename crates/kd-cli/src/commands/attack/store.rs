//! What `--out` keeps: groups of images while the work goes on, and the files at its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use kd_adv::{Examples, Outcome, encode_png, picture_grid};
use kd_core::{Error, Result, checkpoint, fsx};
use kd_models::weights::save_safetensors;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use kd_suite::Folder;

/// Rows of a grid of pictures.
const N_PICTURES: usize = 8;

/// A folder with the results of one command.
pub(super) struct Store {
    folder: Folder,
    image_shape: [usize; 3],
    n_classes: usize,
}

/// Some images, attacked.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The adversarial images, one row each.
    pub(super) pixels: Vec<f32>,
    /// What became of them.
    pub(super) results: Results,
}

/// What became of some images.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Results {
    /// On the network that was attacked.
    pub(super) own: Vec<Outcome>,
    /// On the other network, if there is one.
    pub(super) other: Vec<Outcome>,
    /// Wall time.
    pub(super) seconds: f64,
}

impl Group {
    /// Adds the images of `other` behind these.
    pub(super) fn append(&mut self, other: Self) {
        self.pixels.extend(other.pixels);
        self.results.own.extend(other.results.own);
        self.results.other.extend(other.results.other);
        self.results.seconds += other.results.seconds;
    }
}

impl Store {
    /// Creates or takes up `path` for a command with the settings `spec`.
    pub(super) fn open(
        path: &Path,
        spec: &str,
        image_shape: [usize; 3],
        n_classes: usize,
    ) -> Result<Self> {
        Ok(Self { folder: Folder::open(path, spec)?, image_shape, n_classes })
    }

    /// A group that is done.
    pub(super) fn group(&self, name: &str, group: usize) -> Result<Option<Group>> {
        let path = self.group_path(name, group);
        match checkpoint::load(&path, &Device::Cpu) {
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok((tensors, results)) => {
                let images = tensors.get(IMAGES).ok_or_else(|| Error::Parse {
                    path,
                    offset: 0,
                    reason: format!("no tensor `{IMAGES}`"),
                })?;
                let pixels = images.flatten_all()?.to_vec1()?;
                Ok(Some(Group { pixels, results }))
            }
        }
    }

    /// Keeps a group.
    pub(super) fn keep(&self, name: &str, group: usize, done: &Group) -> Result<()> {
        let tensors = BTreeMap::from([(IMAGES.to_owned(), self.images(&done.pixels)?)]);
        checkpoint::save(&self.group_path(name, group), &tensors, &done.results)
    }

    fn group_path(&self, name: &str, group: usize) -> PathBuf {
        self.path("checkpoints").join(format!("{name}-{group:04}"))
    }

    /// Writes `NAME.safetensors`, the folder `NAME-png` and the picture `NAME.png`; returns the
    /// last one's name, with label and prediction after the attack of each of its rows.
    pub(super) fn finish(
        &self,
        name: &str,
        examples: &Examples,
        done: &Group,
    ) -> Result<(String, Vec<[u32; 2]>)> {
        let own = &done.results.own;
        let classes = |f: fn(&Outcome) -> u32| {
            Tensor::from_vec(own.iter().map(f).collect::<Vec<_>>(), own.len(), &Device::Cpu)
        };
        let tensors = BTreeMap::from([
            (IMAGES.to_owned(), self.images(&done.pixels)?),
            ("indices".to_owned(), classes(|outcome| outcome.index)?),
            ("labels".to_owned(), classes(|outcome| outcome.label)?),
            ("predictions".to_owned(), classes(|outcome| outcome.after)?),
        ]);
        save_safetensors(&self.path(&format!("{name}.safetensors")), &tensors)?;
        self.write_pngs(name, done)?;
        let file = format!("{name}.png");
        let size = self.image_shape.iter().product::<usize>() * N_PICTURES.min(own.len());
        let grid = picture_grid(self.image_shape, &examples.pixels[..size], &done.pixels[..size])?;
        fsx::write_atomic(&self.path(&file), &grid)?;
        let labels = own.iter().take(N_PICTURES).map(|outcome| [outcome.label, outcome.after]);
        Ok((file, labels.collect()))
    }

    /// One PNG an image, in folders named by class, as `--data folder:` reads them.
    fn write_pngs(&self, name: &str, done: &Group) -> Result<()> {
        let root = self.path(&format!("{name}-png"));
        checkpoint::remove(&root)?;
        let width = (self.n_classes - 1).to_string().len();
        let class = |label: u32| root.join(format!("{label:0width$}"));
        (0..self.n_classes as u32).try_for_each(|label| fsx::create_folder(&class(label)))?;
        let size: usize = self.image_shape.iter().product();
        done.pixels.par_chunks(size).zip(&done.results.own).try_for_each(|(image, outcome)| {
            let path = class(outcome.label).join(format!("{:06}.png", outcome.index));
            fsx::write_atomic(&path, &encode_png(self.image_shape, image)?)
        })
    }

    /// Reads what was kept as `name`.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path(name);
        let bytes = match fsx::read_bounded(&path, 1 << 24, "") {
            Err(Error::Missing { .. }) => return Ok(None),
            bytes => bytes?,
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| Error::Parse { path, offset: 0, reason: e.to_string() })
    }

    /// Writes `value` as JSON.
    pub(super) fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.path(name);
        let bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::Parse {
            path: path.clone(),
            offset: 0,
            reason: e.to_string(),
        })?;
        fsx::write_atomic(&path, &bytes)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `(N, C, H, W)`.
    fn images(&self, pixels: &[f32]) -> Result<Tensor> {
        let [channels, height, width] = self.image_shape;
        let n = pixels.len() / (channels * height * width);
        Ok(Tensor::from_slice(pixels, (n, channels, height, width), &Device::Cpu)?)
    }
}

/// Name of the tensor of adversarial images.
const IMAGES: &str = "images";
