//! `kd data pack`: photographs into shards, checked, and read in place of the folder, by the program.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{draw_photographs, end, files, json, kd, refused, succeed};

fn pack(at: &Path, args: &[&str]) -> Value {
    let mut command = kd(at);
    json(command.args(["data", "pack", "--out", "packed"]).args(args))
}

/// The largest file below `folder`: a shard.
fn shard(folder: &Path) -> PathBuf {
    let files = files(folder);
    let (path, _) = files.iter().max_by_key(|(_, content)| content.len()).unwrap();
    folder.join(path)
}

#[test]
fn a_pack_is_checked_and_read_like_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw_photographs(at, 12, 6);
    let images = ["--images", "photos", "--side", "64", "--verify"];
    let text = pack(at, &images).to_string();
    assert!(text.contains(r#""images":12"#) && text.contains(r#""images":6"#), "{text}");
    let packed = files(&at.join("packed"));
    let again = pack(at, &images).to_string();
    assert!(again.contains(r#""packed":0"#) && !again.contains(r#""packed":12"#), "{again}");
    assert_eq!(files(&at.join("packed")), packed);

    let suite = |path: &str| {
        format!(
            "suite = \"packed\"\n\
             data = {{ kind = \"photos\", path = \"{path}\", resize = 40, crop = 32 }}\n\
             synthetic = {{ kind = \"synthetic-photos\" }}\n\
             plan = {{ n_epochs = 1, batch_size = 4, learning_rate = 0.01 }}\n\
             augment = {{ resized_crop = {{}}, flip = true }}\n\
             [[training]]\n\
             name = \"small\"\n\
             model = {{ kind = \"cifar-resnet\", depth = 8 }}\n\
             student = [{{ name = \"alone\", loss = {{ kind = \"labels\" }} }}]\n"
        )
    };
    for path in ["photos", "packed"] {
        fs::write(at.join("suite.toml"), suite(path)).unwrap();
        let mut run = kd(at);
        run.args(["run", "suite.toml", "--data-dir", ".", "--out"]).arg(format!("runs/{path}"));
        succeed(&mut run);
        let log = fs::read_to_string(at.join("runs").join(path).join("metrics.jsonl")).unwrap();
        assert_eq!(log.contains(r#""reencoded":true"#), path == "packed");
    }

    let shard = shard(&at.join("packed"));
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let mut verify = kd(at);
    verify.args(["data", "pack", "--out", "packed", "--verify"]);
    refused(&end(&mut verify), 65, "JPEG", "one flipped bit");
}
