//! The folder of a shipment: what users take in `OUT`, what it was made by in `OUT/work`.

use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A locked folder of a shipment.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) out: PathBuf,
    /// Held until the process ends, however it ends.
    _lock: fsx::Lock,
}

impl Folder {
    /// Creates or takes up `out`.
    pub(crate) fn open(out: &Path) -> Result<Self> {
        let work = out.join("work");
        fsx::create_folder(&work)?;
        Ok(Self { out: out.into(), _lock: fsx::Lock::take(&work)? })
    }

    /// A place among what it was made by.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.out.join("work").join(name)
    }

    /// What `name` among what it was made by holds; where there is no such file, what `make` gives,
    /// which is then written.
    pub(crate) fn once<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let path = self.work(name);
        if let Some(bytes) = fsx::read_if_there(&path, 1 << 20)? {
            let text = fsx::text(&path, bytes)?;
            return toml::from_str(&text).map_err(|e| Error::parse(path, e.to_string()));
        }
        let made = make()?;
        let text = toml::to_string(&made).map_err(|e| Error::config(name, e.to_string()))?;
        fsx::write_atomic(&path, text.as_bytes())?;
        Ok(made)
    }
}
