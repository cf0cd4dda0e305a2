//! `kd data sums`: checksums of class folders, written, checked, and compared by every reader, by
//! the program.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use candle_core::Device;
use kd_core::{Classifier, Stream};
use kd_models::ModelSpec;
use kd_models::weights::save_safetensors;

use crate::support::{draw_photographs, end, files, json, kd, refused, succeed};

const IMAGE: &str = "val/n00000002/ILSVRC2012_val_00000002.JPEG";

fn sums(at: &Path, args: &[&str]) -> Command {
    let mut command = kd(at);
    command.args(["data", "sums", "photos"]).args(args);
    command
}

/// `kd eval` of a small network on the validation images.
fn eval(at: &Path) -> Command {
    let weights = at.join("weights.safetensors");
    if !weights.exists() {
        let spec = ModelSpec::from_name("resnet8").unwrap();
        let network = spec.as_dyn().build([3, 224, 224], 2, Stream::new(1), &Device::Cpu).unwrap();
        save_safetensors(&weights, &network.params().tensors()).unwrap();
    }
    let mut command = kd(at);
    command.args(["eval", "--model", "resnet8", "--weights", "weights.safetensors", "--json"]);
    command.args(["--data", "photos:photos", "--data-dir", "."]);
    command.args(["--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"]);
    command
}

/// The check by the program that the format comes from, where it is installed.
fn sha256sum_agrees(folder: &Path) -> bool {
    let mut sha256sum = Command::new("sha256sum");
    sha256sum.args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder);
    let status = sha256sum.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.map_or(true, |status| status.success())
}

/// Flips a bit in the middle of the image.
fn flip(at: &Path) {
    let path = at.join("photos").join(IMAGE);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_found_by_every_command_that_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw_photographs(at, 6, 4);
    refused(&end(&mut sums(at, &["--check"])), 66, "`kd data sums` writes it", "no checksums");
    let made = json(&mut sums(at, &[]));
    let parts = made["parts"].as_array().unwrap();
    let images: Vec<_> = parts.iter().map(|part| (&part["images"], &part["written"])).collect();
    assert_eq!(images, [(&6.into(), &true.into()), (&4.into(), &true.into())]);
    let whole = files(&at.join("photos"));
    assert!(whole.contains_key(Path::new("train/SHA256SUMS")));
    assert!(sha256sum_agrees(&at.join("photos/val")));
    for args in [&[][..], &["--check"], &["--force"]] {
        let stdout = succeed(&mut sums(at, args)).stdout;
        assert!(
            stdout.contains("4 images of 2 classes") && stdout.contains("0 faults"),
            "{stdout}"
        );
        assert!(files(&at.join("photos")) == whole, "{args:?} changed something");
    }
    succeed(&mut eval(at));

    flip(at);
    let (_, name) = IMAGE.split_once('/').unwrap();
    for args in [&[][..], &["--check"]] {
        let ended = end(&mut sums(at, args));
        let named = ended.stdout.contains(&format!("corrupt: {name}: its SHA-256 differs"));
        assert!(ended.code == Some(65) && named && ended.stderr.contains("--force"), "{ended:?}");
    }
    refused(&end(&mut eval(at)), 65, &format!("{IMAGE}: at byte 0: its SHA-256 differs"), "eval");
    let pack = ["data", "pack", "--images", "photos/val", "--out", "packed"];
    refused(&end(kd(at).args(pack)), 65, IMAGE, "pack");
    fs::remove_dir_all(at.join("packed.partial")).unwrap();
    let packed = succeed(kd(at).args(pack).args(["--on-bad-image", "skip"])).stdout;
    assert!(packed.contains(name) && packed.contains("3 images"), "{packed}");

    let list = Path::new("val/SHA256SUMS");
    assert!(files(&at.join("photos"))[list] == whole[list], "a refusal wrote something");
    succeed(&mut sums(at, &["--force"]));
    assert!(files(&at.join("photos"))[list] != whole[list]);
    succeed(&mut sums(at, &["--check"]));
    assert_eq!(end(&mut sums(at, &["--check", "--force"])).code, Some(2));
}
