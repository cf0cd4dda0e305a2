use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use kd_core::{BatchSource, Stream};
use tempfile::TempDir;

use super::*;
use crate::Augment;
use crate::decode::Region;
use crate::decode::fixture::{GOLDEN, golden, picture, resized_header};

const SIDE: usize = 8;

fn put(root: &Path, name: impl AsRef<Path>, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Four classes of two golden files each, all of 37x21 pixels.
fn files() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (i, name) in GOLDEN.iter().enumerate() {
        put(dir.path(), format!("n{}/{name}.JPEG", i / 2), &golden(name)[0]);
    }
    dir
}

/// Networks see 8x8 pixels out of 10.
fn photos(dir: &TempDir) -> Photos {
    Photos::folder(dir.path()).unwrap().with_size(10, SIDE).unwrap()
}

fn augment(n_views: Option<usize>) -> Augment {
    let crop = ResizedCrop { n_views, ..ResizedCrop::default() };
    Augment { flip: true, resized_crop: Some(crop), ..Augment::default() }
}

fn training(photos: &Photos, augment: Augment, seed: u64) -> PhotoLoader {
    PhotoLoader::new(Arc::new(photos.clone()), augment, Stream::new(seed)).unwrap()
}

fn in_order(photos: &Photos) -> PhotoLoader {
    PhotoLoader::in_order(Arc::new(photos.clone()))
}

fn bits(loader: &PhotoLoader, epoch: u64, indices: &[u32]) -> Vec<u32> {
    let images = loader.batch(epoch, indices).unwrap().images;
    images.flatten_all().unwrap().to_vec1().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn photographs_are_numbered_by_class_and_name() {
    let dir = files();
    put(dir.path(), ".DS_Store", b"hidden");
    put(dir.path(), "n0/.hidden", b"hidden");
    let all = photos(&dir);
    assert_eq!((all.len(), all.n_classes(), all.shape()), (8, 4, [3, SIDE, SIDE]));
    assert_eq!(all.classes(), ["n0", "n1", "n2", "n3"]);
    assert_eq!(all.labels(), [0, 0, 1, 1, 2, 2, 3, 3]);
    assert_eq!(
        (all.name(2), all.name(3)),
        ("n1/color444.JPEG".into(), "n1/progressive.JPEG".into())
    );
    assert_eq!(*all.bytes(2).unwrap(), golden("color444")[0]);
    assert!(!all.is_packed());
}

#[test]
fn a_selection_keeps_classes_and_files() {
    let dir = files();
    let all = photos(&dir);
    let some = all.select(&[7, 2, 3]).select(&[1, 0]);
    assert_eq!((some.len(), some.n_classes(), some.labels()), (2, 4, &[1, 3][..]));
    assert_eq!((some.name(0), some.name(1)), (all.name(2), all.name(7)));
    assert_eq!(bits(&in_order(&some), 0, &[1, 0]), bits(&in_order(&all), 0, &[7, 2]));
    assert_eq!(some.files(), all.files());
}

#[test]
fn names_and_sizes_are_the_identity() {
    let dir = files();
    let [file] = &photos(&dir).files()[..] else { panic!("one digest for all") };
    assert_eq!((file.n_items, file.sha256.len()), (8, 64));
    assert_eq!(photos(&dir).files()[0].sha256, file.sha256);
    put(dir.path(), "n0/color420.JPEG", &[0; 5]);
    assert_ne!(photos(&dir).files()[0].sha256, file.sha256);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let dir = files();
    for (resize, crop) in [(10, 0), (10, 11), (5000, 8)] {
        assert!(matches!(photos(&dir).with_size(resize, crop), Err(Error::Config { .. })));
    }
    let augment = Augment { crop_padding: 1, ..Augment::default() };
    assert!(PhotoLoader::new(Arc::new(photos(&dir)), augment, Stream::new(0)).is_err());
    let loader = in_order(&photos(&dir));
    assert!(matches!(loader.batch(0, &[0, 8]), Err(Error::Config { .. })));
}

#[test]
fn what_cannot_be_listed_is_named() {
    let fault = |change: &dyn Fn(&Path)| {
        let dir = files();
        change(dir.path());
        Photos::folder(dir.path()).unwrap_err().to_string()
    };
    let named = |fault: String, parts: [&str; 2]| {
        assert!(parts.iter().all(|part| fault.contains(part)), "{fault}");
    };
    let latin1 = OsStr::from_bytes(b"n0/caf\xe9.JPEG");
    named(fault(&|d| put(d, latin1, b"")), ["n0/caf", "not UTF-8"]);
    let latin1 = OsStr::from_bytes(b"n\xe9/0.JPEG");
    named(fault(&|d| put(d, latin1, b"")), ["/n", "not UTF-8"]);
    named(
        fault(&|d| symlink("x.JPEG", d.join("n0/x.JPEG")).unwrap()),
        ["n0/x.JPEG", "cannot follow"],
    );
    named(
        fault(&|d| symlink("gone", d.join("n0/y.JPEG")).unwrap()),
        ["n0/y.JPEG", "cannot follow"],
    );
    named(fault(&|d| symlink("..", d.join("n0/z")).unwrap()), ["n0/z", "in a circle"]);
    named(fault(&|d| symlink(".", d.join("n4")).unwrap()), ["n4", "in a circle"]);
    let dir = files();
    fs::create_dir(dir.path().join("n4")).unwrap();
    let lacking = photos(&dir);
    assert!(
        lacking.remarks()[0].contains("classes have no pictures: n4"),
        "{:?}",
        lacking.remarks()
    );
    named(lacking.require_pictures().unwrap_err().to_string(), ["n4", "has no images"]);
    let missing = Photos::folder(&dir.path().join("no"));
    assert!(matches!(missing, Err(Error::Missing { .. })));
    symlink(dir.path().join("n0/color420.JPEG"), dir.path().join("n1/link.JPEG")).unwrap();
    assert_eq!(photos(&dir).len(), 9, "links to files are files");
}

#[test]
fn the_bits_do_not_depend_on_threads_or_on_the_rest_of_the_batch() {
    let dir = files();
    for loader in [training(&photos(&dir), augment(None), 1), in_order(&photos(&dir))] {
        let order = loader.order(3);
        let with_threads = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| bits(&loader, 3, &order))
        };
        let whole = with_threads(1);
        assert_eq!(whole, with_threads(2));
        assert_eq!(whole, with_threads(7));
        // Resumed within an epoch: what comes after is the same.
        let rest: Vec<u32> = order[5..].iter().flat_map(|&i| bits(&loader, 3, &[i])).collect();
        assert_eq!(whole[5 * 3 * SIDE * SIDE..], rest);
    }
}

