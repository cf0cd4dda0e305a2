//! The values of activations, which may not be computed before they are needed.

use std::sync::OnceLock;

#[cfg(feature = "cuda")]
use candle_core::Tensor;

use super::{Buffer, Values};
use crate::ops::batch_norm::cpu::Affine;
use crate::ops::source::Source;

/// The values of an activation, and how they came to be.
#[derive(Debug)]
pub(crate) struct Made {
    kind: Kind,
    /// Whether they are the output of a ReLU in CPU memory: then no gradient flows where they are
    /// zero. On a GPU each operation sees to it itself.
    relu: bool,
}

#[derive(Debug)]
enum Kind {
    Plain(Values),
    /// `relu?(affine(rows))`, computed where a convolution reads it, or for all else once.
    Normed {
        rows: Buffer,
        affine: Affine,
        made: OnceLock<Values>,
    },
}

impl<V: Into<Values>> From<V> for Made {
    fn from(values: V) -> Self {
        Self { kind: Kind::Plain(values.into()), relu: false }
    }
}

impl Made {
    /// Values that a ReLU may have made.
    pub(crate) fn after(values: Buffer, relu: bool) -> Self {
        Self { kind: Kind::Plain(values.into()), relu }
    }

    /// `relu?(affine(rows) + residual)`; without a residual nothing is computed yet.
    pub(crate) fn normed(
        rows: Buffer,
        affine: Affine,
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Self {
        let made =
            residual.map(|residual| Values::Host(affine.apply_and_add(&rows, residual, relu)));
        let made = made.map_or_else(OnceLock::new, OnceLock::from);
        Self { kind: Kind::Normed { rows, affine, made }, relu }
    }

    /// Whether they are the output of a ReLU.
    pub(crate) fn relu(&self) -> bool {
        self.relu
    }

    /// The values, wherever they are.
    pub(crate) fn values(&self) -> &Values {
        match &self.kind {
            Kind::Plain(values) => values,
            Kind::Normed { rows, affine, made } => {
                made.get_or_init(|| affine.apply(rows, self.relu).into())
            }
        }
    }

    pub(crate) fn into_values(self) -> Values {
        match self.kind {
            Kind::Plain(values) => values,
            Kind::Normed { rows, affine, made } => {
                made.into_inner().unwrap_or_else(|| affine.apply(&rows, self.relu).into())
            }
        }
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

    /// Those on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Option<&Tensor> {
        match &self.kind {
            Kind::Plain(Values::Gpu(values)) => Some(values),
            _ => None,
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
                Source::norm(rows, affine, self.relu)
            }
            _ => Source::Plain(self.get()),
        }
    }
}
