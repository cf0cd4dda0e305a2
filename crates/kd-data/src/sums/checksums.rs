//! Makes and compares the checksums of class folders.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kd_core::{Error, Result, fsx};
use rayon::prelude::*;
use serde::Serialize;

use super::{DIFFERS, Digest, Found, SUMS, hex, line};
use crate::listing::{Listing, MAX_IMAGE, existing};
use crate::{Fault, Finding};

/// What became of the checksums of class folders.
#[derive(Debug, Serialize)]
pub struct Summed {
    /// The folder.
    pub path: PathBuf,
    /// Its images.
    pub images: usize,
    /// Its classes.
    pub classes: usize,
    /// Whether the checksums were written; otherwise the images were compared with them.
    pub written: bool,
    /// How long it took.
    pub seconds: f64,
    /// What differs.
    pub faults: Vec<Finding>,
}

impl fmt::Display for Summed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, images, classes, written, seconds, faults } = self;
        let path = path.display();
        faults.iter().try_for_each(|fault| writeln!(f, "{path}: {fault}"))?;
        let what = if *written { "SHA256SUMS written" } else { "compared with SHA256SUMS" };
        let n = faults.len();
        write!(
            f,
            "{path}: {images} images of {classes} classes, {what} in {seconds:.1} s; {n} faults"
        )
    }
}

/// Images that are read before their lines join the others.
const GROUP: usize = 4096;

/// The checksums of the images `PATH/CLASS/FILE`, in the file `PATH/SHA256SUMS` of the format of
/// the program `sha256sum`. Where that file is, every reading of the images compares them with it.
#[derive(Debug)]
pub struct Checksums {
    listing: Listing,
}

impl Checksums {
    /// Those of the class folders in `path`. Lists the images; reads none.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such folder; [`Error::Parse`] for what does not belong
    /// there; [`Error::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        let path = existing(path.into(), "it should be a folder with class folders")?;
        let listing = Listing::names(&path)?;
        listing.require_pictures()?;
        Ok(Self { listing })
    }

    /// What a user should know of the folder, a line each.
    pub fn remarks(&self) -> Vec<String> {
        self.listing.remarks()
    }

    /// Number of images; never zero.
    pub fn n_images(&self) -> usize {
        self.listing.files.len()
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.listing.classes.len()
    }

    /// Whether there is a `SHA256SUMS`.
    pub fn are_written(&self) -> bool {
        self.listing.folder.join(SUMS).is_file()
    }

    /// Writes them where `anew`, or compares the images with those that are there; see
    /// [`Checksums::write`] and [`Checksums::check`].
    ///
    /// # Errors
    /// Those of both.
    pub fn settle(&self, anew: bool, n_done: &AtomicU64) -> Result<Summed> {
        let started = Instant::now();
        let faults = match anew {
            true => self.write(n_done).map(|()| Vec::new())?,
            false => self.check(n_done)?,
        };
        Ok(Summed {
            path: self.listing.folder.clone(),
            images: self.n_images(),
            classes: self.n_classes(),
            written: anew,
            seconds: started.elapsed().as_secs_f64(),
            faults,
        })
    }

    /// Reads all images on all threads and writes `SHA256SUMS`, in place of one that is there;
    /// `n_done` counts the images.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Missing`]; [`Error::Parse`] for an image of more than 64 MB, or a
    /// name with a backslash or a line break. What was there before then stays.
    pub fn write(&self, n_done: &AtomicU64) -> Result<()> {
        let mut text = String::new();
        for group in groups(self.n_images()) {
            let lines: Vec<Result<String>> =
                group.into_par_iter().map(|i| counted(n_done, || self.line(i))).collect();
            for line in lines {
                text.push_str(&line?);
            }
        }
        fsx::write_atomic(&self.listing.folder.join(SUMS), text.as_bytes())
    }

    /// Compares all images with `SHA256SUMS`, on all threads: those that differ or cannot be read,
    /// those that are missing, and those without a line; sorted, empty when all is well.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no `SHA256SUMS`; [`Error::Parse`], with the number of the
    /// line, when it is damaged; [`Error::Io`].
    pub fn check(&self, n_done: &AtomicU64) -> Result<Vec<Finding>> {
        let Found { digests, strays, .. } = Found::read(&self.listing)?;
        let images = digests.into_par_iter().enumerate();
        let mut findings: Vec<Finding> =
            images.filter_map(|(i, digest)| counted(n_done, || self.finding(i, digest))).collect();
        findings.extend(strays.into_iter().map(|(_, name)| Finding::missing(name)));
        findings.sort_unstable();
        Ok(findings)
    }

    fn line(&self, i: usize) -> Result<String> {
        let name = self.listing.name(i);
        if name.contains(['\\', '\n', '\r']) {
            let reason = "its name has a backslash or a line break, which SHA256SUMS does not hold";
            let path = self.listing.path(i);
            return Err(Error::parse(path, reason));
        }
        Ok(line(&fsx::sha256(&self.listing.bytes(i, MAX_IMAGE)?), &name))
    }

    /// What is wrong with image `i`, whose line has this digest.
    fn finding(&self, i: usize, digest: Option<Digest>) -> Option<Finding> {
        let (fault, detail) = match digest.map(|digest| (digest, self.listing.bytes(i, MAX_IMAGE)))
        {
            None => (Fault::Extra, "has no line in SHA256SUMS".into()),
            Some((_, Err(error))) => (Fault::Corrupt, error.to_string()),
            Some((digest, Ok(bytes))) if hex(&digest) == fsx::sha256(&bytes) => return None,
            Some(_) => (Fault::Corrupt, DIFFERS.into()),
        };
        Some(Finding { fault, file: self.listing.name(i), detail })
    }
}

fn groups(n: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(GROUP).map(move |first| first..n.min(first + GROUP))
}

/// The result of `work`, counted as done.
fn counted<T>(n_done: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let result = work();
    n_done.fetch_add(1, Ordering::Relaxed);
    result
}