#[test]
fn epochs_differ_in_order_and_crops() {
    let dir = files();
    let loader = training(&photos(&dir), augment(None), 1);
    assert_ne!(loader.order(1), loader.order(2));
    assert_ne!(bits(&loader, 1, &[0]), bits(&loader, 2, &[0]));
    assert_ne!(bits(&loader, 1, &[0]), bits(&training(&photos(&dir), augment(None), 2), 1, &[0]));
    assert_eq!((loader.n_views(), loader.n_samples(), loader.n_classes()), (None, 8, 4));
    let still = in_order(&photos(&dir));
    assert_eq!(still.order(5), (0..8).collect::<Vec<_>>());
    assert_eq!(bits(&still, 1, &[0]), bits(&still, 2, &[0]));
    assert_eq!((still.n_views(), still.view(7, 3)), (Some(1), 0));
}

#[test]
fn stored_crops_come_again_for_every_seed() {
    let dir = files();
    let [a, b] = [1, 2].map(|seed| training(&photos(&dir), augment(Some(3)), seed));
    assert_eq!((a.n_views(), a.view(4, 0), a.view(6, 5)), (Some(3), 1, 0));
    assert_eq!(bits(&a, 1, &[4, 2]), bits(&b, 4, &[4, 2]));
    assert_ne!(bits(&a, 1, &[4]), bits(&a, 2, &[4]));
}

