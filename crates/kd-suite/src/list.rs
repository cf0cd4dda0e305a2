//! What a training shows, for a teacher that runs elsewhere.

use std::path::Path;

use kd_core::Result;
use kd_data::{Augment, DataSpec, Views};

use crate::run::{Choice, without};
use crate::suite::{Class, Holdout};

/// The images of a training and what is done with them, as a suite says it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The data set.
    pub data: DataSpec,
    /// What is set aside.
    pub holdout: Holdout,
    /// The class that the training images lack.
    pub omit_class: Option<Class>,
    /// How they are changed.
    pub augment: Augment,
}

impl Shown {
    /// All versions of all images, exactly as a training on them numbers and shows them, whatever its seed.
    ///
    /// # Errors
    /// Those of the data; [`kd_core::Error::Config`] where versions are without number.
    pub fn views(&self, data_dir: Option<&Path>) -> Result<Views> {
        let choice = Choice { data: &self.data, holdout: self.holdout, n: [None; 2] };
        let train = choice.load(data_dir)?.train;
        Views::of(without(&train, self.omit_class.as_ref())?, &self.augment)
    }
}
