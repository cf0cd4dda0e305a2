//! The development kit `ILSVRC2012_devkit_t12`, unpacked or as it is published.
//!
//! Its ground truth names a class by an `ILSVRC2012_ID`, which is **not** the rank of the
//! class's WordNet id; `synsets.rs` says which id is which class.

use std::collections::BTreeMap;
use std::path::Path;

use kd_core::{Result, fsx};

use super::lines::lines;
use super::{Checked, Fault, Wnid, synsets};
use crate::archive::{self, Wanted};

/// The id of the class of each image, one a line.
pub(super) const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
/// The folder in the archive that it lies in.
pub(super) const FOLDER: &str = "ILSVRC2012_devkit_t12/data";

/// The most bytes that it may have; it has about 0.2 million.
const MAX_FILE: u64 = 8 << 20;
/// The most bytes that the decompressed archive may have; besides it has examples of
/// predictions, some millions of bytes.
const MAX_ARCHIVE: u64 = 256 << 20;

/// The labels in the unpacked kit at `path`.
pub(super) fn read_folder(path: &Path) -> Result<BTreeMap<u32, Wnid>> {
    let truth = path.join("data").join(TRUTH);
    let hint = format!(
        "a devkit folder has data/{TRUTH}; unpack ILSVRC2012_devkit_t12.tar.gz again, or name the \
         archive itself"
    );
    let bytes = fsx::read_bounded(&truth, MAX_FILE, &hint)?;
    ground_truth(&truth, bytes)
}

/// The labels in the kit that is the archive at `path`; nothing is unpacked.
pub(super) fn read_archive(path: &Path) -> Result<BTreeMap<u32, Wnid>> {
    let names = &[TRUTH];
    let wanted = Wanted { folder: FOLDER, names, max_file: MAX_FILE, max_total: MAX_ARCHIVE };
    let mut found = archive::read(path, &wanted)?;
    ground_truth(&path.join(FOLDER).join(TRUTH), found.remove(TRUTH).unwrap_or_default())
}

/// What the file at `path` says, whose content `bytes` are.
fn ground_truth(path: &Path, bytes: Vec<u8>) -> Result<BTreeMap<u32, Wnid>> {
    parse(&fsx::text(path, bytes)?).map_err(Fault::at(path))
}

/// The class of each image, line 1 that of image 1.
fn parse(text: &str) -> Checked<BTreeMap<u32, Wnid>> {
    let classes = synsets::wnids();
    lines(text)
        .map(|line| {
            let id: Option<usize> = line.text.trim_ascii().parse().ok();
            let wnid = id.and_then(|id| classes.get(id.checked_sub(1)?));
            let expected = || format!("an ILSVRC2012_ID from 1 to {}", classes.len());
            let wnid = wnid.ok_or_else(|| line.unexpected(&expected()))?;
            Ok((line.number, *wnid))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published ground truth's first lines, and the folders to which the published scripts move
    /// those images.
    #[test]
    fn a_line_is_the_id_of_its_images_class() {
        let ids = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164];
        let wnids = [
            1_751_748, 9_193_705, 2_105_855, 4_263_257, 3_125_729, 1_735_189, 2_346_627, 2_776_631,
            3_794_056, 2_328_150,
        ];
        let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let want: BTreeMap<_, _> =
            (1..).zip(wnids.map(|number| Wnid::new(number).unwrap())).collect();
        assert_eq!(parse(&text).unwrap(), want);
        let windows = format!("\u{feff}{}", text.trim().replace('\n', " \r\n"));
        assert_eq!(ground_truth(Path::new("a"), windows.into_bytes()).unwrap(), want);
    }

    #[test]
    fn what_is_no_id_is_named() {
        for bad in ["1001", "0", "", "-1", "1 2", "n00000009", "4294967297"] {
            let fault = parse(&format!("1\n{bad}\n1\n")).unwrap_err();
            assert!(fault.offset == 2 && fault.reason.contains("from 1 to 1000"), "{fault:?}");
        }
        let error = ground_truth(Path::new("a"), b"1\n\xff\n".to_vec()).unwrap_err();
        assert!(matches!(error, kd_core::Error::Parse { offset: 2, .. }), "{error}");
    }
}
