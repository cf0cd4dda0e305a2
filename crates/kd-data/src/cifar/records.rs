//! The binary format of CIFAR: one record after another, each a label (CIFAR-100: two) and
//! 3 x 32 x 32 bytes.
//!
//! Nothing but its length tells such a file from any other: it must be a whole number of records,
//! and every label must be a class.

use std::path::Path;

use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx};

use crate::Images;

/// `[C, H, W]` of an image.
pub const SHAPE: [usize; 3] = [3, 32, 32];
/// Bytes of the pixels of a record: red, green, blue, each row by row.
pub(crate) const N_PIXELS: usize = SHAPE[0] * SHAPE[1] * SHAPE[2];
/// Records of the largest file: all of a data set's.
const MAX_RECORDS: usize = 60_000;

const AGAIN: &str = "the file is damaged or another one: get it again";

/// What stands before the pixels of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels {
    /// The number of classes of each label, which is a byte.
    pub(crate) n_classes: &'static [usize],
    /// The label that is taken.
    pub(crate) taken: usize,
}

impl Labels {
    /// Bytes of a record.
    pub(crate) const fn record(self) -> usize {
        self.n_classes.len() + N_PIXELS
    }

    /// The most bytes that a file may have.
    pub(crate) const fn max_bytes(self) -> u64 {
        (MAX_RECORDS * self.record()) as u64
    }
}

/// The images of several files, one after another.
#[derive(Debug)]
pub(crate) struct Gathered {
    format: Labels,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    files: Vec<DataFile>,
}

impl Gathered {
    /// None yet.
    pub(crate) fn new(format: Labels) -> Self {
        Self { format, pixels: Vec::new(), labels: Vec::new(), files: Vec::new() }
    }

    /// Reads the file at `path` and appends its images.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], or as [`Gathered::add`].
    pub(crate) fn read(&mut self, path: &Path) -> Result<()> {
        let hint = "put the file of CIFAR's binary version there";
        self.add(path, &fsx::read_bounded(path, self.format.max_bytes(), hint)?)
    }

    /// Appends the images of a file's content; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Parse`] when the content is not of whole records, or has a label that is no class.
    pub(crate) fn add(&mut self, path: &Path, content: &[u8]) -> Result<()> {
        check(path, content, self.format)?;
        let records = content.chunks_exact(self.format.record());
        self.files.push(DataFile {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: fsx::sha256(content),
            n_items: records.len(),
        });
        self.pixels.reserve(records.len() * N_PIXELS);
        for record in records {
            self.labels.push(u32::from(record[self.format.taken]));
            self.pixels.extend_from_slice(&record[self.format.n_classes.len()..]);
        }
        Ok(())
    }

    /// All of them.
    ///
    /// # Errors
    /// [`Error::Config`] when nothing was added.
    pub(crate) fn into_images(self) -> Result<Images> {
        let n_classes = self.format.n_classes[self.format.taken];
        Ok(Images::new(self.pixels, self.labels, SHAPE, n_classes)?.with_files(self.files))
    }
}

fn check(path: &Path, content: &[u8], format: Labels) -> Result<()> {
    let error =
        |offset: usize, reason| Error::Parse { path: path.into(), offset: offset as u64, reason };
    let record = format.record();
    let n_records = content.len() / record;
    if content.is_empty() || !content.len().is_multiple_of(record) {
        let reason =
            format!("ends within record {n_records}, of {record} bytes: cut off; get it again");
        return Err(error(content.len(), reason));
    }
    for (at, &n_classes) in format.n_classes.iter().enumerate() {
        let mut labels = content.iter().skip(at).step_by(record);
        if let Some(i) = labels.position(|&label| usize::from(label) >= n_classes) {
            let label = content[i * record + at];
            let reason = format!("label {label} of record {i} is not below {n_classes}; {AGAIN}");
            return Err(error(i * record + at, reason));
        }
    }
    Ok(())
}

