//! Names of classes and of validation images.

use std::fmt;

/// What a validation image's name begins with.
const PREFIX: &str = "ILSVRC2012_val_";

/// WordNet id of a class: `n` and eight digits, such as `n01440764`.
///
/// Ordered as its text is, for the digits' number is fixed; a class's index is the rank of its
/// id in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wnid(u32);

impl Wnid {
    /// The id with this number; `None` when it has more than eight digits.
    pub fn new(number: u32) -> Option<Self> {
        (number < 100_000_000).then_some(Self(number))
    }

    /// The id that `text` is, exactly.
    pub fn parse(text: &str) -> Option<Self> {
        eight_digits(text.strip_prefix('n')?).map(Self)
    }
}

impl fmt::Display for Wnid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:08}", self.0)
    }
}

/// File name of the validation image with this number, counted from 1.
pub fn val_name(number: u32) -> String {
    format!("{PREFIX}{number:08}.JPEG")
}

/// Number of the validation image with this file name, which must be
/// `ILSVRC2012_val_DDDDDDDD.JPEG` exactly and not the number 0.
pub fn val_number(name: &str) -> Option<u32> {
    image_number(name.strip_suffix(".JPEG")?)
}

/// As [`val_number`], for a name without `.JPEG`.
pub(super) fn image_number(id: &str) -> Option<u32> {
    eight_digits(id.strip_prefix(PREFIX)?).filter(|&number| number > 0)
}

fn eight_digits(text: &str) -> Option<u32> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_read_and_they_come_back() {
        let id = Wnid::parse("n01440764").unwrap();
        assert_eq!((id.to_string(), id), ("n01440764".into(), Wnid::new(1_440_764).unwrap()));
        for bad in
            ["", "n", "01440764", "n1440764", "n001440764", "n+1440764", "N01440764", "n0144076٣"]
        {
            assert_eq!(Wnid::parse(bad), None, "{bad}");
        }
        assert_eq!(Wnid::new(100_000_000), None);
        assert_eq!(val_name(293), "ILSVRC2012_val_00000293.JPEG");
        assert_eq!(val_number("ILSVRC2012_val_00050000.JPEG"), Some(50_000));
        for bad in [
            "ILSVRC2012_val_00000000.JPEG",
            "ILSVRC2012_val_0000293.JPEG",
            "ILSVRC2012_val_000000293.JPEG",
            "ILSVRC2012_val_+0000293.JPEG",
            "ILSVRC2012_val_00000293.jpeg",
            "ILSVRC2010_val_00000293.JPEG",
            "./ILSVRC2012_val_00000293.JPEG",
        ] {
            assert_eq!(val_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_are_ordered_as_their_text_is() {
        let ids = [1, 20, 3_000, 12_345_678].map(|number| Wnid::new(number).unwrap());
        assert!(ids.is_sorted() && ids.map(|id| id.to_string()).is_sorted());
    }
}
