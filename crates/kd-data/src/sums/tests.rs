use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use kd_core::Stream;
use kd_core::rng::Rng;
use tempfile::TempDir;

use super::*;
use crate::decode::fixture::{GOLDEN, golden, picture};
use crate::{Dataset, Fault, Folder, Images, OnBadImage, Photos, Split};

fn put(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn write(root: &Path) {
    let n_done = AtomicU64::new(0);
    let sums = Checksums::of(root).unwrap();
    sums.write(&n_done).unwrap();
    assert_eq!(n_done.into_inner(), sums.n_images() as u64);
}

/// What `check` finds, in words.
fn check(root: &Path) -> Vec<String> {
    let found = Checksums::of(root).unwrap().check(&AtomicU64::new(0)).unwrap();
    found.iter().map(ToString::to_string).collect()
}

fn text(root: &Path) -> String {
    fs::read_to_string(root.join(SUMS)).unwrap()
}

/// In memory where that can be, since some tests write thousands of files.
fn temporary() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// Four classes of two golden photographs each, with checksums.
fn photos() -> TempDir {
    let dir = temporary();
    for (i, name) in GOLDEN.iter().enumerate() {
        put(dir.path(), &format!("n{}/{name}.JPEG", i / 2), &golden(name)[0]);
    }
    write(dir.path());
    dir
}

fn flip(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = rng.below(bytes.len() as u32) as usize;
    bytes[at] ^= 1 << rng.below(8);
    bytes
}

#[test]
fn lines_are_those_of_sha256sum() {
    let dir = tempfile::tempdir().unwrap();
    // The digests of "abc" and of nothing in the standard, FIPS 180-2, and its test vectors.
    put(dir.path(), "b/1.png", b"abc");
    put(dir.path(), "a/2.jpg", b"");
    put(dir.path(), "a/10.jpg", b"abc");
    write(dir.path());
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(text(dir.path()), format!("{abc}  a/10.jpg\n{empty}  a/2.jpg\n{abc}  b/1.png\n"));
    assert_eq!(check(dir.path()), [""; 0]);
}

#[test]
fn what_sha256sum_writes_in_another_order_is_read() {
    let dir = photos();
    let mut lines: Vec<String> = text(dir.path()).lines().rev().map(str::to_owned).collect();
    lines[3] = lines[3].replace("  ", " *");
    let files = Photos::folder(dir.path()).unwrap().files();
    // Without an end of the last line.
    put(dir.path(), SUMS, lines.join("\n").as_bytes());
    assert_eq!(check(dir.path()), [""; 0]);
    assert_eq!(Photos::folder(dir.path()).unwrap().files(), files);
}

#[test]
fn what_other_systems_write_is_read() {
    let dir = photos();
    let good = text(dir.path());
    // Of files that are passed over, too, as `sha256sum */*` writes them.
    let windows = good.clone() + &good.lines().next().unwrap().replace(".JPEG", ".txt") + "\n";
    let windows = windows.replace('\n', "\r\n");
    let upper = |line: &str| format!("{}  ./{}\n", line[..64].to_uppercase(), &line[66..]);
    let found: String = good.lines().map(upper).collect();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    for bytes in [
        windows.clone().into_bytes(),
        format!("\u{feff}{windows}").into_bytes(),
        utf16(&format!("\u{feff}{windows}")),
        found.into_bytes(),
    ] {
        put(dir.path(), SUMS, &bytes);
        assert_eq!(check(dir.path()), [""; 0]);
        Photos::folder(dir.path()).unwrap();
    }
}

#[test]
fn every_flipped_bit_of_a_photograph_is_noticed_whatever_the_policy() {
    let dir = photos();
    let all = Photos::folder(dir.path()).unwrap();
    let mut rng = Stream::new(4).rng();
    for _ in 0..1000 {
        let i = rng.below(8) as usize;
        let (path, whole) = (dir.path().join(all.name(i)), golden(GOLDEN[i])[0].clone());
        fs::write(&path, flip(&whole, &mut rng)).unwrap();
        for policy in [OnBadImage::Error, OnBadImage::Lenient] {
            let photos = all.clone().with_policy(policy);
            let error = photos.decode(i).unwrap_err();
            let Error::Parse { path: named, reason, .. } = error else { panic!("{error:?}") };
            assert!(named == path && reason.starts_with(DIFFERS), "{policy:?}: {reason}");
        }
        let photos = Photos::folder(dir.path()).unwrap().with_policy(OnBadImage::Skip);
        assert!(photos.decode(i).unwrap().is_none());
        let [(name, reason)] = &photos.bad_images()[..] else { panic!("not one is listed") };
        assert!(*name == all.name(i) && reason.contains(DIFFERS), "{name}: {reason}");
        fs::write(&path, whole).unwrap();
    }
    assert!((0..8).all(|i| all.decode(i).unwrap().is_some()) && all.bad_images().is_empty());
}

#[test]
fn the_other_photographs_are_kept_where_one_is_skipped() {
    let dir = photos();
    let photos = || Photos::folder(dir.path()).unwrap().with_size(10, 8).unwrap();
    let rows: Vec<u32> = (0..8).collect();
    let whole = photos().images(&rows).unwrap();
    let (path, mut rng) = (dir.path().join("n1/color444.JPEG"), Stream::new(5).rng());
    fs::write(&path, flip(&fs::read(&path).unwrap(), &mut rng)).unwrap();
    let kept = photos().with_policy(OnBadImage::Skip).images(&rows).unwrap();
    let pixels = |images: &Images, i: usize| images.image(i).to_vec();
    let others = rows.iter().map(|&i| i as usize).filter(|&i| i != 2);
    assert!(others.enumerate().all(|(k, i)| pixels(&kept, k) == pixels(&whole, i)));
    assert_eq!(kept.labels(), [0, 0, 1, 2, 2, 3, 3]);
    let error = photos().images(&rows).unwrap_err().to_string();
    assert!(
        error.contains("color444.JPEG") && error.contains("kd data sums DIR --force"),
        "{error}"
    );
}

#[test]
fn contents_are_the_identity_where_there_are_checksums() {
    let dir = photos();
    let digest = || Photos::folder(dir.path()).unwrap().files()[0].sha256.clone();
    let with = digest();
    assert_eq!(with, fsx::sha256(text(dir.path()).as_bytes()));
    let path = dir.path().join("n0/color420.JPEG");
    fs::write(&path, flip(&golden("color420")[0], &mut Stream::new(6).rng())).unwrap();
    write(dir.path());
    assert_ne!(digest(), with, "of the same size");
    fs::remove_file(dir.path().join(SUMS)).unwrap();
    let without = digest();
    assert_ne!(without, with);
    fs::write(&path, &golden("color420")[0]).unwrap();
    assert_eq!(digest(), without, "names and sizes only");
}

#[test]
fn small_images_are_compared_as_well() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..6 {
        put(dir.path(), &format!("c{}/{i}.png", i % 2), &picture(i));
    }
    let folder = Folder { path: dir.path().into(), ..Folder::default() };
    let load = || folder.load_split(None, Split::Test);
    let without = load().unwrap();
    write(dir.path());
    assert_eq!(load().unwrap(), without, "with the same identity");
    for (name, first) in [("c0/0.png", 9), ("c1/5.png", 7)] {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, picture(first)).unwrap();
        let error = load().unwrap_err();
        assert!(matches!(&error, Error::Parse { path: named, .. } if *named == path), "{error}");
        assert!(error.to_string().contains(DIFFERS), "{error}");
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn every_flipped_bit_of_the_list_is_noticed() {
    let dir = photos();
    let good = fs::read(dir.path().join(SUMS)).unwrap();
    let whole = || -> Result<()> {
        let photos = Photos::folder(dir.path())?;
        (0..photos.len()).try_for_each(|i| photos.bytes(i).map(drop))
    };
    whole().unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        put(dir.path(), SUMS, &bad);
        let error = whole().unwrap_err();
        assert!(matches!(error, Error::Parse { .. }), "byte {at}: {error:?}");
        put(dir.path(), SUMS, &good[..at]);
        assert!(whole().is_err() || at + 1 == good.len(), "cut at {at}");
    }
}