/// The content of a file with these labels and pixels, as many as there are labels.
pub(crate) fn encode(labels: &[u8], pixels: &[u8]) -> Vec<u8> {
    let records = labels.iter().zip(pixels.chunks_exact(N_PIXELS));
    records.flat_map(|(label, pixels)| std::iter::once(label).chain(pixels)).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Labels = Labels { n_classes: &[10], taken: 0 };
    const RECORD: usize = ONE.record();

    fn decode(content: &[u8]) -> Result<Images> {
        let mut gathered = Gathered::new(ONE);
        gathered.add(Path::new("test_batch.bin"), content)?;
        gathered.into_images()
    }

    fn fault(content: &[u8]) -> (u64, String) {
        match decode(content) {
            Err(Error::Parse { offset, reason, .. }) => (offset, reason),
            other => panic!("not a parse error: {other:?}"),
        }
    }

    /// Two records by hand: label 3, all red; label 9, pixels 0, 1, 2, ... (mod 256).
    fn content() -> Vec<u8> {
        let red = [[255; 1024], [0; 1024], [0; 1024]].concat();
        let ramp: Vec<u8> = (0..3072).map(|i| i as u8).collect();
        [&[3][..], &red, &[9], &ramp].concat()
    }

    #[test]
    fn records_by_hand() {
        let images = decode(&content()).unwrap();
        assert_eq!((images.len(), images.shape(), images.n_classes()), (2, [3, 32, 32], 10));
        assert_eq!(images.labels(), [3, 9]);
        assert_eq!(images.image(0)[1023..1025], [255, 0]);
        assert_eq!(images.image(1)[254..258], [254, 255, 0, 1]);
        assert_eq!(encode(&[3, 9], images.pixels()), content());
        let file = &images.files()[0];
        assert_eq!((file.name.as_str(), file.n_items), ("test_batch.bin", 2));
        assert_eq!(file.sha256, fsx::sha256(&content()));
    }

    #[test]
    fn another_length_is_refused_where_it_ends() {
        for cut in [0, 1, 3072, 3074, 6145] {
            let (offset, reason) = fault(&content()[..cut]);
            assert_eq!(offset, cut as u64);
            assert!(reason.contains(&format!("record {}", cut / 3073)), "{reason}");
        }
        let longer = [&content()[..], &[0]].concat();
        assert_eq!(fault(&longer).0, 6147);
    }

    #[test]
    fn a_label_that_is_no_class_is_named_with_its_record() {
        let mut content = content();
        content[3073] = 10;
        let (offset, reason) = fault(&content);
        assert!(offset == 3073 && reason.contains("label 10 of record 1"), "{reason}");
    }

    #[test]
    fn of_two_labels_one_is_taken_and_both_are_checked() {
        let two = |taken| Labels { n_classes: &[20, 100], taken };
        let content = [&[19, 99][..], &[7; 3072], &[0, 20], &[9; 3072]].concat();
        for (taken, n_classes, labels) in [(0, 20, [19, 0]), (1, 100, [99, 20])] {
            let mut gathered = Gathered::new(two(taken));
            gathered.add(Path::new("train.bin"), &content).unwrap();
            let images = gathered.into_images().unwrap();
            assert_eq!((images.n_classes(), images.labels()), (n_classes, &labels[..]));
            assert_eq!((images.image(0)[0], images.image(1)[3071]), (7, 9));
        }
        for (at, bad) in [(3074, 20), (3075, 100)] {
            let mut content = content.clone();
            content[at] = bad;
            let error = Gathered::new(two(0)).add(Path::new("train.bin"), &content).unwrap_err();
            assert!(matches!(error, Error::Parse { offset, .. } if offset == at as u64), "{error}");
            assert!(error.to_string().contains(&format!("label {bad} of record 1")), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| Gathered::new(ONE).read(&folder.path().join(name));
        assert!(matches!(read("test_batch.bin"), Err(Error::Missing { .. })));
        let huge = std::fs::File::create(folder.path().join("huge.bin")).unwrap();
        huge.set_len(ONE.max_bytes() + RECORD as u64).unwrap();
        assert!(matches!(read("huge.bin"), Err(Error::Parse { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_are_read_or_refused(
            place in 0_usize..6146, byte in any::<u8>(), cut in 0_usize..6147,
        ) {
            let mut content = content();
            content[place] = byte;
            if let Ok(images) = decode(&content[..cut]) {
                prop_assert_eq!(images.len() * RECORD, cut);
            }
        }
    }
}
