use std::fs;
use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::*;
use crate::idx::Idx;

/// Writes images of 2x3 pixels, all of image `i` are `i`, and their labels under these names.
fn put(folder: &Path, [images, labels]: [&str; 2], classes: &[u8]) {
    let pixels: Vec<u8> = (0..classes.len()).flat_map(|i| [i as u8; 6]).collect();
    let write = |name: &str, idx: Idx| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !name.ends_with(".gz") {
            return idx.write(&path).unwrap();
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(idx.content()).unwrap();
        fs::write(path, gzip.finish().unwrap()).unwrap();
    };
    write(images, Idx::new(&[classes.len(), 2, 3], &pixels).unwrap());
    write(labels, Idx::new(&[classes.len()], classes).unwrap());
}

const TRAIN: [&str; 2] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
const TEST: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

fn set(files: [[&str; 2]; 2]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), files[0], &[0, 4, 2, 16]);
    put(dir.path(), files[1], &[1, 0]);
    dir
}

fn at(path: &Path) -> IdxFiles {
    IdxFiles { path: path.into(), ..IdxFiles::default() }
}

#[test]
fn sets_of_any_size_and_number_of_classes_are_read_under_the_names_that_people_have() {
    let own = |names: [&'static str; 2]| names.map(|name| format!("{name}/{name}"));
    let (own_train, own_test) = (own(TRAIN), own(TEST));
    for files in [
        [TRAIN, TEST],
        [["train-images.idx3-ubyte", "train-labels.idx1-ubyte"], TEST],
        [TRAIN, ["t10k-images-idx3-ubyte.gz", "t10k-labels.idx1-ubyte.gz"]],
        [
            ["raw/train-images-idx3-ubyte", "raw/train-labels-idx1-ubyte"],
            ["raw/test-images-idx3-ubyte", "raw/test-labels-idx1-ubyte"],
        ],
        [[&own_train[0], &own_train[1]], [&own_test[0], &own_test[1]]],
    ] {
        let dir = set(files);
        let Splits { train, test, official } = at(dir.path()).load(None).unwrap();
        assert_eq!((train.shape(), train.n_classes(), test.n_classes()), ([1, 2, 3], 17, 17));
        assert_eq!((train.labels(), test.labels()), (&[0, 4, 2, 16][..], &[1, 0][..]), "{files:?}");
        assert_eq!((train.image(3), official, train.remarks()), (&[3; 6][..], false, &[][..]));
        let test_alone = at(dir.path()).load_split(None, Split::Test).unwrap();
        assert_eq!(test_alone, test);
        let name = dir.path().file_name().unwrap();
        assert_eq!(at(Path::new(name)).load(dir.path().parent()).unwrap().train, train);
    }
}

#[test]
fn labels_that_begin_at_one_become_classes_from_zero() {
    let dir = tempfile::tempdir().unwrap();
    let name = |part: &str, kind: &str| format!("emnist-letters-{part}-{kind}-ubyte.gz");
    for (part, labels) in [("train", &[1, 26, 3][..]), ("test", &[2, 26])] {
        put(dir.path(), [&name(part, "images-idx3"), &name(part, "labels-idx1")], labels);
    }
    let mapping: String = (1..=26).map(|i| format!("{i} {} {}\n", 64 + i, 96 + i)).collect();
    fs::write(dir.path().join("emnist-letters-mapping.txt"), mapping).unwrap();
    let Splits { train, test, .. } = at(dir.path()).load(None).unwrap();
    assert_eq!(
        (train.labels(), test.labels(), train.n_classes()),
        (&[0, 25, 2][..], &[1, 25][..], 26)
    );
    assert_eq!((&*train.class_names()[0], &*test.class_names()[25]), ("A", "Z"));
    assert!(train.remarks()[0].contains("class 0 is label 1"), "{:?}", train.remarks());
    let kept = IdxFiles { first_label: Some(0), ..at(dir.path()) }.load(None).unwrap().train;
    assert_eq!((kept.labels(), kept.n_classes(), kept.remarks()), (&[1, 26, 3][..], 27, &[][..]));
    let more = IdxFiles { n_classes: Some(40), ..at(dir.path()) }.load(None).unwrap().train;
    assert_eq!(more.n_classes(), 40);
    let fewer = IdxFiles { n_classes: Some(5), ..at(dir.path()) }.load(None).unwrap_err();
    assert!(fewer.to_string().contains("label 26 of item 1"), "{fewer}");
    let late = IdxFiles { first_label: Some(2), ..at(dir.path()) }.load(None).unwrap_err();
    assert!(late.to_string().contains("there is a label 1, below the first one, 2"), "{late}");
}

#[test]
fn of_several_sets_one_must_be_named() {
    let dir = tempfile::tempdir().unwrap();
    for (set, label) in [("emnist-letters", 1), ("emnist-digits", 7)] {
        for part in ["train", "test"] {
            let name = |kind: &str| format!("{set}-{part}-{kind}-ubyte");
            put(dir.path(), [&name("images-idx3"), &name("labels-idx1")], &[label, label + 1]);
        }
    }
    let error = at(dir.path()).load(None).unwrap_err().to_string();
    let digits = dir.path().join("emnist-digits");
    assert!(error.contains(&format!("idx:{}-, idx:", digits.display())), "{error}");
    for name in ["emnist-digits", "emnist-digits-"] {
        let splits = at(&dir.path().join(name)).load(None).unwrap();
        assert_eq!((splits.train.labels(), splits.train.n_classes()), (&[7, 8][..], 9));
    }
    assert!(matches!(at(&dir.path().join("none")).load(None), Err(Error::Missing { .. })));
}

#[test]
fn one_part_alone_is_the_whole_set() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), TRAIN, &[0, 1, 1]);
    let error = at(dir.path()).load(None).unwrap_err().to_string();
    assert!(error.contains("t10k-images-idx3-ubyte") && error.contains("--holdout 0.2"), "{error}");
    assert_eq!(at(dir.path()).whole(None).unwrap().unwrap().labels(), [0, 1, 1]);
    put(dir.path(), TEST, &[1]);
    assert!(at(dir.path()).whole(None).unwrap().is_none());
    assert!(matches!(at(&dir.path().join("no/no")).load(None), Err(Error::Missing { .. })));
    assert!(matches!(IdxFiles::default().load(None), Err(Error::Config { .. })));
}
