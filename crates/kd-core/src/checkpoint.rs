//! Checkpoints: a folder with tensors (safetensors), state (JSON) and a manifest of sha256 sums;
//! that of a finished network also says what the network is (JSON), so that it can be used by
//! whoever has the folder and nothing else.
//!
//! The folder is written under a temporary name, synced, and renamed: under its final name it is
//! whole. Reading verifies the manifest first, so a flipped bit is found before a number is used
//! (safetensors itself has no checksum). Tensors are stored in the order of their names and without
//! free metadata, so equal content gives equal bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, Graph, Result, fsx, json};

/// File of the tensors within the folder.
pub const TENSORS: &str = "model.safetensors";
const STATE: &str = "state.json";
const NETWORK: &str = "network.json";
const MANIFEST: &str = "manifest.json";
const INCOMPLETE: &str = "the checkpoint is incomplete";
/// More than any network here: a bound for what is read into memory.
const LIMIT: u64 = 8 << 30;

/// What weights belong to: all that is needed to use them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Short name, such as `resnet20`.
    pub name: String,
    /// The network, its normalization included.
    pub graph: Graph,
    /// Names of the classes, by label; none where they are not known.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Pixels of a photograph's shorter side before the square that the network sees is cut out of its
    /// middle; nothing for images that come as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<usize>,
    /// The temperature at which the softmax of the logits is calibrated, where held-out images said it
    /// (Guo et al. 2017, arXiv:1706.04599).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

impl Description {
    /// A network of which no more is known.
    pub fn new(name: impl Into<String>, graph: Graph) -> Self {
        let name = name.into();
        Self { name, graph, class_names: Vec::new(), resize: None, temperature: None }
    }

    /// Checks the graph, and that it is one of as many classes as there are names.
    ///
    /// # Errors
    /// [`Error::Config`], which says what is wrong.
    pub fn check(&self) -> Result<()> {
        let (n_classes, n_names) = (self.graph.n_classes()?, self.class_names.len());
        if n_names != 0 && n_names != n_classes {
            let reason = format!("{n_names} names for {n_classes} classes");
            return Err(Error::config("class_names", reason));
        }
        Ok(())
    }
}

/// Writes `tensors` and `state` as the folder `path`, replacing what is there.
///
/// # Errors
/// [`Error::Io`]; `path` then holds what it held before, or (after a failure between two renames)
/// the old content lies beside it as `NAME.old`, where [`load`] finds it.
pub fn save(path: &Path, tensors: &BTreeMap<String, Tensor>, state: &impl Serialize) -> Result<()> {
    write(path, &[(TENSORS, to_bytes(path, tensors)?), (STATE, json::pretty(path, state)?)])
}

/// [`save`] for a finished network.
///
/// # Errors
/// As [`save`] and [`Description::check`].
pub fn save_network(
    path: &Path,
    network: &Description,
    tensors: &BTreeMap<String, Tensor>,
    state: &impl Serialize,
) -> Result<()> {
    network.check()?;
    let network = (NETWORK, json::pretty(path, network)?);
    write(
        path,
        &[network, (TENSORS, to_bytes(path, tensors)?), (STATE, json::pretty(path, state)?)],
    )
}

fn write(path: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fsx::create_folder(folder)?;
    let work = tempfile::Builder::new()
        .prefix(".saving-")
        .tempdir_in(folder)
        .map_err(Error::io(path, "create"))?;
    let mut manifest = BTreeMap::new();
    for (name, bytes) in files {
        fsx::write_atomic(&work.path().join(name), bytes)?;
        manifest.insert(name, fsx::sha256(bytes));
    }
    fsx::write_atomic(&work.path().join(MANIFEST), &json::pretty(path, &manifest)?)?;
    replace(&work.keep(), path)?;
    fsx::sync_folder(folder)
}

/// Renames `new` to `path`, by way of `NAME.old` when `path` exists.
fn replace(new: &Path, path: &Path) -> Result<()> {
    let old = old(path);
    remove_folder(&old)?;
    if path.exists() {
        fs::rename(path, &old).map_err(Error::io(path, "rename"))?;
    }
    fs::rename(new, path).map_err(Error::io(path, "rename"))?;
    remove_folder(&old)
}

/// `NAME.old` beside `path`; names such as `alpha0.5-t5` have no extension to replace.
fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// Removes the checkpoint `path`, if it is there, and a predecessor that a killed process left.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(path: &Path) -> Result<()> {
    remove_folder(&old(path))?;
    remove_folder(path)
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, "remove")(e)),
        _ => Ok(()),
    }
}