#[test]
fn a_flipped_view_is_the_mirror_image() {
    let dir = files();
    let flips = training(&photos(&dir), Augment { flip: true, ..Augment::default() }, 1);
    let still = in_order(&photos(&dir));
    assert_eq!(flips.n_views(), Some(2));
    let mut seen = [false; 2];
    for epoch in 0..20 {
        let mut want = bits(&still, 0, &[1]);
        let view = flips.view(epoch, 1);
        seen[view] = true;
        if view == 1 {
            want.chunks_exact_mut(SIDE).for_each(<[u32]>::reverse);
        }
        assert_eq!(bits(&flips, epoch, &[1]), want);
        assert_eq!(flips.part(epoch, 1).unwrap().1, view == 1);
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn images_in_memory_are_what_evaluation_sees() {
    let dir = files();
    let all = photos(&dir);
    let images = all.images(&[6, 0]).unwrap();
    assert_eq!(
        (images.labels(), images.n_classes(), images.shape()),
        (&[3, 0][..], 4, all.shape())
    );
    let want = images.pixels().iter().map(|&byte| (f32::from(byte) / 255.0).to_bits());
    assert_eq!(bits(&in_order(&all), 0, &[6, 0]), want.collect::<Vec<_>>());
    assert_eq!(images.class_names(), all.classes());
    assert_eq!(images.files(), all.files());
}

/// Classes `a`, of whole files, and `b`, of bad ones.
fn bad_files() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let [jpeg, _] = golden("color420");
    put(dir.path(), "a/0.JPEG", &jpeg);
    put(dir.path(), "a/1.JPEG", &picture(0));
    put(dir.path(), "b/cut.JPEG", &jpeg[..jpeg.len() * 9 / 10]);
    put(dir.path(), "b/empty.JPEG", b"");
    put(dir.path(), "b/huge.JPEG", &resized_header("color420", [65_500, 65_500]));
    put(dir.path(), "b/text.JPEG", b"<html>");
    dir
}

#[test]
fn a_bad_photograph_stops_the_work_and_the_first_is_named() {
    let dir = bad_files();
    let loader = in_order(&photos(&dir));
    for n_threads in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let error = pool.install(|| loader.batch(0, &[0, 4, 2, 1, 3])).unwrap_err();
        assert!(matches!(&error, Error::Parse { path, .. } if path.ends_with("b/huge.JPEG")));
        assert!(error.to_string().contains("65500x65500"), "{error}");
    }
    let error = photos(&dir).images(&[1, 2]).unwrap_err().to_string();
    assert!(error.contains("b/cut.JPEG") && error.contains("is cut off"), "{error}");
    assert!(photos(&dir).bad_images().is_empty());
}

#[test]
fn bad_photographs_are_skipped_and_listed() {
    let dir = bad_files();
    let all = photos(&dir).with_policy(OnBadImage::Skip);
    let loader = in_order(&all);
    let batch = loader.batch(0, &[4, 1, 2, 0]).unwrap();
    assert_eq!(batch.indices, [1, 0]);
    assert_eq!(batch.labels.to_vec1::<u32>().unwrap(), [0, 0]);
    assert_eq!(batch.images.dims(), [2, 3, SIDE, SIDE]);
    assert_eq!(bits(&loader, 0, &[4, 1, 2, 0]), bits(&loader, 0, &[1, 0]));
    assert_eq!(loader.batch(0, &[2, 5]).unwrap().images.dims(), [0, 3, SIDE, SIDE]);
    assert_eq!(all.images(&[0, 2, 1]).unwrap().len(), 2);
    assert!(all.images(&[2]).is_err(), "of nothing there is no set of images");
    loader.batch(0, &[3]).unwrap();
    let list = all.bad_images();
    let names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["b/cut.JPEG", "b/empty.JPEG", "b/huge.JPEG", "b/text.JPEG"]);
    assert_eq!(list[0].1, "skipped: is cut off");
    assert_eq!(list[3].1, "skipped: is a web page, not the picture: download it again");
    assert_eq!(photos(&dir).bad_images(), [], "a set of its own has a list of its own");
}

