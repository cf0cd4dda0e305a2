//! ImageNet: nobody may pass it on, so it is never downloaded; its archives are unpacked.
//!
//! Key decision: whoever has the archives needs one command. They are found in the data folder and
//! handed to `kd data imagenet`, which checks labels and counts and goes on where it was stopped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child;
use crate::failure::{Code, Failure, Result};

/// The data set's name, and its folder in the data folder.
pub(crate) const NAME: &str = "imagenet";

/// A file that users get from ImageNet's own site, where they accept its terms.
struct Archive {
    name: &'static str,
    size: &'static str,
    md5: &'static str,
}

const TRAIN: Archive = Archive {
    name: "ILSVRC2012_img_train.tar",
    size: "147,897,477,120 bytes",
    md5: "1d675b47d978889d74fa0da5fadfb00e",
};
const VAL: Archive = Archive {
    name: "ILSVRC2012_img_val.tar",
    size: "6,744,924,160 bytes",
    md5: "29b22e2961454d5413ddabcf34fc5622",
};
const DEVKIT: Archive = Archive {
    name: "ILSVRC2012_devkit_t12.tar.gz",
    size: "2.5 MB",
    md5: "fa75699e90414af021442c21a62c3abf",
};

impl Archive {
    /// Where it lies, in the data folder or in ImageNet's.
    fn find(&self, data_dir: &Path) -> Option<PathBuf> {
        let places = [data_dir.to_path_buf(), data_dir.join(NAME)];
        places.iter().map(|folder| folder.join(self.name)).find(|path| path.is_file())
    }
}

/// Whether both parts lie in class folders (or packed) in the data folder.
pub(crate) fn is_ready(data_dir: &Path) -> bool {
    let root = data_dir.join(NAME);
    root.join("train").is_dir() && ["val", "test"].iter().any(|part| root.join(part).is_dir())
}

/// Makes the class folders from the archives where they are missing, by a call of `kd`.
///
/// # Errors
/// [`Code::MissingInput`], naming each archive that is missing and where it belongs; the exit code
/// of `kd data imagenet`.
pub(crate) fn prepare(data_dir: &Path, kd: impl FnOnce() -> Result<Command>) -> Result<()> {
    if is_ready(data_dir) {
        return Ok(());
    }
    let found = [&TRAIN, &VAL, &DEVKIT].map(|archive| archive.find(data_dir));
    let [Some(train), Some(val), Some(devkit)] = found else {
        return Err(missing(data_dir));
    };
    let mut kd = kd()?;
    kd.args(["data", "imagenet", "--mode", "extract"]);
    kd.arg("--labels").arg(devkit).arg("--images").arg(val).arg("--train").arg(train);
    kd.arg("--out").arg(data_dir.join(NAME));
    child::run(&mut kd)
}

fn missing(data_dir: &Path) -> Failure {
    let folder = data_dir.join(NAME);
    let mut lines = format!(
        "{}: no class folders `train` and `val`, and not all archives to make them from; register \
         at image-net.org and put these files there (they are not downloaded, because nobody but \
         ImageNet may pass them on):",
        folder.display()
    );
    for archive in [&TRAIN, &VAL, &DEVKIT] {
        let state = archive.find(data_dir).map_or("missing", |_| "there");
        let Archive { name, size, md5 } = archive;
        lines += &format!("\n  {name}, {size}, md5 {md5}: {state}");
    }
    Failure::new(Code::MissingInput, lines)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn program(name: &str) -> impl FnOnce() -> Result<Command> {
        let program = Command::new(name);
        move || Ok(program)
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(VAL.name), "").unwrap();
        let failure = prepare(dir.path(), program("false")).unwrap_err();
        assert_eq!(failure.code(), 66);
        let Failure::Own(_, text) = failure else { panic!() };
        let line = |name| text.lines().find(|line| line.contains(name)).unwrap();
        assert!(line(TRAIN.name).ends_with("missing") && line(VAL.name).ends_with("there"));
        assert!(text.contains(&*dir.path().join("imagenet").to_string_lossy()));
    }

    #[test]
    fn archives_are_unpacked_and_class_folders_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for archive in [&TRAIN, &VAL, &DEVKIT] {
            fs::write(dir.path().join(archive.name), "").unwrap();
        }
        // `false` stands for a `kd` that fails, so that its being called shows.
        assert_eq!(prepare(dir.path(), program("false")).unwrap_err().code(), 1);
        assert!(prepare(dir.path(), program("true")).is_ok());
        for part in ["train", "val"] {
            fs::create_dir_all(dir.path().join("imagenet").join(part)).unwrap();
        }
        assert!(prepare(dir.path(), program("false")).is_ok());
    }
}
