//! What an attack keeps while it goes on, group by group, for the same call to go on from there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use kd_adv::Outcome;
use kd_core::{Error, Result, checkpoint};
use serde::{Deserialize, Serialize};

/// Images of a group.
const GROUP: usize = 100;
/// Images of one part for each thread: the rows of one forward pass.
const PART: usize = 50;
/// Least time between two writes of outcomes.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// Name of the tensor of adversarial images.
pub(super) const IMAGES: &str = "images";

/// What is known of the first images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The outcomes on the attacked network.
    pub(crate) own: Vec<Outcome>,
    /// Those on the networks that are shown the same images, in their order.
    pub(crate) others: Vec<Vec<Outcome>>,
    /// Wall time.
    pub(crate) seconds: f64,
    /// The adversarial images, one row each, where they are wanted.
    #[serde(skip)]
    pub(crate) pixels: Vec<f32>,
}

impl Done {
    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.own.len()
    }

    /// Adds the images of `part` behind these.
    pub(super) fn append(&mut self, part: Self) {
        self.own.extend(part.own);
        self.others.resize_with(part.others.len(), Vec::new);
        self.others.iter_mut().zip(part.others).for_each(|(all, new)| all.extend(new));
        self.seconds += part.seconds;
        self.pixels.extend(part.pixels);
    }

    /// The images `rows` alone, which took `seconds`.
    pub(super) fn slice(&self, rows: Range<usize>, seconds: f64) -> Self {
        let n_pixels = self.pixels.len() / self.len().max(1);
        Self {
            own: self.own[rows.clone()].to_vec(),
            others: self.others.iter().map(|other| other[rows.clone()].to_vec()).collect(),
            seconds,
            pixels: self.pixels[rows.start * n_pixels..rows.end * n_pixels].to_vec(),
        }
    }
}

/// Images that are attacked together: as many as the threads are busy with, in whole groups.
pub(super) fn part_size() -> usize {
    (PART * rayon::current_num_threads()).next_multiple_of(GROUP)
}

/// The groups of one attack: a folder for each.
pub(crate) struct Groups {
    folder: PathBuf,
    name: String,
    /// Of images that are kept with their outcomes.
    image_shape: Option<[usize; 3]>,
    n_kept: usize,
    seconds: f64,
    saved: Instant,
}

impl Groups {
    /// The outcomes of the attack `name` in `folder`, now and then.
    pub(crate) fn of_outcomes(folder: PathBuf, name: String) -> Self {
        let saved = Instant::now();
        Self { folder, name, image_shape: None, n_kept: 0, seconds: 0.0, saved }
    }

    /// The images of this shape, too, and each part at once.
    pub(super) fn with_images(self, image_shape: [usize; 3]) -> Self {
        Self { image_shape: Some(image_shape), ..self }
    }

    /// Whether the images are kept, too.
    pub(super) fn has_images(&self) -> bool {
        self.image_shape.is_some()
    }

    /// What is done.
    pub(super) fn take_up(&mut self) -> Result<Done> {
        let mut done = Done::default();
        while let Some(group) = self.read(self.n_kept)? {
            done.append(group);
            self.n_kept += 1;
        }
        self.seconds = done.seconds;
        Ok(done)
    }

    fn path(&self, group: usize) -> PathBuf {
        self.folder.join(format!("{}-{group:04}", self.name))
    }

    fn read(&self, group: usize) -> Result<Option<Done>> {
        let path = self.path(group);
        let (tensors, done): (_, Done) = match checkpoint::load(&path, &Device::Cpu) {
            Err(Error::Missing { .. }) => return Ok(None),
            loaded => loaded?,
        };
        let pixels = match (tensors.get(IMAGES), self.has_images()) {
            (Some(images), _) => images.flatten_all()?.to_vec1()?,
            (None, false) => Vec::new(),
            (None, true) => {
                let reason = format!("no tensor `{IMAGES}`");
                return Err(Error::parse(path, reason));
            }
        };
        Ok(Some(Done { pixels, ..done }))
    }

    /// Keeps `done`, if that is worth the time.
    pub(super) fn save_in_time(&mut self, done: &Done) -> Result<()> {
        match self.has_images() || self.saved.elapsed() >= SAVE_EVERY {
            true => self.save(done),
            false => Ok(()),
        }
    }

    /// Keeps the groups that are new; they share the time that they took together.
    pub(super) fn save(&mut self, done: &Done) -> Result<()> {
        let n_groups = done.len().div_ceil(GROUP);
        let seconds = (done.seconds - self.seconds) / (n_groups - self.n_kept).max(1) as f64;
        for group in self.n_kept..n_groups {
            let rows = group * GROUP..done.len().min((group + 1) * GROUP);
            let done = done.slice(rows, seconds);
            let images = self.image_shape.map(|shape| tensor(shape, &done.pixels)).transpose()?;
            let tensors: BTreeMap<_, _> =
                images.into_iter().map(|images| (IMAGES.to_owned(), images)).collect();
            checkpoint::save(&self.path(group), &tensors, &done)?;
        }
        (self.n_kept, self.seconds, self.saved) = (n_groups, done.seconds, Instant::now());
        Ok(())
    }
}

/// `(N, C, H, W)`.
pub(super) fn tensor([channels, height, width]: [usize; 3], pixels: &[f32]) -> Result<Tensor> {
    let n = pixels.len() / (channels * height * width);
    Ok(Tensor::from_slice(pixels, (n, channels, height, width), &Device::Cpu)?)
}
