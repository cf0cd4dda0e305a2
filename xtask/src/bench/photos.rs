//! Photographs for the cases that read them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Code, Failure, Result};
use crate::kd;

/// Class folders of the photographs in `folder`, by default `imagenet-samples` in the data folder;
/// none when that is not there. Where they are all in one folder, such as `n01440764_tench.JPEG`,
/// links to them are put into class folders by what comes before the first underscore.
///
/// # Errors
/// [`Code::MissingInput`] when `folder` was asked for and is not there; [`Code::Io`].
pub(super) fn class_folders(folder: Option<&Path>) -> Result<Option<PathBuf>> {
    let data = || std::env::var_os("KD_DATA_DIR").map_or(kd::root().join("data"), PathBuf::from);
    let place = folder.map_or_else(|| data().join("imagenet-samples"), Path::to_path_buf);
    let Ok(place) = place.canonicalize() else {
        let line = format!("{}: not found; it should be a folder of photographs", place.display());
        return folder.map_or(Ok(None), |_| Err(Failure::new(Code::MissingInput, line)));
    };
    let links = kd::root().join("target/bench-photos");
    link(&place, &links).map(Some).map_err(|e| {
        Failure::new(Code::Io, format!("{}: cannot link photographs: {e}", links.display()))
    })
}

fn link(place: &Path, links: &Path) -> std::io::Result<PathBuf> {
    let paths = fs::read_dir(place)?.map(|entry| entry.map(|entry| entry.path()));
    let paths = paths.collect::<std::io::Result<Vec<_>>>()?;
    let files: Vec<_> = paths.iter().filter(|path| path.is_file()).collect();
    if files.is_empty() {
        return Ok(place.to_path_buf());
    }
    if links.exists() {
        fs::remove_dir_all(links)?;
    }
    for path in files {
        let name = path.file_name().unwrap_or_default();
        let class = name.to_string_lossy();
        let class = links.join(class.split('_').next().unwrap_or("photographs"));
        fs::create_dir_all(&class)?;
        std::os::unix::fs::symlink(path, class.join(name))?;
    }
    Ok(links.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_are_linked_by_class() {
        let dir = tempfile::tempdir().unwrap();
        let (flat, links) = (dir.path().join("flat"), dir.path().join("links"));
        fs::create_dir(&flat).unwrap();
        for name in ["n1_cat.JPEG", "n1_tom.JPEG", "n2_dog.JPEG"] {
            fs::write(flat.join(name), name).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(link(&flat, &links).unwrap(), links);
            assert_eq!(fs::read(links.join("n1/n1_tom.JPEG")).unwrap(), b"n1_tom.JPEG");
            assert_eq!(fs::read_dir(links.join("n1")).unwrap().count(), 2);
        }
        assert_eq!(link(&links, &dir.path().join("more")).unwrap(), links);
        assert!(class_folders(Some(Path::new("/no/such"))).is_err_and(|e| e.code() == 66));
    }
}
