//! The file of soft targets: a header, then one row for each version of each image.
//!
//! Key decision: every row has its place, so that a killed process loses nothing but rows that it
//! was writing. One that is torn or was never written counts as unknown and is computed again, to the
//! same bits. The file's name
//! is the digest of its header, and the header names the teacher's weights and what they were shown:
//! another teacher or other images have another file. Rows of one version lie together, as an epoch
//! reads them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kd_core::{BatchSource, Classifier, Error, Result, fsx};
use parking_lot::Mutex;
use serde::Serialize;

use super::{Rows, SoftTargetStore, SoftTargets, StoredAs};

/// What the rows of a file depend on, in its first line.
#[derive(Serialize)]
struct Header<'a> {
    format: &'static str,
    teacher: String,
    identity: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tap: Option<&'a str>,
    n_images: usize,
    n_views: usize,
    n_classes: usize,
    top_k: usize,
    #[serde(skip_serializing_if = "StoredAs::is_exact")]
    stored_as: StoredAs,
}

/// An open file of soft targets.
pub(crate) struct TargetFile {
    path: PathBuf,
    file: Mutex<File>,
    rows: Rows,
    /// Where the rows begin.
    start: u64,
}

impl TargetFile {
    /// Opens the file of `teacher` on the images of `source`, or begins one.
    ///
    /// # Errors
    /// [`Error::Config`] when versions of images cannot be numbered, or for a `top_k` that does
    /// not suit the classes; [`Error::Parse`] for a damaged file; [`Error::Io`].
    pub(crate) fn open(
        store: &SoftTargetStore<'_>,
        teacher: &dyn Classifier,
        source: &dyn BatchSource,
    ) -> Result<Self> {
        store.targets.check(teacher.n_classes())?;
        Self::of(store, (teacher, source), (None, teacher.n_classes()))
    }

    /// The same for what the part `tap` of `teacher` makes of the images, `width` numbers of each, which
    /// are stored as they are.
    ///
    /// # Errors
    /// As [`TargetFile::open`]; [`Error::Config`] for a part of too many numbers.
    pub(crate) fn open_tap(
        store: &SoftTargetStore<'_>,
        teacher: &dyn Classifier,
        source: &dyn BatchSource,
        (tap, width): (&str, usize),
    ) -> Result<Self> {
        let store = &SoftTargetStore { targets: SoftTargets::default(), ..*store };
        if store.targets.check(width).is_err() {
            let reason = format!(
                "`{tap}` makes {width} numbers of each image, too many to store; choose a part behind \
                 the pooling"
            );
            return Err(Error::config("soft_targets", reason));
        }
        Self::of(store, (teacher, source), (Some(tap), width))
    }

    fn of(
        store: &SoftTargetStore<'_>,
        (teacher, source): (&dyn Classifier, &dyn BatchSource),
        (tap, width): (Option<&str>, usize),
    ) -> Result<Self> {
        let n_views = store.targets.n_views(source)?;
        let header = Header {
            format: "kd soft targets 1",
            teacher: digest(teacher)?,
            identity: store.identity,
            tap,
            n_images: source.n_samples(),
            n_views,
            n_classes: width,
            top_k: store.targets.n_stored(width),
            stored_as: store.targets.stored_as,
        };
        let n_rows = source.n_samples().saturating_mul(n_views);
        let n_bytes = store.targets.n_bytes(n_rows, width);
        Self::open_as(store.folder, &header.line()?, (store.targets.rows(width), n_bytes))
    }

