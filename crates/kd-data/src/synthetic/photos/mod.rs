//! Synthetic photographs in ImageNet's layout, made from a seed, for use without any data.
//!
//! Key decision: they are JPEG files of many sizes in class folders, with the oddities of the
//! real set, and read as ImageNet is. Names look like ImageNet's, but the numbers of the classes
//! (`n00000001` and so on) are those of no WordNet entry.

mod file;
mod look;

use std::path::{Path, PathBuf};

use kd_core::ops::Normalize;
use kd_core::{Result, Stream, in_range};
use serde::{Deserialize, Serialize};

use self::file::Kind;
use self::look::{MAX_CLASSES, Picture};
use super::kept;
use crate::{Dataset, Images, Part, Parts, PhotoFolder, Split, Splits};

/// The most images of one part.
const MAX_IMAGES: usize = 300_000;
/// Part of the folder's name: raise it when the files of a seed change.
const VERSION: u32 = 1;
/// What a folder found by chance says of itself.
const README: &str = "Drawn by kd from a seed: no photographs, and not ImageNet's. The class \
                      names are those of no WordNet entry.\n";

/// Procedurally drawn photographs; the files of a smaller set are among those of a larger.
///
/// Difficulty, measured once in PyTorch on the default set (Adam, one cycle, batches of 32, random
/// crops of 64 and flips, 6 epochs): a linear classifier of 8x8 mean colors has 30.8 % of the 400
/// test images right, networks of four convolutions 36.0 % with 25,688 parameters and 38.2 % with
/// 393,008, all of them still learning.
///
/// Without a data folder they are kept in `kd-synthetic` below the system's folder of temporary
/// files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticPhotos {
    /// Number of classes, 2 to 40.
    pub n_classes: usize,
    /// Number of training images, at least one a class.
    pub n_train: usize,
    /// Number of test images, at least one a class.
    pub n_test: usize,
    /// Which photographs.
    pub seed: u64,
    /// Pixels of the shorter side before the central square is cut out.
    pub resize: usize,
    /// Side of the image that a network sees.
    pub crop: usize,
}

impl Default for SyntheticPhotos {
    fn default() -> Self {
        Self { n_classes: 16, n_train: 1600, n_test: 400, seed: 0, resize: 72, crop: 64 }
    }
}

impl Dataset for SyntheticPhotos {
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        self.folder(dir)?.load(None)
    }

    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        self.folder(dir)?.load_split(None, split)
    }

    /// Keeps the files in a folder below `dir` and reads them from there the next time, if they
    /// are intact.
    fn parts(&self, dir: Option<&Path>) -> Result<Parts> {
        self.folder(dir)?.parts(None)
    }

    fn part(&self, dir: Option<&Path>, split: Split) -> Result<Part> {
        self.folder(dir)?.part(None, split)
    }

    fn normalize(&self) -> Normalize {
        PhotoFolder::default().normalize()
    }

    fn is_synthetic(&self) -> bool {
        true
    }
}

impl SyntheticPhotos {
    /// The folder with the files, made now if it is not there or not intact.
    fn folder(&self, dir: Option<&Path>) -> Result<PhotoFolder> {
        in_range("n_classes", self.n_classes, 2, MAX_CLASSES)?;
        in_range("n_train", self.n_train, self.n_classes, MAX_IMAGES)?;
        in_range("n_test", self.n_test, self.n_classes, MAX_IMAGES)?;
        let temporary = || std::env::temp_dir().join("kd-synthetic");
        let path = dir.map_or_else(temporary, Path::to_path_buf).join(self.folder_name());
        let n_files = self.n_train + self.n_test + 1;
        if !kept::is_whole(&path, n_files) {
            kept::make_folder(&path, n_files, |i| self.file(i))?;
        }
        let (resize, crop) = (self.resize, self.crop);
        Ok(PhotoFolder { path, resize, crop, ..PhotoFolder::default() })
    }

    fn folder_name(&self) -> String {
        let Self { n_classes, n_train, n_test, seed, .. } = self;
        format!("synthetic-photos-v{VERSION}-{n_classes}-{n_train}-{n_test}-{seed}")
    }

    /// Name and content of file `i`: the training images, the test images, the explanation.
    fn file(&self, i: usize) -> Result<(PathBuf, Vec<u8>)> {
        let stream = Stream::new(self.seed).at("synthetic-photos");
        if i < self.n_train {
            Ok((self.train_name(i), self.content(i, stream.at("train"))?))
        } else if i < self.n_train + self.n_test {
            let i = i - self.n_train;
            Ok((self.val_name(i), self.content(i, stream.at("val"))?))
        } else {
            Ok(("README".into(), README.into()))
        }
    }

