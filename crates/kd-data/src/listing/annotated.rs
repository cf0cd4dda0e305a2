//! Pictures of all classes in one folder, with a list of their classes: TinyImageNet's validation
//! images, `val/images/*.JPEG` with `val/val_annotations.txt`.

use std::collections::BTreeMap;
use std::path::Path;

use kd_core::{Error, Result, fsx};

use super::entries::{Above, Below, Entry, PassedOver};

/// The list: a line `FILE CLASS X Y X Y` for each picture, separated by tabs.
pub(super) const ANNOTATIONS: &str = "val_annotations.txt";
/// The folder of the pictures.
pub(super) const IMAGES: &str = "images";
/// The most bytes of the list.
const MAX_BYTES: u64 = 64 << 20;

/// The pictures of each class.
type Classes = BTreeMap<String, Vec<Box<str>>>;

/// The class of each picture, by its name.
#[derive(Debug)]
pub(super) struct Annotations(BTreeMap<String, String>);

impl Annotations {
    /// The list in `folder`, which holds these `entries`; nothing where there is none, or where the
    /// pictures were sorted into class folders.
    pub(super) fn read(folder: &Path, entries: &[Entry]) -> Result<Option<Self>> {
        let path = folder.join(ANNOTATIONS);
        if !path.is_file() || !matches!(entries, [only] if &*only.name == IMAGES) {
            return Ok(None);
        }
        let bytes = fsx::read_bounded(&path, MAX_BYTES, "it was there a moment ago")?;
        parse(&path, &fsx::text(&path, bytes)?).map(|classes| Some(Self(classes)))
    }

    /// The pictures of `folder`, by class, as paths from it, sorted; and what else is there.
    pub(super) fn classes(mut self, folder: &Path) -> Result<(Classes, PassedOver)> {
        let Below { files, passed_over } =
            Below::read(&folder.join(IMAGES), &Above::default().and(folder)?)?;
        let mut classes = Classes::new();
        for file in files {
            let class = self.0.remove(&*file).ok_or_else(|| {
                Error::parse(
                    folder.join(IMAGES).join(&*file),
                    format!("has no line in {ANNOTATIONS}"),
                )
            })?;
            classes.entry(class).or_default().push(format!("{IMAGES}/{file}").into());
        }
        match self.0.into_keys().next() {
            Some(name) => {
                let hint = format!("{ANNOTATIONS} names it; unpack the archive again");
                Err(Error::Missing { path: folder.join(IMAGES).join(name), hint })
            }
            None => Ok((classes, passed_over)),
        }
    }
}

/// Whether this empty folder once held the pictures that were sorted into class folders beside it.
pub(super) fn is_left_over(folder: &Path, name: &str) -> bool {
    name == IMAGES && folder.join(ANNOTATIONS).is_file()
}

fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, String>> {
    let mut classes = BTreeMap::new();
    let mut offset = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let fault = |reason: &str| {
            let reason = format!("line {number}: {reason}");
            Error::Parse { path: path.into(), offset, reason }
        };
        let mut words = line.split_whitespace();
        let (Some(file), Some(class)) = (words.next(), words.next()) else {
            return Err(fault("is not a file, its class and a box"));
        };
        let is_name = |name: &str| name != "." && name != ".." && !name.contains(['/', '\\']);
        if !is_name(file) || !is_name(class) {
            return Err(fault("has a name that leads elsewhere"));
        }
        if classes.insert(file.to_owned(), class.to_owned()).is_some() {
            return Err(fault(&format!("{file:?} a second time")));
        }
        offset += line.len() as u64;
    }
    match classes.is_empty() {
        true => Err(Error::parse(path, "is empty")),
        false => Ok(classes),
    }
}
