use std::fs;

use image::ExtendedColorType;

use super::*;
use crate::decode::fixture::{golden_pictures, picture, png};

fn put(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn folder(root: &Path) -> Folder {
    Folder { path: root.into(), ..Folder::default() }
}

fn fault(root: &Path) -> String {
    let error = folder(root).load_split(None, Split::Test).unwrap_err();
    assert!(matches!(error, Error::Parse { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn classes_and_files_are_sorted_and_channels_are_planes() {
    let dir = tempfile::tempdir().unwrap();
    for (name, first) in [("dog/b.png", 20), ("dog/a.PNG", 10), ("ant/z.png", 0)] {
        put(dir.path(), name, &picture(first));
    }
    put(dir.path(), ".DS_Store", b"hidden");
    put(dir.path(), "dog/.hidden.txt", b"hidden");
    let images = folder(dir.path()).load_split(None, Split::Test).unwrap();
    assert_eq!((images.len(), images.shape(), images.n_classes()), (3, [3, 2, 3], 2));
    assert_eq!(images.labels(), [0, 1, 1]);
    let want = [0, 3, 6, 9, 12, 15, 1, 4, 7, 10, 13, 16, 2, 5, 8, 11, 14, 17];
    assert_eq!(images.image(0), want);
    assert_eq!((images.image(1)[0], images.image(2)[0]), (10, 20));
    let [file] = images.files() else { panic!("one digest for all") };
    let sum = |first| fsx::sha256(&picture(first));
    let lines = format!("{}  ant/z.png\n{}  dog/a.PNG\n{}  dog/b.png\n", sum(0), sum(10), sum(20));
    assert_eq!((file.n_items, &file.sha256), (3, &fsx::sha256(lines.as_bytes())));
}

#[test]
fn parts_have_folders_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    for (name, first) in [("train/a/0.png", 1), ("train/b/0.png", 2), ("test/a/0.png", 3)] {
        put(dir.path(), name, &picture(first));
    }
    let name = dir.path().file_name().unwrap();
    let relative = Folder { path: name.into(), ..Folder::default() };
    let part = |split| relative.load_split(dir.path().parent(), split).unwrap();
    assert_eq!((part(Split::Train).len(), part(Split::Test).len()), (2, 1));
    put(dir.path(), "test/c/0.png", &picture(4));
    let error = relative.load(dir.path().parent()).unwrap_err().to_string();
    assert!(error.contains("class `c` is none of the training images' classes"), "{error}");
    fs::remove_dir_all(dir.path().join("test/c")).unwrap();
    // Without images of one class the labels stay.
    fs::rename(dir.path().join("test/a"), dir.path().join("test/b")).unwrap();
    assert_eq!(part(Split::Test).labels(), [1]);
    assert_eq!(relative.load(dir.path().parent()).unwrap().test.labels(), [1]);
    fs::rename(dir.path().join("test/b"), dir.path().join("test/a")).unwrap();
    put(dir.path(), "test/b/0.png", &picture(4));
    let splits = folder(dir.path()).load(None).unwrap();
    assert_eq!((splits.train.len(), splits.test.image(1)[0], splits.official), (2, 4, false));
    put(dir.path(), "test/b/0.png", &png([1, 1], ExtendedColorType::L8, &[7]));
    put(dir.path(), "test/a/0.png", &png([1, 1], ExtendedColorType::L8, &[7]));
    assert!(matches!(folder(dir.path()).load(None), Err(Error::Shape { .. })));
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "train/a/0.png", &picture(0));
    let load = |path: &Path| folder(path).load_split(None, Split::Test).unwrap_err();
    let missing = |error: Error| match error {
        Error::Missing { path, .. } => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(load(dir.path())), dir.path().join("test"));
    assert_eq!(missing(load(&dir.path().join("no"))), dir.path().join("no"));
    assert!(matches!(folder(dir.path()).load(None), Err(Error::Missing { .. })));
    assert!(matches!(Folder::default().load(None), Err(Error::Config { .. })));
}

#[test]
fn the_content_and_not_the_name_decides_how_a_file_is_decoded() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a/png-in-disguise.jpg", &picture(5));
    let images = folder(dir.path()).load_split(None, Split::Test).unwrap();
    assert_eq!(images.image(0)[0], 5);
}

#[test]
fn all_formats_are_read_whatever_the_case_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a.PPM", "b.Webp", "c.tif", "d.TIFF", "e.gif", "f.bmp", "g.pgm"];
    let files = ["rgb.ppm", "lossless.webp", "rgb.tif", "rgb-deflate.tiff", "palette.gif"];
    let golden = golden_pictures();
    let find = |name: &str| golden.iter().find(|golden| golden.name == name).unwrap();
    let pictures = files.into_iter().chain(["rgb.bmp", "gray.pgm"]).map(find);
    for (name, golden) in names.iter().zip(pictures.clone()) {
        put(dir.path(), &format!("class/{name}"), &golden.file);
    }
    let images = folder(dir.path()).load_split(None, Split::Test).unwrap();
    for (i, golden) in pictures.enumerate() {
        let green: Vec<u8> = golden.rgb.iter().skip(1).step_by(3).copied().collect();
        assert_eq!(images.image(i)[green.len()..2 * green.len()], green, "{}", golden.name);
    }
}

#[test]
fn what_is_no_image_is_named() {
    for (name, content, reason) in [
        ("a/1.jpg", &b"text"[..], "is no JPEG, PNG, BMP, GIF, PPM, TIFF or WebP file"),
        ("a/1.jpeg", b"<html>", "is a web page, not the picture"),
        ("a/1.png", &[], "is empty"),
        ("a/1.gif", b"GIF89a", "is damaged"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "a/0.png", &picture(0));
        put(dir.path(), name, content);
        let error = fault(dir.path());
        assert!(error.contains(reason), "{name}: {error}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(fault(dir.path()).contains("has no class folders"));
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert!(fault(dir.path()).contains("has no pictures in its class folders"));
}

#[test]
fn gray_pictures_have_one_channel_unless_another_number_is_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let gray = |bytes: [u8; 2]| png([1, 2], ExtendedColorType::L8, &bytes);
    put(dir.path(), "a/0.png", &gray([7, 9]));
    put(dir.path(), "b/0.png", &gray([5, 255]));
    let load = |channels| {
        let folder = Folder { channels, ..folder(dir.path()) };
        folder.load_split(None, Split::Test)
    };
    let images = load(None).unwrap();
    assert_eq!((images.shape(), images.pixels()), ([1, 1, 2], &[7, 9, 5, 255][..]));
    let images = load(Some(3)).unwrap();
    assert_eq!((images.shape(), images.image(0)), ([3, 1, 2], &[7, 9, 7, 9, 7, 9][..]));
    assert!(load(Some(2)).unwrap_err().to_string().contains("2 is neither 1 nor 3"));
    // Pillow: Image.new("RGB", (2, 1)), pixels (255, 0, 0) and (10, 200, 30), .convert("L").
    put(dir.path(), "b/0.png", &png([1, 2], ExtendedColorType::Rgb8, &[255, 0, 0, 10, 200, 30]));
    assert_eq!(load(None).unwrap().shape(), [3, 1, 2]);
    assert_eq!(load(Some(1)).unwrap().image(1), [76, 124]);
}

#[test]
fn one_folder_of_classes_is_the_whole_set() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a/0.png", "a/1.png", "b/0.png"] {
        put(dir.path(), name, &picture(3));
    }
    let whole = folder(dir.path()).whole(None).unwrap().unwrap();
    assert_eq!(
        (whole.labels(), whole.class_names()),
        (&[0, 0, 1][..], &["a", "b"].map(String::from)[..])
    );
    let error = folder(dir.path()).load(None).unwrap_err().to_string();
    assert!(error.contains("`--holdout 0.2`") && error.contains("`kd data split`"), "{error}");
    put(dir.path(), "train/a/0.png", &picture(3));
    assert!(folder(dir.path()).whole(None).unwrap().is_none());
}