    fn open_as(folder: &Path, header: &[u8], (rows, n_bytes): (Rows, u64)) -> Result<Self> {
        let path = folder.join(format!("{}.soft", &fsx::sha256(header)[..24]));
        if !path.exists() {
            fsx::create_folder(folder)?;
            fsx::write_atomic(&path, header)?;
        }
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).open(&path).map_err(Error::io(&path, "open"))?;
        check_header(&mut file, &path, header)?;
        let start = header.len() as u64;
        // Rows that were never written are zeros, which take no space on most file systems.
        let n_bytes = start.saturating_add(n_bytes);
        file.set_len(n_bytes).map_err(Error::io(&path, "extend"))?;
        Ok(Self { path, file: Mutex::new(file), rows, start })
    }

    /// Writes the logits at `place` to `row`; false when they are not known.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn get(&self, place: usize, row: &mut [f32]) -> Result<bool> {
        let mut bytes = vec![0; self.rows.n_bytes()];
        self.at(place, "read", |file| file.read_exact(&mut bytes))?;
        Ok(self.rows.unpack(place, &bytes, row))
    }

    /// Stores the logits `row` at `place`, and makes them what [`TargetFile::get`] gives: the first
    /// training that asks for them sees no others than the second.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn put(&self, place: usize, row: &mut [f32]) -> Result<()> {
        let bytes = self.rows.pack(place, row);
        self.at(place, "write", |file| file.write_all(&bytes))?;
        self.rows.unpack(place, &bytes, row);
        Ok(())
    }

    fn at(
        &self,
        place: usize,
        action: &'static str,
        work: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<()> {
        let offset = self.start + place as u64 * self.rows.n_bytes() as u64;
        let mut file = self.file.lock();
        let done = file.seek(SeekFrom::Start(offset)).and_then(|_| work(&mut file));
        done.map_err(Error::io(&self.path, action))
    }
}

impl Header<'_> {
    fn line(&self) -> Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)
            .map_err(|e| Error::config("soft_targets.identity", e.to_string()))?;
        line.push(b'\n');
        Ok(line)
    }
}

fn check_header(file: &mut File, path: &Path, header: &[u8]) -> Result<()> {
    let mut found = Vec::new();
    let read = Read::by_ref(file).take(header.len() as u64).read_to_end(&mut found);
    read.map_err(Error::io(path, "read"))?;
    if found == header {
        return Ok(());
    }
    let reason = "not the soft targets that its name promises; remove it".to_owned();
    Err(Error::parse(path, reason))
}

