//! MNIST (LeCun, Cortes, Burges): 60,000 + 10,000 handwritten digits of 28x28 gray pixels.
//!
//! Key decision: any four files of the format are read, but only those with the digests of the
//! official content count as MNIST ([`Splits::official`]), so that results on other data are
//! never set against numbers published for MNIST.

use std::path::{Path, PathBuf};

use kd_core::ops::Normalize;
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{Dataset, Splits, idx};

/// Mean of the training pixels in `[0, 1]`.
pub const MEAN: f32 = 0.1307;
/// Standard deviation of the training pixels in `[0, 1]`.
pub const STD: f32 = 0.3081;
/// Number of classes.
pub const N_CLASSES: usize = 10;
/// Names of the classes: the digits.
pub const CLASS_NAMES: [&str; N_CLASSES] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
/// `[H, W]` of an image.
pub const SIZE: [usize; 2] = [28, 28];

/// Name and SHA-256 (decompressed) of the official files: images and labels of train, of test.
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
];

/// The four IDX files of MNIST, or others of their format, raw or gzip, in the data folder
/// itself, in `mnist/` or in `MNIST/raw/` (torchvision's place).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mnist {}

impl Dataset for Mnist {
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        let dir = dir.ok_or_else(|| Error::Missing {
            path: "mnist".into(),
            hint: "name the data folder with --data-dir or KD_DATA_DIR".into(),
        })?;
        let [train_images, train_labels, test_images, test_labels] = find(dir)?;
        let train = idx::read_pair(&train_images, &train_labels, SIZE, N_CLASSES)?;
        let test = idx::read_pair(&test_images, &test_labels, SIZE, N_CLASSES)?;
        let official = train
            .files()
            .iter()
            .chain(test.files())
            .zip(FILES)
            .all(|(file, (_, sha256))| file.sha256 == sha256);
        let [train, test] = [train, test].map(|part| part.with_class_names(CLASS_NAMES));
        Ok(Splits { train, test, official })
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: vec![MEAN], std: vec![STD] }
    }
}

/// The four files, all from the first folder that has them all: never a mixture of two sets.
fn find(dir: &Path) -> Result<[PathBuf; 4]> {
    let mut tried = Vec::new();
    for folder in [dir.to_owned(), dir.join("mnist"), dir.join("MNIST").join("raw")] {
        let files = FILES.map(|(name, _)| find_file(&folder, name));
        if let [Some(a), Some(b), Some(c), Some(d)] = files {
            return Ok([a, b, c, d]);
        }
        let missing = FILES.iter().zip(&files).filter(|(_, file)| file.is_none());
        tried.extend(missing.map(|((name, _), _)| folder.join(name).display().to_string()));
    }
    let hint = format!(
        "`cargo xtask data mnist` gets MNIST; missing, each also as .gz: {}",
        tried.join(", ")
    );
    Err(Error::Missing { path: dir.join("mnist"), hint })
}

/// Also with a dot in the name, or in a folder of its own, as programs that unpack leave it.
fn find_file(folder: &Path, name: &str) -> Option<PathBuf> {
    let names = [name.to_owned(), name.replace("-idx", ".idx")];
    let paths = names.iter().flat_map(|name| {
        [folder.join(name), folder.join(format!("{name}.gz")), folder.join(name).join(name)]
    });
    paths.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idx::Idx;

    /// Writes a small set of the format: `n` training images of the classes `i % 10`, 5 of test.
    fn write(folder: &Path, n: usize) {
        std::fs::create_dir_all(folder).unwrap();
        for ([images, labels], n) in [[0, 1], [2, 3]].into_iter().zip([n, 5]) {
            let pixels = Idx::new(&[n, 28, 28], &vec![n as u8; n * 784]).unwrap();
            pixels.write(&folder.join(FILES[images].0)).unwrap();
            let classes: Vec<u8> = (0..n).map(|i| (i % 10) as u8).collect();
            Idx::new(&[n], &classes).unwrap().write(&folder.join(FILES[labels].0)).unwrap();
        }
    }

    #[test]
    fn files_are_found_in_each_place_and_other_content_is_not_official() {
        for place in ["", "mnist", "MNIST/raw"] {
            let folder = tempfile::tempdir().unwrap();
            write(&folder.path().join(place), 12);
            let splits = Mnist::default().load(Some(folder.path())).unwrap();
            assert_eq!((splits.train.len(), splits.test.len()), (12, 5));
            assert_eq!(splits.train.shape(), [1, 28, 28]);
            assert!(!splits.official);
        }
    }

    #[test]
    fn names_with_a_dot_and_files_in_folders_of_their_own_are_found() {
        for place in
            [|name: &str| name.replace("-idx", ".idx"), |name: &str| format!("{name}/{name}")]
        {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), 12);
            for (name, _) in FILES {
                let (from, to) = (folder.path().join("moved"), folder.path().join(place(name)));
                std::fs::rename(folder.path().join(name), &from).unwrap();
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::rename(from, to).unwrap();
            }
            assert_eq!(Mnist::default().load(Some(folder.path())).unwrap().train.len(), 12);
        }
    }

    #[test]
    fn two_sets_are_never_mixed() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 12);
        write(&folder.path().join("mnist"), 20);
        std::fs::remove_file(folder.path().join(FILES[3].0)).unwrap();
        let splits = Mnist::default().load(Some(folder.path())).unwrap();
        assert_eq!(splits.train.len(), 20);
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("mnist"), 12);
        std::fs::remove_file(folder.path().join("mnist").join(FILES[1].0)).unwrap();
        let error = Mnist::default().load(Some(folder.path())).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }));
        let error = error.to_string();
        let path = |place: &str| folder.path().join(place).display().to_string();
        assert!(error.contains("cargo xtask data mnist"), "{error}");
        assert!(error.contains(&path("t10k-images-idx3-ubyte")), "{error}");
        assert!(error.contains(&path("mnist/train-labels-idx1-ubyte")), "{error}");
        assert!(error.contains(&path("MNIST/raw/train-images-idx3-ubyte")), "{error}");
        assert!(!error.contains(&path("mnist/train-images-idx3-ubyte")), "{error}");
        assert!(matches!(Mnist::default().load(None), Err(Error::Missing { .. })));
    }

    #[test]
    fn a_label_too_few_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 12);
        Idx::new(&[11], &[1; 11]).unwrap().write(&folder.path().join(FILES[1].0)).unwrap();
        let error = Mnist::default().load(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("11 labels for the 12 images"), "{error}");
    }

    #[test]
    fn real_mnist_is_official_and_has_its_mean() {
        let Some(dir) = std::env::var_os("KD_DATA_DIR") else {
            println!("skipped: KD_DATA_DIR is not set");
            return;
        };
        let splits = Mnist::default().load(Some(Path::new(&dir))).unwrap();
        println!("ran on real MNIST in {}", Path::new(&dir).display());
        assert!(splits.official);
        assert_eq!((splits.train.len(), splits.test.len()), (60_000, 10_000));
        assert_eq!(splits.train.labels()[..5], [5, 0, 4, 1, 9]);
        assert_eq!(splits.test.labels().iter().filter(|&&label| label == 3).count(), 1010);
        let pixels = splits.train.pixels().iter().map(|&p| f64::from(p) / 255.0);
        let mean = pixels.clone().sum::<f64>() / pixels.len() as f64;
        let square = pixels.clone().map(|p| p * p).sum::<f64>() / pixels.len() as f64;
        assert!((mean - f64::from(MEAN)).abs() < 5e-5);
        assert!(((square - mean * mean).sqrt() - f64::from(STD)).abs() < 5e-5);
    }
}