    /// The numbers of a class have gaps, and the order of names is not that of numbers.
    fn train_name(&self, i: usize) -> PathBuf {
        let (class, number) = (wnid(i % self.n_classes), 7 * (i / self.n_classes) + 3);
        format!("train/{class}/{class}_{number}.JPEG").into()
    }

    fn val_name(&self, i: usize) -> PathBuf {
        let class = wnid(i % self.n_classes);
        format!("val/{class}/ILSVRC2012_val_{:08}.JPEG", i + 1).into()
    }

    fn content(&self, i: usize, part: Stream) -> Result<Vec<u8>> {
        let stream = part.number(i as u64);
        let picture = Picture::draw(i % self.n_classes, stream);
        let quality = 75 + stream.at("quality").rng().below(21) as u8;
        Kind::of(i).encode(&picture, quality)
    }
}

/// A class name of WordNet's form.
fn wnid(class: usize) -> String {
    format!("n{:08}", class + 1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kd_core::{Error, fsx};

    use super::*;

    fn small(seed: u64) -> SyntheticPhotos {
        SyntheticPhotos { n_classes: 3, n_train: 45, n_test: 7, seed, resize: 36, crop: 32 }
    }

    fn sums(set: &SyntheticPhotos, dir: &Path) -> String {
        let folder = set.folder(Some(dir)).unwrap().path;
        fs::read_to_string(folder.join("SHA256SUMS")).unwrap()
    }

    #[test]
    fn files_depend_on_the_seed_alone_and_are_the_same_everywhere() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let all = sums(&small(0), dirs[0].path());
        assert_eq!(
            fsx::sha256(all.as_bytes()),
            "bc13080a5e32f55158a1134719008c83fcc85fbacb939bc56860dc603e093f56",
            "{all}"
        );
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one_thread.install(|| sums(&small(0), dirs[1].path())), all);
        assert_ne!(sums(&small(1), dirs[2].path()), all);
    }

    #[test]
    fn a_smaller_set_is_part_of_a_larger() {
        let dir = tempfile::tempdir().unwrap();
        let all = sums(&small(0), dir.path());
        let part = sums(&SyntheticPhotos { n_train: 30, n_test: 4, ..small(0) }, dir.path());
        assert_eq!(part.lines().count(), 35);
        assert!(part.lines().all(|line| all.contains(line)));
    }

    #[test]
    fn photographs_are_read_as_those_of_imagenet() {
        let dir = tempfile::tempdir().unwrap();
        let Parts { train, test, official } = small(0).parts(Some(dir.path())).unwrap();
        assert_eq!((train.len(), test.len(), train.n_classes(), official), (45, 7, 3, false));
        assert_eq!(train.shape(), [3, 32, 32]);
        let count = |class| train.labels().iter().filter(|&&label| label == class).count();
        assert_eq!([0, 1, 2].map(count), [15, 15, 15]);
        let images = small(0).load_split(Some(dir.path()), Split::Test).unwrap();
        assert_eq!((images.len(), images.shape()), (7, [3, 32, 32]));
        assert!(train.bad_images().is_empty() && test.bad_images().is_empty());
    }

    #[test]
    fn the_folder_is_used_when_intact_and_made_again_when_not() {
        let dir = tempfile::tempdir().unwrap();
        let make = || small(0).folder(Some(dir.path())).unwrap().path;
        let file = make().join(small(0).train_name(1));
        let (good, written) = (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().modified());
        make();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written.unwrap());
        let mut bad = good.clone();
        bad[100] ^= 1;
        fs::write(&file, bad).unwrap();
        make();
        assert_eq!(fs::read(&file).unwrap(), good);
        fs::remove_file(&file).unwrap();
        make();
        assert_eq!(fs::read(&file).unwrap(), good);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn impossible_sizes_and_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for bad in [
            SyntheticPhotos { n_classes: 1, ..small(0) },
            SyntheticPhotos { n_classes: 41, n_train: 41, n_test: 41, ..small(0) },
            SyntheticPhotos { n_train: 2, ..small(0) },
            SyntheticPhotos { n_test: MAX_IMAGES + 1, ..small(0) },
        ] {
            assert!(matches!(bad.parts(Some(dir.path())), Err(Error::Config { .. })));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(small(0).parts(Some(file.path())), Err(Error::Io { .. })));
    }
}