#[test]
fn a_list_of_other_images_is_refused_and_the_line_is_named() {
    let dir = photos();
    let good = text(dir.path());
    let [first, second] = [0, 1].map(|i| good.lines().nth(i).unwrap());
    let refused = |text: String, words: &[&str]| {
        put(dir.path(), SUMS, text.as_bytes());
        let error = Photos::folder(dir.path()).unwrap_err();
        assert!(matches!(&error, Error::Parse { path, .. } if path.ends_with(SUMS)), "{error}");
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let with = |line: &str| good.replacen(second, line, 1);
    let offset = format!("at byte {}: line 2: ", first.len() + 1);
    refused(with(first), &[&offset, "\"n0/color420.JPEG\" a second time"]);
    refused(with(""), &[&offset, "is not 64 digits"]);
    let mixed = format!("{}{}", second[..32].to_uppercase(), &second[32..]);
    refused(with(&mixed), &[&offset, "is not 64 digits"]);
    refused(with(&second.replacen("  ", "\t", 1)), &[&offset, "two spaces"]);
    refused(with(&second[1..]), &[&offset, "is not 64 digits"]);
    refused(with(&"x".repeat(3000)), &[&offset, "is longer than 2048 bytes"]);
    for name in ["n0/gone.JPEG", "n9/x.JPEG", "../x.JPEG", "/etc/x.png", "\u{1b}[2J.jpg"] {
        let line = format!("{}{name}", &second[..66]);
        let shown = format!("{name:?}");
        refused(with(&line), &[&offset, &shown, "is no image that is there", "--force"]);
    }
    refused(format!("{good}\n"), &["line 9: is not 64 digits"]);
    let missing = "has no line for n0/color422.JPEG; write the checksums anew";
    refused(good.replacen(&format!("{second}\n"), "", 1), &[missing, "kd data sums DIR --force"]);
    refused(String::new(), &["has no line for n0/color420.JPEG"]);
    fs::write(dir.path().join(SUMS), [&[b'0'; 64][..], b"  n0/\xff"].concat()).unwrap();
    let error = Photos::folder(dir.path()).unwrap_err().to_string();
    assert!(error.contains("line 1: its name is not UTF-8"), "{error}");
}

#[test]
fn checking_lists_all_that_is_wrong() {
    let dir = photos();
    fs::remove_file(dir.path().join("n0/color420.JPEG")).unwrap();
    put(dir.path(), "n1/new.JPEG", b"new");
    put(dir.path(), "n2/gray.JPEG", b"other");
    fs::File::create(dir.path().join("n3/cmyk.JPEG")).unwrap().set_len(65 << 20).unwrap();
    let found = check(dir.path());
    let differs = format!("corrupt: n2/gray.JPEG: {DIFFERS}");
    let want = [
        "missing: n0/color420.JPEG",
        "extra: n1/new.JPEG: has no line in SHA256SUMS",
        differs.as_str(),
    ];
    assert_eq!(found[..3], want);
    assert!(found.len() == 4 && found[3].contains("larger than"), "{found:?}");
    let n_done = AtomicU64::new(0);
    let sums = Checksums::of(dir.path()).unwrap();
    let faults = sums.check(&n_done).unwrap();
    assert_eq!((faults[1].fault, n_done.load(Ordering::Relaxed)), (Fault::Extra, 8));
    fs::remove_file(dir.path().join(SUMS)).unwrap();
    assert!(!sums.are_written());
    assert!(matches!(sums.check(&n_done), Err(Error::Missing { .. })));
}

#[test]
fn a_name_that_sha256sum_escapes_is_refused_and_nothing_is_written() {
    for name in ["a\\b.png", "a\nb.png"] {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &format!("c/{name}"), b"abc");
        let sums = Checksums::of(dir.path()).unwrap();
        let error = sums.write(&AtomicU64::new(0)).unwrap_err().to_string();
        assert!(error.contains("backslash or a line break"), "{error}");
        assert!(!sums.are_written());
    }
    let missing = Checksums::of(&PathBuf::from("no/such/folder"));
    assert!(matches!(missing, Err(Error::Missing { .. })));
}

