//! The data sets that a suite file can name.

use std::path::Path;

use kd_core::ops::Normalize;
use kd_core::{Result, registry};
use serde::Serialize;

use crate::{
    Cifar10, Folder, Images, Mnist, Part, PhotoFolder, SyntheticDigits, SyntheticObjects,
    SyntheticPhotos,
};

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

impl From<Splits> for Parts {
    fn from(Splits { train, test, official }: Splits) -> Self {
        Self { train: train.into(), test: test.into(), official }
    }
}

/// One of the two parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

    /// Whether the images are generated, so that no published number applies.
    fn is_synthetic(&self) -> bool;
}

registry! {
    /// A data set, chosen by `kind`.
    pub enum DataSpec: dyn Dataset {
        "mnist" => Mnist(Mnist),
        "cifar10" => Cifar10(Cifar10),
        "folder" => Folder(Folder),
        "photos" => Photos(PhotoFolder),
        "synthetic-digits" => SyntheticDigits(SyntheticDigits),
        "synthetic-objects" => SyntheticObjects(SyntheticObjects),
        "synthetic-photos" => SyntheticPhotos(SyntheticPhotos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read_strictly() {
        let read = |json| serde_json::from_str::<DataSpec>(json);
        assert_eq!(read(r#"{"kind":"mnist"}"#).unwrap().name(), "mnist");
        let DataSpec::SyntheticDigits(digits) =
            read(r#"{"kind":"synthetic-digits","n_train":5}"#).unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!(digits, SyntheticDigits { n_train: 5, ..SyntheticDigits::default() });
        let DataSpec::Folder(folder) = read(r#"{"kind":"folder","path":"a"}"#).unwrap() else {
            panic!("another kind")
        };
        assert_eq!(folder, Folder { path: "a".into(), ..Folder::default() });
        assert!(read(r#"{"kind":"mnist","n_train":5}"#).is_err());
        assert!(read(r#"{"kind":"cifar10","path":"a"}"#).is_err());
        assert!(read(r#"{"kind":"synthetic-digits","n":5}"#).is_err());
        assert!(read(r#"{"kind":"emnist"}"#).unwrap_err().to_string().contains("mnist"));
    }

    #[test]
    fn every_entry_normalizes_the_channels_of_its_images() {
        assert_eq!(DataSpec::all().len(), DataSpec::NAMES.len());
        for spec in DataSpec::all() {
            let normalize = spec.as_dyn().normalize();
            let n_channels = normalize.mean.len();
            assert!([1, 3].contains(&n_channels), "{}", spec.name());
            let graph = kd_core::Graph::new([n_channels, 2, 2]);
            let normalized = graph.normalized(&normalize.mean, &normalize.std);
            assert!(normalized.is_ok(), "{}", spec.name());
        }
    }
}
