//! Made-up sources of labels, in the form of each kind, for tests and rehearsals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use kd_core::{Error, Result, Stream, fsx};

use super::{Kind, Shape, Wnid, devkit, kaggle, synsets, val_name};

/// Labels of this shape, with the first classes of ILSVRC2012, in an order that `seed` gives.
///
/// # Errors
/// [`Error::Config`] for more classes than there are.
pub fn labels(shape: Shape, seed: u64) -> Result<BTreeMap<u32, Wnid>> {
    let classes = synsets::wnids();
    if shape.n_classes as usize > classes.len() {
        return Err(Error::config("n_classes", format!("{} are too many", shape.n_classes)));
    }
    let order = Stream::new(seed).at("labels").permutation(shape.n_images());
    let class = |place| classes[(place % shape.n_classes.max(1)) as usize];
    Ok((1..).zip(order.into_iter().map(class)).collect())
}

/// Writes `wnids`, whether complete or not, to `path` as a source of this kind.
///
/// # Errors
/// [`Error::Io`].
pub fn write(wnids: &BTreeMap<u32, Wnid>, kind: Kind, path: &Path) -> Result<()> {
    let text = match kind {
        Kind::DevkitFolder => return write_folder(wnids, path),
        Kind::DevkitArchive => {
            let archive = archive(wnids).map_err(Error::io(path, "write"))?;
            return fsx::write_atomic(path, &archive);
        }
        Kind::Kaggle => kaggle(wnids),
        Kind::SynsetList => wnids.values().map(|wnid| format!("{wnid}\n")).collect(),
        Kind::Valprep => valprep(wnids),
    };
    fsx::write_atomic(path, text.as_bytes())
}

fn write_folder(wnids: &BTreeMap<u32, Wnid>, path: &Path) -> Result<()> {
    let data = path.join("data");
    fsx::create_folder(&data)?;
    fsx::write_atomic(&data.join(devkit::TRUTH), ground_truth(wnids).as_bytes())
}

/// The archive, as the published one with other files beside those that are needed.
fn archive(wnids: &BTreeMap<u32, Wnid>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut append = |path: String, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content)
    };
    append("ILSVRC2012_devkit_t12/readme.txt".into(), b"This development kit is made up.\n")?;
    let truth = format!("{}/{}", devkit::FOLDER, devkit::TRUTH);
    append(truth, ground_truth(wnids).as_bytes())?;
    archive.into_inner()?.finish()
}

/// The `ILSVRC2012_ID` of each image's class, which must be one of ILSVRC2012's.
fn ground_truth(wnids: &BTreeMap<u32, Wnid>) -> String {
    let ids: BTreeMap<Wnid, usize> = synsets::wnids().into_iter().zip(1..).collect();
    wnids.values().filter_map(|wnid| Some(format!("{}\n", ids.get(wnid)?))).collect()
}

/// Images in another order than their numbers', some with two boxes, as in the published file.
fn kaggle(wnids: &BTreeMap<u32, Wnid>) -> String {
    let mut text = format!("{}\n", kaggle::HEADER);
    for (number, wnid) in wnids.iter().rev() {
        let name = val_name(*number);
        let boxes = format!("{wnid} 85 1 499 272 ").repeat(1 + (number % 3 == 0) as usize);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{},{boxes}", name.trim_end_matches(".JPEG"));
    }
    text
}

/// With a tab at the end of each line, as in the published script.
fn valprep(wnids: &BTreeMap<u32, Wnid>) -> String {
    let folders: BTreeSet<_> = wnids.values().collect();
    let folders = folders.iter().map(|wnid| format!("mkdir -p {wnid}\t\n"));
    let moves = wnids.iter().map(|(number, wnid)| format!("mv {} {wnid}/\t\n", val_name(*number)));
    folders.chain(moves).collect()
}
