//! What is in a folder, and what of it counts.
//!
//! File managers, archives and authors leave files among pictures: previews, settings, licenses,
//! lists. They are passed over and counted, so that a reader can say so; a training on less than was
//! meant is then seen.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kd_core::{Error, Result};

use crate::sums::digests::SUMS;

/// The most files and folders that one folder may have.
const MAX_ENTRIES: usize = 4_000_000;
/// The most folders that lie within each other below a class.
const MAX_DEPTH: usize = 16;

/// How the names of pictures end, in any case: those of torchvision's `ImageFolder`, and others of
/// the formats that are read.
const EXTENSIONS: [&str; 14] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp", "gif", "jfif", "jpe", "pbm",
    "pnm",
];

/// How the names of pictures end that are not read.
const UNREAD: [&str; 16] = [
    "heic", "heif", "avif", "jp2", "j2k", "jxl", "svg", "psd", "tga", "ico", "raw", "cr2", "nef",
    "arw", "dng", "orf",
];

/// Folders that systems and programs make, beside those whose names begin with a dot.
const SYSTEM_FOLDERS: [&str; 8] = [
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "__pycache__",
    "RECYCLER",
];
/// Files that file managers make, in lower case.
const SYSTEM_FILES: [&str; 5] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini"];

/// A picture or folder; links are what they lead to.
pub(super) struct Entry {
    pub(super) name: Box<str>,
    pub(super) is_folder: bool,
}

/// Whether a file of this name is read.
pub(crate) fn is_picture(name: &str) -> bool {
    EXTENSIONS.contains(&extension(name).as_str())
}

fn extension(name: &str) -> String {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    extension.unwrap_or_default().to_ascii_lowercase()
}

/// What was passed over, by what it is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PassedOver(BTreeMap<String, usize>);

impl PassedOver {
    /// One more; many files of other kinds are told by how their names end.
    pub(super) fn add(&mut self, name: &str) {
        let kind = match extension(name) {
            _ if name.starts_with("._") => "._*".into(),
            _ if is_system_file(name) || name.starts_with('.') => name.into(),
            extension if extension.is_empty() => name.into(),
            extension => format!("*.{extension}"),
        };
        *self.0.entry(kind).or_default() += 1;
    }

    pub(super) fn add_folder(&mut self, name: &str) {
        *self.0.entry(format!("{name}/")).or_default() += 1;
    }