/// SHA-256 over names, shapes and values of all weights.
fn digest(network: &dyn Classifier) -> Result<String> {
    let mut lines = String::new();
    for (name, tensor) in network.params().tensors() {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        lines += &format!("{name} {:?} {}\n", tensor.dims(), fsx::sha256(&bytes));
    }
    Ok(fsx::sha256(lines.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Dots, Network};

    fn largest(top_k: usize) -> SoftTargets {
        SoftTargets { top_k: Some(top_k), ..SoftTargets::default() }
    }

    fn store<'a>(folder: &'a Path, identity: &'a str) -> SoftTargetStore<'a> {
        SoftTargetStore { targets: largest(2), folder, identity }
    }

    fn open(folder: &Path, identity: &str) -> TargetFile {
        TargetFile::open(&store(folder, identity), &Network::new(1), &Dots::new(5)).unwrap()
    }

    const ROW: [f32; 6] = [1.0, 3.0, 0.0, 2.0, 0.0, 0.0];

    fn get(file: &TargetFile, place: usize) -> Option<[f32; 6]> {
        let mut row = [0.0; 6];
        file.get(place, &mut row).unwrap().then_some(row)
    }

    #[test]
    fn rows_outlast_the_process_at_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), "a");
        assert!((0..15).all(|place| get(&file, place).is_none()), "5 images in 3 versions");
        let mut row = ROW;
        file.put(14, &mut row).unwrap();
        assert_eq!((row[1], row[3]), (3.0, 2.0));
        drop(file);
        let file = open(folder.path(), "a");
        assert_eq!((get(&file, 14), get(&file, 13)), (Some(row), None));
        let n_bytes = std::fs::metadata(&file.path).unwrap().len();
        assert_eq!(n_bytes, file.start + 15 * 20);
    }

    #[test]
    fn a_damaged_or_torn_row_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), "a");
        file.put(3, &mut ROW.clone()).unwrap();
        let (start, good) = (file.start as usize + 60, std::fs::read(&file.path).unwrap());
        for bit in 0..20 * 8 {
            let mut bad = good.clone();
            bad[start + bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&file.path, &bad).unwrap();
            assert_eq!(get(&open(folder.path(), "a"), 3), None, "bit {bit}");
        }
        for n_bytes in [start, start + 7, start + 19] {
            std::fs::write(&file.path, &good[..n_bytes]).unwrap();
            assert_eq!(get(&open(folder.path(), "a"), 3), None, "{n_bytes} bytes");
        }
        // A row at another's place.
        let mut moved = good.clone();
        moved.copy_within(start..start + 20, start - 20);
        std::fs::write(&file.path, &moved).unwrap();
        assert_eq!(get(&open(folder.path(), "a"), 2), None);
        assert!(get(&open(folder.path(), "a"), 3).is_some());
    }

    #[test]
    fn another_teacher_other_images_or_another_k_have_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |identity, top_k, teacher, n| {
            let targets = largest(top_k);
            let store = SoftTargetStore { targets, ..store(folder.path(), identity) };
            TargetFile::open(&store, &Network::new(teacher), &Dots::new(n)).unwrap().path
        };
        let first = path("a", 2, 1, 5);
        assert_eq!(path("a", 2, 1, 5), first);
        for other in
            [path("b", 2, 1, 5), path("a", 3, 1, 5), path("a", 2, 2, 5), path("a", 2, 1, 6)]
        {
            assert_ne!(other, first);
        }
        std::fs::copy(path("b", 2, 1, 5), &first).unwrap();
        let store = store(folder.path(), "a");
        let mixed = TargetFile::open(&store, &Network::new(1), &Dots::new(5));
        assert!(matches!(mixed, Err(Error::Parse { offset: 0, .. })));
    }

    #[test]
    fn rows_of_bytes_outlast_the_process_and_lie_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let open = |stored_as| {
            let targets = SoftTargets { top_k: None, stored_as };
            let store = SoftTargetStore { targets, ..store(folder.path(), "a") };
            TargetFile::open(&store, &Network::new(1), &Dots::new(5)).unwrap()
        };
        let file = open(StoredAs::EightBit);
        assert!((0..15).all(|place| get(&file, place).is_none()));
        let mut row = ROW;
        file.put(14, &mut row).unwrap();
        assert!(row != ROW && get(&file, 14) == Some(row) && get(&file, 13).is_none());
        let file = open(StoredAs::EightBit);
        assert_eq!(get(&file, 14), Some(row));
        assert_eq!(std::fs::metadata(&file.path).unwrap().len(), file.start + 15 * 6);
        let exact = open(StoredAs::F32);
        exact.put(14, &mut ROW.clone()).unwrap();
        assert_eq!((get(&exact, 14), get(&file, 14)), (Some(ROW), Some(row)));
    }

    /// Images whose versions are without number.
    struct Endless(Dots);

    impl BatchSource for Endless {
        fn n_samples(&self) -> usize {
            self.0.n_samples()
        }

        fn n_classes(&self) -> usize {
            self.0.n_classes()
        }

        fn image_shape(&self) -> [usize; 3] {
            self.0.image_shape()
        }

        fn order(&self, epoch: u64) -> Vec<u32> {
            self.0.order(epoch)
        }

        fn batch(&self, epoch: u64, indices: &[u32]) -> Result<kd_core::Batch> {
            self.0.batch(epoch, indices)
        }
    }

    #[test]
    fn versions_that_cannot_be_numbered_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "a");
        let refused = TargetFile::open(&store, &Network::new(1), &Endless(Dots::new(5)));
        assert!(refused.is_err_and(|e| e.to_string().contains("n_views")));
    }
}
