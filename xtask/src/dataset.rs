//! What can be downloaded (`datasets.json`), and whether it is there and right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::digest;
use crate::failure::{Code, Failure, Result};

/// A data set: its files, and where they come from and go to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dataset {
    /// For people.
    pub(crate) title: String,
    /// The suites that need it.
    pub(crate) suites: Vec<String>,
    /// Where downloads go, under the data folder.
    pub(crate) folder: PathBuf,
    /// Where the files may lie, all together, under the data folder.
    pub(crate) search: Vec<PathBuf>,
    /// Addresses of folders that serve the files.
    pub(crate) mirrors: Vec<String>,
    /// The files.
    pub(crate) files: Vec<DataFile>,
    /// What is in them, where it may lie there in their place.
    pub(crate) unpacked: Option<Unpacked>,
}

/// The files out of a data set's archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unpacked {
    /// Where they may lie, all together, under the data folder.
    pub(crate) search: Vec<PathBuf>,
    /// The files.
    pub(crate) files: Vec<DataFile>,
}

/// One file of a data set. Sizes in bytes, digests hexadecimal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataFile {
    /// As served; where the content is known, `.gz` is gone after decompression.
    pub(crate) name: String,
    /// As served.
    pub(crate) size: u64,
    /// SHA-256 as served.
    pub(crate) sha256: String,
    /// Decompressed, where compression may change.
    pub(crate) content: Option<Content>,
}

/// What is in a compressed file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    /// Bytes.
    pub(crate) size: u64,
    /// SHA-256.
    pub(crate) sha256: String,
}

/// All data sets, by name.
///
/// # Errors
/// [`Code::Internal`] when `datasets.json` is malformed; a test keeps that from happening.
pub(crate) fn all() -> Result<BTreeMap<String, Dataset>> {
    serde_json::from_str(include_str!("../datasets.json"))
        .map_err(|e| Failure::new(Code::Internal, format_args!("xtask/datasets.json: {e}")))
}

/// The data folder when none is named: `KD_DATA_DIR`, else `data/`, and whether it is the former.
pub(crate) fn default_folder() -> (PathBuf, bool) {
    match std::env::var_os("KD_DATA_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => (PathBuf::from(dir), true),
        None => (crate::kd::root().join("data"), false),
    }
}

impl Dataset {
    /// All files with their paths when one folder has them all, unpacked or as served.
    pub(crate) fn locate(&self, data_dir: &Path) -> Option<Vec<(&DataFile, PathBuf)>> {
        let unpacked = self.unpacked.iter().map(|u| (&u.search, &u.files));
        unpacked.chain([(&self.search, &self.files)]).find_map(|(search, files)| {
            let path = |folder: &Path, file: &DataFile| file.locate(&data_dir.join(folder));
            search.iter().find_map(|folder| {
                files.iter().map(|file| Some((file, path(folder, file)?))).collect()
            })
        })
    }

    /// Requires that one folder has all files; it does not look into them.
    ///
    /// # Errors
    /// [`Code::MissingInput`], naming what is missing and where it belongs.
    pub(crate) fn require(&self, name: &str, data_dir: &Path) -> Result<()> {
        if self.locate(data_dir).is_some() {
            return Ok(());
        }
        let folder = data_dir.join(&self.folder);
        let missing: Vec<_> = self.files.iter().filter(|f| f.locate(&folder).is_none()).collect();
        let names: Vec<_> = missing.iter().map(|file| file.name.as_str()).collect();
        let line = format!(
            "{}: {} not found (also not decompressed or in {}); put the files there or run \
             `cargo xtask data {name} --data-dir {}`",
            folder.display(),
            names.join(", "),
            self.others(),
            data_dir.display(),
        );
        Err(Failure::new(Code::MissingInput, line))
    }

    fn others(&self) -> String {
        let unpacked = self.unpacked.iter().flat_map(|unpacked| &unpacked.search);
        let others: BTreeSet<_> =
            self.search.iter().chain(unpacked).filter(|folder| **folder != self.folder).collect();
        let others: Vec<_> = others.iter().map(|folder| folder.display().to_string()).collect();
        others.join(", ")
    }
}

impl DataFile {
    /// The one line for a file that could not be had, and how to get it by hand.
    pub(crate) fn unavailable(&self, reason: &str, target: &Path) -> Failure {
        let line = format!(
            "{}: cannot be downloaded: {reason}; try again, or put it there yourself (sha256 {}, \
             {} bytes; data/README.md lists all files)",
            target.display(),
            self.sha256,
            self.size,
        );
        Failure::new(Code::Unavailable, line)
    }

    /// Its path in `folder`, as served or decompressed.
    pub(crate) fn locate(&self, folder: &Path) -> Option<PathBuf> {
        let plain = self.content.as_ref().and_then(|_| self.name.strip_suffix(".gz"));
        let names = plain.into_iter().chain([self.name.as_str()]);
        names.map(|name| folder.join(name)).find(|path| path.is_file())
    }

