//! Writes a made-up ILSVRC2012 validation set with all sources of its labels, to rehearse
//! `kd data imagenet` on it: `cargo run -p kd-data --example fake_imagenet -- DIR [K N]`, with K
//! classes of N images (1000 of 50).

use std::path::PathBuf;

use kd_core::{Error, Result};
use kd_data::imagenet::labels::{Kind, Shape};
use kd_data::testing::{archive, flat, labels, train_archive, write_labels};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = || Error::config("DIR", "the folder to write to must be given");
    let folder = args.next().map(PathBuf::from).ok_or_else(usage)?;
    let mut number = |usual| args.next().and_then(|arg| arg.parse().ok()).unwrap_or(usual);
    let shape = Shape { n_classes: number(1000), n_per_class: number(50) };
    flat(shape, &folder.join("flat"))?;
    archive(shape, &folder.join("ILSVRC2012_img_val.tar"))?;
    let wnids = labels(shape, 0)?;
    for kind in Kind::ALL {
        write_labels(&wnids, kind, &folder.join(kind.file_name()))?;
    }
    let counts = wnids.values().map(|&wnid| (wnid, 5)).collect();
    train_archive(&counts, &folder.join("ILSVRC2012_img_train.tar"))
}
