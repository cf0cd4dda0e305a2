//! Synthetic files kept between runs.

use std::path::Path;

use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx};

use crate::Splits;

/// Names the digests of the other files, in the format of `sha256sum`; written last.
const SUMS: &str = "SHA256SUMS";

/// [`Error::Config`] for `field` unless `low <= n <= high`.
pub(super) fn check_size(field: &str, n: usize, [low, high]: [usize; 2]) -> Result<()> {
    if (low..=high).contains(&n) {
        return Ok(());
    }
    Err(Error::config(field, format!("{n} must be between {low} and {high}")))
}

/// Writes the files, then their digests: without these the folder does not count.
pub(super) fn write(folder: &Path, files: &[(&Path, &[u8])]) -> Result<()> {
    fsx::create_folder(folder)?;
    let mut sums = String::new();
    for (name, content) in files {
        fsx::write_atomic(&folder.join(name), content)?;
        sums += &format!("{}  {}\n", fsx::sha256(content), name.display());
    }
    fsx::write_atomic(&folder.join(SUMS), sums.as_bytes())
}

/// Whether `splits`, read from `folder`, are what was written there.
pub(super) fn is_intact(folder: &Path, splits: &Splits) -> bool {
    let written = fsx::read_bounded(&folder.join(SUMS), 4096, "");
    written.is_ok_and(|written| written == sums(splits).as_bytes())
}

/// The digests of the files that `splits` came from.
pub(super) fn sums(splits: &Splits) -> String {
    let line = |file: &DataFile| format!("{}  {}\n", file.sha256, file.name);
    splits.train.files().iter().chain(splits.test.files()).map(line).collect()
}
