//! The table of labels that every source gives, checked to be complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};

use super::{Fault, Kind, Wnid, val_name};

/// How many differing images [`cross_check`] names.
const N_NAMED: usize = 5;

/// How many validation images there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of classes.
    pub n_classes: u32,
    /// Images of each class.
    pub n_per_class: u32,
}

impl Default for Shape {
    /// ILSVRC2012: 1000 classes of 50 images.
    fn default() -> Self {
        Self { n_classes: 1000, n_per_class: 50 }
    }
}

impl Shape {
    /// Images of all classes.
    pub fn n_images(self) -> u32 {
        self.n_classes.saturating_mul(self.n_per_class)
    }
}

/// The class of each validation image, by the number in its file name, counted from 1.
///
/// Complete: the numbers are 1 to [`Shape::n_images`], and each class has
/// [`Shape::n_per_class`] of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValLabels {
    kind: Kind,
    path: PathBuf,
    wnids: BTreeMap<u32, Wnid>,
}

impl ValLabels {
    /// The table that was read from `path`, if it is complete.
    pub(super) fn new(
        kind: Kind,
        path: &Path,
        wnids: BTreeMap<u32, Wnid>,
        shape: Shape,
    ) -> Result<Self> {
        check_numbers(&wnids, shape)
            .and_then(|()| check_classes(&wnids, shape))
            .map_err(|reason| Fault::new(0, reason).at_path(path))?;
        Ok(Self { kind, path: path.into(), wnids })
    }

    /// What the labels were read from, in words: kind and path.
    pub fn source(&self) -> String {
        format!("{} {}", self.kind, self.path.display())
    }

    /// The class of the image with this number.
    pub fn get(&self, number: u32) -> Option<Wnid> {
        self.wnids.get(&number).copied()
    }

    /// The class of each image, by its number.
    pub fn wnids(&self) -> &BTreeMap<u32, Wnid> {
        &self.wnids
    }

    /// The classes, sorted: a class's index is its position here.
    pub fn classes(&self) -> BTreeSet<Wnid> {
        self.wnids.values().copied().collect()
    }
}

fn check_numbers(wnids: &BTreeMap<u32, Wnid>, shape: Shape) -> std::result::Result<(), String> {
    let n = shape.n_images();
    if let Some(missing) = (1..=n).find(|number| !wnids.contains_key(number)) {
        let n_missing = n as usize - wnids.range(1..=n).count();
        let missing = val_name(missing);
        return Err(format!("lacks the labels of {n_missing} of {n} images, first of {missing}"));
    }
    match wnids.keys().find(|number| !(1..=n).contains(*number)) {
        Some(extra) => {
            Err(format!("has a label of {}, but there are {n} images", val_name(*extra)))
        }
        None => Ok(()),
    }
}

fn check_classes(wnids: &BTreeMap<u32, Wnid>, shape: Shape) -> std::result::Result<(), String> {
    let mut counts = BTreeMap::new();
    for wnid in wnids.values() {
        *counts.entry(*wnid).or_insert(0_u32) += 1;
    }
    if counts.len() != shape.n_classes as usize {
        return Err(format!("has {} classes, expected {}", counts.len(), shape.n_classes));
    }
    let expected = shape.n_per_class;
    match counts.iter().find(|(_, count)| **count != expected) {
        Some((wnid, n)) => Err(format!("class {wnid} has {n} images, expected {expected}")),
        None => Ok(()),
    }
}

