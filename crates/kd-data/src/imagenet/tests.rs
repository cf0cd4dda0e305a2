use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use kd_core::{Error, Result, fsx};
use tempfile::TempDir;

use super::labels::{self, Kind, Shape, ValLabels, Wnid, val_name};
use super::train::verify_train;
use super::*;
use crate::Fault;

const SHAPE: Shape = Shape { n_classes: 4, n_per_class: 5 };
const FOLDER_MODES: [Mode; 4] = [Mode::Move, Mode::Hardlink, Mode::Symlink, Mode::Copy];

/// In memory where that can be, so that syncing costs nothing.
fn temporary() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// Everything that a reorganization needs, in a folder of its own.
struct Lab {
    dir: TempDir,
}

impl Lab {
    fn new() -> Self {
        let dir = temporary();
        fake::flat(SHAPE, &dir.path().join("flat")).unwrap();
        fake::archive(SHAPE, &dir.path().join("val.tar")).unwrap();
        let wnids = labels::fake::labels(SHAPE, 1).unwrap();
        for kind in Kind::ALL {
            labels::fake::write(&wnids, kind, &dir.path().join(kind.file_name())).unwrap();
        }
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn labels(&self, kind: Kind) -> ValLabels {
        labels::read(&self.at(kind.file_name()), SHAPE).unwrap()
    }

    fn organize(&self, mode: Mode) -> Organize {
        let images = self.at(if mode == Mode::Extract { "val.tar" } else { "flat" });
        Organize { labels: self.labels(Kind::Kaggle), images, root: self.at("root"), mode }
    }

    /// What is in `val` when it is right.
    fn right(&self) -> BTreeMap<String, Vec<u8>> {
        let wnids = self.labels(Kind::SynsetList).wnids().clone();
        let path = |(number, wnid)| format!("{wnid}/{}", val_name(number));
        wnids.into_iter().map(|(n, wnid)| (path((n, wnid)), fake::image(n))).collect()
    }

    fn is_right(&self) -> bool {
        let mut found = contents(&self.at("root/val"));
        found.retain(|name, _| name != journal::JOURNAL);
        found == self.right() && names(&self.at("root")) == ["val"]
    }

    fn flat_is_whole(&self) -> bool {
        let images = (1..=SHAPE.n_images()).map(|n| (val_name(n), fake::image(n)));
        contents(&self.at("flat")) == images.collect()
    }

    /// The images of which there is a whole file anywhere but in the archive.
    fn images_somewhere(&self) -> usize {
        let files = [contents(&self.at("flat")), contents(&self.at("root"))];
        let found: BTreeSet<Vec<u8>> = files.into_iter().flat_map(BTreeMap::into_values).collect();
        (1..=SHAPE.n_images()).filter(|&number| found.contains(&fake::image(number))).count()
    }

    fn refused(&self, organize: &Organize) -> String {
        let before = contents(self.dir.path());
        let error = go(organize).unwrap_err();
        assert!(contents(self.dir.path()) == before, "{error}");
        error.to_string()
    }
}

/// All files below `folder` with what they contain, links followed.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut todo) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = fs::read(&path) {
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            found.insert(name, bytes);
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Calls `work`, which is stopped after `n` changes.
fn stopped_after<T>(n: usize, work: impl FnOnce(Watch<'_>) -> Result<Option<T>>) -> Option<T> {
    let left = Cell::new(n);
    let go_on = || left.get().checked_sub(1).map(|n| left.set(n)).is_some();
    work(Watch { go_on: &go_on, n_done: &AtomicU64::new(0) }).unwrap()
}

fn go(organize: &Organize) -> Result<Option<Organized>> {
    organize.run(Watch { go_on: &|| true, n_done: &AtomicU64::new(0) })
}

fn done(organize: &Organize) -> Organized {
    stopped_after(usize::MAX, |watch| organize.run(watch)).unwrap()
}

fn undone(root: &Path) -> Undone {
    stopped_after(usize::MAX, |watch| undo(root, watch)).unwrap()
}

fn undo_refused(lab: &Lab) -> String {
    let before = contents(lab.dir.path());
    let error = undo(&lab.at("root"), Watch { go_on: &|| true, n_done: &AtomicU64::new(0) });
    assert!(contents(lab.dir.path()) == before);
    error.unwrap_err().to_string()
}

#[test]
fn all_sources_and_modes_give_the_same_tree_and_can_be_undone() {
    let lab = Lab::new();
    for kind in Kind::ALL {
        for mode in Mode::ALL {
            let organize = Organize { labels: lab.labels(kind), ..lab.organize(mode) };
            let plan = organize.dry_run().unwrap();
            assert!(!lab.at("root").exists(), "{mode:?}: a dry run leaves nothing");
            let first = done(&organize);
            assert_eq!(first, plan, "{mode:?}");
            assert_eq!((first.images, first.classes, first.changed), (20, 4, 20));
            assert!(lab.is_right(), "{kind:?} {mode:?}");
            let verdict = verify(&lab.at("root"), Some(&organize.labels)).unwrap();
            assert_eq!((verdict.images, verdict.faults), (20, vec![]));
            let second = done(&organize);
            assert_eq!((second.changed, second.mode, lab.is_right()), (0, Some(mode), true));
            let restored = if mode == Mode::Move { 20 } else { 0 };
            let expected = Undone { mode: Some(mode), changed: 20, restored };
            assert_eq!(undone(&lab.at("root")), expected, "{mode:?}");
            assert!(lab.flat_is_whole() && names(&lab.at("root")).is_empty());
            assert_eq!(undone(&lab.at("root")), Undone { mode: None, changed: 0, restored: 0 });
            fs::remove_dir(lab.at("root")).unwrap();
        }
    }
}

#[test]
fn stopped_before_any_change_the_work_goes_on_and_nothing_is_lost() {
    for mode in Mode::ALL {
        for n in 0.. {
            let lab = Lab::new();
            let organize = lab.organize(mode);
            let first = stopped_after(n, |watch| organize.run(watch));
            assert_eq!(lab.images_somewhere(), 20, "{mode:?} {n}");
            assert_eq!(lab.at("root/val").exists(), first.is_some(), "{mode:?} {n}");
            done(&organize);
            assert!(lab.is_right(), "{mode:?} {n}");
            assert_eq!(done(&organize).changed, 0);
            if first.is_some() {
                assert!(n > 25, "{mode:?}: {n} changes only");
                break;
            }
        }
    }
}

#[test]
fn stopped_before_any_change_the_undoing_goes_on_or_is_done_over() {
    for mode in Mode::ALL {
        for n in 0.. {
            let lab = Lab::new();
            let (organize, root) = (lab.organize(mode), lab.at("root"));
            done(&organize);
            let first = stopped_after(n, |watch| undo(&root, watch));
            assert_eq!(lab.images_somewhere(), 20, "{mode:?} {n}");
            if n % 2 == 0 {
                done(&organize);
                assert!(lab.is_right(), "{mode:?} {n}");
            }
            undone(&root);
            assert!(lab.flat_is_whole() && names(&root).is_empty(), "{mode:?} {n}");
            if first.is_some() {
                break;
            }
        }
    }
}

#[test]
fn images_move_to_another_file_system_and_back() {
    for n in 0.. {
        let (lab, other) = (Lab::new(), TempDir::new().unwrap());
        if space::device(lab.dir.path()).unwrap() == space::device(other.path()).unwrap() {
            println!("skipped: there is one file system only");
            return;
        }
        let images = other.path().join("flat");
        fake::flat(SHAPE, &images).unwrap();
        fs::remove_dir_all(lab.at("flat")).unwrap();
        let link = Organize { images: images.clone(), ..lab.organize(Mode::Hardlink) };
        assert!(lab.refused(&link).contains("different file systems; use --mode copy"));
        let organize = Organize { images: images.clone(), ..lab.organize(Mode::Move) };
        let first = stopped_after(n, |watch| organize.run(watch));
        done(&organize);
        assert!(lab.is_right() && names(&images).is_empty(), "{n}");
        assert_eq!(done(&organize).changed, 0);
        stopped_after(n, |watch| undo(&lab.at("root"), watch));
        undone(&lab.at("root"));
        assert_eq!(contents(&images).len(), 20, "{n}");
        if first.is_some() {
            break;
        }
    }
}

#[test]
fn what_is_not_right_is_named_and_nothing_is_changed() {
    let lab = Lab::new();
    let flat = |name: &str| lab.at("flat").join(name);
    fs::remove_file(flat(&val_name(3))).unwrap();
    fs::write(flat("readme.txt"), "").unwrap();
    fs::rename(flat(&val_name(4)), flat("ILSVRC2012_val_00000004.jpg")).unwrap();
    fs::write(flat("ilsvrc2012_val_00000005.JPEG"), "").unwrap();
    fs::write(flat(&val_name(6)), "").unwrap();
    fs::write(flat(&val_name(7)), "<html>").unwrap();
    fs::write(flat(".DS_Store"), "").unwrap();
    for mode in FOLDER_MODES {
        let organize = lab.organize(mode);
        let words = lab.refused(&organize);
        for part in [
            "1 missing (ILSVRC2012_val_00000003.JPEG)",
            "1 extra (readme.txt: is no name",
            "1 renamed (ILSVRC2012_val_00000004.jpg: should be",
            "1 duplicate (ilsvrc2012_val_00000005.JPEG: ILSVRC2012_val_00000005.JPEG is there",
            "2 corrupt (ILSVRC2012_val_00000006.JPEG: has no bytes, ILSVRC2012_val_00000007.JPEG: \
             is neither",
            "nothing was changed",
        ] {
            assert!(words.contains(part), "{mode:?}: {part}: {words}");
        }
        let plan = organize.dry_run().unwrap();
        assert_eq!((plan.faults.len(), plan.hidden), (6, vec![".DS_Store".to_owned()]));
    }
    let archive = fs::read(lab.at("val.tar")).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(lab.at("val.tar"), bytes).unwrap();
        lab.refused(&lab.organize(Mode::Extract))
    };
    assert!(refused(&archive[..5000]).contains("cut off"));
    let mut empty = archive.clone();
    empty[512..520].fill(0);
    assert!(refused(&empty).contains("1 corrupt (ILSVRC2012_val_00000001.JPEG"));
    assert!(refused(&archive[archive.len() - 1024..]).contains("20 missing"));
}

#[test]
fn places_and_modes_that_do_not_fit_are_refused() {
    let lab = Lab::new();
    let with = |mode, images: &str| Organize { images: lab.at(images), ..lab.organize(mode) };
    assert!(lab.refused(&with(Mode::Extract, "flat")).contains("`mode`: a folder's images"));
    assert!(lab.refused(&with(Mode::Copy, "val.tar")).contains("`mode`: an archive's images"));
    assert!(matches!(go(&with(Mode::Copy, "no")), Err(Error::Missing { .. })));
    // Begun otherwise.
    stopped_after(10, |watch| with(Mode::Move, "flat").run(watch));
    let words = lab.refused(&with(Mode::Copy, "flat"));
    assert!(words.contains("was begun with --mode move --images") && words.contains("--undo"));
    undone(&lab.at("root"));
    // Nothing was placed yet: begun anew, otherwise.
    stopped_after(3, |watch| with(Mode::Move, "flat").run(watch));
    assert_eq!(done(&with(Mode::Copy, "flat")).changed, 20);
    assert!(lab.is_right() && lab.flat_is_whole());
    undone(&lab.at("root"));
    // Not ours.
    fsx::create_folder(&lab.at("root/val.partial/x")).unwrap();
    assert!(lab.refused(&with(Mode::Copy, "flat")).contains("was not made by kd"));
    fs::remove_dir_all(lab.at("root/val.partial")).unwrap();
    fsx::create_folder(&lab.at("root/val/x")).unwrap();
    assert!(lab.refused(&with(Mode::Copy, "flat")).contains("20 missing"));
    let lock = fsx::Lock::take(&lab.at("root")).unwrap();
    assert!(matches!(go(&with(Mode::Copy, "flat")), Err(Error::Busy { .. })));
    drop(lock);
}

#[test]
fn a_right_tree_that_others_made_is_left_alone() {
    let lab = Lab::new();
    done(&lab.organize(Mode::Copy));
    fs::remove_file(lab.at("root/val").join(journal::JOURNAL)).unwrap();
    let found = done(&lab.organize(Mode::Move));
    assert_eq!((found.changed, found.mode), (0, None));
    assert_eq!(undone(&lab.at("root")).changed, 0);
    assert!(matches!(verify(&lab.at("root"), None), Err(Error::Config { .. })));
    assert_eq!(verify(&lab.at("root"), Some(&lab.labels(Kind::Kaggle))).unwrap().faults, []);
}

#[test]
fn the_flat_folder_may_lie_where_the_result_goes() {
    for n in 0.. {
        let lab = Lab::new();
        fs::create_dir(lab.at("root")).unwrap();
        fs::rename(lab.at("flat"), lab.at("root/val")).unwrap();
        let with = |mode| Organize { images: lab.at("root/val"), ..lab.organize(mode) };
        assert!(lab.refused(&with(Mode::Hardlink)).contains("only move works there"));
        fs::write(lab.at("root/val/.x"), "").unwrap();
        assert!(lab.refused(&with(Mode::Move)).contains(".x: is hidden, and in the way"));
        fs::remove_file(lab.at("root/val/.x")).unwrap();
        let first = stopped_after(n, |watch| with(Mode::Move).run(watch));
        assert_eq!(lab.images_somewhere(), 20, "{n}");
        done(&with(Mode::Move));
        assert!(lab.is_right(), "{n}");
        assert_eq!(done(&with(Mode::Move)).changed, 0);
        stopped_after(n, |watch| undo(&lab.at("root"), watch));
        undone(&lab.at("root"));
        assert_eq!((names(&lab.at("root")).len(), contents(&lab.at("root/val")).len()), (1, 20));
        if first.is_some() {
            break;
        }
    }
}

#[test]
fn undoing_never_removes_the_last_copy() {
    for mode in [Mode::Hardlink, Mode::Copy] {
        let lab = Lab::new();
        done(&lab.organize(mode));
        fs::remove_dir_all(lab.at("flat")).unwrap();
        assert_eq!(undone(&lab.at("root")).restored, 20, "{mode:?}");
        assert!(lab.flat_is_whole(), "{mode:?}");
    }
    for mode in FOLDER_MODES {
        let lab = Lab::new();
        done(&lab.organize(mode));
        let _ = fs::remove_file(lab.at("flat").join(val_name(2)));
        fs::write(lab.at("flat").join(val_name(2)), "another").unwrap();
        if mode == Mode::Symlink {
            assert_eq!(undone(&lab.at("root")).changed, 20);
            continue;
        }
        let words = undo_refused(&lab);
        assert!(words.contains("another file has its name in the flat folder"), "{words}");
    }
    let lab = Lab::new();
    done(&lab.organize(Mode::Extract));
    fs::write(lab.at("root/val/own.txt"), "").unwrap();
    assert!(undo_refused(&lab).contains("own.txt: is no class folder"));
    fs::remove_file(lab.at("root/val/own.txt")).unwrap();
    fs::remove_file(lab.at("val.tar")).unwrap();
    assert!(undo_refused(&lab).contains("the archive it came from is not there any more"));
    let journal = lab.at("root/val").join(journal::JOURNAL);
    fs::write(&journal, &fs::read(&journal).unwrap()[..100]).unwrap();
    assert!(undo_refused(&lab).contains("kd-imagenet.json: at byte 0"));
}

#[test]
fn verifying_names_every_fault() {
    let lab = Lab::new();
    done(&lab.organize(Mode::Symlink));
    let wnids = lab.labels(Kind::Kaggle).wnids().clone();
    let path = |number, wnid: Wnid| tree::path(&lab.at("root/val"), wnid, number);
    let of = |number: u32| path(number, wnids[&number]);
    let other = |number: u32| *wnids.values().find(|&&wnid| wnid != wnids[&number]).unwrap();
    fs::remove_file(of(1)).unwrap();
    fs::rename(of(2), path(2, other(2))).unwrap();
    fs::copy(of(3), path(3, other(3))).unwrap();
    fs::remove_file(lab.at("flat").join(val_name(4))).unwrap();
    fs::write(lab.at("flat").join(val_name(5)), "").unwrap();
    fs::write(lab.at("root/val/notes"), "").unwrap();
    let found = verify(&lab.at("root"), None).unwrap();
    let count = |fault| found.faults.iter().filter(|finding| finding.fault == fault).count();
    let faults = [Fault::Missing, Fault::Extra, Fault::Misplaced, Fault::Duplicate, Fault::Corrupt];
    assert_eq!(faults.map(count), [1, 1, 1, 1, 2], "{:?}", found.faults);
    assert!(lab.refused(&lab.organize(Mode::Symlink)).contains("--verify lists all"));
    fs::remove_dir_all(lab.at("root/val")).unwrap();
    assert!(matches!(verify(&lab.at("root"), None), Err(Error::Missing { .. })));
}

fn train_lab() -> (TempDir, Unpack) {
    let dir = temporary();
    let counts: BTreeMap<Wnid, u32> = (1..=3).map(|i| (Wnid::new(i).unwrap(), 2 + i)).collect();
    fake::train_archive(&counts, &dir.path().join("train.tar")).unwrap();
    let (archive, root) = (dir.path().join("train.tar"), dir.path().join("root"));
    let classes = Some(counts.into_keys().collect());
    (dir, Unpack { archive, root, n_classes: 3, classes })
}

#[test]
fn training_images_are_unpacked_class_by_class() {
    for n in 0.. {
        let (dir, unpack) = train_lab();
        let first = stopped_after(n, |watch| unpack.run(watch));
        assert_eq!(dir.path().join("root/train").exists(), first.is_some(), "{n}");
        let made = stopped_after(usize::MAX, |watch| unpack.run(watch)).unwrap();
        assert_eq!((made.images, made.classes), (12, 3), "{n}");
        assert_eq!(made.counts.into_values().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(names(&dir.path().join("root")), ["train"]);
        let files = contents(&dir.path().join("root/train"));
        assert_eq!(files.len(), 12 + 1, "{:?}", files.keys());
        let name = "n00000002/n00000002_10.JPEG";
        assert!(files[name].starts_with(b"\xff\xd8\xff\xe0n00000002_10.JPEG"));
        let again = stopped_after(usize::MAX, |watch| unpack.run(watch)).unwrap();
        assert_eq!((again.images, again.changed), (12, 0));
        assert_eq!(verify_train(&unpack.root).unwrap().unwrap().images, 12);
        if first.is_some() {
            fs::remove_file(dir.path().join("root/train").join(name)).unwrap();
            let words = verify_train(&unpack.root).unwrap_err().to_string();
            assert!(words.contains("n00000002 has 3 images of 4"), "{words}");
            break;
        }
    }
}

#[test]
fn training_archives_that_are_not_as_they_should_be_are_refused() {
    let (dir, unpack) = train_lab();
    let refused = |unpack: &Unpack| {
        let watch = Watch { go_on: &|| true, n_done: &AtomicU64::new(0) };
        let words = unpack.run(watch).unwrap_err().to_string();
        assert!(!dir.path().join("root/train").exists(), "{words}");
        words
    };
    assert!(
        refused(&Unpack { n_classes: 4, ..copy(&unpack) }).contains("has 3 classes, expected 4")
    );
    let other = Some((2..=4).map(|i| Wnid::new(i).unwrap()).collect());
    let words = refused(&Unpack { classes: other, ..copy(&unpack) });
    assert!(words.contains("1 missing (n00000004), 1 extra (n00000001"), "{words}");
    assert!(!dir.path().join("root").exists(), "nothing was begun");

    let good = fs::read(&unpack.archive).unwrap();
    fs::write(&unpack.archive, &good[..good.len() / 2]).unwrap();
    assert!(refused(&unpack).contains("cut off"));
    // A name and a content within a class's archive.
    let at = good.windows(17).rposition(|bytes| bytes == b"n00000003_38.JPEG").unwrap();
    let mut bad = good.clone();
    bad[at - 4..at].fill(0);
    fs::write(&unpack.archive, &bad).unwrap();
    assert!(refused(&unpack).contains("in n00000003.tar: n00000003_38.JPEG: is neither JPEG"));
    assert_eq!(names(&dir.path().join("root/train.partial"))[1..3], ["n00000001", "n00000002"]);
    fs::write(&unpack.archive, &good).unwrap();
    let made = stopped_after(usize::MAX, |watch| unpack.run(watch)).unwrap();
    assert_eq!((made.changed, made.images), (1, 12), "the classes before were not unpacked again");
}

fn copy(unpack: &Unpack) -> Unpack {
    let Unpack { archive, root, n_classes, classes } = unpack;
    let (archive, root) = (archive.clone(), root.clone());
    Unpack { archive, root, n_classes: *n_classes, classes: classes.clone() }
}