    /// Checks `path`: where the content is known, that, however it was compressed.
    ///
    /// # Errors
    /// [`Code::BadData`] when it is another, [`Code::Io`] when it cannot be read.
    pub(crate) fn verify(&self, path: &Path) -> Result<()> {
        let file = File::open(path).map_err(Failure::io(path, "open"))?;
        let gzip =
            self.content.is_some() && path.extension().is_some_and(|extension| extension == "gz");
        let reader: Box<dyn Read> =
            if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let (size, sha256) = match &self.content {
            Some(content) => (content.size, &content.sha256),
            None => (self.size, &self.sha256),
        };
        // One byte more than right is enough to see that it is too long.
        let mut hasher = Sha256::new();
        let length = std::io::copy(&mut reader.take(size + 1), &mut hasher);
        let fault = match length {
            Err(error) if !gzip => return Err(Failure::io(path, "read")(error)),
            Err(error) => error.to_string(),
            Ok(length) if length != size => format!("its content is not {size} bytes long"),
            Ok(_) => {
                let got = digest::hex(hasher);
                if got == *sha256 {
                    return Ok(());
                }
                format!("sha256 of its content is {got}, expected {sha256}")
            }
        };
        let line = format!("{}: damaged or another file: {fault}; delete it", path.display());
        Err(Failure::new(Code::BadData, line))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    /// A data set of one file `a.gz` that holds `content`, and the bytes of that file.
    pub(crate) fn sample(content: &[u8]) -> (Dataset, Vec<u8>) {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        gzip.write_all(content).unwrap();
        let served = gzip.finish().unwrap();
        let file = DataFile {
            name: "a.gz".into(),
            size: served.len() as u64,
            sha256: digest::of(&served),
            content: Some(Content { size: content.len() as u64, sha256: digest::of(content) }),
        };
        let dataset = Dataset {
            title: "sample".into(),
            suites: vec![],
            folder: "s".into(),
            search: vec!["s".into(), "S/raw".into()],
            mirrors: vec![],
            files: vec![file],
            unpacked: None,
        };
        (dataset, served)
    }

    #[test]
    fn the_table_is_sound() {
        for (name, dataset) in all().unwrap() {
            assert!(dataset.mirrors.len() >= 2, "{name}");
            assert!(dataset.search.contains(&dataset.folder), "{name}");
            let unpacked = dataset.unpacked.iter().flat_map(|unpacked| &unpacked.files);
            for file in dataset.files.iter().chain(unpacked) {
                let content = file.content.as_ref().map(|content| &content.sha256);
                assert!(content.iter().all(|sha256| sha256.len() == 64), "{name}");
                assert_eq!(file.sha256.len(), 64, "{name}");
            }
        }
    }

    #[test]
    fn files_are_found_in_each_layout() {
        let (dataset, served) = sample(b"content");
        for place in ["s/a.gz", "s/a", "S/raw/a.gz"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(place);
            assert!(dataset.require("sample", dir.path()).is_err());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &served).unwrap();
            assert_eq!(paths(&dataset, dir.path()), [path]);
        }
    }

    fn paths(dataset: &Dataset, dir: &Path) -> Vec<PathBuf> {
        dataset.locate(dir).unwrap().into_iter().map(|(_, path)| path).collect()
    }

    #[test]
    fn an_archive_may_lie_there_unpacked_and_is_itself_never_decompressed() {
        let cifar10 = &all().unwrap()["cifar10"];
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "another").unwrap();
            path
        };
        put("cifar10/cifar-10-binary.tar");
        assert!(cifar10.locate(dir.path()).is_none());
        let archive = put("cifar-10-binary.tar.gz");
        assert_eq!(cifar10.files[0].verify(&archive).unwrap_err().code(), 65);
        assert_eq!(paths(cifar10, dir.path()), [archive]);
        let files = &cifar10.unpacked.as_ref().unwrap().files;
        let place = |file: &DataFile| put(&format!("cifar-10-batches-bin/{}", file.name));
        let want: Vec<_> = files.iter().map(place).collect();
        assert_eq!(paths(cifar10, dir.path()), want);
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        let failure = sample(b"").0.require("sample", Path::new("/d")).unwrap_err();
        assert_eq!(failure.code(), 66);
        let Failure::Own(_, line) = failure else { panic!() };
        assert!(line.contains("/d/s: a.gz") && line.contains("S/raw"), "{line}");
    }

    #[test]
    fn the_content_counts_and_not_its_compression() {
        let (dataset, served) = sample(b"content");
        let file = &dataset.files[0];
        let dir = tempfile::tempdir().unwrap();
        let verify = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            file.verify(&path).map_err(|failure| failure.code())
        };
        assert_eq!(verify("a.gz", &served), Ok(()));
        assert_eq!(verify("a", b"content"), Ok(()));
        for bad in [b"kontent".as_slice(), b"content!", b"conten", b""] {
            assert_eq!(verify("a", bad), Err(65));
        }
        assert_eq!(verify("a.gz", &served[..served.len() - 9]), Err(65));
        assert_eq!(verify("a.gz", b"content"), Err(65));
    }

    #[test]
    fn mnist_as_it_is_on_this_machine_is_the_real_one() {
        let Some(data_dir) = std::env::var_os("KD_DATA_DIR") else { return };
        let mnist = &all().unwrap()["mnist"];
        let Some(files) = mnist.locate(Path::new(&data_dir)) else { return };
        files.iter().for_each(|(file, path)| file.verify(path).unwrap());
        println!("ran on real data: MNIST in {}", Path::new(&data_dir).display());
    }
}
