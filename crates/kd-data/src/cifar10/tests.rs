use std::fs;
use std::path::PathBuf;

use kd_core::Error;

use super::*;
use crate::archive::tests::{file, pack};
use crate::cifar::records::{N_PIXELS, encode};

/// `n` records with the classes `first`, `first + 1`, ... (mod 10), all pixels `value`.
fn content(n: usize, first: usize, value: u8) -> Vec<u8> {
    let labels: Vec<u8> = (first..first + n).map(|i| (i % 10) as u8).collect();
    encode(&labels, &vec![value; n * N_PIXELS])
}

/// The content of each file: 1, 2, 3, 4, 5 images to train on, 3 of test.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let train = TRAIN.iter().enumerate().map(|(i, name)| (*name, content(i + 1, i, i as u8)));
    train.chain([(TEST, content(3, 7, 99))]).collect()
}

fn write(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, content) in contents() {
        fs::write(folder.join(name), content).unwrap();
    }
}

fn write_archive(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    // In another order, as archives may be.
    let entries: Vec<_> = contents().iter().rev().map(|(name, bytes)| file(name, bytes)).collect();
    fs::write(folder.join(SET.archive), pack(&entries)).unwrap();
}

fn load(dir: &Path) -> Result<Splits> {
    Cifar10::default().load(Some(dir))
}

fn load_split(dir: &Path, split: Split) -> Result<Images> {
    Cifar10::default().load_split(Some(dir), split)
}

#[test]
fn files_are_found_in_each_place_and_other_content_is_not_official() {
    for place in ["", "cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin"] {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join(place));
        let splits = load(dir.path()).unwrap();
        assert_eq!(splits.train.labels(), [0, 1, 2, 2, 3, 4, 3, 4, 5, 6, 4, 5, 6, 7, 8]);
        assert_eq!(splits.test.labels(), [7, 8, 9]);
        assert_eq!(
            (splits.train.image(14), splits.test.image(2)),
            (&[4; 3072][..], &[99; 3072][..])
        );
        assert_eq!(splits.train.files().len(), 5);
        assert!(!splits.official);
        assert_eq!(load_split(dir.path(), Split::Train).unwrap(), splits.train);
        assert_eq!(load_split(dir.path(), Split::Test).unwrap(), splits.test);
    }
}

#[test]
fn the_archive_is_read_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let want = load(dir.path()).unwrap();
    for place in ["", "cifar10"] {
        let dir = tempfile::tempdir().unwrap();
        write_archive(&dir.path().join(place));
        assert_eq!(load(dir.path()).unwrap(), want);
        assert_eq!(load_split(dir.path(), Split::Test).unwrap(), want.test);
        assert_eq!(fs::read_dir(dir.path().join(place)).unwrap().count(), 1, "it was unpacked");
    }
}

#[test]
fn faults_in_the_archive_name_file_and_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut bad = content(3, 0, 0);
    bad[2 * LABELS.record()] = 200;
    fs::write(dir.path().join(SET.archive), pack(&[file(TEST, &bad)])).unwrap();
    let error = load_split(dir.path(), Split::Test).unwrap_err().to_string();
    assert!(error.contains("cifar-10-binary.tar.gz/test_batch.bin"), "{error}");
    assert!(error.contains("label 200 of record 2"), "{error}");
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("has no cifar-10-batches-bin/data_batch_1.bin"), "{error}");
}

#[test]
fn one_part_is_enough_where_one_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(TRAIN[0]), content(4, 6, 0)).unwrap();
    assert_eq!(load_split(dir.path(), Split::Train).unwrap().labels(), [6, 7, 8, 9]);
    let missing = dir.path().join(TEST).display().to_string();
    for error in [load_split(dir.path(), Split::Test).unwrap_err(), load(dir.path()).unwrap_err()] {
        assert!(matches!(error, Error::Missing { .. }));
        let error = error.to_string();
        assert!(error.contains("cargo xtask data cifar10"), "{error}");
        assert!(error.contains(TEST) && error.contains(&dir.path().display().to_string()));
    }
    let error = load_split(dir.path(), Split::Test).unwrap_err().to_string();
    assert!(error.starts_with(&missing), "{error}");
    fs::write(dir.path().join(TRAIN[2]), content(4, 6, 0)).unwrap();
    let error = load_split(dir.path(), Split::Train).unwrap_err().to_string();
    assert!(error.contains(TRAIN[1]), "{error}");
}

#[test]
fn two_sets_are_never_mixed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    fs::remove_file(dir.path().join(TEST)).unwrap();
    write(&dir.path().join("cifar10"));
    fs::write(dir.path().join(TRAIN[0]), content(9, 0, 0)).unwrap();
    assert_eq!(load(dir.path()).unwrap().train.len(), 15);
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(error.contains(SET.archive) && error.contains("data_batch_5.bin"), "{error}");
    assert!(matches!(Cifar10::default().load(None), Err(Error::Missing { .. })));
}

fn data_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("KD_DATA_DIR").map(PathBuf::from);
    if dir.is_none() {
        println!("skipped: KD_DATA_DIR is not set");
    }
    dir
}

#[test]
fn the_first_official_record_is_the_frog() {
    let Some(dir) = data_dir().map(|dir| dir.join("cifar10-lossless")) else { return };
    if !dir.is_dir() {
        return println!("skipped: {} is not there", dir.display());
    }
    let images = load_split(&dir, Split::Train).unwrap();
    println!("ran on real CIFAR-10 records in {}", dir.display());
    assert_eq!((images.len(), images.labels()[0]), (4000, 6));
    assert_eq!(images.image(0)[..5], [59, 43, 50, 68, 98]);
    assert!(load_split(&dir, Split::Test).unwrap_err().to_string().contains(TEST));
}

#[test]
fn the_set_in_the_data_folder_has_its_statistics_and_is_official_only_if_it_is() {
    let Some(dir) = data_dir() else { return };
    let Ok(splits) = load(&dir) else {
        return println!("skipped: no CIFAR-10 in {}", dir.display());
    };
    println!("ran on CIFAR-10 in {}, official: {}", dir.display(), splits.official);
    assert_eq!((splits.train.len(), splits.test.len()), (50_000, 10_000));
    for class in 0..10 {
        let count = |images: &Images| images.labels().iter().filter(|&&l| l == class).count();
        assert_eq!((count(&splits.train), count(&splits.test)), (5000, 1000));
    }
    // Images that went through JPEG are near the official statistics, but are not they.
    let tolerance = if splits.official { 6e-5 } else { 2e-2 };
    for channel in 0..3 {
        let (mean, std) = statistics(&splits.train, channel);
        assert!((mean - f64::from(MEAN[channel])).abs() < tolerance, "{mean}");
        assert!((std - f64::from(STD[channel])).abs() < tolerance, "{std}");
    }
}

/// Mean and standard deviation of a channel, pixels in `[0, 1]`.
fn statistics(images: &Images, channel: usize) -> (f64, f64) {
    let planes = images.pixels().chunks_exact(1024).skip(channel).step_by(3);
    let (mut sum, mut square, mut n) = (0_u64, 0_u64, 0_u64);
    for &pixel in planes.flatten() {
        let pixel = u64::from(pixel);
        (sum, square, n) = (sum + pixel, square + pixel * pixel, n + 1);
    }
    let mean = sum as f64 / n as f64 / 255.0;
    let square = square as f64 / n as f64 / (255.0 * 255.0);
    (mean, (square - mean * mean).sqrt())
}
