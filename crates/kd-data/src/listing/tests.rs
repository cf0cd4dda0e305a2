use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;

fn put(root: &Path, name: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "x").unwrap();
}

fn folder(names: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    names.iter().for_each(|name| put(dir.path(), name));
    dir
}

fn listed(dir: &TempDir) -> Listing {
    Listing::names(dir.path()).unwrap()
}

fn names(listing: &Listing) -> Vec<String> {
    (0..listing.files.len()).map(|i| listing.name(i)).collect()
}

fn fault(names: &[&str]) -> String {
    Listing::names(folder(names).path()).unwrap_err().to_string()
}

#[test]
fn what_systems_and_authors_leave_is_passed_over_and_counted_in_a_line() {
    let dir = folder(&[
        "cat/a.jpg",
        "cat/Thumbs.db",
        "cat/._a.jpg",
        "cat/.DS_Store",
        "cat/desktop.ini",
        "dog/b.jpg",
        "dog/Thumbs.db",
        "dog/b.json",
        "dog/c.json",
        "LICENSE",
        "README.md",
        "classes.csv",
        "sample.png",
        ".ipynb_checkpoints/a.jpg",
        "__MACOSX/cat/._a.jpg",
        "@eaDir/x.jpg",
        "metadata/boxes.csv",
        "SHA256SUMS",
        ".kd-split.json",
    ]);
    let listing = listed(&dir);
    assert_eq!(
        (names(&listing), &listing.classes[..]),
        (vec!["cat/a.jpg".to_owned(), "dog/b.jpg".into()], &["cat".to_owned(), "dog".into()][..])
    );
    let [line] = &listing.remarks()[..] else { panic!("one line: {:?}", listing.remarks()) };
    assert!(line.contains("15 files and folders passed over: 2 *.json, 2 Thumbs.db, 1 "), "{line}");
    let clean = folder(&["cat/a.jpg", "dog/b.jpg"]);
    assert_eq!(listed(&clean).remarks(), [""; 0]);
}

#[test]
fn pipes_devices_and_broken_links_of_other_names_are_passed_over_without_waiting() {
    let dir = folder(&["cat/a.jpg"]);
    for name in ["cat/pipe.jpg", "pipe", "pipe.jpg"] {
        let made = Command::new("mkfifo").arg(dir.path().join(name)).status().unwrap();
        assert!(made.success());
    }
    symlink("/dev/zero", dir.path().join("cat/zero.png")).unwrap();
    symlink("gone", dir.path().join("cat/notes.txt")).unwrap();
    let listing = listed(&dir);
    assert_eq!(names(&listing), ["cat/a.jpg"]);
    assert!(
        listing.remarks()[0].contains("5 files and folders passed over"),
        "{:?}",
        listing.remarks()
    );
    symlink("gone", dir.path().join("cat/gone.jpg")).unwrap();
    assert!(Listing::names(dir.path()).unwrap_err().to_string().contains("cannot follow"));
}

/// As `make_dataset` of torchvision lists the same folder.
#[test]
fn folders_within_a_class_belong_to_it_in_the_order_of_torchvision() {
    let dir = folder(&["a/z.jpg", "a/b/1.jpg", "a/b/c/0.jpg", "a/b-c/2.jpg", "b/x.JPG", "a/b.png"]);
    let listing = listed(&dir);
    let want = ["a/b.png", "a/z.jpg", "a/b/1.jpg", "a/b-c/2.jpg", "a/b/c/0.jpg", "b/x.JPG"];
    assert_eq!(names(&listing), want);
    for (i, name) in want.iter().enumerate() {
        assert_eq!((listing.find(name), listing.path(i)), (Some(i), dir.path().join(name)));
    }
    assert_eq!(listing.find("a/b/9.jpg"), None);
}

#[test]
fn links_in_a_circle_are_refused() {
    for target in ["..", "."] {
        let dir = folder(&["a/x.jpg"]);
        symlink(target, dir.path().join("a/up")).unwrap();
        let error = Listing::names(dir.path()).unwrap_err().to_string();
        assert!(error.contains("leads in a circle"), "{error}");
    }
    let dir = folder(&["a/x.jpg"]);
    symlink(".", dir.path().join("b")).unwrap();
    assert!(Listing::names(dir.path()).is_err());
}

#[test]
fn a_folder_without_pictures_says_why() {
    assert!(fault(&[]).contains("has no class folders with pictures"));
    assert!(fault(&["LICENSE"]).contains("has no class folders with pictures"));
    assert!(fault(&["a.jpg", "b.jpg"]).contains("has pictures, but no class folders"));
    assert!(fault(&["a/notes.txt"]).contains("no pictures in its class folders"));
    let error = fault(&["a/x.jpg", "b/y.HEIC", "b/z.HEIC"]);
    assert!(
        error.contains("b: at byte 0: has only pictures that are not read, such as .heic"),
        "{error}"
    );
    let dir = folder(&["a/x.jpg", "b/.DS_Store"]);
    let listing = listed(&dir);
    assert_eq!(listing.classes, ["a", "b"]);
    assert!(listing.remarks()[1].contains("1 of 2 classes have no pictures: b"));
    assert!(
        listing.require_pictures().unwrap_err().to_string().contains("b: at byte 0: has no images")
    );
}

