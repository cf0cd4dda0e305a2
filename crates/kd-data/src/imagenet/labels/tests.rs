use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

const SHAPE: Shape = Shape { n_classes: 5, n_per_class: 3 };

fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/imagenet").join(name)
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(golden_path(name)).unwrap()
}

/// What all golden sources say.
fn want() -> BTreeMap<u32, Wnid> {
    let golden: serde_json::Value = serde_json::from_slice(&golden("labels.json")).unwrap();
    let labels: Vec<String> = serde_json::from_value(golden["labels"].clone()).unwrap();
    (1..).zip(labels.iter().map(|label| Wnid::parse(label).unwrap())).collect()
}

fn message(path: &Path) -> String {
    read(path, SHAPE).unwrap_err().to_string()
}

#[test]
fn golden_text_sources_are_recognized_and_read() {
    for (name, kind) in [
        ("LOC_val_solution.csv", Kind::Kaggle),
        ("synset_labels.txt", Kind::SynsetList),
        ("valprep.sh", Kind::Valprep),
    ] {
        let labels = read(&golden_path(name), SHAPE).unwrap();
        assert_eq!(labels.wnids(), &want(), "{name}");
        assert!(labels.source().starts_with(&kind.to_string()), "{name}");
        let message = read(&golden_path(name), Shape::default()).unwrap_err().to_string();
        assert!(message.contains("lacks the labels of 49985 of 50000 images"), "{message}");
    }
}

#[test]
fn made_up_sources_of_every_kind_say_the_same() {
    let shape = Shape { n_classes: 23, n_per_class: 4 };
    let wnids = fake::labels(shape, 7).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let path = dir.path().join(kind.file_name());
        fake::write(&wnids, kind, &path).unwrap();
        let labels = read(&path, shape).unwrap();
        assert_eq!(labels.wnids(), &wnids, "{kind}");
        assert!(labels.source().starts_with(&kind.to_string()), "{}", labels.source());
        let mut fewer = wnids.clone();
        fewer.remove(&92);
        fake::write(&fewer, kind, &path).unwrap();
        assert!(read(&path, shape).is_err(), "{kind}");
    }
}

#[test]
fn the_full_size_is_read_from_every_source() {
    let wnids = fake::labels(Shape::default(), 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let path = dir.path().join(kind.file_name());
        fake::write(&wnids, kind, &path).unwrap();
        assert_eq!(read(&path, Shape::default()).unwrap().wnids(), &wnids, "{kind}");
    }
}

#[test]
fn what_is_no_source_is_refused_with_what_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    assert!(matches!(read(&path, SHAPE), Err(Error::Missing { .. })));
    assert!(message(&path).contains("LOC_val_solution.csv"));
    assert!(matches!(read(dir.path(), SHAPE), Err(Error::Missing { .. })));
    assert!(
        message(dir.path())
            .contains("a devkit folder has data/ILSVRC2012_validation_ground_truth.txt")
    );
    for content in [
        &b""[..],
        b"\n\n",
        b"# only comments\n",
        b"490\n361\n",
        b"MATLAB 5.0 MAT-file",
        b"\xff\xd8\xff",
        b"ImageId\n",
    ] {
        fs::write(&path, content).unwrap();
        assert!(message(&path).contains("holds no labels"), "{content:?}");
    }
    fs::write(&path, [0x1f, 0x8b, 8, 0]).unwrap();
    assert!(message(&path).contains("damaged, or no .tar.gz"));
    fs::write(&path, b"n01440764\n\xff\n").unwrap();
    assert!(message(&path).contains("at byte 10: is not UTF-8"));
}

#[test]
fn a_devkit_of_other_ids_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fake::write(&fake::labels(SHAPE, 3).unwrap(), Kind::DevkitFolder, dir.path()).unwrap();
    let truth = dir.path().join("data").join(devkit::TRUTH);
    fs::write(&truth, "1001\n".repeat(15)).unwrap();
    let expected = "line 1: \"1001\", expected an ILSVRC2012_ID from 1 to 1000";
    assert!(message(dir.path()).contains(expected));
    fs::write(&truth, "6\n".repeat(15)).unwrap();
    assert!(message(dir.path()).contains("has 1 classes, expected 5"));
    fs::remove_file(&truth).unwrap();
    assert!(message(dir.path()).contains("validation_ground_truth.txt: not found"));
}

#[test]
fn every_damaged_devkit_archive_is_refused_or_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kit.tar.gz");
    let want = fake::labels(SHAPE, 3).unwrap();
    fake::write(&want, Kind::DevkitArchive, &path).unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(7) {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(read(&path, SHAPE).is_err(), "cut at {cut}");
    }
    for byte in (10..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << (byte % 8);
        fs::write(&path, &bytes).unwrap();
        let labels = read(&path, SHAPE);
        assert!(labels.is_err() || labels.unwrap().wnids() == &want, "byte {byte}");
    }
}

#[test]
fn a_changed_byte_of_a_text_source_never_gives_another_label_silently() {
    // Only a change into another valid table may pass, which the counts leave none of.
    for (name, parse) in [
        ("LOC_val_solution.csv", kaggle::parse as fn(&str) -> Checked<_>),
        ("synset_labels.txt", synset_list::parse),
        ("valprep.sh", valprep::parse),
    ] {
        let text = golden(name);
        for i in 0..text.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64] {
                let mut bytes = text.clone();
                bytes[i] ^= flip;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                let table = parse(&text).map_err(Fault::at(Path::new(name)));
                let path = Path::new(name);
                let labels = table.and_then(|t| ValLabels::new(Kind::Kaggle, path, t, SHAPE));
                assert!(labels.is_err() || labels.unwrap().wnids() == &want(), "{name} byte {i}");
            }
        }
    }
}

/// Pieces of all three texts, and any other characters.
const PIECES: &str =
    "(mkdir -p |mv |n0000000[0-3]|ILSVRC2012_val_0000000[0-3]|.JPEG|[ ,/\t\r\n#]|\\PC){0,40}";

proptest! {
    #[test]
    fn any_text_gives_labels_or_a_fault(text in PIECES) {
        for parse in [kaggle::parse, synset_list::parse, valprep::parse] {
            let _ = parse(&text);
        }
        let _ = text_kind(text.as_bytes());
    }
}
