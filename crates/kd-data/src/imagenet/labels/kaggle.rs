//! `LOC_val_solution.csv` of Kaggle's ImageNet Object Localization Challenge.
//!
//! A header, then one line for each image, in no order:
//! `ILSVRC2012_val_00048981,n03995372 85 1 499 272 `, the class and a box of each object. An
//! image may have several boxes, all of its one class.

use std::collections::BTreeMap;

use super::lines::{Line, lines};
use super::name::image_number;
use super::{Checked, Wnid};

/// The first line.
pub(super) const HEADER: &str = "ImageId,PredictionString";

const EXPECTED: &str = "ILSVRC2012_val_DDDDDDDD,nDDDDDDDD X Y X Y, and further boxes";

/// The label of each image.
///
/// # Errors
/// The first line that is not of the form above, repeats an image, or has boxes of two classes.
pub(super) fn parse(text: &str) -> Checked<BTreeMap<u32, Wnid>> {
    let mut wnids = BTreeMap::new();
    for line in lines(text) {
        if line.number == 1 {
            check_header(&line)?;
            continue;
        }
        let (id, boxes) = line.text.split_once(',').ok_or_else(|| line.unexpected(EXPECTED))?;
        let number = image_number(id).ok_or_else(|| line.unexpected(EXPECTED))?;
        line.label(&mut wnids, number, class(&line, boxes)?)?;
    }
    Ok(wnids)
}

fn check_header(line: &Line<'_>) -> Checked<()> {
    if line.text == HEADER { Ok(()) } else { Err(line.unexpected(HEADER)) }
}

/// The one class of all boxes.
fn class(line: &Line<'_>, boxes: &str) -> Checked<Wnid> {
    let words: Vec<_> = boxes.split_ascii_whitespace().collect();
    let mut class = None;
    for words in words.chunks(5) {
        let wnid = class_of_box(words).ok_or_else(|| line.unexpected(EXPECTED))?;
        if class.is_some_and(|class| class != wnid) {
            return Err(line.fault("has boxes of two classes"));
        }
        class = Some(wnid);
    }
    class.ok_or_else(|| line.unexpected(EXPECTED))
}

fn class_of_box(words: &[&str]) -> Option<Wnid> {
    let [wnid, corners @ ..] = words else { return None };
    let is_number = |word: &&str| word.parse().is_ok_and(f64::is_finite);
    let is_box = corners.len() == 4 && corners.iter().all(is_number);
    Wnid::parse(wnid).filter(|_| is_box)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(lines: &str) -> Checked<BTreeMap<u32, Wnid>> {
        parse(&format!("{HEADER}\n{lines}"))
    }

    #[test]
    fn images_are_read_by_their_number_in_any_order() {
        let text = "ILSVRC2012_val_00048981,n03995372 85 1 499 272 \r\n\
                    ILSVRC2012_val_00000002,n03481172 131 0 499 254 n03481172 0 0 9 9 ";
        let wnid = |text| Wnid::parse(text).unwrap();
        let want = BTreeMap::from([(48_981, wnid("n03995372")), (2, wnid("n03481172"))]);
        assert_eq!(with_header(text).unwrap(), want);
    }

    #[test]
    fn every_other_line_is_refused() {
        for (bad, reason) in [
            ("", "no line"),
            ("\n\n", "no line"),
            (
                "\nILSVRC2012_val_00000001,n03995372 1 2 3 4\n",
                "line 2: \"\", expected ILSVRC2012_val",
            ),
            ("ILSVRC2012_val_00000001\n", "expected"),
            ("ILSVRC2012_val_00000001,\n", "expected"),
            ("ILSVRC2012_val_00000001,n03995372\n", "expected"),
            ("ILSVRC2012_val_00000001,n03995372 1 2 3\n", "expected"),
            ("ILSVRC2012_val_00000001,n03995372 1 2 3 nan\n", "expected"),
            ("ILSVRC2012_val_00000001,n03995372 1 2 3 4 5\n", "expected"),
            ("ILSVRC2012_val_00000001,n0399537 1 2 3 4\n", "expected"),
            ("ILSVRC2012_test_00000001,n03995372 1 2 3 4\n", "expected"),
            ("ILSVRC2012_val_1,n03995372 1 2 3 4\n", "expected"),
            ("ILSVRC2012_val_00000001,n03995372 1 2 3 4 n03995373 1 2 3 4\n", "two classes"),
        ] {
            match with_header(bad) {
                Ok(wnids) => assert!(wnids.is_empty() && reason == "no line", "{bad:?}"),
                Err(fault) => assert!(fault.reason.contains(reason), "{fault:?}"),
            }
        }
        let line = "ILSVRC2012_val_00000001,n03995372 1 2 3 4\n";
        let fault = with_header(&line.repeat(2)).unwrap_err();
        assert!(fault.reason.contains("line 3: ILSVRC2012_val_00000001.JPEG a second time"));
        assert_eq!(fault.offset as usize, HEADER.len() + 1 + line.len());
        assert!(parse(line).unwrap_err().reason.contains("expected ImageId"));
    }
}
