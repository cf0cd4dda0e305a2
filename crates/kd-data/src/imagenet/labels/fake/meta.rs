//! A `meta.mat` with the fields of the published one.

use std::collections::BTreeMap;
use std::io;

use super::super::Wnid;
use super::mat5::{file, numbers, structs, text};

const FIELDS: [&str; 8] = [
    "ILSVRC2012_ID",
    "WNID",
    "words",
    "gloss",
    "num_children",
    "children",
    "wordnet_height",
    "num_train_images",
];

/// Classes below one ancestor.
const FAMILY: usize = 10;

/// The file for classes with these ids: first they, then the root, whose id is the next one,
/// then an ancestor for each ten of them.
pub(super) fn file_of(ids: &BTreeMap<Wnid, u32>) -> io::Result<Vec<u8>> {
    let by_id: BTreeMap<u32, Wnid> = ids.iter().map(|(&wnid, &id)| (id, wnid)).collect();
    let mut rows: Vec<_> =
        by_id.iter().map(|(&id, wnid)| row(id, &wnid.to_string(), &[])).collect();
    let ids: Vec<u32> = by_id.into_keys().collect();
    let root = ids.len() as u32 + 1;
    let families: Vec<_> = (root + 1..).zip(ids.chunks(FAMILY)).collect();
    let children: Vec<u32> = families.iter().map(|(id, _)| *id).collect();
    rows.push(row(root, "n00001740", &children));
    rows.extend(families.iter().map(|&(id, ids)| row(id, &format!("n{:08}", 2000 + id), ids)));
    file(&structs("synsets", &FIELDS, &rows))
}

/// The values of all fields.
fn row(id: u32, wnid: &str, children: &[u32]) -> Vec<Vec<u8>> {
    let n_children = children.len() as u32;
    vec![
        numbers(&[id]),
        text(wnid),
        text(&format!("synset {id}, caf\u{e9}")),
        text("a synset that is made up"),
        numbers(&[n_children]),
        numbers(children),
        numbers(&[u32::from(n_children > 0)]),
        numbers(&[if n_children == 0 { 1300 } else { 0 }]),
    ]
}
