//! What is to be shipped.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use kd_core::ops::Normalize;
use kd_core::{Error, Graph, Result, at_least_one};
use kd_data::OnBadImage;
use kd_models::{ModelSpec, cut, cut_within, shrink, with_classes};
use kd_suite::NetworkFile;

/// What is to be shipped, of which images, by which teacher.
#[derive(Debug, Clone)]
pub struct Order {
    /// Class folders, or a folder with `train` and `val` (or `test`) of them.
    pub images: PathBuf,
    /// What becomes of photographs that cannot be decoded.
    pub on_bad_image: OnBadImage,
    /// The big network.
    pub teacher: Teacher,
    /// The small ones that are tried; one is shipped.
    pub students: Vec<StudentKind>,
    /// How long it may take.
    pub minutes: f64,
    /// Repetitions of the teacher's and the last training.
    pub seeds: u64,
    /// Whether training images are mirrored.
    pub flip: bool,
    /// Folder of the results.
    pub out: PathBuf,
}

/// The big network.
#[derive(Debug, Clone)]
pub struct Teacher {
    /// Where it is.
    pub network: NetworkFile,
    /// Its normalization, where its file does not say it.
    pub normalize: Option<Normalize>,
    /// Whether it tells these classes apart already; else it gets a new head where it needs one, and
    /// learns them.
    pub is_tuned: bool,
}

/// Where a student's network comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum StudentKind {
    /// The teacher on smaller images, or its beginning, or both.
    Part(Part),
    /// A network of its own, without weights to begin with.
    Network(ModelSpec),
}

/// A part of a teacher's work: the whole on smaller images, its beginning, or both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// By how much the images' sides are smaller.
    pub shrink: Option<usize>,
    /// Where it ends.
    pub cut: Option<Cut>,
}

/// Where a part of a network ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Cut {
    /// At most this share of the whole teacher's multiply-adds, in (0, 1].
    Share(f64),
    /// At this node.
    Node(String),
}

impl Part {
    /// What is left of `teacher`, for `n_classes` classes; a network that ends early has a new head.
    ///
    /// # Errors
    /// Those of [`shrink`], [`cut`] and [`cut_within`].
    pub fn of(&self, teacher: &Graph, n_classes: usize) -> Result<Graph> {
        let shrunk = self.shrink.map_or(Ok(teacher.clone()), |factor| shrink(teacher, factor))?;
        let share = match &self.cut {
            None => return Ok(with_classes(&shrunk, n_classes)?.0),
            Some(Cut::Node(node)) => return cut(&shrunk, node, n_classes),
            Some(Cut::Share(share)) => share,
        };
        let whole = teacher.counts()?.multiply_adds as f64;
        match share * whole / shrunk.counts()?.multiply_adds.max(1) as f64 {
            all if all >= 1.0 => Ok(with_classes(&shrunk, n_classes)?.0),
            share => cut_within(&shrunk, share, n_classes),
        }
    }
}

impl Cut {
    /// At a share as `1/3` or `0.25`.
    ///
    /// # Errors
    /// What is needed in place of other words and of numbers outside (0, 1].
    pub fn share(text: &str) -> std::result::Result<Self, &'static str> {
        let (part, whole) = text.split_once('/').unwrap_or((text, "1"));
        let share = part.parse::<f64>().and_then(|part| Ok(part / whole.parse::<f64>()?));
        let share = share.ok().filter(|share| *share > 0.0 && *share <= 1.0);
        share.map(Self::Share).ok_or("a share in (0, 1] is needed, as in 1/3 or 0.25")
    }
}

impl FromStr for StudentKind {
    type Err = Error;

    /// `shrink:2`, `cut:1/3`, `cut:NODE`, `shrink:2,cut:1/8`, or a network's name.
    fn from_str(text: &str) -> Result<Self> {
        let mut part = Part::default();
        for word in text.split(',') {
            match (word.strip_prefix("shrink:"), word.strip_prefix("cut:")) {
                (Some(factor), _) => {
                    let reason =
                        |_| Error::config("student", format!("`{word}`: shrink by how much?"));
                    part.shrink = Some(factor.parse().map_err(reason)?);
                }
                (_, Some(at)) => {
                    part.cut = Some(Cut::share(at).unwrap_or_else(|_| Cut::Node(at.into())))
                }
                (None, None) => return kd_suite::model(text).map(Self::Network),
            }
        }
        Ok(Self::Part(part))
    }
}

impl fmt::Display for StudentKind {
    /// As [`StudentKind::from_str`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Part(part) = self else {
            let Self::Network(model) = self else { return Ok(()) };
            return f.write_str(&model.short_name());
        };
        let cut = part.cut.as_ref().map(|cut| match cut {
            Cut::Share(share) => format!("cut:{}", (1000.0 * share).round() / 1000.0),
            Cut::Node(node) => format!("cut:{node}"),
        });
        let words = part.shrink.map(|factor| format!("shrink:{factor}")).into_iter().chain(cut);
        f.write_str(&words.collect::<Vec<_>>().join(","))
    }
}

impl StudentKind {
    /// A name for files and suites.
    pub(crate) fn name(&self) -> String {
        self.to_string().replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "-")
    }
}

impl Order {
    /// Refuses what can be no order, before anything is read.
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.minutes > 0.0 && self.minutes.is_finite()) {
            return Err(Error::config("minutes", format!("{} is no time", self.minutes)));
        }
        at_least_one("seeds", self.seeds)?;
        if self.students.is_empty() {
            return Err(Error::config("student", "name at least one, such as shrink:2"));
        }
        let names: Vec<String> = self.students.iter().map(StudentKind::name).collect();
        match names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            Some((_, twice)) => Err(Error::config("student", format!("`{twice}` is named twice"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_by_part_and_by_name() {
        let kind = |text: &str| text.parse::<StudentKind>().unwrap();
        let part = |shrink, cut| StudentKind::Part(Part { shrink, cut });
        for (text, want, name) in [
            ("cut:1/8", part(None, Some(Cut::Share(0.125))), "cut-0.125"),
            ("shrink:2", part(Some(2), None), "shrink-2"),
            ("shrink:2,cut:0.1", part(Some(2), Some(Cut::Share(0.1))), "shrink-2-cut-0.1"),
            ("cut:/blocks/4", part(None, Some(Cut::Node("/blocks/4".into()))), "cut--blocks-4"),
        ] {
            assert_eq!((kind(text), kind(text).name()), (want, name.into()));
        }
        assert_eq!(kind("resnet8").name(), "resnet8");
        for bad in ["no-net", "shrink:x", "cut:1/3,resnet8"] {
            assert!(bad.parse::<StudentKind>().is_err(), "{bad}");
        }
    }
}
