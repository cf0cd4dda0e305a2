//! `imagenet_2012_validation_synset_labels.txt` of TensorFlow's model repository: a WordNet id a
//! line, line 1 that of image 1.

use std::collections::BTreeMap;

use super::lines::lines;
use super::{Checked, Wnid};

/// The label of each image.
///
/// # Errors
/// The first line that is no WordNet id; also a blank one, for it would count as an image.
pub(super) fn parse(text: &str) -> Checked<BTreeMap<u32, Wnid>> {
    lines(text)
        .map(|line| match Wnid::parse(line.text) {
            Some(wnid) => Ok((line.number, wnid)),
            None => Err(line.unexpected("a WordNet id such as n01440764")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lines_number_is_the_images() {
        let wnid = |number| Wnid::new(number).unwrap();
        let want = BTreeMap::from([(1, wnid(7)), (2, wnid(5)), (3, wnid(7))]);
        assert_eq!(parse("n00000007\nn00000005\r\nn00000007").unwrap(), want);
    }

    #[test]
    fn a_line_that_is_no_id_is_refused() {
        for bad in [
            "n00000007\n\nn00000008\n",
            "n00000007\n5\n",
            "n00000007\nn00000008 \n",
            "n00000007\n#\n",
        ] {
            let fault = parse(bad).unwrap_err();
            assert!(fault.offset == 10 && fault.reason.contains("line 2"), "{fault:?}");
        }
    }
}
