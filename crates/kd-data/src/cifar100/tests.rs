use std::fs;
use std::path::PathBuf;

use tar::EntryType;

use super::*;
use crate::archive::tests::{entry, pack};

/// Records with these pairs of labels, all pixels of record `i` are `i`.
fn content(labels: &[[u8; 2]]) -> Vec<u8> {
    let records = labels.iter().zip(0..);
    records.flat_map(|(labels, i)| [&labels[..], &[i; 3072]].concat()).collect()
}

fn files() -> [(&'static str, Vec<u8>); 2] {
    [(TRAIN, content(&[[11, 19], [15, 29], [19, 99]])), (TEST, content(&[[0, 55], [4, 0]]))]
}

fn load(dir: &Path, labels: Labels) -> Splits {
    Cifar100 { labels }.load(Some(dir)).unwrap()
}

#[test]
fn both_kinds_of_classes_are_read_from_each_place_and_from_the_archive() {
    for place in ["", "cifar-100-binary", "cifar100", "cifar100/cifar-100-binary", "archive"] {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(if place == "archive" { "cifar100" } else { place });
        fs::create_dir_all(&folder).unwrap();
        if place == "archive" {
            let entries = files().map(|(name, bytes)| {
                entry(&format!("cifar-100-binary/{name}"), EntryType::Regular, &bytes)
            });
            fs::write(folder.join(SET.archive), pack(&entries)).unwrap();
        } else {
            files().iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
        }
        let fine = load(dir.path(), Labels::Fine);
        assert_eq!((fine.train.labels(), fine.test.labels()), (&[19, 29, 99][..], &[55, 0][..]));
        assert_eq!((fine.train.n_classes(), fine.official), (100, false));
        let name =
            |images: &Images, i: usize| images.class_names()[images.labels()[i] as usize].clone();
        assert_eq!((name(&fine.train, 0), name(&fine.test, 0)), ("cattle".into(), "otter".into()));
        let coarse = load(dir.path(), Labels::Coarse);
        assert_eq!((coarse.train.labels(), coarse.train.n_classes()), (&[11, 15, 19][..], 20));
        assert_eq!(name(&coarse.train, 0), "large_omnivores_and_herbivores");
        assert_eq!(name(&coarse.train, 1), "reptiles");
        assert_eq!(fine.train.image(2), [2; 3072]);
        let part = Cifar100::default().load_split(Some(dir.path()), Split::Test).unwrap();
        assert_eq!(part, fine.test);
    }
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let fault = || Cifar100::default().load(Some(dir.path())).unwrap_err().to_string();
    assert!(fault().contains("cargo xtask data cifar100"), "{}", fault());
    assert!(!fault().contains("Python"), "{}", fault());
    fs::create_dir(dir.path().join("cifar-100-python")).unwrap();
    assert!(fault().contains("the version for Python, which is there"), "{}", fault());
}

#[test]
fn the_set_in_the_data_folder_is_official_and_has_its_statistics() {
    let Some(dir) = std::env::var_os("KD_DATA_DIR").map(PathBuf::from) else {
        return println!("skipped: KD_DATA_DIR is not set");
    };
    let Ok(splits) = Cifar100::default().load(Some(&dir)) else {
        return println!("skipped: no CIFAR-100 in {}", dir.display());
    };
    println!("ran on CIFAR-100 in {}", dir.display());
    assert!(splits.official);
    let coarse = load(&dir, Labels::Coarse);
    for class in 0..100 {
        let count = |images: &Images| images.labels().iter().filter(|&&l| l == class).count();
        assert_eq!((count(&splits.train), count(&splits.test)), (500, 100));
    }
    // Every class is in one superclass.
    let pairs: std::collections::BTreeSet<_> =
        splits.train.labels().iter().zip(coarse.train.labels()).collect();
    assert_eq!(pairs.len(), 100);
    for channel in 0..3 {
        let planes = splits.train.pixels().chunks_exact(1024).skip(channel).step_by(3).flatten();
        let pixels = planes.map(|&pixel| f64::from(pixel) / 255.0);
        let (sum, square, n) =
            pixels.fold((0.0, 0.0, 0.0), |(s, q, n), p| (s + p, q + p * p, n + 1.0));
        let mean: f64 = sum / n;
        assert!((mean - f64::from(MEAN[channel])).abs() < 6e-5, "{mean}");
        let std = (square / n - mean * mean).sqrt();
        assert!((std - f64::from(STD[channel])).abs() < 6e-5, "{std}");
    }
}