/// Checks that two sources say the same.
///
/// # Errors
/// [`Error::Parse`], which names both sources, the first differing images with both labels, and
/// how many differ.
pub fn cross_check(a: &ValLabels, b: &ValLabels) -> Result<()> {
    let numbers: BTreeSet<u32> = a.wnids.keys().chain(b.wnids.keys()).copied().collect();
    let n_images = numbers.len();
    let differing: Vec<u32> = numbers.into_iter().filter(|&n| a.get(n) != b.get(n)).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let label = |wnid: Option<Wnid>| wnid.map_or("nothing".into(), |wnid| wnid.to_string());
    let differ = |&n: &u32| format!("{}: {}, {}", val_name(n), label(a.get(n)), label(b.get(n)));
    let named: Vec<_> = differing.iter().take(N_NAMED).map(differ).collect();
    let more = if differing.len() > N_NAMED { "; ..." } else { "" };
    let reason = format!(
        "{} of {n_images} labels differ between {} and {}: {}{more}; one of the two is wrong: get \
         both again",
        differing.len(),
        a.source(),
        b.source(),
        named.join("; "),
    );
    Err(Error::Parse { path: a.path.clone(), offset: 0, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { n_classes: 2, n_per_class: 3 };

    fn table(wnids: &[(u32, u32)]) -> Result<ValLabels> {
        let wnids = wnids.iter().map(|&(number, wnid)| (number, Wnid::new(wnid).unwrap()));
        ValLabels::new(Kind::Kaggle, Path::new("a.csv"), wnids.collect(), SHAPE)
    }

    const GOOD: [(u32, u32); 6] = [(1, 8), (2, 7), (3, 7), (4, 8), (5, 8), (6, 7)];

    #[test]
    fn a_complete_table_answers() {
        let labels = table(&GOOD).unwrap();
        assert_eq!(labels.get(1), Wnid::new(8));
        assert_eq!((labels.get(0), labels.get(7)), (None, None));
        assert_eq!(labels.source(), "Kaggle's solution file a.csv");
        let classes: Vec<_> = labels.classes().into_iter().map(|wnid| wnid.to_string()).collect();
        assert_eq!(classes, ["n00000007", "n00000008"]);
        assert_eq!((Shape::default().n_images(), SHAPE.n_images()), (50_000, 6));
    }

    #[test]
    fn an_incomplete_table_is_refused() {
        let with = |i: usize, entry| {
            let mut wnids = GOOD;
            wnids[i] = entry;
            table(&wnids).unwrap_err().to_string()
        };
        let missing = table(&GOOD[..4]).unwrap_err().to_string();
        assert!(missing.contains("2 of 6 images, first of ILSVRC2012_val_00000005"), "{missing}");
        assert!(with(2, (9, 7)).contains("1 of 6 images, first of ILSVRC2012_val_00000003"));
        let more = [&GOOD[..], &[(7, 7)]].concat();
        let more = table(&more).unwrap_err().to_string();
        assert!(more.contains("ILSVRC2012_val_00000007.JPEG, but there are 6 images"), "{more}");
        assert!(with(0, (1, 9)).contains("has 3 classes, expected 2"));
        assert!(with(0, (1, 7)).contains("class n00000007 has 4 images, expected 3"));
        assert!(table(&GOOD.map(|(n, _)| (n, 7))).unwrap_err().to_string().contains("1 classes"));
        assert!(table(&[]).unwrap_err().to_string().contains("6 of 6 images"));
    }

    #[test]
    fn two_sources_are_compared_image_by_image() {
        let a = table(&GOOD).unwrap();
        cross_check(&a, &ValLabels { kind: Kind::Valprep, ..a.clone() }).unwrap();
        let other = GOOD.map(|(number, wnid)| (number, 15 - wnid));
        let b = ValLabels { kind: Kind::Valprep, path: "b.sh".into(), ..table(&other).unwrap() };
        let error = cross_check(&a, &b).unwrap_err().to_string();
        for part in [
            "a.csv: at byte 0: 6 of 6 labels differ",
            "between Kaggle's solution file a.csv and the shell script b.sh",
            "ILSVRC2012_val_00000001.JPEG: n00000008, n00000007;",
            "ILSVRC2012_val_00000005.JPEG",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("00000006"), "{error}");
        let mut swapped = GOOD;
        (swapped[2].1, swapped[3].1) = (swapped[3].1, swapped[2].1);
        let error = cross_check(&a, &table(&swapped).unwrap()).unwrap_err().to_string();
        assert!(error.contains("2 of 6 labels differ") && !error.contains("..."), "{error}");
    }
}
