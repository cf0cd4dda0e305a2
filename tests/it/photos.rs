//! Class folders as people have them, through the program: trained on with the defaults, divided, taken
//! back, gray, with what file managers leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kd_core::fsx;
use kd_data::{Dataset, SyntheticPhotos};
use serde_json::Value;

use crate::support::{end, files, kd, refused, succeed};

/// Folders `name/CLASS` with 30 drawn photographs of 2 classes.
pub(crate) fn draw(at: &Path, name: &str) {
    let photos = SyntheticPhotos { n_classes: 2, n_train: 30, n_test: 2, ..Default::default() };
    photos.parts(Some(at)).unwrap();
    let mut made = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path());
    let made = made.find(|path| path.to_string_lossy().contains("synthetic-photos")).unwrap();
    fs::rename(made.join("train"), at.join(name)).unwrap();
    fs::remove_dir_all(made).unwrap();
}

fn train(at: &Path, data: &str, out: &str) -> Command {
    let mut command = kd(at);
    command.args(["train", "--model", "resnet8", "--epochs", "1", "--data", data, "--out", out]);
    command
}

fn eval(at: &Path, run: &str, data: &str) -> Value {
    let weights = format!("{run}/checkpoints/resnet8-seed0/student");
    let mut command = kd(at);
    command.args(["eval", "--json", "--weights", &weights, "--data", data]);
    serde_json::from_str(&succeed(&mut command).stdout).unwrap()
}

#[test]
fn photographs_are_trained_on_with_the_defaults_and_divided() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw(at, "all");
    let class = fs::read_dir(at.join("all")).unwrap().next().unwrap().unwrap().path();
    fs::write(class.join("Thumbs.db"), "x").unwrap();
    fs::write(at.join("all/LICENSE"), "x").unwrap();
    let before = files(&at.join("all"));

    // One folder of classes has nothing to judge by.
    refused(
        &end(train(at, "photos:all", "no").args(["--crop", "32"])),
        66,
        "--holdout 0.2",
        "one part",
    );
    assert!(!at.join("no").exists());
    let ended = succeed(train(at, "photos:all", "held").args(["--crop", "32", "--holdout", "0.2"]));
    assert!(ended.stderr.contains("6 of 30 images are held out"), "{}", ended.stderr);
    let passed_over = "2 files and folders passed over: 1 LICENSE, 1 Thumbs.db";
    assert!(ended.stderr.contains(passed_over), "{}", ended.stderr);

    let split = ["data", "split", "all", "--out", "parts", "--val", "0.2", "--seed", "3"];
    let ended = succeed(kd(at).args(split));
    assert_eq!(ended.stdout, "parts: 2 classes, train 24, val 6; 30 placed\n");
    assert_eq!(succeed(kd(at).args(split)).stdout, "parts: 2 classes, train 24, val 6; 0 placed\n");
    let twice = end(kd(at).args(split).args(["--val", "0.5"]));
    assert!(twice.code == Some(2) && twice.stderr.contains("--val"), "{}", twice.stderr);
    let other = ["data", "split", "all", "--out", "parts", "--val", "0.5"];
    refused(&end(kd(at).args(other)), 65, "divided in another way", "another split");

    succeed(train(at, "photos:parts", "run").args(["--crop", "32"]));
    // The network says what it sees.
    assert_eq!(eval(at, "run", "photos:parts")["total"], 6);
    let spec = fs::read_to_string(at.join("run/spec.toml")).unwrap();
    assert!(spec.contains("[training.augment.resized_crop]"), "{spec}");
    let center = ["--crop", "32", "--augment", "none", "--flip"];
    succeed(train(at, "photos:parts", "center").args(center));
    for (flags, words) in [
        (&["--crop-padding", "2"][..], "is not for photographs in files"),
        (&["--augment", "crop"], "is not for photographs in files"),
        (&["--augment", "none", "--crop-padding", "2"], "is for --augment crop"),
    ] {
        refused(&end(train(at, "photos:parts", "no").args(flags)), 78, words, "its flags");
    }

    // A picture that cannot be read stops the work, unless it is to be left out.
    let broken = files(&at.join("parts/train")).into_keys().next().unwrap();
    let broken = at.join("parts/train").join(broken);
    fs::remove_file(&broken).unwrap();
    fs::write(&broken, "<html>").unwrap();
    let crop = ["--crop", "32"];
    refused(
        &end(train(at, "photos:parts", "no").args(crop)),
        65,
        "is a web page",
        "a broken picture",
    );
    let skip = ["--crop", "32", "--on-bad-image", "skip"];
    succeed(train(at, "photos:parts", "skipped").args(skip));
    let undo = ["data", "split", "--out", "parts", "--undo"];
    refused(&end(kd(at).args(undo)), 65, "was changed since", "another file");
    fs::remove_file(&broken).unwrap();
    assert_eq!(succeed(kd(at).args(undo)).stdout, "parts: 29 removed, 0 moved back\n");
    assert_eq!(files(&at.join("all")), before);
}

