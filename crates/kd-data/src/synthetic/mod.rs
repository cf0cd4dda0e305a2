//! Synthetic data sets: made from a seed as files of a real format, kept between runs, and read
//! by the reader of that format, so that what runs on them runs on real data.

mod digits;
mod kept;
mod math;
mod objects;
mod photos;
mod scene;

pub use digits::SyntheticDigits;
pub use objects::SyntheticObjects;
pub use photos::SyntheticPhotos;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Dataset;

    /// A data set and one of its files.
    fn sets() -> [(Box<dyn Dataset>, &'static str); 2] {
        let digits = SyntheticDigits { n_train: 300, n_test: 50, seed: 0 };
        let objects = SyntheticObjects { n_train: 152, n_test: 30, seed: 0 };
        [(Box::new(digits), "train-labels-idx1-ubyte"), (Box::new(objects), "data_batch_3.bin")]
    }

    #[test]
    fn what_is_kept_is_used_when_intact_and_made_again_when_not() {
        for (set, name) in sets() {
            let folder = tempfile::tempdir().unwrap();
            let load = || set.load(Some(folder.path())).unwrap();
            let first = load();
            assert_eq!(first, set.load(None).unwrap());
            let kept = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
            let file = kept.path().join(name);
            let modified = || fs::metadata(&file).unwrap().modified().unwrap();
            let written = modified();
            assert_eq!(load(), first);
            assert_eq!(modified(), written, "{name}: what was kept was not used");
            let mut bytes = fs::read(&file).unwrap();
            bytes[8] = (bytes[8] + 1) % 10;
            fs::write(&file, bytes).unwrap();
            assert_eq!(load(), first);
            fs::remove_file(&file).unwrap();
            assert_eq!(load(), first);
            assert!(file.exists());
        }
    }
}
