//! What networks see of photographs, for comparison with other programs: `xtask/peer/photos.py`.
//!
//! ```text
//! cargo run --release -p kd-data --example photos -- FOLDER OUT [RESIZE CROP]
//! ```
//!
//! FOLDER has class folders. Writes to the folder OUT, for each image in the order of classes and
//! names, `center.rgb` (evaluation) and `crops.rgb` (one random crop, perhaps flipped), each image
//! as CROP x CROP x 3 bytes; prints for each one `NAME TOP LEFT HEIGHT WIDTH FLIP` of the crop.

#![expect(clippy::print_stdout, reason = "an example says what it found")]

use std::path::Path;
use std::sync::Arc;

use kd_core::{BatchSource, Error, Result, Stream, fsx};
use kd_data::{Augment, PhotoLoader, Photos, ResizedCrop};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out, sizes @ ..] = &args[..] else {
        return Err(Error::config("arguments", "FOLDER OUT [RESIZE CROP]"));
    };
    let size = |i: usize, default| sizes.get(i).and_then(|n| n.parse().ok()).unwrap_or(default);
    let photos =
        Arc::new(Photos::folder(Path::new(folder))?.with_size(size(0, 256), size(1, 224))?);
    let center = PhotoLoader::in_order(photos.clone());
    let crop = Some(ResizedCrop::default());
    let augment = Augment { flip: true, resized_crop: crop, ..Augment::default() };
    let crops = PhotoLoader::new(photos.clone(), augment, Stream::new(1))?;
    fsx::create_folder(Path::new(out))?;
    write(&center, &Path::new(out).join("center.rgb"))?;
    write(&crops, &Path::new(out).join("crops.rgb"))?;
    for i in 0..photos.len() {
        let ([top, left, height, width], flip) = crops.part(0, i as u32)?;
        println!("{} {top} {left} {height} {width} {}", photos.name(i), u8::from(flip));
    }
    Ok(())
}

/// Writes all images as bytes, the channels of a pixel side by side.
fn write(loader: &PhotoLoader, path: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    for i in 0..loader.n_samples() {
        let image = loader.batch(0, &[i as u32])?.images.squeeze(0)?;
        let image = (image.permute((1, 2, 0))?.flatten_all()? * 255.0)?;
        bytes.extend(image.to_vec1::<f32>()?.into_iter().map(|pixel| pixel.round() as u8));
    }
    fsx::write_atomic(path, &bytes)
}
