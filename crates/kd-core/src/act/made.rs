//! The values of activations, which may not be computed before they are needed.

use std::sync::OnceLock;

use super::{Buffer, Clamp, Values};
use crate::gemm::Listed;
use crate::ops::affine::Affine;
use crate::ops::source::Source;

/// The values of an activation, and how they came to be.
#[derive(Debug)]
pub struct Made {
    kind: Kind,
    /// What they went through last, in CPU memory: no gradient flows where they lie at its ends. On a
    /// GPU each operation sees to it itself.
    clamp: Clamp,
    /// What is not zero in them, where several networks read them.
    listed: Option<Listed>,
}

#[derive(Debug)]
enum Kind {
    Plain(Values),
    /// `clamp(affine(rows))`, computed where a convolution reads it, or for all else once.
    Normed {
        rows: Buffer,
        affine: Affine,
        made: OnceLock<Values>,
    },
}

impl<V: Into<Values>> From<V> for Made {
    fn from(values: V) -> Self {
        Self { kind: Kind::Plain(values.into()), clamp: Clamp::NONE, listed: None }
    }
}

impl Made {
    /// Values that went through `clamp`.
    pub(crate) fn after(values: Buffer, clamp: Clamp) -> Self {
        Self { kind: Kind::Plain(values.into()), clamp, listed: None }
    }

    /// Values that several networks read.
    pub(crate) fn shared(values: Values) -> Self {
        Self { listed: Some(Listed::default()), ..values.into() }
    }

    /// `clamp(affine(rows) + residual)`; without a residual nothing is computed yet.
    pub(crate) fn normed(
        rows: Buffer,
        affine: Affine,
        residual: Option<&[f32]>,
        clamp: Clamp,
    ) -> Self {
        let made =
            residual.map(|residual| Values::Host(affine.apply_and_add(&rows, residual, clamp)));
        let made = made.map_or_else(OnceLock::new, OnceLock::from);
        Self { kind: Kind::Normed { rows, affine, made }, clamp, listed: None }
    }

    /// What they went through last.
    pub(crate) fn clamp(&self) -> Clamp {
        self.clamp
    }

    /// What is not zero in them, where several networks read them.
    pub(crate) fn listed(&self) -> Option<&Listed> {
        self.listed.as_ref()
    }

    /// The values, wherever they are.
    pub(crate) fn values(&self) -> &Values {
        match &self.kind {
            Kind::Plain(values) => values,
            Kind::Normed { rows, affine, made } => {
                made.get_or_init(|| normed(rows, affine, self.clamp))
            }
        }
    }

    pub(crate) fn into_values(self) -> Values {
        match self.kind {
            Kind::Plain(values) => values,
            Kind::Normed { rows, affine, made } => {
                made.into_inner().unwrap_or_else(|| normed(&rows, &affine, self.clamp))
            }
        }
    }

    /// Whether the values are on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn is_on_gpu(&self) -> bool {
        matches!(self.kind, Kind::Plain(Values::Gpu(_)))
    }

    /// Those in CPU memory.
    ///
    /// # Panics
    /// On a GPU: an operation asks where they are first.
    pub(crate) fn get(&self) -> &[f32] {
        match self.values() {
            Values::Host(values) => values,
            Values::Gpu(_) => unreachable!("invariant: the operation has asked where its input is"),
        }
    }

    /// The values before the affine map, where there is one.
    ///
    /// # Panics
    /// As [`Made::get`].
    pub(crate) fn rows(&self) -> &[f32] {
        match &self.kind {
            Kind::Normed { rows, .. } => rows,
            Kind::Plain(_) => self.get(),
        }
    }

    /// The values for a convolution.
    ///
    /// # Panics
    /// As [`Made::get`].
    pub(crate) fn source(&self) -> Source<'_> {
        match &self.kind {
            Kind::Normed { rows, affine, made } if made.get().is_none() => {
                Source::norm(rows, affine, self.clamp)
            }
            _ => Source::Plain(self.get(), self.clamp),
        }
    }
}

/// `clamp(affine(rows))`, in memory.
fn normed(rows: &[f32], affine: &Affine, clamp: Clamp) -> Values {
    Source::norm(rows, affine, clamp).to_buffer(affine.scale.len()).into()
}
