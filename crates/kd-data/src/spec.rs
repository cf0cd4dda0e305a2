//! The data sets that a suite file can name.

use std::path::Path;

use kd_core::{Result, registry};

use crate::{Images, Mnist, Normalize, SyntheticDigits};

/// The two parts of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splits {
    /// Images to learn from.
    pub train: Images,
    /// Images to judge by.
    pub test: Images,
    /// True when the content is, byte for byte, what published numbers refer to.
    pub official: bool,
}

/// A data set, as a suite file describes it.
pub trait Dataset {
    /// Loads both parts.
    ///
    /// `dir` is the data folder: where files are read from, or where a synthetic set is kept
    /// between runs; without one a synthetic set is made in memory.
    ///
    /// # Errors
    /// [`kd_core::Error::Missing`] when the files are not there, [`kd_core::Error::Parse`] when
    /// they are damaged, [`kd_core::Error::Config`] for impossible settings,
    /// [`kd_core::Error::Io`].
    fn load(&self, dir: Option<&Path>) -> Result<Splits>;

    /// The normalization that goes with this data set.
    fn normalize(&self) -> Normalize;

    /// Whether the images are generated, so that no published number applies.
    fn is_synthetic(&self) -> bool;
}

registry! {
    /// A data set, chosen by `kind`.
    pub enum DataSpec: dyn Dataset {
        "mnist" => Mnist(Mnist),
        "synthetic-digits" => SyntheticDigits(SyntheticDigits),
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
        assert!(read(r#"{"kind":"mnist","n_train":5}"#).is_err());
        assert!(read(r#"{"kind":"synthetic-digits","n":5}"#).is_err());
        assert!(read(r#"{"kind":"emnist"}"#).unwrap_err().to_string().contains("mnist"));
    }

    #[test]
    fn every_entry_normalizes_one_gray_channel() {
        assert_eq!(DataSpec::all().len(), DataSpec::NAMES.len());
        for spec in DataSpec::all() {
            assert!(spec.as_dyn().normalize().tables(1).is_ok(), "{}", spec.name());
        }
    }
}
