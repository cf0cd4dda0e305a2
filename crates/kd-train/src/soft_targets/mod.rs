//! A teacher's soft targets in short, kept in a file.
//!
//! Key decision: what is kept of a row of logits is a choice between the bits and the bytes: the k
//! largest as f32 ([`largest`]), with k = K all of them and the same bits; or one byte for each class
//! ([`byte`]), nothing else.

mod byte;
mod file;
mod largest;

use std::path::Path;

use kd_core::{BatchSource, Error, Result};
use serde::{Deserialize, Serialize};

pub(crate) use file::TargetFile;

/// Keeps a teacher's logits on stored versions of the training images, so that it computes each of them
/// once for all trainings that see the same images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftTargets {
    /// Classes whose logits are stored, the largest of each row: k, between 1 and K. All of them where
    /// it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// How a logit is stored.
    #[serde(default, skip_serializing_if = "StoredAs::is_exact")]
    pub stored_as: StoredAs,
}

/// How a logit is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredAs {
    /// As it is, in 6 bytes with the number of its class, and 8 bytes for each row.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// In one byte: how far it is below the largest of its row, on a scale of 255 steps, each wider by
    /// 2.2 % than the one before. At any temperature T, all probabilities of a row together change by at most
    /// `0.022 (1 / T + H)`, H being their entropy in nats; one alone by 0.005, seen in random rows.
    #[serde(rename = "8-bit")]
    EightBit,
}

impl StoredAs {
    fn is_exact(&self) -> bool {
        *self == Self::F32
    }
}

/// Where soft targets are kept, and whose they are.
#[derive(Debug, Clone, Copy)]
pub struct SoftTargetStore<'a> {
    /// What is kept.
    pub targets: SoftTargets,
    /// Folder of the file; its name is a digest of everything below.
    pub folder: &'a Path,
    /// What decides the teacher's logits besides its weights (which are digested here) and the
    /// number of images, versions and classes: the data set's files, which of their images in
    /// which order, augmentation, the teacher's network, the device.
    pub identity: &'a str,
}

impl SoftTargets {
    /// Bytes of the file for `n_rows` rows of K logits, one for each version of each image.
    pub fn n_bytes(self, n_rows: usize, n_classes: usize) -> u64 {
        (n_rows as u64).saturating_mul(self.rows(n_classes).n_bytes() as u64)
    }

    /// Classes of each row that are stored, of K.
    pub fn n_stored(self, n_classes: usize) -> usize {
        self.top_k.unwrap_or(n_classes)
    }

    /// Bits of a stored logit.
    pub fn bits(self) -> u32 {
        match self.stored_as {
            StoredAs::F32 => 32,
            StoredAs::EightBit => 8,
        }
    }

    /// Versions of each image of `source` that are stored.
    ///
    /// # Errors
    /// [`Error::Config`] when they are without number, or when k is not between 1 and K.
    pub fn n_views(self, source: &dyn BatchSource) -> Result<usize> {
        self.check(source.n_classes())?;
        source.n_views().ok_or_else(|| {
            let reason = "every epoch shows other versions of the images; store some by \
                          `augment.resized_crop.n_views`, `--views` of `kd train`";
            Error::config("soft_targets", reason)
        })
    }

    /// Refuses what does not suit K classes.
    fn check(self, n_classes: usize) -> Result<()> {
        let field = "soft_targets.top_k";
        match (self.top_k, self.stored_as) {
            (Some(_), StoredAs::EightBit) => {
                let reason = "is for logits that are stored as f32; as bytes all are";
                Err(Error::config(field, reason))
            }
            (Some(k), StoredAs::F32) if !(1..=n_classes).contains(&k) => {
                let reason = format!("{k} is not between 1 and the {n_classes} classes");
                Err(Error::config(field, reason))
            }
            (_, StoredAs::F32) if n_classes > 1 << 16 => {
                Err(Error::config(field, format!("{n_classes} classes are too many to number")))
            }
            _ => Ok(()),
        }
    }

    fn rows(self, n_classes: usize) -> Rows {
        match self.stored_as {
            StoredAs::F32 => Rows::Largest { top_k: self.n_stored(n_classes) },
            StoredAs::EightBit => Rows::Bytes { n_classes },
        }
    }
}

/// How a row of K logits lies in the file.
#[derive(Debug, Clone, Copy)]
enum Rows {
    Largest { top_k: usize },
    Bytes { n_classes: usize },
}

impl Rows {
    /// Bytes of a row.
    fn n_bytes(self) -> usize {
        match self {
            Self::Largest { top_k } => largest::row_bytes(top_k),
            Self::Bytes { n_classes } => n_classes,
        }
    }

    /// The row at `place` in short.
    fn pack(self, place: usize, row: &[f32]) -> Vec<u8> {
        match self {
            Self::Largest { top_k } => largest::pack(top_k, place, row),
            Self::Bytes { .. } => byte::pack(row),
        }
    }

    /// Writes what was packed for `place` to `row`; false, and nothing written, where that is damaged or
    /// was never written.
    fn unpack(self, place: usize, bytes: &[u8], row: &mut [f32]) -> bool {
        match self {
            Self::Largest { top_k } => largest::unpack(top_k, place, bytes, row),
            Self::Bytes { .. } => byte::unpack(bytes, row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_suit_the_classes_are_refused() {
        let check =
            |top_k, n_classes| SoftTargets { top_k, ..SoftTargets::default() }.check(n_classes);
        assert!(
            check(Some(1), 10).is_ok() && check(Some(10), 10).is_ok() && check(None, 3).is_ok()
        );
        for (top_k, n_classes) in [(Some(0), 10), (Some(11), 10), (Some(5), 70_000)] {
            assert!(matches!(check(top_k, n_classes), Err(Error::Config { .. })));
        }
        let bytes = |top_k| SoftTargets { top_k, stored_as: StoredAs::EightBit };
        assert!(bytes(None).check(70_000).is_ok() && bytes(Some(5)).check(10).is_err());
    }

    #[test]
    fn a_byte_a_class_and_version_is_all_that_short_rows_take() {
        let bytes = SoftTargets { top_k: None, stored_as: StoredAs::EightBit };
        for n_classes in [2, 10, 1000] {
            assert_eq!(bytes.n_bytes(700, n_classes), 700 * n_classes as u64);
        }
        assert_eq!(SoftTargets::default().n_bytes(1, 10), 68);
        assert_eq!(SoftTargets { top_k: Some(2), ..SoftTargets::default() }.n_bytes(3, 10), 60);
    }
}