/// Reads the checkpoint `path`, or its predecessor `NAME.old` when only that is there.
///
/// # Errors
/// [`Error::Missing`], [`Error::Checksum`], [`Error::Parse`], [`Error::Io`].
pub fn load<S: DeserializeOwned>(
    path: &Path,
    device: &Device,
) -> Result<(BTreeMap<String, Tensor>, S)> {
    let (path, manifest) = open(path)?;
    let state = json::parse(&path.join(STATE), &verified(&path, STATE, &manifest)?)?;
    Ok((tensors(&path, &manifest, device)?, state))
}

/// Reads the network of the checkpoint `path`: its tensors, and what it is where that was written.
///
/// # Errors
/// As [`load`] and [`Description::check`].
pub fn load_network(
    path: &Path,
    device: &Device,
) -> Result<(BTreeMap<String, Tensor>, Option<Description>)> {
    let (path, manifest) = open(path)?;
    let mut network: Option<Description> = None;
    if manifest.contains_key(NETWORK) {
        network = Some(json::parse(&path.join(NETWORK), &verified(&path, NETWORK, &manifest)?)?);
    }
    network.as_ref().map_or(Ok(()), Description::check)?;
    Ok((tensors(&path, &manifest, device)?, network))
}

/// Sums of files, by name.
type Manifest = BTreeMap<String, String>;

/// The folder that holds the checkpoint, and its manifest.
fn open(path: &Path) -> Result<(PathBuf, Manifest)> {
    let old = old(path);
    let path = if !path.exists() && old.exists() { old } else { path.to_owned() };
    let manifest_path = path.join(MANIFEST);
    let manifest = fsx::read_bounded(&manifest_path, 1 << 20, "no checkpoint is here")?;
    let manifest = json::parse(&manifest_path, &manifest)?;
    Ok((path, manifest))
}

/// Looks for the files of the checkpoint `path`, whose content is verified when it is read.
///
/// # Errors
/// [`Error::Missing`] naming the first that is not there; those of reading the manifest.
pub fn find(path: &Path) -> Result<()> {
    let (path, manifest) = open(path)?;
    let mut files = manifest.keys().map(|name| path.join(name));
    match files.find(|file| !file.is_file()) {
        Some(path) => Err(Error::Missing { path, hint: INCOMPLETE.into() }),
        None => Ok(()),
    }
}

fn tensors(path: &Path, manifest: &Manifest, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    from_bytes(&path.join(TENSORS), &verified(path, TENSORS, manifest)?, device)
}

/// Reads the tensors of a safetensors file (without a manifest).
///
/// # Errors
/// [`Error::Missing`], [`Error::Parse`], [`Error::Io`].
pub fn load_tensors(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let bytes = fsx::read_bounded(path, LIMIT, "give a safetensors file or a checkpoint folder")?;
    from_bytes(path, &bytes, device)
}

fn verified(path: &Path, name: &str, manifest: &Manifest) -> Result<Vec<u8>> {
    let path = path.join(name);
    let bytes = fsx::read_bounded(&path, LIMIT, INCOMPLETE)?;
    let got = fsx::sha256(&bytes);
    match manifest.get(name) {
        Some(expected) if *expected == got => Ok(bytes),
        expected => {
            let expected = expected.cloned().unwrap_or_else(|| "not in the manifest".into());
            Err(Error::Checksum { path, expected, got })
        }
    }
}

fn to_bytes(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    safetensors::serialize(tensors, None).map_err(|e| Error::parse(path, e.to_string()))
}