#[test]
fn another_size_is_refused_and_the_first_in_order_is_named() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a/0.png", &picture(0));
    for name in ["a/1.png", "b/0.png", "b/1.png"] {
        put(dir.path(), name, &png([1, 1], ExtendedColorType::L8, &[0]));
    }
    for n_threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let error = pool.install(|| fault(dir.path()));
        assert!(error.contains("a/1.png") && error.contains("1x1, that of the first 3x2"));
    }
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..40 {
        put(dir.path(), &format!("c{}/{i}.png", i % 3), &picture(i));
    }
    let load = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| folder(dir.path()).load_split(None, Split::Test)).unwrap()
    };
    assert_eq!(load(1), load(2));
    assert_eq!(load(1), load(7));
}

#[test]
fn the_jpeg_folder_is_read_as_pillow_reads_it() {
    let Some(dir) = std::env::var_os("KD_DATA_DIR").map(PathBuf::from) else {
        return println!("skipped: KD_DATA_DIR is not set");
    };
    let root = dir.join("cifar10-folder");
    if !root.is_dir() {
        return println!("skipped: {} is not there", root.display());
    }
    let images = folder(&root).load_split(None, Split::Test).unwrap();
    println!("ran on real images in {}", root.display());
    assert_eq!((images.len(), images.shape(), images.n_classes()), (10_000, [3, 32, 32], 10));
    // What Pillow 13 with libjpeg-turbo 3.2.0 decodes the same files to, in the same order.
    let sha256 = "2fb7dfcd1893f37e705d81075b9d9d7245d714b136474baa19c48f02d7a6f670";
    assert_eq!(fsx::sha256(images.pixels()), sha256);
}
