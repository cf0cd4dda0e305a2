//! Logits of a teacher that runs elsewhere, in any framework: from a file.
//!
//! Key decision: rows stay in the file and are read when they are needed, so that a file may be larger
//! than the memory; all of it is looked at once, when it is opened.

mod layout;
mod npy;
mod table;
mod tensors;

use std::path::PathBuf;

use candle_core::Tensor;
use kd_core::{BatchSource, Error, Result, argmax};

use crate::average::Average;
use crate::memory::places;
use layout::Kind;
use table::Table;

/// Rows that are compared with labels at most.
const N_COMPARED: usize = 10_000;

/// Logits by the number of the training image and of the version of it that an epoch shows: `(N, K)`,
/// the same for all versions, or `(views, N, K)`. As f32; f16 and f64 are converted.
#[derive(Debug)]
pub struct TeacherLogits {
    tables: Vec<Table>,
    average: Average,
    n_images: usize,
    n_classes: usize,
    notes: Vec<String>,
}

/// What the rows of a file must be of.
#[derive(Clone, Copy)]
pub struct LogitsOf<'a> {
    /// The training images.
    pub source: &'a dyn BatchSource,
    /// Digests of the lists that `kd data views` writes of them. A safetensors file may name that which
    /// its rows follow, as `kd.views` in its metadata; it is refused where that is none of these.
    pub lists: &'a [String],
}

impl TeacherLogits {
    /// Opens a file, or several whose average is the teacher.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Parse`] for a damaged file and for numbers that are
    /// not finite; [`Error::Config`] for another number of images, versions or classes, or another
    /// order.
    pub fn open(paths: &[PathBuf], average: Average, of: LogitsOf<'_>) -> Result<Self> {
        average.check()?;
        let source = of.source;
        let (n_images, n_classes) = (source.n_samples(), source.n_classes());
        let mut notes = Vec::new();
        let open = |path: &PathBuf| {
            let table = Table::open(path)?;
            check_shape(&table, source)?;
            check_list(&table, of.lists)?;
            notes.extend(said(&table, source));
            Ok(table)
        };
        let tables = paths.iter().map(open).collect::<Result<Vec<_>>>()?;
        Ok(Self { tables, average, n_images, n_classes, notes })
    }

    /// What a user should know of the files, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Number of classes, K.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// The logits of the images `indices` of `source`, as epoch `epoch` shows them: `(n, K)`.
    ///
    /// # Errors
    /// [`Error::Io`]; what candle refuses.
    pub fn of(&self, source: &dyn BatchSource, epoch: u64, indices: &[u32]) -> Result<Tensor> {
        let places = places(source, epoch, indices);
        let rows = self.rows(&places)?;
        Ok(Tensor::from_vec(rows, (places.len(), self.n_classes), &source.device())?)
    }

    /// How often the largest logit of an image is that of its label, which `labels` says for each: far
    /// from what the teacher is known for, images or classes have another order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn agreement(&self, labels: &[u32]) -> Result<f64> {
        let step = labels.len().div_ceil(N_COMPARED).max(1);
        let compared: Vec<usize> = (0..labels.len()).step_by(step).collect();
        let rows = self.rows(&compared)?;
        let agrees = |(row, i): &(&[f32], &usize)| argmax(row) == labels[**i] as usize;
        let n_agree = rows.chunks_exact(self.n_classes).zip(&compared).filter(agrees).count();
        Ok(n_agree as f64 / compared.len().max(1) as f64)
    }

    /// Rows by the numbers of versions of images, `view * N + index`.
    fn rows(&self, places: &[usize]) -> Result<Vec<f32>> {
        let of = |table: &Table| -> Result<Vec<f32>> {
            let mut rows = vec![0.0; places.len() * self.n_classes];
            for (row, place) in rows.chunks_exact_mut(self.n_classes).zip(places) {
                let is_for_all = table.n_rows() == self.n_images;
                table.read(if is_for_all { place % self.n_images } else { *place }, row)?;
            }
            Ok(rows)
        };
        let mut rows = self.tables.iter().map(of).collect::<Result<Vec<_>>>()?;
        Ok(match rows.len() {
            1 => rows.swap_remove(0),
            _ => self.average.rows(&rows, self.n_classes),
        })
    }
}

/// Refuses a file that has not one row for each image, or for each version of it.
fn check_shape(table: &Table, source: &dyn BatchSource) -> Result<()> {
    let (n, k) = (source.n_samples(), source.n_classes());
    let n_views = source.n_views();
    match table.layout.shape[..] {
        [rows, classes] if (rows, classes) == (n, k) && !source.mixes() => return Ok(()),
        [views, rows, classes] if (Some(views), rows, classes) == (n_views, n, k) => return Ok(()),
        _ => {}
    }
    let with_views = n_views
        .map_or(", since every epoch shows other versions of them".into(), |views| {
            format!(" or ({views}, {n}, {k})")
        });
    let reason = format!(
        "{} holds {:?}; the {n} training images of {k} classes need ({n}, {k}){with_views}: `kd data \
         views` lists which row is of which image",
        table.path.display(),
        table.layout.shape
    );
    Err(Error::config("teacher_logits", reason))
}

/// Refuses a file that follows another list.
fn check_list(table: &Table, lists: &[String]) -> Result<()> {
    let Some(list) = &table.layout.list else { return Ok(()) };
    if lists.contains(list) {
        return Ok(());
    }
    let reason = format!(
        "{} follows the list {list}, this training that of digest {}: other images, another order or other \
         crops; `kd data views` with the training's own flags writes the right list",
        table.path.display(),
        lists.join(" or ")
    );
    Err(Error::config("teacher_logits", reason))
}

/// What is to be said of a file.
fn said(table: &Table, source: &dyn BatchSource) -> Vec<String> {
    let Table { path, layout, .. } = table;
    let mut notes = Vec::new();
    if layout.kind != Kind::F32 {
        notes.push(format!("{}: numbers of type {:?}, read as f32", path.display(), layout.kind));
    }
    if layout.shape.len() == 2 && source.n_views() != Some(1) {
        notes.push(format!(
            "{}: one row an image, the same for all of its versions",
            path.display()
        ));
    }
    if layout.list.is_none() {
        notes.push(format!(
            "{}: does not say which list of images it follows (`{}` in a safetensors file's metadata); \
             taken in the order of `kd data views`",
            path.display(),
            tensors::LIST
        ));
    }
    notes
}

#[cfg(test)]
mod tests;
