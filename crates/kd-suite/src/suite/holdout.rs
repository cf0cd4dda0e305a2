//! Training images set aside.

use std::str::FromStr;

use kd_core::{Error, Result, Stream};
use kd_data::Part;
use serde::{Deserialize, Serialize};

/// Training images set aside for choosing between recipes; of a data set without parts, the ones to
/// test on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number of images, or a share of each class between 0 and 1")]
pub enum Holdout {
    /// So many of all, at random.
    Count(usize),
    /// Such a share of each class, at random.
    Share(f64),
}

impl Default for Holdout {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl FromStr for Holdout {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let count = text.parse().map(Self::Count);
        count
            .or_else(|_| text.parse().map(Self::Share))
            .map_err(|_| format!("`{text}` is neither a number of images nor a share such as 0.2"))
    }
}

impl Holdout {
    /// Whether nothing is set aside.
    pub(crate) fn is_none(self) -> bool {
        self == Self::Count(0)
    }

    /// `(the others, those set aside)`.
    ///
    /// # Errors
    /// [`Error::Config`] unless both get an image.
    pub(crate) fn split(self, part: &Part, stream: Stream) -> Result<(Part, Part)> {
        match self {
            Self::Count(n) => part.split_holdout(n, stream),
            Self::Share(share) => part.split_classes(share, stream),
        }
    }

    /// The training images that are learned from and those that choices are made by, as every run divides
    /// them: not by its seed, so that all repetitions are judged alike.
    ///
    /// # Errors
    /// [`Error::Config`] unless both get an image.
    pub fn of_training(self, train: &Part) -> Result<(Part, Part)> {
        self.split(train, Stream::new(0).at("holdout"))
    }

    /// As [`Holdout::split`], but of each class the same share, also where a number is given.
    ///
    /// # Errors
    /// [`Error::Config`] unless both get an image.
    pub(crate) fn split_classes(self, part: &Part, stream: Stream) -> Result<(Part, Part)> {
        match self {
            Self::Count(n) if n >= part.len() => {
                let reason = format!("{n} of {} images: none would be left", part.len());
                Err(Error::config("holdout", reason))
            }
            Self::Count(n) => part.split_classes(n as f64 / part.len() as f64, stream),
            Self::Share(share) => part.split_classes(share, stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use kd_data::Images;

    use super::*;

    #[test]
    fn a_number_counts_images_and_a_fraction_is_of_each_class() {
        let labels: Vec<u32> = [[0; 10], [1; 10]].concat();
        let part = Part::from(Images::new(vec![0; 20], labels, [1, 1, 1], 2).unwrap());
        let stream = || Stream::new(0);
        let n_of = |part: &Part, class| part.labels().iter().filter(|&&l| l == class).count();
        let share: Holdout = "0.2".parse().unwrap();
        let (train, test) = share.split(&part, stream()).unwrap();
        assert_eq!([0, 1].map(|class| (n_of(&train, class), n_of(&test, class))), [(8, 2); 2]);
        let count: Holdout = "6".parse().unwrap();
        assert_eq!(count.split(&part, stream()).unwrap().1.len(), 6);
        let (_, test) = count.split_classes(&part, stream()).unwrap();
        assert_eq!([0, 1].map(|class| n_of(&test, class)), [3, 3]);
        assert!("a fifth".parse::<Holdout>().unwrap_err().contains("a share such as 0.2"));
        for bad in ["0.0", "1.5", "-0.1", "NaN"] {
            let bad: Holdout = bad.parse().unwrap();
            let error = bad.split(&part, stream()).unwrap_err().to_string();
            assert!(error.contains("is no share"), "{error}");
        }
        assert!(Holdout::Count(20).split_classes(&part, stream()).is_err());
        assert!(Holdout::default().is_none());
    }
}
