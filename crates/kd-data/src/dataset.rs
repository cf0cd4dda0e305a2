//! What a data set is, and its parts.

use std::path::Path;

use kd_core::ops::Normalize;
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{Images, Part};

/// The two parts of a data set in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splits {
    /// Images to learn from.
    pub train: Images,
    /// Images to judge by.
    pub test: Images,
    /// True when the content is, byte for byte, what published numbers refer to.
    pub official: bool,
}

/// The two parts of a data set, wherever their images are.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Images to learn from.
    pub train: Part,
    /// Images to judge by.
    pub test: Part,
    /// True when the content is what published numbers refer to.
    pub official: bool,
}

impl Splits {
    /// Two parts that no published numbers refer to, which have images of one shape.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub(crate) fn own(train: Images, test: Images) -> Result<Self> {
        if train.shape() != test.shape() {
            let got = test.shape();
            return Err(Error::shape("test images", format!("{:?}", train.shape()), &got));
        }
        Ok(Self { train, test, official: false })
    }
}

impl From<Splits> for Parts {
    fn from(Splits { train, test, official }: Splits) -> Self {
        Self { train: train.into(), test: test.into(), official }
    }
}

/// One of the two parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Images to learn from.
    Train,
    /// Images to judge by.
    Test,
}

/// A data set, as a suite file describes it.
pub trait Dataset {
    /// Loads both parts into memory, photographs as evaluation sees them.
    ///
    /// `dir` is the data folder: where files are read from, or where a synthetic set is kept
    /// between runs; without one a synthetic set is made in memory.
    ///
    /// # Errors
    /// [`kd_core::Error::Missing`] when the files are not there, [`kd_core::Error::Parse`] when
    /// they are damaged, [`kd_core::Error::Config`] for impossible settings,
    /// [`kd_core::Error::Io`].
    fn load(&self, dir: Option<&Path>) -> Result<Splits>;

    /// Loads one part; for some data sets it is enough that this part is there.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        let splits = self.load(dir)?;
        Ok(match split {
            Split::Train => splits.train,
            Split::Test => splits.test,
        })
    }

    /// Both parts, photographs still in their files.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    fn parts(&self, dir: Option<&Path>) -> Result<Parts> {
        self.load(dir).map(Parts::from)
    }

    /// All images, of a data set that has no parts of its own, photographs still in their files;
    /// nothing where it has parts.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    fn whole(&self, _dir: Option<&Path>) -> Result<Option<Part>> {
        Ok(None)
    }

    /// One part, photographs still in their files.
    ///
    /// # Errors
    /// As [`Dataset::load_split`].
    fn part(&self, dir: Option<&Path>, split: Split) -> Result<Part> {
        self.load_split(dir, split).map(Part::from)
    }

    /// How a network that is to learn from this data set should normalize its pixels, in its
    /// graph.
    fn normalize(&self) -> Normalize;

    /// As [`Dataset::normalize`], for images of so many channels: gray ones by the mean of the three.
    fn normalize_for(&self, n_channels: usize) -> Normalize {
        let Normalize { mean, std } = self.normalize();
        let one = |values: Vec<f32>| match n_channels {
            1 => vec![values.iter().sum::<f32>() / values.len() as f32],
            _ => values,
        };
        Normalize { mean: one(mean), std: one(std) }
    }

    /// Whether the images are generated, so that no published number applies.
    fn is_synthetic(&self) -> bool {
        false
    }
}
