//! The development kit `ILSVRC2012_devkit_t12`, unpacked or as it is published.
//!
//! Its ground truth names a class by an `ILSVRC2012_ID`, which is **not** the rank of the
//! class's WordNet id; `meta.mat` says which id is which class.

mod meta;

use std::collections::BTreeMap;
use std::path::Path;

use kd_core::{Result, fsx};

use super::lines::lines;
use super::{Checked, Fault, Shape, Wnid};
use crate::archive::{self, Wanted};

/// The classes.
pub(super) const META: &str = "meta.mat";
/// The id of the class of each image, one a line.
pub(super) const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
/// The folder in the archive that both lie in.
pub(super) const FOLDER: &str = "ILSVRC2012_devkit_t12/data";

/// The most bytes that one of the two may have; they have about 0.2 million each.
const MAX_FILE: u64 = 8 << 20;
/// The most bytes that the decompressed archive may have; besides the two it has examples of
/// predictions, some millions of bytes.
const MAX_ARCHIVE: u64 = 256 << 20;

/// The labels in the unpacked kit at `path`.
pub(super) fn read_folder(path: &Path, shape: Shape) -> Result<BTreeMap<u32, Wnid>> {
    let data = path.join("data");
    let hint = format!(
        "a devkit folder has data/{META} and data/{TRUTH}; unpack ILSVRC2012_devkit_t12.tar.gz \
         again, or name the archive itself"
    );
    let read = |name| fsx::read_bounded(&data.join(name), MAX_FILE, &hint);
    labels(&data, &read(META)?, &read(TRUTH)?, shape)
}

/// The labels in the kit that is the archive at `path`; nothing is unpacked.
pub(super) fn read_archive(path: &Path, shape: Shape) -> Result<BTreeMap<u32, Wnid>> {
    let names = &[META, TRUTH];
    let wanted = Wanted { folder: FOLDER, names, max_file: MAX_FILE, max_total: MAX_ARCHIVE };
    let found = archive::read(path, &wanted)?;
    labels(&path.join(FOLDER), &found[META], &found[TRUTH], shape)
}

/// The labels by both files' content; `folder` is named in errors.
fn labels(folder: &Path, meta: &[u8], truth: &[u8], shape: Shape) -> Result<BTreeMap<u32, Wnid>> {
    let classes = meta::classes(meta, shape.n_classes).map_err(Fault::at(&folder.join(META)))?;
    ground_truth(truth, &classes).map_err(Fault::at(&folder.join(TRUTH)))
}

/// The class of each image, line 1 that of image 1.
fn ground_truth(bytes: &[u8], classes: &BTreeMap<u32, Wnid>) -> Checked<BTreeMap<u32, Wnid>> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| Fault::new(error.valid_up_to() as u64, "is not UTF-8"))?;
    lines(text)
        .map(|line| {
            let id = line.text.trim_ascii().parse().ok();
            let wnid = id.and_then(|id: u32| classes.get(&id));
            let expected = || format!("an ILSVRC2012_ID from 1 to {}", classes.len());
            let wnid = wnid.ok_or_else(|| line.unexpected(&expected()))?;
            Ok((line.number, *wnid))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_id_of_its_images_class() {
        let wnid = |number| Wnid::new(number).unwrap();
        let classes = BTreeMap::from([(1, wnid(9)), (2, wnid(5))]);
        let want = BTreeMap::from([(1, wnid(5)), (2, wnid(9)), (3, wnid(5))]);
        assert_eq!(ground_truth(b"2\n1 \r\n2", &classes).unwrap(), want);
        for bad in ["3", "0", "", "-1", "1 2", "n00000009", "4294967297"] {
            let fault = ground_truth(format!("1\n{bad}\n1\n").as_bytes(), &classes).unwrap_err();
            assert!(fault.offset == 2 && fault.reason.contains("from 1 to 2"), "{fault:?}");
        }
        assert_eq!(ground_truth(b"1\n\xff\n", &classes).unwrap_err().offset, 2);
    }
}
