//! Which images a folder of class folders holds.

use std::fs;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};

/// The most files and folders that one folder may have.
const MAX_ENTRIES: usize = 4_000_000;
/// The most images of one part, all classes together.
const MAX_IMAGES: usize = 4_000_000;

/// The files of all classes, with their labels.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) folder: PathBuf,
    /// Names of the classes, sorted.
    pub(super) classes: Vec<String>,
    /// Sorted by class, then name; never empty.
    pub(super) files: Vec<PathBuf>,
    pub(super) labels: Vec<u32>,
}

impl Listing {
    /// Lists `folder`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] for what does not belong there, a class without images,
    /// or more than may be.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let (mut classes, mut files, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (label, class) in entries(folder)?.into_iter().enumerate() {
            if !class.is_dir() {
                return Err(stray(class, "is no folder; beside the class folders is nothing else"));
            }
            let images = entries(&class)?;
            if images.is_empty() {
                return Err(stray(class, "has no images; remove the folder or fill it"));
            }
            if let Some(other) = images.iter().find(|path| !is_image(path)) {
                let reason = "is no .jpg, .jpeg or .png file; in a class folder is nothing else";
                return Err(stray(other.clone(), reason));
            }
            labels.resize(files.len() + images.len(), label as u32);
            files.extend(images);
            if files.len() > MAX_IMAGES {
                return Err(stray(folder.into(), "has more than 4 million images"));
            }
            classes.push(name(&class)?.to_owned());
        }
        if files.is_empty() {
            return Err(stray(folder.into(), "has no class folders"));
        }
        Ok(Self { folder: folder.into(), classes, files, labels })
    }
}

/// What is in `folder`, sorted by name, without hidden names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
        let path = entry.map_err(Error::io(folder, "read"))?.path();
        if !name(&path)?.starts_with('.') {
            paths.push(path);
        }
        if paths.len() > MAX_ENTRIES {
            return Err(stray(folder.into(), "has more than 4 million entries"));
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| stray(path.into(), "has a name that is not UTF-8"))
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["jpg", "jpeg", "png"].contains(&extension.to_ascii_lowercase().as_str()) && path.is_file()
}

fn stray(path: PathBuf, reason: &str) -> Error {
    Error::Parse { path, offset: 0, reason: reason.into() }
}
