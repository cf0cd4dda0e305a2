use std::fs;
use std::path::{Path, PathBuf};

use kd_core::{Error, Stream};

use super::index::{INDEX, shard_name};
use super::*;
use crate::{OnBadImage, Photos};

/// Smooth noise of `[H, W]` as a JPEG file.
fn jpeg([height, width]: [usize; 2], seed: u64) -> Vec<u8> {
    let mut rng = Stream::new(seed).rng();
    let colors: Vec<u8> = (0..30).map(|_| rng.below(256) as u8).collect();
    let pixel = |i: usize| colors[(i / 3 % width / 9 + i / 3 / width / 9) % 10 * 3 + i % 3];
    let pixels: Vec<u8> = (0..3 * height * width).map(pixel).collect();
    let format = libjpeg_turbo_rs::PixelFormat::Rgb;
    libjpeg_turbo_rs::Encoder::new(&pixels, width, height, format).encode().unwrap()
}

/// Three classes of `n` photographs of different sizes.
fn tree(n: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (k, class) in ["ant", "bee", "cat"].iter().enumerate() {
        let folder = dir.path().join("in").join(class);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..n {
            let bytes = jpeg([40 + 7 * i, 60 + 20 * k], (k * n + i) as u64);
            fs::write(folder.join(format!("{i}.JPEG")), bytes).unwrap();
        }
    }
    dir
}

fn settings(side: usize) -> PackSettings {
    PackSettings { side, ..PackSettings::default() }
}

fn photos(dir: &Path) -> Photos {
    Photos::folder(&dir.join("in")).unwrap()
}

fn pack(dir: &Path, out: &str, settings: PackSettings) -> Packed {
    let out = dir.join(format!("{out}/"));
    Packer::new(photos(dir), &out, settings).unwrap().finish().unwrap()
}

/// All files of a folder with their contents, by name.
fn contents(folder: PathBuf) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|p| (p.strip_prefix(&folder).unwrap().into(), fs::read(&p).unwrap())).collect();
    files.sort_unstable();
    files
}

/// `[H, W]` by the frame header of a baseline JPEG file of three components, 4:2:0.
fn size(jpeg: &[u8]) -> [usize; 2] {
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let side = |at: usize| usize::from(jpeg[frame + at]) << 8 | usize::from(jpeg[frame + at + 1]);
    assert_eq!((jpeg[frame + 9], jpeg[frame + 11]), (3, 0x22));
    [side(5), side(7)]
}

#[test]
fn images_labels_and_names_stay_and_sides_become_shorter() {
    let dir = tree(4);
    let packed = pack(dir.path(), "out", settings(48));
    let from = photos(dir.path());
    assert_eq!((packed.len(), packed.n_shards()), (12, 1));
    assert_eq!((packed.classes(), packed.labels()), (from.classes(), from.labels()));
    for i in 0..packed.len() {
        assert_eq!(packed.name(i), from.name(i));
        let [height, width] = from.decode(i).unwrap().unwrap().size;
        let want = match height.min(width) {
            0..=48 => [height, width],
            _ => crate::photos::resize::shorter_side([height, width], 48),
        };
        assert_eq!(size(packed.bytes(i).unwrap()), want, "{}", packed.name(i));
    }
    packed.verify().unwrap();
    assert_eq!(contents(dir.path().join("out")).len(), 2, "nothing else is left");
    assert!(!dir.path().join("out.partial").exists());
}