#[test]
fn of_bad_photographs_what_can_be_decoded_is_used_and_listed() {
    let dir = bad_files();
    let all = photos(&dir).with_policy(OnBadImage::Lenient);
    let batch = in_order(&all).batch(0, &[0, 2]).unwrap();
    assert_eq!(batch.indices, [0, 2]);
    assert_eq!(all.bad_images(), [("b/cut.JPEG".into(), "repaired: is cut off".into())]);
    let images = all.images(&[0, 2]).unwrap();
    let tops = [0, 1].map(|i| images.image(i)[..SIDE].to_vec());
    assert!(tops[0].iter().zip(&tops[1]).all(|(a, b)| a.abs_diff(*b) < 20), "{tops:?}");
    for nothing in [3, 4, 5] {
        assert!(matches!(in_order(&all).batch(0, &[nothing]), Err(Error::Parse { .. })));
    }
}

#[test]
fn a_file_that_vanishes_is_an_error_whatever_the_policy() {
    let dir = files();
    let all = photos(&dir).with_policy(OnBadImage::Skip);
    fs::remove_file(dir.path().join("n0/color420.JPEG")).unwrap();
    assert!(matches!(in_order(&all).batch(0, &[0]), Err(Error::Missing { .. })));
}

/// Greatest and mean difference of bytes.
fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = differences().map(f64::from).sum();
    (differences().max().unwrap_or(0), sum / a.len() as f64)
}

#[test]
fn transforms_are_those_of_torchvision() {
    let text = include_str!("../../../../tests/golden/photos.json");
    let all: serde_json::Value = serde_json::from_str(text).unwrap();
    let byte = |hex: &[u8]| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap();
    let bytes = |value: &serde_json::Value| -> Vec<u8> {
        value.as_str().unwrap().as_bytes().chunks(2).map(byte).collect()
    };
    for name in ["wide", "high", "small", "gray", "cmyk"] {
        let golden = &all[name];
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "a/0.JPEG", &bytes(&golden["jpeg"]));
        let photos = Photos::folder(dir.path()).unwrap().with_size(24, 20).unwrap();
        let close = |got: &[u8], want: &serde_json::Value| {
            let (greatest, mean) = difference(got, &bytes(want));
            assert!(greatest <= 2 && mean <= 0.5, "{name}: {greatest}, mean {mean}");
        };
        close(&photos.central(0).unwrap().unwrap(), &golden["center"]);
        for (region, want) in
            golden["boxes"].as_array().unwrap().iter().zip(golden["crops"].as_array().unwrap())
        {
            let [top, left, height, width] =
                [0, 1, 2, 3].map(|i| region[i].as_u64().unwrap() as usize);
            let view = View::cut(Region { top, left, height, width }, false);
            close(&photos.image(0, |_| view).unwrap().unwrap().0, want);
        }
    }
}

/// Truncations and changed bits of real photographs.
#[test]
fn damaged_photographs_are_refused_or_decoded() {
    let Some(dir) = std::env::var_os("KD_DATA_DIR").map(PathBuf::from) else {
        return println!("skipped: KD_DATA_DIR is not set");
    };
    let Ok(entries) = fs::read_dir(dir.join("imagenet-samples")) else {
        return println!("skipped: no imagenet-samples in {}", dir.display());
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths.truncate(20);
    let mut rng = Stream::new(3).rng();
    let mut n_refused = 0;
    for path in &paths {
        let whole = fs::read(path).unwrap();
        for twelfth in 0..12 {
            let cut = &whole[..whole.len() * twelfth / 12];
            assert!(Picture::open(cut).and_then(|picture| picture.rgb()).is_err());
        }
        for _ in 0..1000 / paths.len() {
            let mut bytes = whole.clone();
            bytes[rng.below(whole.len() as u32) as usize] ^= 1 << rng.below(8);
            let decoded = Picture::open(&bytes).and_then(|picture| picture.rgb());
            n_refused += usize::from(decoded.is_err());
        }
    }
    println!("ran on {} photographs: {n_refused} of 1000 changed bits refused", paths.len());
}
