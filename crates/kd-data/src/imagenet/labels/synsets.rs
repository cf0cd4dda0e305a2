//! The classes of ILSVRC2012 and their numbers, `ILSVRC2012_ID`.
//!
//! Key decision: the development kit says in a MAT-file, `meta.mat`, which number is which class. It has
//! said the same since 2012, so that a table takes the place of a reader of such files. The table is
//! that of the later kits' `map_clsloc.txt`. Its classes are those of the published scripts that sort the
//! images, and with it the first lines of the published ground truth become those scripts' labels.

use super::Wnid;

/// A class a line, in the order of the numbers: WordNet id and name.
const TABLE: &str = include_str!("../synsets.txt");

/// The classes, in the order of their numbers, which count from 1.
pub(super) fn wnids() -> Vec<Wnid> {
    TABLE.lines().filter_map(|line| Wnid::parse(line.split(' ').next()?)).collect()
}

/// WordNet ids and names of the classes, sorted by the ids: in the order in which the outputs of published
/// networks for ImageNet stand for them.
pub fn classes() -> Vec<(&'static str, &'static str)> {
    let mut classes: Vec<_> = TABLE.lines().filter_map(|line| line.split_once(' ')).collect();
    classes.sort_unstable();
    classes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_a_thousand_classes_each_once() {
        let wnids = wnids();
        assert_eq!(wnids.len(), 1000);
        assert_eq!(wnids.iter().collect::<BTreeSet<_>>().len(), 1000);
        assert_eq!(TABLE.lines().count(), 1000);
        let classes = classes();
        assert_eq!((classes.len(), classes[0]), (1000, ("n01440764", "tench")));
        assert_eq!(classes[999], ("n15075141", "toilet tissue"));
    }
}