    /// `n` pictures that lie beside the class folders.
    pub(super) fn add_beside(&mut self, n: usize) {
        if n > 0 {
            self.0.insert("pictures in no class folder".into(), n);
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        other.0.into_iter().for_each(|(name, n)| *self.0.entry(name).or_default() += n);
    }

    /// How many there are, and what the most frequent ones are called; nothing when there are none.
    pub(super) fn words(&self) -> Option<String> {
        const N_NAMED: usize = 5;
        let total: usize = self.0.values().sum();
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let mut named: Vec<_> = kinds
            .iter()
            .take(N_NAMED)
            .map(|(name, n)| format!("{n} {}", name.escape_debug()))
            .collect();
        if kinds.len() > N_NAMED {
            named.push(format!("{} other kinds", kinds.len() - N_NAMED));
        }
        (total > 0).then(|| format!("{total} files and folders passed over: {}", named.join(", ")))
    }

    /// An ending of pictures that are not read, if there is one.
    pub(super) fn unread(&self) -> Option<&str> {
        self.0
            .keys()
            .find_map(|name| name.strip_prefix("*.").filter(|extension| UNREAD.contains(extension)))
    }

    /// Whether there is anything that somebody put there.
    pub(super) fn has_visible(&self) -> bool {
        self.0.keys().any(|name| !name.starts_with('.') && !is_system_file(name))
    }
}

fn is_system_file(name: &str) -> bool {
    SYSTEM_FILES.contains(&name.to_lowercase().as_str())
}

/// The pictures and folders in `folder`, sorted by name; what else is there was passed over.
pub(super) fn entries(folder: &Path, passed_over: &mut PassedOver) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
        let entry = entry.map_err(Error::io(folder, "read"))?;
        entries.extend(visible(&entry, passed_over)?);
        if entries.len() > MAX_ENTRIES {
            return Err(Error::parse(folder, "has more than 4 million entries"));
        }
    }
    entries.sort_unstable_by(|a: &Entry, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// An entry, unless it is no picture or a system made it.
fn visible(entry: &DirEntry, passed_over: &mut PassedOver) -> Result<Option<Entry>> {
    let name = entry.file_name();
    let path = || entry.path();
    let mut kind = entry.file_type().map_err(Error::io(path(), "read"))?;
    let lossy = name.to_string_lossy();
    if is_ours(&lossy) {
        return Ok(None);
    }
    if lossy.starts_with('.') || is_system_file(&lossy) {
        passed_over.add(&lossy);
        return Ok(None);
    }
    if kind.is_dir() && SYSTEM_FOLDERS.contains(&&*lossy) {
        passed_over.add_folder(&lossy);
        return Ok(None);
    }
    if kind.is_symlink() {
        kind = match fs::metadata(path()) {
            Ok(metadata) => metadata.file_type(),
            Err(_) if !is_picture(&lossy) => kind,
            Err(source) => return Err(Error::io(path(), "follow")(source)),
        };
    }
    let is_read = kind.is_dir() || kind.is_file() && is_picture(&lossy);
    if !is_read {
        passed_over.add(&lossy);
        return Ok(None);
    }
    let Some(name) = name.to_str() else {
        return Err(Error::parse(path(), "has a name that is not UTF-8; rename it"));
    };
    Ok(Some(Entry { name: name.into(), is_folder: kind.is_dir() }))
}

/// What this program itself keeps beside class folders.
fn is_ours(name: &str) -> bool {
    name == SUMS || name.starts_with(".kd-") || name == ".lock"
}

/// Folders above the one that is read, by which circles of links are noticed.
#[derive(Debug, Clone, Default)]
pub(super) struct Above(Vec<(u64, u64)>);

impl Above {
    /// These and `folder`.
    pub(super) fn and(&self, folder: &Path) -> Result<Self> {
        let metadata = fs::metadata(folder).map_err(Error::io(folder, "read"))?;
        let place = (metadata.dev(), metadata.ino());
        if self.0.contains(&place) || self.0.len() > MAX_DEPTH {
            return Err(Error::parse(
                folder,
                "leads in a circle, or too deep; remove this link or folder",
            ));
        }
        Ok(Self([&self.0[..], &[place]].concat()))
    }
}

/// Files below a class folder, as paths from it: in the order in which Python's `os.walk`, sorted,
/// gives them, folder by folder.
pub(super) struct Below {
    pub(super) files: Vec<Box<str>>,
    pub(super) passed_over: PassedOver,
}

impl Below {
    /// Lists `folder`, which lies below those `above`.
    pub(super) fn read(folder: &Path, above: &Above) -> Result<Self> {
        let mut found = Self { files: Vec::new(), passed_over: PassedOver::default() };
        found.add((folder, above), "")?;
        found.files.sort_by(|a, b| order(a, b));
        Ok(found)
    }

    fn add(&mut self, (folder, above): (&Path, &Above), prefix: &str) -> Result<()> {
        let above = above.and(folder)?;
        for entry in entries(folder, &mut self.passed_over)? {
            let name = format!("{prefix}{}", entry.name);
            if entry.is_folder {
                let folder = folder.join(&*entry.name);
                self.add((&folder, &above), &format!("{name}/"))?;
            } else {
                self.files.push(name.into());
            }
        }
        Ok(())
    }
}

/// How two files of a class are ordered: by folder, then by name.
pub(super) fn order(a: &str, b: &str) -> std::cmp::Ordering {
    place(a).cmp(&place(b))
}

/// Folder and name.
fn place(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
