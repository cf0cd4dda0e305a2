use std::fs;
use std::sync::atomic::{AtomicI64, AtomicU64};

use tempfile::TempDir;

use super::journal::is_same;
use super::*;
use crate::{Dataset, PhotoFolder};

const N: usize = 10;

/// Two classes of `N` files; file 1 of `a` has the content of file 0, and file 3 of `b` that of file 2
/// of `a`.
fn images() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (class, i) in ["a", "b"].iter().flat_map(|class| (0..N).map(move |i| (class, i))) {
        let content = match (*class, i) {
            ("a", 1) => "a0".into(),
            ("b", 3) => "a2".into(),
            _ => format!("{class}{i}"),
        };
        let path = dir.path().join("images").join(class).join(format!("{i}.jpg"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::write(dir.path().join("images/LICENSE"), "").unwrap();
    dir
}

fn divide(dir: &TempDir, mode: Mode) -> Divide {
    let (images, out) = (dir.path().join("images"), dir.path().join("out"));
    Divide { images, out, val: 0.2, test: Some(0.1), seed: 3, mode }
}

/// Files below `folder` and their contents, sorted.
fn files(folder: &Path) -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn run(divide: &Divide, go_on: &dyn Fn() -> bool) -> Result<Option<Divided>> {
    divide.run(Watch { go_on, n_done: &AtomicU64::new(0) })
}

fn done(divide: &Divide) -> Divided {
    run(divide, &|| true).unwrap().unwrap()
}

fn take_back(out: &Path) -> Result<Option<TakenBack>> {
    undo(out, Watch { go_on: &|| true, n_done: &AtomicU64::new(0) })
}

const MODES: [Mode; 4] = [Mode::Hardlink, Mode::Symlink, Mode::Copy, Mode::Move];

#[test]
fn every_way_gives_the_same_parts_and_can_be_taken_back() {
    let mut made: Option<Vec<(String, String)>> = None;
    for mode in MODES {
        let dir = images();
        let before = files(&dir.path().join("images"));
        let divide = divide(&dir, mode);
        let divided = done(&divide);
        let Divided { classes, train, val, test, duplicates, placed, .. } = divided;
        assert_eq!((classes, train + val + test, duplicates, placed), (2, 2 * N, 2, 2 * N));
        assert_eq!(divided.contradictions, [("a/2.jpg".to_owned(), "b/3.jpg".to_owned())]);
        assert!(divided.remarks[0].contains("1 files and folders passed over: 1 LICENSE"));
        let mut now = files(&divide.out);
        now.retain(|(name, _)| name != JOURNAL);
        let side_of = |name: &str| {
            let found = now.iter().find(|(path, _)| path.ends_with(name)).unwrap();
            found.0.split_once('/').unwrap().0.to_owned()
        };
        assert_eq!(
            (side_of("a/0.jpg"), side_of("a/2.jpg")),
            (side_of("a/1.jpg"), side_of("b/3.jpg"))
        );
        assert_eq!(*made.get_or_insert(now.clone()), now, "{mode:?}");
        assert_eq!(
            files(&dir.path().join("images")).len(),
            if mode == Mode::Move { 1 } else { 21 }
        );
        // As data it is read at once.
        let data = PhotoFolder { path: divide.out.clone(), ..PhotoFolder::default() };
        assert_eq!(data.parts(None).unwrap().train.len(), train);

        assert_eq!(done(&divide).placed, 0);
        let back = take_back(&divide.out).unwrap().unwrap();
        let restored = if mode == Mode::Move { 2 * N } else { 0 };
        assert_eq!(back, TakenBack { removed: 2 * N - restored, restored, left: Vec::new() });
        assert_eq!(files(&dir.path().join("images")), before);
        assert!(!divide.out.exists() || files(&divide.out).is_empty(), "{:?}", files(&divide.out));
    }
}

#[test]
fn hard_links_share_their_file_and_the_seed_decides() {
    let dir = images();
    let divide = divide(&dir, Mode::Hardlink);
    done(&divide);
    let first = files(&divide.out.join("val"));
    let (name, _) = &first[0];
    assert!(is_same(&divide.out.join("val").join(name), &divide.images.join(name)));
    let other = Divide { seed: 4, out: dir.path().join("other"), ..divide.clone() };
    done(&other);
    assert_ne!(files(&other.out.join("val")), first);
}

#[test]
fn what_was_interrupted_anywhere_is_gone_on_with_or_taken_back() {
    let whole = {
        let dir = images();
        let divide = divide(&dir, Mode::Hardlink);
        done(&divide);
        files(&divide.out.join("train"))
    };
    for mode in MODES {
        for n_changes in [0, 1, 2, 5, 11] {
            let dir = images();
            let divide = divide(&dir, mode);
            let left = AtomicI64::new(n_changes);
            let go_on = || left.fetch_sub(1, Ordering::Relaxed) > 0;
            assert_eq!(run(&divide, &go_on).unwrap(), None, "{n_changes}");
            if n_changes == 5 {
                take_back(&divide.out).unwrap();
                assert_eq!(files(&divide.images), files(&images().path().join("images")));
            }
            done(&divide);
            assert_eq!(files(&divide.out.join("train")), whole, "{mode:?} {n_changes}");
        }
    }
}

#[test]
fn nothing_is_overwritten() {
    let dir = images();
    let divide = divide(&dir, Mode::Hardlink);
    let fault = |divide: &Divide| run(divide, &|| true).unwrap_err().to_string();
    fs::create_dir_all(divide.out.join("val")).unwrap();
    assert!(fault(&divide).contains("nothing is overwritten"), "{}", fault(&divide));
    fs::remove_dir_all(&divide.out).unwrap();
    done(&divide);
    let before = files(&divide.out);
    for other in [
        Divide { seed: 9, ..divide.clone() },
        Divide { val: 0.3, ..divide.clone() },
        Divide { mode: Mode::Copy, ..divide.clone() },
    ] {
        assert!(fault(&other).contains("divided in another way"), "{}", fault(&other));
    }
    assert_eq!(files(&divide.out), before);
    for out in [divide.images.clone(), divide.images.join("new/er")] {
        let other = Divide { out, ..divide.clone() };
        assert!(fault(&other).contains("lies in the folder that is divided"), "{}", fault(&other));
    }
    let again = Divide { images: divide.out.clone(), out: dir.path().join("b"), ..divide.clone() };
    assert!(fault(&again).contains("already"), "{}", fault(&again));
    assert!(!dir.path().join("b").exists());
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let dir = images();
    for (val, test, words) in [
        (0.0, None, "`val`: 0 is no share"),
        (1.0, None, "`val`: 1 is no share"),
        (f64::NAN, None, "`val`: NaN is no share"),
        (0.2, Some(-0.1), "`test`: -0.1 is no share"),
        (0.5, Some(0.5), "none is left to learn from"),
    ] {
        let divide = Divide { val, test, ..divide(&dir, Mode::Hardlink) };
        let error = run(&divide, &|| true).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let missing = Divide { images: dir.path().join("no"), ..divide(&dir, Mode::Copy) };
    assert!(matches!(run(&missing, &|| true), Err(Error::Missing { .. })));
}

#[test]
fn taking_back_never_removes_the_last_one_of_an_image() {
    let dir = images();
    let divide = divide(&dir, Mode::Copy);
    done(&divide);
    let (name, content) = files(&divide.out.join("train"))[0].clone();
    let copy = divide.out.join("train").join(&name);
    fs::write(&copy, "edited").unwrap();
    let error = take_back(&divide.out).unwrap_err().to_string();
    assert!(error.contains(&name) && error.contains("was changed since"), "{error}");
    assert_eq!(fs::read_to_string(&copy).unwrap(), "edited");
    // The original is gone: the copy takes its place. What was added stays.
    fs::write(&copy, &content).unwrap();
    fs::remove_file(divide.images.join(&name)).unwrap();
    fs::write(divide.out.join("val/notes.txt"), "mine").unwrap();
    let back = take_back(&divide.out).unwrap().unwrap();
    assert_eq!((back.restored, back.left.len()), (1, 1));
    assert_eq!(fs::read_to_string(divide.images.join(&name)).unwrap(), content);
    assert_eq!(files(&divide.out), [("val/notes.txt".to_owned(), "mine".to_owned())]);
    assert!(matches!(take_back(&divide.out), Err(Error::Missing { .. })));
}

#[test]
fn a_damaged_journal_is_refused() {
    let dir = images();
    let divide = divide(&dir, Mode::Hardlink);
    done(&divide);
    let path = divide.out.join(JOURNAL);
    let text = fs::read_to_string(&path).unwrap();
    for (bad, words) in [
        (text[..text.len() / 2].to_owned(), "EOF"),
        (text.replacen("a/0.jpg", "../0.jpg", 1), "leads elsewhere"),
        (text.replacen("a/0.jpg", "/etc/passwd", 1), "leads elsewhere"),
    ] {
        fs::write(&path, bad).unwrap();
        let error = take_back(&divide.out).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
