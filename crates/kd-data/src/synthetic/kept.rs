//! Synthetic files kept between runs.

use std::fs;
use std::path::{Path, PathBuf};

use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx};
use rayon::prelude::*;

use crate::Splits;

/// Names the digests of the other files, in the format of `sha256sum`; written last.
const SUMS: &str = "SHA256SUMS";
/// The most bytes that one file of a set may have.
const MAX_FILE: u64 = 1 << 30;

/// The set that `decode` reads from the contents of the files `names`: of those that an earlier run
/// left in `folder`, if they are intact and have so many training and test images, else of those that
/// `draw` makes, which are then kept there.
///
/// # Errors
/// Those of `draw` and `decode`; [`Error::Io`].
pub(super) fn load<const N: usize>(
    folder: Option<&Path>,
    names: [&str; N],
    sizes: [usize; 2],
    draw: impl FnOnce() -> Result<[Vec<u8>; N]>,
    decode: impl Fn(&[Vec<u8>; N]) -> Result<Splits>,
) -> Result<Splits> {
    let intact = |folder: &Path| {
        let splits = decode(&read(folder, names)?).ok()?;
        let right = [splits.train.len(), splits.test.len()] == sizes;
        (right && is_intact(folder, &splits)).then_some(splits)
    };
    if let Some(splits) = folder.and_then(intact) {
        return Ok(splits);
    }
    let contents = draw()?;
    let splits = decode(&contents)?;
    if let Some(folder) = folder {
        write(folder, names, &contents, &splits)?;
    }
    Ok(splits)
}

fn read<const N: usize>(folder: &Path, names: [&str; N]) -> Option<[Vec<u8>; N]> {
    let read = |name: &str| fsx::read_bounded(&folder.join(name), MAX_FILE, "").ok();
    let contents: Vec<_> = names.into_iter().map(read).collect::<Option<_>>()?;
    contents.try_into().ok()
}

/// Writes the files, then their digests: without these the folder does not count.
fn write<const N: usize>(
    folder: &Path,
    names: [&str; N],
    contents: &[Vec<u8>; N],
    splits: &Splits,
) -> Result<()> {
    fsx::create_folder(folder)?;
    for (name, content) in names.into_iter().zip(contents) {
        fsx::write_atomic(&folder.join(name), content)?;
    }
    fsx::write_atomic(&folder.join(SUMS), sums(splits).as_bytes())
}

/// Whether `splits`, read from `folder`, are what was written there.
fn is_intact(folder: &Path, splits: &Splits) -> bool {
    let written = fsx::read_bounded(&folder.join(SUMS), 4096, "");
    written.is_ok_and(|written| written == sums(splits).as_bytes())
}

/// The digests of the files that `splits` came from.
pub(super) fn sums(splits: &Splits) -> String {
    let line = |file: &DataFile| line(&file.sha256, Path::new(&file.name));
    splits.train.files().iter().chain(splits.test.files()).map(line).collect()
}

/// Makes `folder` of `n` files, `file(i)` giving name and content, on all threads: under a
/// temporary name, then renamed. What was there is removed.
///
/// # Errors
/// Those of `file`; [`Error::Io`].
pub(super) fn make_folder(
    folder: &Path,
    n: usize,
    file: impl Fn(usize) -> Result<(PathBuf, Vec<u8>)> + Sync,
) -> Result<()> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    fsx::create_folder(parent)?;
    let work = builder().tempdir_in(parent).map_err(Error::io(folder, "create"))?;
    let write = |i| {
        let (name, content) = file(i)?;
        let path = work.path().join(&name);
        path.parent().map_or(Ok(()), fsx::create_folder)?;
        fs::write(&path, &content).map_err(Error::io(&path, "write"))?;
        Ok(line(&fsx::sha256(&content), &name))
    };
    let lines: Vec<String> = (0..n).into_par_iter().map(write).collect::<Result<_>>()?;
    fsx::write_atomic(&work.path().join(SUMS), lines.concat().as_bytes())?;
    match fs::rename(work.path(), folder) {
        Ok(()) => fsx::sync_folder(parent),
        // Another process was faster.
        Err(_) if is_whole(folder, n) => Ok(()),
        Err(_) => replace(work.path(), folder),
    }
}

fn replace(new: &Path, folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).map_err(Error::io(folder, "remove"))?;
    fs::rename(new, folder).map_err(Error::io(folder, "rename"))
}

/// Whether `folder` holds `n` files as [`make_folder`] wrote them.
pub(super) fn is_whole(folder: &Path, n: usize) -> bool {
    let sums = fsx::read_bounded(&folder.join(SUMS), MAX_FILE, "").ok();
    let Some(sums) = sums.and_then(|sums| String::from_utf8(sums).ok()) else { return false };
    let is_right = |line: &&str| {
        let Some((sum, name)) = line.split_once("  ") else { return false };
        let content = fsx::read_bounded(&folder.join(name), MAX_FILE, "");
        content.is_ok_and(|content| fsx::sha256(&content) == sum)
    };
    let lines: Vec<&str> = sums.lines().collect();
    lines.len() == n && lines.par_iter().all(is_right)
}

fn line(sum: &str, name: &Path) -> String {
    format!("{sum}  {}\n", name.display())
}

/// Temporary folders are their owner's alone; what we keep is for all whom the umask allows.
fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".making-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder
}
