//! What a training shows, for a teacher that runs elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use kd_core::Result;
use kd_data::{Augment, DataSpec, ListHeader, Views};
use serde::Serialize;

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

/// A list that was written.
#[derive(Debug, Serialize)]
pub struct Written {
    /// The file.
    pub out: PathBuf,
    /// What its lines have in common.
    pub header: ListHeader,
    /// Number of the pictures that were written beside it, where they were wanted.
    pub pictures: Option<usize>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListHeader { n_views, n_images, classes, digest, .. } = &self.header;
        let pictures = self.pictures.map_or(String::new(), |n| format!("; {n} pictures"));
        let (out, n_classes) = (self.out.display(), classes.len());
        let what = format!("{n_views} versions of {n_images} images of {n_classes} classes");
        write!(f, "{out}: {what}{pictures}\ndigest {digest}")
    }
}

impl Shown {
    /// Writes the list of all versions to `out`, and before it their pixels where there is a folder for
    /// them; nothing when `stop` was set.
    ///
    /// # Errors
    /// Those of [`Shown::views`], [`Views::write_pngs`] and [`Views::write_list`].
    pub fn write(
        &self,
        data_dir: Option<&Path>,
        (out, pixels): (&Path, Option<&Path>),
        stop: &AtomicBool,
    ) -> Result<Option<Written>> {
        let views = self.views(data_dir)?;
        let pictures = pixels.map(|folder| views.write_pngs(folder, stop)).transpose()?;
        if pictures == Some(None) {
            return Ok(None);
        }
        views.write_list(out)?;
        Ok(Some(Written { out: out.into(), header: views.header(), pictures: pictures.flatten() }))
    }

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
