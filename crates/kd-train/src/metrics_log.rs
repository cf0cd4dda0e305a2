//! The file `metrics.jsonl`, written line by line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use kd_core::record::Record;
use kd_core::{Error, Result, fsx};

/// Appends records to `metrics.jsonl`; each line is on its way to the disk before the call
/// returns.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    /// None where another process writes.
    file: Option<File>,
    n_bytes: u64,
}

impl MetricsLog {
    /// Opens or creates the file. A torn last line, left by a killed process, is cut off.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(Error::io(path, "create"))?;
        let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
        let n_whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |i| i as u64 + 1);
        let mut log = Self { path: path.into(), file: Some(file), n_bytes: n_whole };
        log.truncate(n_whole)?;
        Ok(log)
    }

    /// A log that nobody reads: of a process that trains with another, which writes.
    pub fn none() -> Self {
        Self { path: PathBuf::new(), file: None, n_bytes: 0 }
    }

    /// Size of the file: what [`MetricsLog::truncate`] takes to come back to this moment.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Forgets what was written after the file had `n_bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] when the file is shorter than that.
    pub fn truncate(&mut self, n_bytes: u64) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if n_bytes > self.n_bytes {
            let reason = format!("shorter than the {n_bytes} bytes that the checkpoint saw");
            return Err(Error::Parse { path: self.path.clone(), offset: self.n_bytes, reason });
        }
        file.set_len(n_bytes).map_err(Error::io(&self.path, "truncate"))?;
        self.n_bytes = n_bytes;
        Ok(())
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let line = line(&self.path, record)?;
        file.write_all(&line).map_err(Error::io(&self.path, "write"))?;
        self.n_bytes += line.len() as u64;
        Ok(())
    }

    /// Writes all of `records` into the file `path`, in place of what it held, at once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(path: &Path, records: &[Record]) -> Result<()> {
        let lines = records.iter().map(|record| line(path, record));
        fsx::write_atomic(path, &lines.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Waits until all is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data().map_err(Error::io(&self.path, "write"))
    }
}

/// `record` as a line of the file `path`.
fn line(path: &Path, record: &Record) -> Result<Vec<u8>> {
    let encoded = serde_json::to_vec(record);
    let mut line = encoded.map_err(|e| Error::io(path, "encode")(std::io::Error::other(e)))?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(seconds: f64) -> Record {
        Record::Done { wall_seconds: seconds }
    }

    #[test]
    fn a_torn_line_is_cut_and_a_truncated_log_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path).unwrap();
        log.append(&done(1.0)).unwrap();
        let mark = log.n_bytes();
        log.append(&done(2.0)).unwrap();
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let mut log = MetricsLog::open(&path).unwrap();
        assert_eq!(log.n_bytes(), mark);
        log.append(&done(3.0)).unwrap();
        log.truncate(mark).unwrap();
        log.append(&done(4.0)).unwrap();
        log.sync().unwrap();
        assert_eq!(kd_core::record::read(&path).unwrap(), [done(1.0), done(4.0)]);
        assert!(matches!(log.truncate(10_000), Err(Error::Parse { .. })));
    }
}