fn from_bytes(path: &Path, bytes: &[u8], device: &Device) -> Result<BTreeMap<String, Tensor>> {
    // The header is checked here first: candle reports no file name.
    let views = safetensors::SafeTensors::deserialize(bytes)
        .map_err(|e| Error::parse(path, e.to_string()))?;
    drop(views);
    Ok(candle_core::safetensors::load_buffer(bytes, device)?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use crate::testing::random;

    fn sample(seed: u64) -> BTreeMap<String, Tensor> {
        let tensor = |name: &str, shape: &[usize]| {
            (name.to_owned(), random(Stream::new(seed).at(name), shape))
        };
        BTreeMap::from([tensor("b", &[3]), tensor("a.weight", &[2, 3]), tensor("c", &[0])])
    }

    fn values(tensors: &BTreeMap<String, Tensor>) -> Vec<(String, Vec<f32>)> {
        let floats = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        tensors.iter().map(|(name, t)| (name.clone(), floats(t))).collect()
    }

    #[test]
    fn what_is_saved_is_loaded_and_files_are_byte_stable() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        save(&one, &sample(1), &7u32).unwrap();
        save(&two, &sample(2), &8u32).unwrap();
        save(&two, &sample(1), &7u32).unwrap();
        let (tensors, state): (_, u32) = load(&two, &Device::Cpu).unwrap();
        assert_eq!((values(&tensors), state), (values(&sample(1)), 7));
        for file in [TENSORS, STATE, MANIFEST] {
            assert_eq!(fs::read(one.join(file)).unwrap(), fs::read(two.join(file)).unwrap());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }

    fn description(names: &[&str]) -> Description {
        let mut graph = Graph::new([1, 1, 2]);
        graph.then("flatten", crate::ops::Flatten {});
        graph.then("fc1", crate::ops::Linear::new(3));
        let graph = graph.normalized(&[0.1307], &[0.3081]).unwrap();
        let class_names = names.iter().map(|name| (*name).to_owned()).collect();
        let (resize, temperature) = (Some(64), Some(1.25));
        Description { class_names, resize, temperature, ..Description::new("net", graph) }
    }

    #[test]
    fn a_network_comes_with_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let network = description(&["cat", "dog", "ship"]);
        save_network(&path, &network, &sample(1), &7u32).unwrap();
        let (tensors, known) = load_network(&path, &Device::Cpu).unwrap();
        assert_eq!((values(&tensors), known), (values(&sample(1)), Some(network)));
        assert_eq!(load::<u32>(&path, &Device::Cpu).unwrap().1, 7);
        let text = fs::read_to_string(path.join(NETWORK)).unwrap();
        fs::write(path.join(NETWORK), text.replace("0.1307", "0.1308")).unwrap();
        let changed = load_network(&path, &Device::Cpu);
        assert!(matches!(changed, Err(Error::Checksum { .. })));
        save(&path, &sample(1), &7u32).unwrap();
        assert_eq!(load_network(&path, &Device::Cpu).unwrap().1, None);
        let two = save_network(&path, &description(&["cat", "dog"]), &sample(1), &7u32);
        assert!(two.unwrap_err().to_string().contains("2 names for 3 classes"));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        save(&path, &sample(1), &7u32).unwrap();
        for file in [TENSORS, STATE] {
            let good = fs::read(path.join(file)).unwrap();
            for i in 0..good.len() {
                let mut bad = good.clone();
                bad[i] ^= 1 << (i % 8);
                fs::write(path.join(file), &bad).unwrap();
                let result = load::<u32>(&path, &Device::Cpu);
                assert!(matches!(result, Err(Error::Checksum { .. })), "{file}, byte {i}");
            }
            fs::write(path.join(file), &good).unwrap();
        }
        assert!(load::<u32>(&path, &Device::Cpu).is_ok());
    }

    #[test]
    fn a_save_cut_between_its_renames_leaves_the_old_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alpha0.5-t5");
        save(&path, &sample(1), &7u32).unwrap();
        fs::rename(&path, folder.path().join("alpha0.5-t5.old")).unwrap();
        assert_eq!(load::<u32>(&path, &Device::Cpu).unwrap().1, 7);
        let other = load::<u32>(&folder.path().join("alpha0.5-t10"), &Device::Cpu);
        assert!(matches!(other, Err(Error::Missing { .. })), "another model's weights");
        save(&path, &sample(1), &8u32).unwrap();
        assert_eq!(load::<u32>(&path, &Device::Cpu).unwrap().1, 8);
    }

    #[test]
    fn a_removed_checkpoint_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("a"), folder.path().join("a.old"));
        save(&path, &sample(1), &7u32).unwrap();
        save(&old, &sample(1), &6u32).unwrap();
        remove(&path).unwrap();
        let gone = load::<u32>(&path, &Device::Cpu);
        assert!(matches!(gone, Err(Error::Missing { .. })));
        remove(&path).unwrap();
    }

    #[test]
    fn hostile_safetensors_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        for bytes in [&b""[..], &[0xff; 8], b"\x02\0\0\0\0\0\0\0{}x", b"\x10\0\0\0\0\0\0\0{"] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(load_tensors(&path, &Device::Cpu), Err(Error::Parse { .. })));
        }
        let missing = load_tensors(&folder.path().join("y"), &Device::Cpu);
        assert!(matches!(missing, Err(Error::Missing { .. })));
    }
}
