//! The unfinished folder of a pack.
//!
//! A shard is done when its record (`shard-00000.json`) appears, which is written after the shard
//! itself; work that was cut off goes on behind the last record.

use std::collections::BTreeSet;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx, json};

use super::index::{Plan, Record, shard_name};
use crate::Photos;

/// What the folder is to become.
const PLAN: &str = "plan.json";
/// The most bytes of a plan or a record.
const MAX_JSON: u64 = 1 << 30;

/// Shards that are written, and one that is being filled.
#[derive(Debug)]
pub(super) struct Work {
    folder: PathBuf,
    lock: fsx::Lock,
    records: Vec<Record>,
    current: Record,
    content: Vec<u8>,
    /// Photographs that all of them account for.
    pub(super) n_done: usize,
}

impl Work {
    /// Takes up the work in `folder`, which `lock` locks.
    ///
    /// # Errors
    /// [`Error::Config`] when it is the work on another plan; [`Error::Parse`], [`Error::Io`].
    pub(super) fn resume(folder: PathBuf, lock: fsx::Lock, plan: &Plan) -> Result<Self> {
        let path = folder.join(PLAN);
        let wanted = json::line(&path, plan)?;
        match fsx::read_bounded(&path, MAX_JSON, "") {
            Ok(found) if found == wanted => {}
            Err(Error::Missing { .. }) if is_new(&folder)? => fsx::write_atomic(&path, &wanted)?,
            Ok(_) | Err(Error::Missing { .. }) => return Err(other(&folder)),
            Err(error) => return Err(error),
        }
        let records = records(&folder)?;
        let n_done = records.iter().map(|record| record.n_seen).sum();
        let (current, content) = (Record::default(), Vec::new());
        Ok(Self { folder, lock, records, current, content, n_done })
    }

    /// Adds photograph `i`, or that it is left out.
    pub(super) fn add(
        &mut self,
        photos: &Photos,
        i: usize,
        image: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<()> {
        if let Some(image) = image {
            if !self.content.is_empty() && self.content.len() + image.len() > limit {
                self.write_shard(photos)?;
            }
            let images = &mut self.current.images;
            images.names.push(photos.name(i));
            images.labels.push(photos.labels()[i]);
            images.lengths.push(image.len() as u32);
            images.crc32.push(crc32fast::hash(&image));
            self.content.extend_from_slice(&image);
        }
        self.current.n_seen += 1;
        self.n_done += 1;
        Ok(())
    }

    /// Writes the last shard; gives the folder, its lock and all records.
    pub(super) fn close(mut self, photos: &Photos) -> Result<(PathBuf, fsx::Lock, Vec<Record>)> {
        if !self.content.is_empty() {
            self.write_shard(photos)?;
        }
        Ok((self.folder, self.lock, self.records))
    }

    /// Removes what a finished folder does not need.
    pub(super) fn sweep(folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
            let path = entry.map_err(Error::io(folder, "read"))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_record = name.starts_with("shard-") && name.ends_with(".json");
            if is_record || name == PLAN || name.starts_with(".tmp") {
                fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
            }
        }
        Ok(())
    }

    fn write_shard(&mut self, photos: &Photos) -> Result<()> {
        let k = self.records.len();
        let (mut record, content) = (mem::take(&mut self.current), mem::take(&mut self.content));
        record.bytes = content.len() as u64;
        record.sha256 = fsx::sha256(&content);
        let seen = self.n_done - record.n_seen..self.n_done;
        let names: BTreeSet<String> = seen.map(|i| photos.name(i)).collect();
        let bad_images = photos.bad_images().into_iter();
        record.bad_images = bad_images.filter(|(name, _)| names.contains(name)).collect();
        fsx::write_atomic(&self.folder.join(shard_name(k)), &content)?;
        let path = self.folder.join(record_name(k));
        fsx::write_atomic(&path, &json::line(&path, &record)?)?;
        self.records.push(record);
        Ok(())
    }
}

fn record_name(k: usize) -> String {
    format!("shard-{k:05}.json")
}

/// The records of the shards that are done.
fn records(folder: &Path) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let path = folder.join(record_name(records.len()));
        let Some(content) = fsx::read_if_there(&path, MAX_JSON)? else { return Ok(records) };
        let record: Record = json::parse(&path, &content)?;
        let shard = folder.join(shard_name(records.len()));
        if fs::metadata(&shard).map_or(0, |metadata| metadata.len()) != record.bytes {
            return Ok(records);
        }
        records.push(record);
    }
}

/// Whether nobody has put anything into the folder yet.
fn is_new(folder: &Path) -> Result<bool> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder, "read"))?;
    let mut names = entries.flatten().map(|entry| entry.file_name());
    Ok(names.all(|name| name.to_string_lossy().starts_with('.')))
}

fn other(folder: &Path) -> Error {
    let reason = format!(
        "{} is the unfinished work on other photographs or settings; remove it or choose another",
        folder.display()
    );
    Error::config("out", reason)
}