/// The same on real photographs, of which nearly all decode with a changed bit.
#[test]
fn no_flipped_bit_of_a_real_photograph_is_silent() {
    let Some(data) = std::env::var_os("KD_DATA_DIR").map(PathBuf::from) else {
        return println!("skipped: KD_DATA_DIR is not set");
    };
    let Ok(entries) = fs::read_dir(data.join("imagenet-samples")) else {
        return println!("skipped: no imagenet-samples in {}", data.display());
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths.truncate(20);
    let dir = temporary();
    for (i, path) in paths.iter().enumerate() {
        put(dir.path(), &format!("c{}/{:02}.JPEG", i / 10, i), &fs::read(path).unwrap());
    }
    write(dir.path());
    let photos = Photos::folder(dir.path()).unwrap();
    let mut rng = Stream::new(3).rng();
    let mut n_noticed = 0;
    for i in 0..photos.len() {
        let (path, whole) = (dir.path().join(photos.name(i)), photos.bytes(i).unwrap());
        for _ in 0..1000 / paths.len() {
            fs::write(&path, flip(&whole, &mut rng)).unwrap();
            n_noticed += usize::from(photos.decode(i).is_err());
        }
        fs::write(&path, &whole).unwrap();
        assert!(photos.decode(i).is_ok(), "{}", path.display());
    }
    println!("ran on {} photographs: {n_noticed} of 1000 changed bits noticed", paths.len());
    assert_eq!(n_noticed, 1000);
}
