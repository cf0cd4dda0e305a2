//! Made-up images in the form of the published ones, for tests and rehearsals: files that begin
//! like a JPEG and say which image they are, and cannot be decoded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use kd_core::{Error, Result, fsx};

use super::labels::{Shape, Wnid, val_name};

/// Content of the validation image with this number; no two are the same.
pub fn image(number: u32) -> Vec<u8> {
    content(&val_name(number), number)
}

/// Begins like a JPEG, is from 60 to 1083 bytes long, and contains `name`.
fn content(name: &str, seed: u32) -> Vec<u8> {
    let mut bytes = [&b"\xff\xd8\xff\xe0"[..], name.as_bytes()].concat();
    let filling = seed.wrapping_mul(2_654_435_761) >> 22;
    bytes.resize(bytes.len().max(60) + filling as usize, seed as u8);
    bytes
}

/// Writes all validation images into the flat `folder`.
///
/// # Errors
/// [`Error::Io`].
pub fn flat(shape: Shape, folder: &Path) -> Result<()> {
    fsx::create_folder(folder)?;
    for number in 1..=shape.n_images() {
        let path = folder.join(val_name(number));
        fs::write(&path, image(number)).map_err(Error::io(&path, "write"))?;
    }
    Ok(())
}

/// Writes all validation images into an archive like `ILSVRC2012_img_val.tar`.
///
/// # Errors
/// [`Error::Io`].
pub fn archive(shape: Shape, path: &Path) -> Result<()> {
    write_archive(path, (1..=shape.n_images()).map(|number| (val_name(number), image(number))))
}

/// Names and contents of a class's training images, `n` of them.
fn train_images(wnid: Wnid, n: u32) -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..n).map(move |i| {
        let name = format!("{wnid}_{}.JPEG", 10 + 7 * i);
        let content = content(&name, i);
        (name, content)
    })
}

/// Writes an archive of archives like `ILSVRC2012_img_train.tar`, with so many images of each
/// class.
///
/// # Errors
/// [`Error::Io`].
pub fn train_archive(counts: &BTreeMap<Wnid, u32>, path: &Path) -> Result<()> {
    let class = |(&wnid, &n): (&Wnid, &u32)| -> Result<(String, Vec<u8>)> {
        let bytes = pack(Vec::new(), train_images(wnid, n)).map_err(Error::io(path, "write"))?;
        Ok((format!("{wnid}.tar"), bytes))
    };
    let classes: Vec<_> = counts.iter().map(class).collect::<Result<_>>()?;
    write_archive(path, classes.into_iter())
}

fn write_archive(path: &Path, files: impl Iterator<Item = (String, Vec<u8>)>) -> Result<()> {
    let file = File::create(path).map_err(Error::io(path, "create"))?;
    let packed = pack(std::io::BufWriter::new(file), files);
    packed.and_then(|mut writer| writer.flush()).map_err(Error::io(path, "write"))
}

fn pack<W: Write>(writer: W, files: impl Iterator<Item = (String, Vec<u8>)>) -> std::io::Result<W> {
    let mut archive = tar::Builder::new(writer);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &content[..])?;
    }
    archive.into_inner()
}