#[test]
fn the_folder_above_the_classes_is_told_and_so_is_a_file() {
    let dir = folder(&["all/a/1.jpg", "all/b/2.jpg"]);
    let remark = &listed(&dir).remarks()[0];
    assert!(
        remark.contains("one class only, `all`; are the class folders one level deeper"),
        "{remark}"
    );
    let zip = dir.path().join("all.zip");
    fs::write(&zip, "x").unwrap();
    let error = existing(zip.clone(), "").unwrap_err().to_string();
    assert!(error.contains("is a file, where a folder is needed; unpack it"), "{error}");
    assert!(crate::Photos::folder(&zip).is_err());
    assert!(
        existing(dir.path().join("no"), "put it there").unwrap_err().to_string().contains("put it")
    );
}

#[test]
fn labels_are_those_of_the_training_images_classes() {
    let dir = folder(&["b/x.jpg", "d/y.jpg", "d/z.jpg"]);
    let classes = ["a", "b", "c", "d"].map(str::to_owned);
    let listing = listed(&dir).with_classes(&classes).unwrap();
    assert_eq!((listing.labels.as_slice(), listing.name(1)), (&[1, 3, 3][..], "d/y.jpg".into()));
    assert_eq!(listing.find("d/z.jpg"), Some(2));
    let error = listed(&dir).with_classes(&classes[..3]).unwrap_err().to_string();
    assert!(error.contains("class `d` is none of the training images' classes"), "{error}");
}

#[test]
fn the_validation_images_of_tinyimagenet_have_the_classes_of_their_list() {
    let dir = folder(&["images/val_0.JPEG", "images/val_1.JPEG", "images/val_2.JPEG"]);
    let write = |text: &str| fs::write(dir.path().join("val_annotations.txt"), text).unwrap();
    let line = |i: u32, class: &str| format!("val_{i}.JPEG\t{class}\t0\t32\t44\t62");
    let lines = [line(1, "n01443537"), line(0, "n03444034"), line(2, "n01443537")];
    for text in [lines.join("\n"), format!("\u{feff}{}\r\n", lines.join("\r\n"))] {
        write(&text);
        let listing = listed(&dir);
        assert_eq!(listing.classes, ["n01443537", "n03444034"]);
        assert_eq!(
            names(&listing),
            ["images/val_1.JPEG", "images/val_2.JPEG", "images/val_0.JPEG"]
        );
        assert_eq!(listing.labels, [0, 0, 1]);
        assert_eq!(listing.path(2), dir.path().join("images/val_0.JPEG"));
        assert_eq!(listing.find("images/val_0.JPEG"), Some(2));
    }
    for (text, words) in [
        (lines[..2].join("\n"), "val_2.JPEG: at byte 0: has no line in val_annotations.txt"),
        (lines.join("\n") + "\n" + &line(9, "n1"), "val_9.JPEG: not found"),
        (lines.join("\n") + "\n" + &line(0, "n1"), "line 4: \"val_0.JPEG\" a second time"),
        (format!("{}\nval_0.JPEG", lines[0]), "line 2: is not a file, its class and a box"),
        ("../x.JPEG n1".into(), "line 1: has a name that leads elsewhere"),
        (String::new(), "is empty"),
    ] {
        write(&text);
        let error = Listing::names(dir.path()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    // Sorted by a script, the pictures lie in class folders, and their list is still there.
    write(&lines.join("\n"));
    put(dir.path(), "n01443537/images/val_1.JPEG");
    fs::remove_dir_all(dir.path().join("images")).unwrap();
    fs::create_dir(dir.path().join("images")).unwrap();
    assert_eq!(listed(&dir).classes, ["n01443537"]);
}

#[test]
fn parts_are_found_as_people_call_them() {
    for (there, train, test) in [
        (&["train/a/1.jpg", "test/a/1.jpg", "val/a/1.jpg"][..], Some("train"), Some("test")),
        (&["Train/a/1.jpg", "Valid/a/1.jpg"], Some("Train"), Some("Valid")),
        (&["training/a/1.jpg", "validation/a/1.jpg"], Some("training"), Some("validation")),
        // Unlabeled test images.
        (&["train/a/1.jpg", "test/images/1.jpg", "val/a/1.jpg"], Some("train"), Some("val")),
        (&["train/a/1.jpg", "test/1.jpg", "val/a/1.jpg"], Some("train"), Some("val")),
        // Classes of these names.
        (&["train/1.jpg", "car/1.jpg"], None, None),
    ] {
        let dir = folder(there);
        let places = Places::test_first(dir.path(), |_| false);
        let at = |name: Option<&str>| name.map(|name| dir.path().join(name));
        assert_eq!((places.train, places.test), (at(train), at(test)), "{there:?}");
    }
    let dir = folder(&["test/a/1.jpg", "val/a/1.jpg"]);
    let val = Places::val_first(dir.path(), |_| false).test;
    assert_eq!(val, Some(dir.path().join("val")));
}
