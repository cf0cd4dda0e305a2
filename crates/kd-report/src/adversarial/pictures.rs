//! The pictures that a run left.

use std::collections::BTreeMap;
use std::path::Path;

use kd_core::record::{PicturesRecord, RunRecord};
use kd_core::{Error, fsx};

use crate::document::{Block, Picture, Section};

use super::{Adversarial, AttackedModel};

/// PNG files by path relative to the run's folder; their bytes, or why they are not shown.
#[derive(Default)]
pub(crate) struct Gallery(BTreeMap<String, Result<Vec<u8>, &'static str>>);

/// Bytes of one file.
const FILE_LIMIT: u64 = 1 << 20;
/// Bytes of all files together, so that the report stays one that a browser opens at once.
const LIMIT: usize = 8 << 20;

impl Gallery {
    /// Reads the pictures of each model's first seed.
    pub(crate) fn load(run_dir: &Path, adversarial: Option<&Adversarial>) -> Self {
        let mut gallery = Self::default();
        let mut n_bytes = 0;
        for (_, record) in adversarial.into_iter().flat_map(shown) {
            let png = read(run_dir, &record.file, LIMIT - n_bytes);
            n_bytes += png.as_ref().map_or(0, Vec::len);
            gallery.0.insert(record.file.clone(), png);
        }
        gallery
    }

    fn get(&self, file: &str) -> Result<Vec<u8>, &'static str> {
        self.0.get(file).cloned().unwrap_or(Err("was not read"))
    }
}

fn read(run_dir: &Path, file: &str, room: usize) -> Result<Vec<u8>, &'static str> {
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    if !file.split('/').all(part) {
        return Err("is not the name of a file in the run's folder");
    }
    let png = fsx::read_bounded(&run_dir.join(file), FILE_LIMIT, "").map_err(|e| match e {
        Error::Missing { .. } => "is missing",
        Error::Parse { .. } => "is too large to be shown here",
        _ => "cannot be read",
    })?;
    match png.starts_with(b"\x89PNG\r\n\x1a\n") {
        false => Err("is no PNG file"),
        true if png.len() > room => Err("would make this report too large"),
        true => Ok(png),
    }
}

/// The pictures of each model's first seed.
fn shown(all: &Adversarial) -> impl Iterator<Item = (&AttackedModel, &PicturesRecord)> {
    all.models.iter().flat_map(|model| {
        let first = model.pictures.iter().map(|record| record.seed).min();
        let of_first = move |record: &&PicturesRecord| Some(record.seed) == first;
        model.pictures.iter().filter(of_first).map(move |record| (model, record))
    })
}

const TEXT: &str = "One row an image: the clean image, ten times its change around middle gray, and \
    the adversarial image; beside it the label and what the model predicts after the attack. The \
    pictures are of the first seed.";

/// The label, and what the model predicts.
fn change(run: &RunRecord, labels: &[u32; 2]) -> String {
    let [from, to] = labels.map(|class| run.class(class as usize));
    format!("{from} \u{2192} {to}")
}

/// All pictures, by model.
pub(super) fn section(all: &Adversarial, gallery: &Gallery, run: &RunRecord) -> Option<Section> {
    let picture = |(model, record): (&AttackedModel, &PicturesRecord)| Picture {
        file: record.file.clone(),
        png: gallery.get(&record.file),
        rows: record.labels.iter().map(|labels| change(run, labels)).collect(),
        caption: format!("{}, {}.", model.name, record.attack),
    };
    let pictures: Vec<_> = shown(all).map(picture).collect();
    let blocks = vec![Block::Text(TEXT.into()), Block::Pictures(pictures)];
    shown(all).next().and_then(|_| Section::of("Pictures", blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bounded_png_files_of_the_run_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes);
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        write("a.png", &png).unwrap();
        write("text.png", b"text").unwrap();
        png.resize((1 << 20) + 1, 0);
        write("large.png", &png).unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let of = |file, room| read(folder.path(), file, room);
        assert_eq!(of("a.png", 8).unwrap().len(), 8);
        assert_eq!(of("a.png", 7), Err("would make this report too large"));
        assert_eq!(of("b.png", 8), Err("is missing"));
        assert_eq!(of("text.png", 8), Err("is no PNG file"));
        assert_eq!(of("large.png", 1 << 30), Err("is too large to be shown here"));
        for hostile in ["../a.png", "/etc/passwd", "", "run/../a.png", "a>.png", "a.png/", "."] {
            assert!(read(&run, hostile, 8).unwrap_err().contains("not the name"), "{hostile}");
        }
    }
}