#[test]
fn a_pack_is_read_as_photographs() {
    let dir = tree(2);
    let packed = pack(dir.path(), "out", settings(40));
    let photos = Photos::open(&dir.path().join("out")).unwrap();
    assert!(photos.is_packed());
    assert_eq!((photos.len(), photos.n_classes()), (6, 3));
    assert_eq!(photos.files(), [packed.file()]);
    assert_eq!(*photos.bytes(5).unwrap(), *packed.bytes(5).unwrap());
    let photos = photos.with_size(32, 32).unwrap();
    assert_eq!(photos.images(&[0, 5]).unwrap().labels(), [0, 2]);
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_on_where_the_work_was_cut_off() {
    let dir = tree(100);
    let small = PackSettings { side: 256, quality: 100, shard_mib: 1 };
    let whole = pack(dir.path(), "out", small.clone());
    assert!(whole.n_shards() > 1, "{} bytes", whole.n_bytes());
    let want = contents(dir.path().join("out"));
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    one_thread.install(|| pack(dir.path(), "one", small.clone()));
    assert_eq!(contents(dir.path().join("one")), want);
    let cut = dir.path().join("cut");
    let new = || Packer::new(photos(dir.path()), &cut, small.clone()).unwrap();
    let mut packer = new();
    assert!(packer.step().unwrap());
    let n_done = packer.n_done();
    drop(packer);
    assert!(!cut.exists(), "half a pack has its final name");
    let packer = new();
    assert!(packer.n_done() > 0 && packer.n_done() <= n_done, "{}", packer.n_done());
    packer.finish().unwrap();
    assert_eq!(contents(cut.clone()), want);
    assert_eq!(new().n_done(), 300, "the work is done already");
}

#[test]
fn work_cut_off_at_any_of_its_files_is_finished() {
    let dir = tree(100);
    let small = PackSettings { side: 256, quality: 100, shard_mib: 1 };
    pack(dir.path(), "out", small.clone());
    let want = contents(dir.path().join("out"));
    let partial = dir.path().join("cut.partial");
    let finish =
        || Packer::new(photos(dir.path()), &dir.path().join("cut"), small.clone())?.finish();
    // A shard without its record, a record without its shard, and files half written.
    let mut packer =
        Packer::new(photos(dir.path()), &dir.path().join("cut"), small.clone()).unwrap();
    packer.step().unwrap();
    drop(packer);
    fs::remove_file(partial.join("shard-00000.json")).unwrap();
    fs::write(partial.join(".tmpabc"), b"half").unwrap();
    finish().unwrap();
    assert_eq!(contents(dir.path().join("cut")), want);
    // The index is there; what only the work needed is gone, or half gone.
    for left in [None, Some("plan.json"), Some("shard-00001.json")] {
        fs::rename(dir.path().join("cut"), &partial).unwrap();
        if let Some(left) = left {
            fs::write(partial.join(left), b"{}").unwrap();
        }
        finish().unwrap();
        assert_eq!(contents(dir.path().join("cut")), want, "{left:?}");
    }
}

#[test]
fn another_pack_is_not_overwritten() {
    let dir = tree(1);
    pack(dir.path(), "out", settings(48));
    let other = |out: &str, settings| {
        Packer::new(photos(dir.path()), &dir.path().join(out), settings).map(drop)
    };
    assert!(matches!(other("out", settings(40)), Err(Error::Config { .. })));
    fs::create_dir(dir.path().join("mine.partial")).unwrap();
    fs::write(dir.path().join("mine.partial/note"), b"mine").unwrap();
    assert!(matches!(other("mine", settings(40)), Err(Error::Config { .. })));
    let begun = Packer::new(photos(dir.path()), &dir.path().join("new"), settings(48)).unwrap();
    assert!(matches!(other("new", settings(48)), Err(Error::Busy { .. })));
    drop(begun);
    assert!(matches!(other("new", settings(40)), Err(Error::Config { .. })));
    other("new", settings(48)).unwrap();
    fs::write(dir.path().join("in/ant/0.JPEG"), jpeg([9, 9], 7)).unwrap();
    assert!(matches!(other("new", settings(48)), Err(Error::Config { .. })), "other photographs");
}

#[test]
fn bad_photographs_are_refused_or_left_out_as_the_policy_says() {
    let dir = tree(3);
    let bad = dir.path().join("in/bee/1.JPEG");
    let good = fs::read(&bad).unwrap();
    fs::write(&bad, &good[..good.len() / 2]).unwrap();
    let with = |policy, out: &str| {
        let photos = photos(dir.path()).with_policy(policy);
        Packer::new(photos, &dir.path().join(out), settings(48)).unwrap().finish()
    };
    let error = with(OnBadImage::Error, "error").unwrap_err();
    assert!(matches!(&error, Error::Parse { path, .. } if *path == bad), "{error}");
    assert!(!dir.path().join("error").exists());
    let packed = with(OnBadImage::Skip, "skip").unwrap();
    assert_eq!(packed.len(), 8);
    let [(name, reason)] = packed.bad_images() else { panic!("{:?}", packed.bad_images()) };
    assert!(name == "bee/1.JPEG" && reason.contains("skipped"), "{name}: {reason}");
    assert!((0..8).all(|i| packed.name(i) != name));
    let photos = Photos::packed(&dir.path().join("skip")).unwrap();
    assert_eq!(photos.bad_images(), packed.bad_images());
    let packed = with(OnBadImage::Lenient, "lenient").unwrap();
    assert_eq!((packed.len(), packed.bad_images().len()), (9, 1));
}

#[test]
fn a_pack_of_nothing_is_refused() {
    let dir = tree(1);
    for class in ["ant", "bee", "cat"] {
        fs::write(dir.path().join("in").join(class).join("0.JPEG"), b"no image").unwrap();
    }
    let photos = photos(dir.path()).with_policy(OnBadImage::Skip);
    let packed = Packer::new(photos, &dir.path().join("out"), settings(48)).unwrap().finish();
    assert!(matches!(packed, Err(Error::Config { .. })));
    for bad in [
        settings(0),
        settings(5000),
        PackSettings { quality: 101, ..PackSettings::default() },
        PackSettings { shard_mib: 4096, ..PackSettings::default() },
    ] {
        assert!(matches!(bad.check(), Err(Error::Config { .. })));
    }
}

#[test]
fn every_changed_byte_of_a_shard_is_found_and_the_image_named() {
    let dir = tree(2);
    let packed = pack(dir.path(), "out", settings(40));
    let path = dir.path().join("out").join(shard_name(0));
    let good = fs::read(&path).unwrap();
    drop(packed);
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, bad).unwrap();
        let packed = Packed::open(&dir.path().join("out")).unwrap();
        let damaged: Vec<_> = (0..6).filter(|&i| packed.bytes(i).is_err()).collect();
        let [i] = damaged[..] else { panic!("byte {at}: {damaged:?}") };
        let error = packed.verify().unwrap_err();
        assert!(error.to_string().contains(packed.name(i)), "{error}");
    }
    for n in [0, 1, good.len() - 1] {
        fs::write(&path, &good[..n]).unwrap();
        let cut = Packed::open(&dir.path().join("out"));
        assert!(matches!(&cut, Err(Error::Parse { path: p, .. }) if *p == path), "{cut:?}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(Packed::open(&dir.path().join("out")), Err(Error::Missing { .. })));
}

#[test]
fn every_changed_byte_of_an_index_is_found() {
    let dir = tree(1);
    pack(dir.path(), "out", settings(40));
    let out = dir.path().join("out");
    let good = fs::read(out.join(INDEX)).unwrap();
    let open = |bytes: &[u8]| {
        fs::write(out.join(INDEX), bytes).unwrap();
        Packed::open(&out)
    };
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let opened = open(&bad);
        let refused = matches!(opened, Err(Error::Parse { .. } | Error::Checksum { .. }));
        assert!(refused, "byte {at}: {opened:?}");
        assert!(open(&good[..at]).is_err(), "{at} bytes");
    }
    assert!(open(&good).is_ok());
    fs::remove_file(out.join(INDEX)).unwrap();
    assert!(matches!(Packed::open(&out), Err(Error::Missing { .. })));
}

