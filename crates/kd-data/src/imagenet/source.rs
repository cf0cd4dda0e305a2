//! Where the images come from: the flat folder or the archive.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};
use rayon::prelude::*;

use super::flat::Flat;
use super::head;
use super::labels::{val_name, val_number};
use super::mode::Mode;
use super::tarball::Tarball;
use crate::finding::{Fault, Finding};

/// Images by number.
#[derive(Debug)]
pub(super) enum Source {
    Folder(Flat),
    Archive(Tarball<u32>),
}

impl Source {
    /// Lists the images at `path`, in which those from 1 to `n_images` are expected.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Config`] when `mode` does not fit; [`Error::Parse`] for a
    /// damaged archive; [`Error::Folder`], [`Error::Io`].
    pub(super) fn open(path: &Path, mode: Mode, n_images: u32) -> Result<Self> {
        let is_folder = is_folder(path)?;
        if is_folder == (mode == Mode::Extract) {
            let reason = match is_folder {
                true => "a folder's images are taken by move, hardlink, symlink or copy",
                false => "an archive's images are taken by extract",
            };
            return Err(Error::config("mode", reason));
        }
        if is_folder {
            return Ok(Self::Folder(Flat::read(path, n_images)?));
        }
        let number = |name: &str| val_number(name).filter(|&number| number <= n_images);
        Ok(Self::Archive(Tarball::open(path, number)?))
    }

    /// Bytes of an image, if it is there.
    pub(super) fn size(&self, number: u32) -> Option<u64> {
        match self {
            Self::Folder(flat) => flat.sizes.get(&number).copied(),
            Self::Archive(tarball) => tarball.members.get(&number).map(|member| member.size),
        }
    }

    /// The file of an image, if it has one of its own.
    pub(super) fn path(&self, number: u32) -> Option<PathBuf> {
        let Self::Folder(flat) = self else { return None };
        flat.sizes.contains_key(&number).then(|| flat.path(number))
    }

    /// Whether a file is there whose name is nearly that of the image.
    pub(super) fn is_renamed(&self, number: u32) -> bool {
        matches!(self, Self::Folder(flat) if flat.renamed.contains(&number))
    }

    /// What is there besides the images.
    pub(super) fn findings(&self) -> &[Finding] {
        match self {
            Self::Folder(flat) => &flat.findings,
            Self::Archive(tarball) => &tarball.findings,
        }
    }

    /// Names that begin with a dot, which are passed over.
    pub(super) fn hidden(&self) -> &[String] {
        match self {
            Self::Folder(flat) => &flat.hidden,
            Self::Archive(_) => &[],
        }
    }

    /// Bytes of the archive, if it is one.
    pub(super) fn archive_bytes(&self) -> Option<u64> {
        let Self::Archive(tarball) = self else { return None };
        Some(tarball.size)
    }

    /// Those of the images that can be none, by their first bytes.
    pub(super) fn corrupt(&self, numbers: &[u32]) -> Result<Vec<Finding>> {
        match self {
            Self::Folder(flat) => {
                let file = |&number: &u32| (val_name(number), flat.path(number));
                head::check_files(&numbers.iter().map(file).collect::<Vec<_>>())
            }
            Self::Archive(tarball) => {
                let check = |number: &u32| -> Result<Option<Finding>> {
                    let Some(&member) = tarball.members.get(number) else { return Ok(None) };
                    let fault = tarball.image_fault(member)?;
                    Ok(fault.map(|fault| Finding::new(Fault::Corrupt, val_name(*number), fault)))
                };
                let found: Result<Vec<_>> = numbers.par_iter().map(check).collect();
                Ok(found?.into_iter().flatten().collect())
            }
        }
    }

    /// In which order the images are best read: as they lie in an archive.
    pub(super) fn sort(&self, numbers: &mut [u32]) {
        if let Self::Archive(tarball) = self {
            let offset = |number: &u32| tarball.members.get(number).map(|member| member.offset);
            numbers.sort_by_key(offset);
        }
    }
}

/// Whether a folder lies at `path`; else it is a file.
pub(super) fn is_folder(path: &Path) -> Result<bool> {
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::Missing {
            path: path.into(),
            hint: "--images names the flat folder of the validation images or \
                   ILSVRC2012_img_val.tar"
                .into(),
        },
        _ => Error::Io { path: path.into(), action: "read", source },
    })?;
    if !(metadata.is_dir() || metadata.is_file()) {
        let reason = format!("{} is neither folder nor file", path.display());
        return Err(Error::config("images", reason));
    }
    Ok(metadata.is_dir())
}
