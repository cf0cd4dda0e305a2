//! One file of logits: rows of K numbers, read when they are needed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};
use parking_lot::Mutex;

use super::layout::Layout;
use super::{npy, tensors};

/// Bytes in which a header must lie.
const MAX_START: u64 = 2 << 20;
/// Numbers that are looked at together.
const CHUNK: usize = 1 << 18;

/// An open file of rows.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) path: PathBuf,
    file: Mutex<File>,
    pub(super) layout: Layout,
    n_classes: usize,
}

impl Table {
    /// Opens a `.npy` or safetensors file, of which each number is looked at.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Parse`] for another file, one of another length
    /// than it says, and for numbers that are not finite.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let fault = |offset, reason: String| Error::Parse { path: path.into(), offset, reason };
        let file = fsx::open(path, "give a .npy or safetensors file of logits")?;
        let len = file.metadata().map_err(Error::io(path, "read"))?.len();
        let mut start = Vec::new();
        (&file).take(MAX_START).read_to_end(&mut start).map_err(Error::io(path, "read"))?;
        let layout = match start.starts_with(npy::MAGIC) {
            true => npy::layout(&start),
            false if npy::is_called(path) => Err("not a .npy file".into()),
            false => tensors::layout(&start),
        };
        let layout = layout.map_err(|reason| fault(0, reason))?;
        let n_classes = layout.shape.last().copied().unwrap_or(0);
        if !layout.fits(len) || n_classes == 0 {
            let reason = format!("its {len} bytes are not those of the shape {:?}", layout.shape);
            return Err(fault(len, reason));
        }
        let table = Self { path: path.into(), file: Mutex::new(file), layout, n_classes };
        table.check_numbers()?;
        Ok(table)
    }

    /// Number of rows.
    pub(super) fn n_rows(&self) -> usize {
        self.layout.shape.iter().rev().skip(1).product()
    }

    /// Writes the rows from `row` on to `out`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn read(&self, row: usize, out: &mut [f32]) -> Result<()> {
        let kind = self.layout.kind;
        let mut bytes = vec![0; out.len() * kind.size()];
        let offset = self.layout.place.start + (row * self.n_classes * kind.size()) as u64;
        let mut file = self.file.lock();
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(Error::io(&self.path, "read"))?;
        drop(file);
        kind.read(&bytes, out);
        Ok(())
    }

    fn check_numbers(&self) -> Result<()> {
        let (n_rows, step) = (self.n_rows(), (CHUNK / self.n_classes).max(1));
        for first in (0..n_rows).step_by(step) {
            let mut rows = vec![0.0; step.min(n_rows - first) * self.n_classes];
            self.read(first, &mut rows)?;
            let Some(i) = rows.iter().position(|z| !z.is_finite()) else { continue };
            let at = first * self.n_classes + i;
            let (row, class) = (at / self.n_classes, at % self.n_classes);
            let reason =
                format!("row {row}, class {class} is {} as f32; logits are finite", rows[i]);
            let offset = self.layout.place.start + (at * self.layout.kind.size()) as u64;
            return Err(Error::Parse { path: self.path.clone(), offset, reason });
        }
        Ok(())
    }
}