/// Changes the index by `change` and gives the whole a right digest.
fn forged(out: &Path, change: impl FnOnce(&mut index::Index)) -> String {
    let (mut index, _) = index::Index::read(out).unwrap();
    let good = index.clone();
    change(&mut index);
    index.write(out).unwrap();
    let error = Packed::open(out).unwrap_err();
    assert!(matches!(error, Error::Parse { .. }), "{error:?}");
    good.write(out).unwrap();
    error.to_string()
}

#[test]
fn an_index_that_contradicts_itself_is_refused() {
    let dir = tree(2);
    pack(dir.path(), "out", settings(40));
    let out = dir.path().join("out");
    let says = |change: fn(&mut index::Index), reason: &str| {
        let error = forged(&out, change);
        assert!(error.contains(reason), "{error}");
    };
    says(|index| index.images.labels[1] = 3, "not of class 3");
    says(|index| index.images.labels[1] = 1, "not of class 1");
    says(|index| index.images.names[0] = "../x".into(), "not of class");
    says(|index| index.images.names.truncate(5), "different lengths");
    says(|index| index.images = index::Entries::default(), "empty");
    says(|index| index.images.lengths[0] += 1, "not as long");
    says(|index| index.images.lengths[0] = u32::MAX, "not as long");
    says(|index| index.shards[0].n_images -= 1, "not as long");
    says(|index| index.shards[0].n_images = usize::MAX, "as many images");
    says(|index| index.shards.clear(), "as many images");
    says(|index| index.shards[0].bytes = u64::MAX, "not as long");
    says(|index| index.classes.reverse(), "not in order");
    Packed::open(&out).unwrap();
}