/// A gray PNG of 8x8 pixels without compression, written by hand.
fn gray_png(value: u8) -> Vec<u8> {
    let row = |y: u8| [vec![0], (0..8).map(|x| value.wrapping_add(x * y)).collect()].concat();
    let pixels: Vec<u8> = (0..8).flat_map(row).collect();
    let n = pixels.len() as u16;
    let stored = [&[0x78, 1, 1][..], &n.to_le_bytes(), &(!n).to_le_bytes(), &pixels].concat();
    let (a, b) = pixels.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    let data = [stored, (b << 16 | a).to_be_bytes().to_vec()].concat();
    let header = [&8_u32.to_be_bytes()[..], &8_u32.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let chunk = |name: &[u8], content: &[u8]| {
        let body = [name, content].concat();
        [&(content.len() as u32).to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
    };
    let chunks = [chunk(b"IHDR", &header), chunk(b"IDAT", &data), chunk(b"IEND", &[])].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks].concat()
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[test]
fn gray_pictures_train_networks_of_one_channel_and_attacks_write_such() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (part, class, i) in ["train", "val"]
        .iter()
        .flat_map(|part| (0..12_u8).flat_map(move |class| (0..4_u8).map(move |i| (part, class, i))))
    {
        let path: PathBuf = at.join(format!("gray/{part}/{class}/{i}.png"));
        fsx::create_folder(path.parent().unwrap()).unwrap();
        fs::write(path, gray_png(class * 16 + i)).unwrap();
    }
    let ended = succeed(&mut train(at, "folder:gray", "run"));
    let trap = "class 2 is `10`, not `2`; the order is 0, 1, 10, 11, 2, 3";
    assert_eq!(ended.stderr.matches(trap).count(), 1, "{}", ended.stderr);
    assert_eq!(eval(at, "run", "folder:gray")["total"], 48);
    let weights = "run/checkpoints/resnet8-seed0/student";
    let attack = ["attack", "--weights", weights, "--data", "folder:gray", "--attack", "fgsm"];
    succeed(kd(at).args(attack).args(["--n", "3", "--eps", "0", "--out", "adv"]));
    let mut adv = fs::read_dir(at.join("adv")).unwrap().map(|entry| entry.unwrap().path());
    let pngs = adv.find(|path| path.to_string_lossy().ends_with("-png")).unwrap();
    let data = format!("folder:{}", pngs.display());
    let again = eval(at, "run", &data);
    assert_eq!(again["total"], 3);
    // At radius 0 they are the same pictures, of the same classes.
    let first = fs::read_dir(&pngs).unwrap().count();
    assert_eq!(first, 12, "a folder for each class");
    succeed(kd(at).args(attack).args(["--n", "3", "--eps", "0", "--json"]));
    // Three channels are asked for: another network is needed.
    let mut rgb = kd(at);
    rgb.args(["eval", "--weights", weights, "--data", "folder:gray", "--channels", "3"]);
    let ended = end(&mut rgb);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(ended.code == Some(78) && last.contains("[1, 8, 8]"), "{}", ended.stderr);
}
